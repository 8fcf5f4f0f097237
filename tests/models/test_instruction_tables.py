"""The instruction set as text: nothing of a page is lost, on every generation, and narrow terminals stay readable."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from trnlab.emulator.instruction_pages import ALL_TARGETS, page_of, pages
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.target import Target
from trnlab.models.instruction_tables import print_page, print_table


def console(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, color_system=None)


def text_of(printed: Console) -> str:
    assert isinstance(printed.file, io.StringIO)
    return printed.file.getvalue()


@pytest.mark.parametrize("target", ALL_TARGETS, ids=str)
def test_the_table_has_every_instruction_of_the_generation(target: Target) -> None:
    found = pages([target])
    printed = console(400)
    print_table(found, [target], printed)
    text = text_of(printed)
    assert f"{len(found)} instructions of {target.label}" in text
    firsts = [line.split()[0] for line in text.splitlines() if line.strip()]
    present = [name for name in sorted(CATALOGUE) if name in firsts]
    assert present == [page.name for page in found]
    for page in found:
        assert page.cost.formula in text
        assert all(
            f"{operand.name}: {operand.access} " in text for operand in page.operands if operand.name[-1].isalpha()
        )


@pytest.mark.parametrize("target", ALL_TARGETS, ids=str)
def test_a_page_shows_every_fact(target: Target) -> None:
    for page in pages([target]):
        printed = console(4000)
        print_page(page, printed)
        text = text_of(printed)
        assert text.startswith(f"nisa.{page.name}\n{page.formula}\n")
        facts = [page.since, page.cost.formula, page.cost.source, page.source, *page.attributes, *page.immediates]
        facts += [wording.text for limit in page.limits for wording in limit.allowed]
        facts += [limit.source for limit in page.limits]
        facts += [rule for operand in page.operands for rule in operand.partitions]
        facts += [", ".join(operand.dtypes) for operand in page.operands]
        facts += [f"{number.value:g}" for number in page.numbers] + [number.source for number in page.numbers]
        facts += page.assumptions
        assert [fact for fact in facts if fact not in text] == []


def test_texts_that_differ_name_their_targets() -> None:
    printed = console(4000)
    print_page(page_of("nc_matmul"), printed)
    text = text_of(printed)
    assert "trn1, trn2: at most 512 columns" in text
    assert "trn3, trn4: at most 4096 columns" in text
    assert "float8_e4m3fn (trn3)" in text
    assert "documented on trn1, trn2, trn3; assumed on trn4" in text


def test_brackets_are_text_and_numbered_operands_are_one_row() -> None:
    printed = console(4000)
    print_page(page_of("iota"), printed)
    print_page(page_of("dma_compute"), printed)
    text = text_of(printed)
    assert "one to four pairs [step, num]" in text
    assert "src1 to src15" in text
    assert "src7" not in text


def test_everything_fits_a_narrow_terminal() -> None:
    printed = console(80)
    print_table(pages(), ALL_TARGETS, printed)
    for page in pages():
        print_page(page, printed)
    lines = text_of(printed).splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:1] == ["tensor_copy_predicated"] for line in lines), "names are cut to pieces"
