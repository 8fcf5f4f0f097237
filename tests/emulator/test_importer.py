"""`import nki` in fresh interpreters: scripts, folders and packages of the same name, pytest, notebooks."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


def interpret(script: str, cwd: Path, *arguments: str) -> str:
    """What a fresh interpreter prints when it runs the script in the folder, which is first on its path."""
    command = [sys.executable, "-W", "error", *arguments, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def real_package(folder: Path, name: str = "nki") -> None:
    """A package with code of that name, as an installation would leave it."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text("REAL = True\n")
    (folder / name / "language.py").write_text("REAL = True\n")


def test_the_modules_are_the_same_objects_and_stay_intact(tmp_path):
    # A folder without code, like the one in a checkout of AWS's documentation.
    (tmp_path / "nki" / "api").mkdir(parents=True)
    (tmp_path / "nki" / "language").mkdir()
    script = """
        import importlib, importlib.util, pickle, sys
        import nki.api                       # the folder, found before trnlab is there
        assert nki.__file__ is None
        import trnlab.emulator
        heavy = {"matplotlib", "torch", "IPython", "trnlab.emulator.nki"} & set(sys.modules)
        assert not heavy, heavy
        import nki
        import nki.language as nl, nki.isa as nisa, nki.isa.constants, nki.collectives, nki.dtype as nt
        from nki.language.operators import add
        from nki.typing import tensor
        import trnlab.emulator.nki, trnlab.emulator.nki.language as direct
        from trnlab.emulator.nki.language import operators
        assert nki is trnlab.emulator.nki and nl is direct and nki.language is direct and nt is nki.dtype
        assert nl.add is direct.add and add is operators.add
        for name, module in list(sys.modules.items()):
            if name.split(".")[0] == "nki":
                real = "trnlab.emulator." + name
                assert module is sys.modules[real]
                assert module.__name__ == module.__spec__.name == real, name
        assert importlib.util.find_spec("nki.isa").name == "trnlab.emulator.nki.isa"
        assert importlib.reload(nki) is nki is sys.modules["nki"]
        assert pickle.loads(pickle.dumps(nl.add)) is nl.add
        try:
            import nki.no_such_module
        except ModuleNotFoundError as error:
            assert error.name == "nki.no_such_module"
        else:
            raise AssertionError
        print("same")
    """
    assert interpret(script, tmp_path) == "same\n"


def test_a_real_package_wins_unless_forced(tmp_path):
    real_package(tmp_path)
    script = """
        import sys
        from trnlab.emulator import importer
        import nki, nki.language
        assert nki.REAL and nki.language.REAL
        first = nki
        importer.install()                   # again, without force: nothing changes
        import nki
        assert nki is first
        importer.install(force=True)
        import nki, nki.language as nl
        assert nl is sys.modules["trnlab.emulator.nki.language"] and first.REAL
        importer.uninstall()
        import nki, nki.language
        assert nki.REAL and nki.language.REAL
        importer.install()
        import nki
        assert nki.REAL
        print("real")
    """
    assert interpret(script, tmp_path) == "real\n"


def test_uninstalled_there_is_no_nki(tmp_path):
    script = """
        import sys
        from trnlab.emulator import importer
        import nki.isa, neuronxcc.nki.typing
        assert sum(isinstance(finder, importer.AliasFinder) for finder in sys.meta_path) == 1
        importer.install()
        assert sum(isinstance(finder, importer.AliasFinder) for finder in sys.meta_path) == 1
        importer.uninstall()
        importer.uninstall()                 # a second time is no error
        assert not {"nki", "nki.isa", "neuronxcc", "neuronxcc.nki", "neuronxcc.nki.typing"} & set(sys.modules)
        for name in ("nki", "neuronxcc"):
            try:
                __import__(name)
            except ModuleNotFoundError:
                continue
            raise AssertionError(name)
        print("gone")
    """
    assert interpret(script, tmp_path) == "gone\n"


def test_the_older_name_of_the_package(tmp_path):
    script = """
        import trnlab.emulator
        from neuronxcc.nki.typing import mutable_tensor, tensor
        from neuronxcc import nki as older
        import neuronxcc.nki.language as nl, neuronxcc.nki.isa.constants
        import nki, nki.isa, nki.language
        assert older is nki and nl is nki.language and tensor is nki.typing.tensor
        assert neuronxcc.nki.isa is nki.isa and nl.__spec__.name == "trnlab.emulator.nki.language"
        assert neuronxcc.__spec__.name == "neuronxcc"
        for missing in ("neuronxcc.nki.compiler", "neuronxcc.starfish"):
            try:
                __import__(missing)
            except ModuleNotFoundError as error:
                assert error.name == missing
            else:
                raise AssertionError(missing)
        print("same")
    """
    assert interpret(script, tmp_path) == "same\n"


def test_an_installed_older_package_is_left_alone(tmp_path):
    real_package(tmp_path, "neuronxcc")
    script = """
        import trnlab.emulator
        import neuronxcc
        assert neuronxcc.REAL
        try:
            import neuronxcc.nki.typing
        except ModuleNotFoundError as error:
            print(error.name)
    """
    assert interpret(script, tmp_path) == "neuronxcc.nki\n"


def test_tests_of_other_projects_may_import_nki(tmp_path):
    (tmp_path / "test_kernel.py").write_text(
        textwrap.dedent("""
            import nki.language as nl

            def test_name():
                assert nl.add.__module__.startswith("trnlab.")
        """)
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_kernel.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.skipif(importlib.util.find_spec("IPython") is None, reason="notebooks need IPython")
def test_notebook_extension(tmp_path):
    script = """
        import sys
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell.instance()
        shell.run_line_magic("load_ext", "trnlab.emulator")
        assert shell.run_cell("import nki.language as nl; nl.add").result.op_name == "add"
        shell.run_line_magic("unload_ext", "trnlab.emulator")
        print("nki" in sys.modules)
    """
    # IPython itself warns about what it imports; that is not what is tested.
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        env={"IPYTHONDIR": str(tmp_path), "HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("False\n")
