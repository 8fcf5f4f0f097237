"""Code blocks of pages, files of checkouts, scripts: taken from a made-up checkout."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

import pytest

from tests.conformance.case import Attempt, Checkouts
from tests.conformance.direct import load_file
from tests.conformance.documents import block_with, blocks
from tests.conformance.outcome import SkippedError
from tests.conformance.scripts import script

PAGE = """
Title
=====

.. code-block:: python
   :linenos:

   def first():
       return 1

Text, then a block in a list:

* an item

  .. code::

     import math

     def second(x):
         return nl.tile_size.pmax + x

  its end
.. code-block:: text

   def first(): a different text
"""


def test_blocks_end_where_the_indentation_does() -> None:
    found = blocks(PAGE)
    assert [before for before, _ in found] == [5, 15, 23]
    assert found[0][1].strip("\n") == "def first():\n    return 1"
    assert found[1][1].strip("\n").startswith("import math\n\ndef second(x):\n    return")
    assert blocks("no code\n\n  at all\n") == []
    assert blocks(".. code::\n\n  x = 1")[0][1].strip() == "x = 1"  # to the end of the page


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "page.rst").write_text(PAGE)
    return tmp_path


def test_a_block_is_a_module_whose_lines_are_the_page_s(page: Path) -> None:
    assert block_with("first")(page, "page.rst").first() == 1
    second = block_with("second")(page, "page.rst").second
    assert second(1) == 129  # `nl` is what pages take as imported
    with pytest.raises(TypeError) as caught:
        second("x")
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert Path(frame.filename).name == "page.rst"
    assert frame.line == "return nl.tile_size.pmax + x"


def test_blocks_that_are_not_there(page: Path) -> None:
    with pytest.raises(SkippedError, match=r"no other.rst in this checkout"):
        block_with("first")(page, "other.rst")
    with pytest.raises(SkippedError, match=r"page.rst has 1 code blocks that define second"):
        block_with("second", 1)(page, "page.rst")
    with pytest.raises(SyntaxError):
        block_with("first", 1)(page, "page.rst")
    assert "block_first_1" not in sys.modules


def test_files_are_loaded_once_with_their_own_helpers(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "made_up_helper.py").write_text(f"where = {name!r}\n")
        (folder / "made_up_kernels.py").write_text("from made_up_helper import where\n")
    path = list(sys.path)
    one = load_file(tmp_path / "one", "made_up_kernels.py")
    two = load_file(tmp_path / "two", "made_up_kernels.py")
    assert (one.where, two.where) == ("one", "two")
    assert load_file(tmp_path / "one", "made_up_kernels.py") is one
    assert sys.path == path


def test_a_file_that_does_not_import_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            load_file(tmp_path, "broken.py")
    with pytest.raises(SkippedError, match=r"no absent.py in this checkout"):
        load_file(tmp_path, "absent.py")


@pytest.mark.parametrize(
    ("text", "raised"),
    [
        ("import sys; assert __name__ == '__main__' and sys.argv[1:] == ['--size', '2']", None),
        ("import sys; sys.exit(0)", None),
        ("import sys; sys.exit(3)", SystemExit),
        ("import sys; sys.exit('why')", SystemExit),
        ("assert False", AssertionError),
        ("for", SyntaxError),
    ],
)
def test_scripts_run_as_scripts(tmp_path: Path, text: str, raised: type[BaseException] | None) -> None:
    (tmp_path / "script.py").write_text(text + "\n")
    case = script("made-up", "samples", "script.py", arguments=["--size", "2"])
    attempt, arguments, path = Attempt(Checkouts(samples=str(tmp_path))), list(sys.argv), list(sys.path)
    if raised is None:
        assert case.run(attempt) == {}
    else:
        with pytest.raises(raised):
            case.run(attempt)
    assert (sys.argv, sys.path) == (arguments, path)
    assert case.kernel == "samples:script"


def test_a_checkout_that_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="--nki-samples"):
        Checkouts(samples=str(tmp_path / "nothing")).folder("samples")
    with pytest.raises(SkippedError, match="--neuron-sdk DIR or NEURON_SDK_DIR"):
        Checkouts().folder("sdk")
