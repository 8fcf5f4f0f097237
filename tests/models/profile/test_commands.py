"""`trnlab profile` and `trnlab tune`: tables, data, files, and messages for wrong input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from trnlab.emulator import TrnlabError
from trnlab.models.cli import app

MATMUL = "trnlab.kernels.matmul:matmul"
SHAPES = ("--shapes", "lhsT=bf16[256,128]", "--shapes", "rhs=bf16[256,512]")


def trnlab(*args: str) -> Result:
    """The command's result; errors that `main` would turn into a message are raised."""
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, args, catch_exceptions=False)


def test_profile_prints_time_units_waits_and_a_comparison() -> None:
    done = trnlab("profile", MATMUL, *SHAPES, "--target", "trn2", "--compare", "trn3,trn4-high")
    assert done.exit_code == 0
    for text in ("matmul on trn2", "Speed of light", "tensor bf16", "Critical path by source line", "matmul.py:",
                 "trn2 against trn3", "trn2 against trn4 (high)"):  # fmt: skip
        assert text in done.output


def test_profile_as_data_is_json_and_nothing_else() -> None:
    done = trnlab("profile", MATMUL, *SHAPES, "--target", "trn2", "--json")
    (profile,) = json.loads(done.stdout)
    assert profile["kernel"] == "matmul"
    assert profile["flops"] == {"bf16": 2 * 256 * 128 * 512}


def test_profile_writes_only_what_was_asked_for(tmp_path: Path) -> None:
    done = trnlab("profile", MATMUL, *SHAPES, "--out", str(tmp_path / "out"), "--formats", "csv,trace")
    assert done.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["matmul-trn3.csv", "matmul-trn3.trace.json"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["profile", "nowhere.py:kernel"], "a Python file that exists"),
        (["profile", MATMUL, "--shapes", "lhsT=bf17[4,4]"], "dtype of lhsT"),
        (["profile", MATMUL, "--shapes", "lhsT=bf16[256,128]"], "missing a required argument: 'rhs'"),
        (["profile", MATMUL, *SHAPES, "--target", "trn9"], "trn9"),
        (["profile", MATMUL, "--shapes", "lhsT=bf16[256,128", "--shapes", "rhs=bf16[256,512]"], "shape of lhsT"),
        (["profile", MATMUL, "--shapes", "lhsT=bf16[-1,128]", "--shapes", "rhs=bf16[256,512]"], "shape of lhsT"),
        (
            ["profile", MATMUL, "--shapes", "lhsT=bf16[128,128]", "--shapes", "rhs=bf16[256,512]"],
            r"AssertionError: lhsT and rhs differ in K: 128 and 256; .* \(matmul.py:\d+\)",
        ),
        (["tune", MATMUL, *SHAPES, "--space", "block_m=128", "--results", "."], "no file"),
        (["profile", MATMUL, *SHAPES, "--compare", "trn4-medium"], "medium"),
        (["profile", MATMUL, *SHAPES, "--schedule", "best"], "list, program"),
        (["profile", MATMUL, *SHAPES, "--out", "x", "--formats", "docx"], "docx"),
        (["tune", MATMUL, *SHAPES, "--space", "block_m"], "NAME=1,2,4"),
        (["tune", MATMUL, *SHAPES, "--space", "block_m=128", "--backend", "slurm"], "local, dask, ray"),
        (["tune", MATMUL, *SHAPES, "--space", "blok_m=128", "--jobs", "1"], "did you mean block_m"),
    ],
)
def test_wrong_input_is_named(arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrnlabError, match=says):
        trnlab(*arguments)


def test_tune_ranks_settings_and_continues_its_file(tmp_path: Path) -> None:
    arguments = ["tune", MATMUL, *SHAPES, "--target", "trn2", "--jobs", "1", "--results", str(tmp_path / "r.jsonl")]
    first = trnlab(*arguments, "--space", "block_n=128,512")
    assert "times as fast as the defaults" in first.output
    again = trnlab(*arguments, "--space", "block_n=128,256,512", "--json")
    rows = json.loads(again.stdout)["results"]
    assert [row["setting"] for row in rows] == [{}, {"block_n": 128}, {"block_n": 256}, {"block_n": 512}]
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 1 + 4
    assert any(row["pareto"] for row in rows)


def test_what_a_kernel_prints_stays_out_of_the_data(tmp_path: Path) -> None:
    file = tmp_path / "talkative.py"
    file.write_text(
        "import nki\nfrom trnlab.kernels.matmul import matmul\nprint('loaded')\n\n\n@nki.jit\n"
        "def kernel(lhsT, rhs, block_n=512):\n    print('traced')\n"
        "    return matmul.function(lhsT, rhs, block_n=block_n)\n"
    )
    for arguments in (["profile"], ["tune", "--space", "block_n=256,512", "--jobs", "1"]):
        command, *rest = arguments
        done = trnlab(command, f"{file}:kernel", *SHAPES, *rest, "--json")
        assert json.loads(done.stdout)
        assert "loaded" in done.stderr
        assert "traced" in done.stderr
