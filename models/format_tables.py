"""The element formats as text: one table of all of them, or everything about one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import log2

from rich.box import SIMPLE_HEAD
from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trnlab.emulator.format_pages import Code, ConversionPage, FormatPage
from trnlab.emulator.target import Statement, Target

_NONE = "-"
_LEGEND = "S E M: bits of sign, exponent, mantissa; normal, least: the least such positive number; *: assumed."


def print_formats(pages: Sequence[FormatPage], targets: Sequence[Target], console: Console) -> None:
    """Print one row a format, and what each target does with values that its formats cannot hold."""
    labels = ", ".join(target.label for target in targets)
    # No box, and the bias on the format's own page only: the table fits into 80 columns.
    table = Table(title=f"{len(pages)} formats of {labels}", title_justify="left", box=None, padding=(0, 1, 0, 0))
    for column in ("format", "bits", "S E M", "largest", "normal", "least", "epsilon", "specials", "from"):
        table.add_column(column, no_wrap=True)
    for page in pages:
        since = page.since.removeprefix("NeuronCore-").partition(" ")[0]
        table.add_row(
            page.name,
            str(page.bits),
            _layout(page),
            _number(page.max, digits=5),
            _power(page.smallest_normal),
            _power(page.smallest),
            _power(page.epsilon),
            _specials(page),
            f"{since}*" if page.since_class == "assumed" else since,
        )
    console.print(table)
    console.print(Text(_LEGEND, style="dim"))
    console.print(_policies(targets))


def print_format(page: FormatPage, targets: Sequence[Target], console: Console) -> None:
    """Print everything that is known of one format, and each of its codes where there are at most 256."""
    console.print(Text(f"nl.{page.name}\n", style="bold"))
    console.print(_facts(page))
    console.print(_conversions(page.conversions))
    console.print(_policies([target for target in targets if target.has_dtype(page.name)]))
    if page.codes:
        console.print(Columns([_codes(block) for block in _blocks(page.codes)]))


# -------------------------------------------------------------------------------------------------------- the parts


def _facts(page: FormatPage) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    rows = {
        "kind": page.kind + ("" if page.has_tensors else ", of hosts: NKI has no tensors of it"),
        "bits": f"{page.bits}, in memory {8 * page.itemsize}",
        "sign, exponent, mantissa": _layout(page),
        "elements": f"{page.lanes} x {page.element}" if page.element else "",
        "bias": _number(page.bias),
        "largest finite": _number(page.max),
        "smallest normal": _number(page.smallest_normal),
        "smallest subnormal": _number(page.smallest_subnormal),
        "least positive": _number(page.smallest),
        "epsilon (1 to the next number)": _number(page.epsilon),
        "specials": f"those of {page.element}" if page.element else "",
        "negative zero": "" if page.element else "yes" if page.has_signed_zero else "no",
        "infinity": "" if page.element else _range(page.infinity_codes, page.bits),
        "NaN": "" if page.element else _range(page.nan_codes, page.bits),
        "generations": f"from {page.since} on ({page.since_class})",
        "source": page.source,
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, Text(value))
    return table


def _conversions(pages: Iterable[ConversionPage]) -> Table:
    table = Table("on", "becomes (*: exactly)", "is made of", "assumed of these", box=SIMPLE_HEAD)
    for page in pages:
        into = [f"{name}*" if name in page.exactly_into else name for name in page.into]
        texts = (", ".join(names) or "nothing" for names in (into, page.from_, page.assumed))
        table.add_row(page.target, *(Text(text) for text in texts))
    return table


def _policies(targets: Sequence[Target]) -> Table:
    table = Table("on", "policy", "value", "class", "source", box=SIMPLE_HEAD)
    for target in targets:
        for name, statement in target.numerics_provenance.items():
            table.add_row(target.name, name, _value(statement), statement.klass, Text(_source(statement)))
    return table


def _codes(codes: Iterable[Code]) -> Table:
    table = Table("code", "bits", "value", "", box=SIMPLE_HEAD)
    for code in codes:
        table.add_row(f"0x{code.code:02X}", code.fields, code.value, "" if code.klass == "normal" else code.klass)
    return table


def _blocks(codes: Sequence[Code]) -> list[Sequence[Code]]:
    return [codes[first : first + 64] for first in range(0, len(codes), 64)]


# --------------------------------------------------------------------------------------------------------- the texts


def _layout(page: FormatPage) -> str:
    if page.kind not in ("float", "scale"):
        return _NONE
    return f"{page.sign_bits} {page.exponent_bits} {page.mantissa_bits}"


def _number(value: float | None, digits: int = 17) -> str:
    return _NONE if value is None else f"{value:.{digits}g}"


def _power(value: float | None) -> str:
    """A power of two, written as one."""
    return _NONE if value is None else "1" if value == 1 else f"2^{log2(value):.0f}"


def _specials(page: FormatPage) -> str:
    present = {"inf": page.infinity_codes, "NaN": page.nan_codes, "-0": page.has_signed_zero}
    return " ".join(name for name, value in present.items() if value) or _NONE


def _range(codes: tuple[int, int] | None, bits: int) -> str:
    if codes is None:
        return "none"
    digits = -(-bits // 4)
    first, last = (f"0x{code:0{digits}X}" for code in codes)
    text = first if first == last else f"{first} to {last}"
    return f"{text}, and with the sign set" if codes[1] < 2 ** (bits - 1) else text


def _value(statement: Statement) -> str:
    return str(getattr(statement.value, "value", statement.value))


def _source(statement: Statement) -> str:
    others = "".join(f"; but {value}: {source}" for value, source in statement.conflicts)
    return f"{statement.source}{others}"
