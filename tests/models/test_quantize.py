"""`trnlab quantize`: what it prints and writes, and every bad file as one message and exit code 2."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from rich.console import Console

from tests.models.test_cli import trnlab
from trnlab.emulator.errors import TrnlabError
from trnlab.emulator.numerics.quantization import quantize_tensor
from trnlab.models import cli
from trnlab.models.files import write_whole
from trnlab.models.quantize_files import TensorFileError, read_tensor
from trnlab.models.quantize_tables import draw_report, print_report

Array = np.ndarray[Any, Any]


def tensor() -> Array:
    """[64, 96], columns of different size."""
    values = np.random.default_rng(0).standard_normal((64, 96)) * 2.0 ** np.arange(-48, 48)
    return values.astype(np.float32)


def command(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    """The command in this process: exit code, output, errors."""
    before, sys.argv = sys.argv, ["trnlab", "quantize", *args]
    try:
        cli.main()
        code: Any = 0
    except SystemExit as exit_:
        code = exit_.code or 0
    finally:
        sys.argv = before
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("weights.npy", tensor())
    return tmp_path


def test_the_installed_command(folder: Path) -> None:
    done = trnlab("quantize", "weights.npy", "--format", "mxfp4", "--axis", "0", "--out", "packed.npz", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    report = quantize_tensor(tensor(), "mxfp4", axis=0).report
    assert f"{report.sqnr_db:.2f} dB" in done.stdout
    assert f"({report.flushed:,} of 6,144)" in done.stdout
    with np.load("packed.npz") as packed:
        assert packed["blocks"].shape == (96, 2, 16)
        assert json.loads(str(packed["report"]))["format"] == "mxfp4"
    assert sorted(path.name for path in folder.iterdir()) == ["packed.npz", "weights.npy"]


def test_json_is_the_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = command(capsys, "weights.npy", "--format", "mxfp8_e5m2", "--rule", "ocp_floor", "--json")
    assert code == 0
    assert out == quantize_tensor(tensor(), "mxfp8_e5m2", rule="ocp_floor").report.to_json() + "\n"


def test_a_picture_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    code, _, err = command(capsys, "weights.npy", "--format", "nvfp4", "--picture", "loss.png")
    assert (code, err) == (0, "")
    data = (folder / "loss.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 10_000
    assert sorted(path.name for path in folder.iterdir()) == ["loss.png", "weights.npy"]


def test_without_matplotlib_the_message_names_the_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, _, err = command(capsys, "weights.npy", "--format", "mxfp4", "--picture", "loss.png")
    assert code == 2
    assert "trnlab[viz]" in err
    assert not (folder / "loss.png").exists()


def test_bfloat16_needs_its_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = tensor().astype(ml_dtypes.bfloat16)
    np.save("narrow.npy", values)
    code, _, err = command(capsys, "narrow.npy", "--format", "mxfp4")
    assert code == 2
    assert "2 bytes without a type; allowed: --dtype bfloat16" in err
    code, out, _ = command(capsys, "narrow.npy", "--format", "mxfp4", "--dtype", "bfloat16", "--json")
    assert code == 0
    assert json.loads(out)["sqnr_db"] == quantize_tensor(values, "mxfp4").report.sqnr_db


def test_fortran_order_is_read_as_it_is(folder: Path) -> None:
    np.save("fortran.npy", np.asfortranarray(tensor()))
    np.testing.assert_array_equal(read_tensor(folder / "fortran.npy"), tensor())
    report = quantize_tensor(read_tensor(folder / "fortran.npy"), "mxfp4").report
    assert report.sqnr_db == quantize_tensor(tensor(), "mxfp4").report.sqnr_db


def spoil(name: str) -> None:
    """Write one bad file."""
    if name == "empty.npy":
        Path(name).write_bytes(b"")
    elif name == "text.npy":
        Path(name).write_text("1 2 3\n")
    elif name == "short.npy":
        whole = Path("weights.npy").read_bytes()
        Path(name).write_bytes(whole[: len(whole) // 2])
    elif name == "archive.npz":
        np.savez(name, a=tensor())
    elif name == "folder.npy":
        Path(name).mkdir()
    else:
        np.save(name, BAD[name], allow_pickle=True)


BAD: dict[str, Any] = {
    "objects.npy": np.array([{}, None], dtype=object),
    "scalar.npy": np.float32(1),
    "nothing.npy": np.zeros((0, 32), np.float32),
    "wide.npy": np.zeros((2, 32)),
    "whole.npy": np.zeros((2, 32), np.int32),
    "swapped.npy": np.zeros((2, 32), ">f4"),
    "odd.npy": np.zeros((2, 33), np.float32),
    "record.npy": np.zeros(32, [("a", np.float32)]),
    "complex.npy": np.zeros((2, 32), np.complex64),
}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.npy", "No such file"),
        ("folder.npy", "directory"),
        ("empty.npy", "an empty file"),
        ("text.npy", "no .npy file"),
        ("archive.npz", "no .npy file"),
        ("short.npy", "an array that NumPy refuses"),
        ("objects.npy", "an array that NumPy refuses"),
        ("scalar.npy", "at least one axis"),
        ("nothing.npy", "something in it"),
        ("wide.npy", "float64"),
        ("whole.npy", "int32"),
        ("swapped.npy", "byte order"),
        ("odd.npy", "a multiple of 32"),
        ("record.npy", "allowed: bfloat16, float16, float32"),
        ("complex.npy", "complex64"),
    ],
)
def test_bad_files_are_one_message(folder: Path, capsys: pytest.CaptureFixture[str], name: str, message: str) -> None:
    if name != "absent.npy":
        spoil(name)
    before = sorted(path.name for path in folder.iterdir())
    code, out, err = command(capsys, name, "--format", "mxfp4", "--out", "packed.npz")
    assert (code, out) == (2, "")
    assert err.startswith("trnlab: ")
    assert message in err
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--format", "mxfp5"), "did you mean mxfp4"),
        (("--format", "nvfp4", "--rule", "nki"), "no rule makes its scales"),
        (("--format", "mxfp4", "--axis", "2"), "from -2 to 1"),
        (("--format", "mxfp4", "--dtype", "bfloat16"), "dtype float32; allowed: bfloat16, as asked for"),
        (("--format", "mxfp4", "--dtype", "float8"), "dtype 'float8' asked for"),
        (("--format", "mxfp4", "--out", "absent/packed.npz"), "no such folder"),
        (("--format", "mxfp4", "--out", "weights.npy"), "the tensor itself"),
        (("--format", "mxfp4", "--policy", "none"), "hardware, aws_tutorial"),
    ],
)
def test_bad_options_are_one_message(
    folder: Path, capsys: pytest.CaptureFixture[str], args: tuple[str, ...], message: str
) -> None:
    code, out, err = command(capsys, "weights.npy", *args)
    assert (code, out) == (2, "")
    assert message in err
    np.testing.assert_array_equal(np.load("weights.npy"), tensor())


def test_a_failed_write_leaves_what_was_there(folder: Path) -> None:
    target = folder / "kept.npz"
    target.write_text("before")

    def broken(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(TrnlabError, match="No space left"):
        write_whole(target, broken)
    assert target.read_text() == "before"
    assert sorted(path.name for path in folder.iterdir()) == ["kept.npz", "weights.npy"]


def test_errors_are_data(folder: Path) -> None:
    spoil("wide.npy")
    with pytest.raises(TensorFileError) as caught:
        read_tensor(folder / "wide.npy")
    assert caught.value.found == "dtype float64"
    assert "round wider ones first" in caught.value.allowed


def test_reports_without_blocks_to_show(folder: Path) -> None:
    console = Console(record=True, width=100, file=io.StringIO())
    print_report(quantize_tensor(np.zeros((1, 32), np.float32), "mxfp4").report, console)
    text = console.export_text()
    assert "100 % (1 of 1)" in text
    assert "worst block" not in text
    draw_report(quantize_tensor(np.zeros((1, 32), np.float32), "mxfp4").report, folder / "zeros.png")
    assert (folder / "zeros.png").stat().st_size > 0
