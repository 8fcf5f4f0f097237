"""The trnlab command: exit codes, messages, and data written whole."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trnlab.models.cli import main

KERNEL = """
import sys
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np

@nki.jit
def double(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x)
    nl.store(out, nl.add(tile, tile))
    return out

print(double(np.full((2, 3), 4, np.float32)).tolist(), nisa.get_nc_version().name, sys.argv[1:])
"""


def trnlab(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trnlab.models.cli", *args]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """(exit code, output, errors) of the command in this process, in an empty folder: it runs no script."""

    def call(*args: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["trnlab", *args])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code or 0
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return call


def script(folder: Path, text: str) -> str:
    (folder / "script.py").write_text(text)
    return "script.py"


def test_run_gives_a_script_its_arguments_and_a_target(tmp_path: Path) -> None:
    done = trnlab("run", "--target", "trn2", script(tmp_path, KERNEL), "one", "--two", cwd=tmp_path)
    assert done.stdout.strip() == "[[8.0, 8.0, 8.0], [8.0, 8.0, 8.0]] gen3 ['one', '--two']"
    assert done.returncode == 0


def test_a_failing_script_shows_its_own_traceback_and_exits_with_1(tmp_path: Path) -> None:
    done = trnlab("run", script(tmp_path, "def broken():\n    return 1 / 0\n\nbroken()\n"), cwd=tmp_path)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].strip().startswith('File "script.py", line 4')
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert "runpy" not in done.stderr


@pytest.mark.parametrize(("exit_", "code", "stderr"), [("3", 3, ""), ("None", 0, ""), ("'no luck'", 1, "no luck\n")])
def test_a_scripts_own_exit_code_is_the_commands(tmp_path: Path, exit_: str, code: int, stderr: str) -> None:
    done = trnlab("run", script(tmp_path, f"import sys\nsys.exit({exit_})\n"), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (code, stderr)


def test_a_kernel_error_ends_with_the_kernels_line(tmp_path: Path) -> None:
    broken = KERNEL.replace("nl.add(tile, tile)", "nl.ndarray((129, 3), nl.float32)")
    done = trnlab("run", script(tmp_path, broken), cwd=tmp_path)
    assert done.returncode == 1
    assert "PartitionError" in done.stderr
    assert "script.py:12 in double" in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("run", "absent.py"), "trnlab: no script at absent.py"),
        (("run", "--target", "trn9", "script.py"), "did you mean"),
        (("claims", "--json", "absent/claims.json"), "absent/claims.json"),
        (("isa", "nc_matmull"), "did you mean nc_matmul"),
        (("isa", "rand2", "--target", "trn2"), "from NeuronCore-v4 (trn3) on"),
        (("isa", "--target", "trn9"), "did you mean"),
    ],
)
def test_wrong_input_is_one_message_and_exit_code_2(
    typed: Typed, tmp_path: Path, args: tuple[str, ...], message: str
) -> None:
    script(tmp_path, "")
    code, _, errors = typed(*args)
    assert code == 2
    assert errors.startswith("trnlab: ")
    assert message in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["script.py"]


def test_the_process_ends_with_that_message_and_code(tmp_path: Path) -> None:
    done = trnlab("isa", "nc_matmull", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("trnlab: ")
    assert "Traceback" not in done.stderr


def test_claims_are_a_table_and_data(typed: Typed, tmp_path: Path) -> None:
    code, output, _ = typed("claims", "--json", "claims.json")
    assert code == 0
    data = json.loads((tmp_path / "claims.json").read_text())
    assert "4.4x" in output
    assert len(data["claims"]) >= 9
    assert {"claims", "consequences", "maps"} == set(data)
    assert [path.name for path in tmp_path.iterdir()] == ["claims.json"]


def test_claims_stay_readable_on_a_narrow_terminal(typed: Typed) -> None:
    code, output, _ = typed("claims")
    assert code == 0
    lines = output.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("the FP8 rate of" in line for line in lines), "words of a claim are cut to pieces"
    assert not [line for line in lines if "…" in line]


@pytest.mark.parametrize("command", [("isa", "--json"), ("dtypes", "--json"), ("chips", "--json")])
def test_data_can_be_printed_in_any_encoding(typed: Typed, command: tuple[str, ...]) -> None:
    """Units have a letter beyond ASCII, and output may go through a pipe that knows nothing else."""
    code, output, _ = typed(*command)
    assert code == 0
    assert output.isascii()
    assert json.loads(output)


def test_isa_prints_a_table_a_page_and_data(typed: Typed, tmp_path: Path) -> None:
    code, table, _ = typed("isa", "--target", "trn2")
    assert code == 0
    assert "instructions of NeuronCore-v3 (trn2)" in table
    assert "nc_matmul_mx" not in table
    assert typed("isa", "nc_matmul", "--target", "trn2")[1].startswith("nisa.nc_matmul\n")
    data = json.loads(typed("isa", "nc_matmul", "--json")[1])
    assert (data["name"], data["targets"]) == ("nc_matmul", ["trn1", "trn2", "trn3", "trn4"])
    rows = json.loads(typed("isa", "--json", "--target", "trn3")[1])
    assert {"nc_matmul_mx", "dma_copy"} <= {row["name"] for row in rows}
    assert list(tmp_path.iterdir()) == []
