"""The formats as text and as a command: nothing of a page is lost, and the table fits a terminal of 80 columns."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from trnlab.emulator.dtypes import DTYPES
from trnlab.emulator.errors import GenerationError
from trnlab.emulator.format_pages import FormatNameError, format_page, format_pages
from trnlab.emulator.instruction_pages import ALL_TARGETS
from trnlab.emulator.target import Target, get_target
from trnlab.models.cli import app
from trnlab.models.format_tables import print_format, print_formats


def console(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, color_system=None)


def text_of(printed: Console) -> str:
    assert isinstance(printed.file, io.StringIO)
    return printed.file.getvalue()


@pytest.mark.parametrize("target", ALL_TARGETS, ids=str)
def test_the_table_has_a_whole_row_for_every_format(target: Target) -> None:
    printed = console(80)
    pages = format_pages([target])
    print_formats(pages, [target], printed)
    lines = text_of(printed).partition("S E M: bits")[0].splitlines()
    assert f"{len(pages)} formats of {target.label}" in lines[0]
    for page in pages:
        (row,) = [line for line in lines if line.split()[:1] == [page.name]]
        assert "…" not in row
        assert row.split()[1] == str(page.bits)
        assert row.split()[-1].rstrip("*") == page.since.removeprefix("NeuronCore-").split()[0]
        assert row.rstrip().endswith("*") == (page.since_class == "assumed")
    for statement in target.numerics_provenance.values():
        assert statement.klass in text_of(printed)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_page_shows_every_fact_and_every_code(dtype: str) -> None:
    page = format_page(dtype, ALL_TARGETS)
    printed = console(2000)
    print_format(page, ALL_TARGETS, printed)
    text = text_of(printed)
    assert text.startswith(f"nl.{page.name}\n")
    facts = [f"{page.max:.17g}", f"{page.smallest:.17g}", page.since, page.since_class, page.source, page.element]
    facts += [f"{value:.17g}" for value in (page.smallest_normal, page.epsilon) if value is not None]
    facts += [
        f"0x{code:0{-(-page.bits // 4)}X}" for pair in (page.nan_codes, page.infinity_codes) for code in pair or ()
    ]
    facts += [name for found in page.conversions for name in (found.target, *found.into, *found.from_)]
    facts += [f"0x{code.code:02X}" for code in page.codes] + [code.value for code in page.codes]
    assert [fact for fact in facts if fact not in text] == []
    assert "…" not in text


def test_the_command_prints_a_table_a_format_and_data() -> None:
    run = CliRunner().invoke
    assert "formats of NeuronCore-v3 (trn2)" in run(app, ["dtypes", "--target", "trn2"]).output
    assert run(app, ["dtypes", "float8_e4m3"]).output.startswith("nl.float8_e4m3\n")
    assert json.loads(run(app, ["dtypes", "float8_e5m2", "--json"]).output)["max"] == 57344
    names = [page["name"] for page in json.loads(run(app, ["dtypes", "--target", "trn1", "--json"]).output)]
    assert names == [str(dtype) for dtype in DTYPES if get_target("trn1").has_dtype(dtype)]
    assert isinstance(run(app, ["dtypes", "float12"]).exception, FormatNameError)
    assert isinstance(run(app, ["dtypes", "float8_e4m3fn", "--target", "trn2"]).exception, GenerationError)
