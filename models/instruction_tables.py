"""The instruction set as text: one table of all instructions, or the whole page of one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trnlab.emulator.instruction_pages import CostPage, InstructionPage, LimitPage, Number, OperandPage
from trnlab.emulator.target import Target

_HBM = frozenset({"private_hbm", "shared_hbm"})
_BEYOND = "A call that goes beyond what its cost rule's source covers has an assumed price on every generation."


def print_table(pages: Sequence[InstructionPage], targets: Sequence[Target], console: Console) -> None:
    """Print one row an instruction: name, engines and first generation; operands; cost and its class."""
    labels = ", ".join(target.label for target in targets)
    table = _table("instruction", "operands", "cost", title=f"{len(pages)} instructions of {labels}", lines=True)
    for page in pages:
        head = "\n".join(
            (page.name, f"  {', '.join(page.engines)}", f"  from {page.since.removeprefix('NeuronCore-')}")
        )
        operands = "\n".join(_operand_line(operand) for operand in _merged(page.operands))
        _row(table, head, operands, f"{page.cost.formula}\n{_classes(page.cost)}")
    console.print(table)
    console.print(Text(_BEYOND, style="dim"))


def print_page(page: InstructionPage, console: Console) -> None:
    """Print everything that is known of one instruction."""
    console.print(Text(f"nisa.{page.name}", style="bold"))
    console.print(Text(f"{page.formula}\n"))
    console.print(_facts(page))
    console.print(_operands(page))
    console.print(_limits(page))
    console.print(_numbers(page.numbers, page.targets))
    console.print(_sources(page.numbers))
    for assumption in page.assumptions:
        console.print(Text(f"assumed: {assumption}"))


# -------------------------------------------------------------------------------------------------- parts of a page


def _facts(page: InstructionPage) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    rows = {
        "engines": ", ".join(page.engines),
        "generations": f"from {page.since} on{f': {page.feature}' if page.feature else ''}",
        "shown for": ", ".join(page.targets),
        "math": page.math,
        "attributes": ", ".join(page.attributes) or "none",
        "immediates": ", ".join(page.immediates) or "none",
        "cost": page.cost.formula,
        "": _classes(page.cost),
        "cost's source": page.cost.source,
        "source": page.source,
    }
    for name, value in rows.items():
        _row(table, name, value)
    return table


def _operands(page: InstructionPage) -> Table:
    table = _table("operand", "access", "space", "dtypes", "rules")
    for operand in _merged(page.operands):
        _row(table, operand.name, operand.access, _spaces(operand), _dtypes(operand), "; ".join(_rules(operand)))
    return table


def _limits(page: InstructionPage) -> Table:
    table = _table("limit on", "allowed", "source")
    for limit in page.limits:
        _row(table, ", ".join(_ranges(limit.operands)) or "the call", _allowed(limit, page.targets), limit.source)
    return table


def _numbers(numbers: Iterable[Number], targets: Sequence[str]) -> Table:
    """A row for each number, a column for each target; a value that nobody published says so, one without is empty."""
    table = _table("number", *targets)
    for name, found in _by_name(numbers).items():
        values = {number.target: _value(number) for number in found}
        _row(table, f"{name} ({found[0].unit})", *(values.get(target, "") for target in targets))
    return table


def _sources(numbers: Iterable[Number]) -> Table:
    table = _table("number", "source")
    for name, found in _by_name(numbers).items():
        _row(table, name, "\n".join(dict.fromkeys(number.source for number in found)))
    return table


# ---------------------------------------------------------------------------------------------------------- the texts


def _classes(cost: CostPage) -> str:
    by_class: dict[str, list[str]] = {}
    for target, klass in cost.classes.items():
        by_class.setdefault(klass, []).append(target)
    return "; ".join(f"{klass} on {', '.join(targets)}" for klass, targets in by_class.items())


def _operand_line(operand: OperandPage) -> str:
    optional = ", optional" if operand.optional else ""
    return f"{operand.name}: {operand.access} {_spaces(operand)}, {operand.dtypes_in_words}{optional}"


def _spaces(operand: OperandPage) -> str:
    regions = set(operand.regions)
    if regions >= _HBM:
        regions = (regions - _HBM) | {"hbm"}
    return "/".join(sorted(regions)) + (" or a number" if operand.immediate else "")


def _dtypes(operand: OperandPage) -> str:
    """The dtypes by name; those that only a later target has carry it."""
    first = min(operand.dtypes.values(), default="")
    return ", ".join(name if since == first else f"{name} ({since})" for name, since in operand.dtypes.items())


def _rules(operand: OperandPage) -> Iterator[str]:
    if operand.optional:
        yield "may be left out"
    if operand.access_rule:
        yield operand.access_rule
    yield from operand.partitions
    if operand.indirect:
        yield f"may be an .indirect() view on {', '.join(operand.indirect)}"


def _allowed(limit: LimitPage, targets: tuple[str, ...]) -> str:
    """The limit's text; by target where it differs between them."""
    return "\n".join(
        wording.text if wording.targets == targets else f"{', '.join(wording.targets)}: {wording.text}"
        for wording in limit.allowed
    )


def _value(number: Number) -> str:
    return f"{number.value:g}{'' if number.source_class == 'documented' else f' {number.source_class}'}"


def _by_name(numbers: Iterable[Number]) -> dict[str, list[Number]]:
    found: dict[str, list[Number]] = {}
    for number in numbers:
        found.setdefault(number.name, []).append(number)
    return found


# ------------------------------------------------------------------------------------------- numbered operands, tables


def _ranges(names: Iterable[str]) -> Iterator[str]:
    """The names, three or more numbered ones in a row as "src0 to src15"."""
    for _, group in groupby(names, key=lambda name: re.sub(r"\d+$", "", name)):
        found = list(group)
        yield from [f"{found[0]} to {found[-1]}"] if len(found) > 2 else found


def _merged(operands: Iterable[OperandPage]) -> Iterator[OperandPage]:
    """Operands with the same facts and numbered names as one."""
    for _, group in groupby(operands, key=lambda operand: replace(operand, name=re.sub(r"\d+$", "", operand.name))):
        found = list(group)
        for name in _ranges(operand.name for operand in found):
            yield replace(found[0], name=name)


def _table(*columns: str, title: str = "", lines: bool = False) -> Table:
    table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, show_lines=lines)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _row(table: Table, *cells: str) -> None:
    """Cells are text, not markup: brackets in them are shapes."""
    table.add_row(*(Text(cell) for cell in cells))
