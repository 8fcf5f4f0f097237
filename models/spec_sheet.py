"""A chip's spec sheet as data: every figure with unit, band, class and source, and the figures that contradict it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from trnlab.models.chips.record import Chip, Choice
from trnlab.models.frames import data_frame, html_table
from trnlab.models.quantity import Quantity

FIGURES: Final = (
    ("hbm_bytes", "HBM capacity"),
    ("hbm_bandwidth", "HBM bandwidth"),
    ("dma_bandwidth", "DMA rate, printed"),
    ("dma_effective_bandwidth", "DMA rate, effective"),
    ("sbuf_bytes", "SBUF capacity"),
    ("sbuf_bandwidth", "SBUF bandwidth"),
    ("link_bandwidth", "links, both directions"),
    ("scale_up.bandwidth", "links, one direction"),
    ("scale_up.step_latency", "latency of a step"),
    ("power", "power"),
)
"""Fields of `Chip` besides its peaks, with what they are called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a chip: field, name, quantity (None when nobody printed it), and the other values on offer.

    others: (topic and name that select it, the quantity).
    """

    key: str
    name: str
    quantity: Quantity | None
    others: tuple[tuple[str, Quantity], ...]

    def as_dict(self) -> dict[str, Any]:
        """The figure as JSON-ready data, numbers unrounded."""
        others = [{"select": select} | quantity_dict(quantity) for select, quantity in self.others]
        return {
            "key": self.key,
            "name": self.name,
            "quantity": None if self.quantity is None else quantity_dict(self.quantity),
            "others": others,
        }


def quantity_dict(quantity: Quantity) -> dict[str, Any]:
    """A quantity as JSON-ready data."""
    return {name: getattr(quantity, name) for name in ("value", "unit", "source", "klass", "low", "high")}


def spec_sheet(chip: Chip) -> tuple[Figure, ...]:
    """Every figure of the chip, peaks first, each with the alternatives of other value that may replace it."""
    peaks = ((f"peaks.{rate}", f"peak {rate.upper() if rate != 'sparse' else rate}") for rate in chip.peaks)
    return tuple(
        Figure(key=key, name=name, quantity=found, others=_others(chip, key, found))
        for key, name in (*peaks, *FIGURES)
        for found in (_figure(chip, key),)
    )


def _figure(chip: Chip, key: str) -> Quantity | None:
    whole, _, part = key.rpartition(".")
    if whole == "peaks":
        return chip.peaks[part]
    found: Quantity | None = getattr(chip.scale_up if whole == "scale_up" else chip, part)
    return found


def _others(chip: Chip, key: str, found: Quantity | None) -> tuple[tuple[str, Quantity], ...]:
    listed: list[tuple[str, Choice]] = [(topic, c) for topic, choices in chip.alternatives.items() for c in choices]
    rows = [(f"{topic}={choice.name}", choice.changes.get(key)) for topic, choice in listed]
    return tuple(
        (select, other)
        for select, other in rows
        if isinstance(other, Quantity) and (found is None or other.value != found.value)
    )


def _records(chip: Chip) -> list[dict[str, Any]]:
    """One record per figure and alternative; `select` is what --figure takes for it, "" for what the chip has."""
    return [
        {"key": figure.key, "name": figure.name, "select": select} | quantity_dict(quantity)
        for figure in spec_sheet(chip)
        for select, quantity in (("", figure.quantity), *figure.others)
        if quantity is not None
    ]


def sheet_frame(chip: Chip) -> Any:
    """The sheet as a pandas DataFrame.

    Raises:
        TrnlabError: pandas is not installed.
    """
    return data_frame(_records(chip))


def sheet_html(chip: Chip) -> str:
    """The sheet as an HTML table."""
    title = f"{chip.label}, {chip.vendor}: {chip.cores} cores, {chip.scale_up.label}"
    rows = []
    for figure in spec_sheet(chip):
        value, source = (
            ("not printed", "") if figure.quantity is None else (str(figure.quantity), figure.quantity.source)
        )
        others = "; ".join(f"{other:v} ({select})" for select, other in figure.others)
        rows.append((figure.name, value, source, others))
    return html_table(title, ("figure", "value", "source", "instead"), rows)


def sheet_dict(chip: Chip) -> dict[str, Any]:
    """The whole sheet as JSON-ready data."""
    return {
        "name": chip.name,
        "label": chip.label,
        "vendor": chip.vendor,
        "cores": chip.cores,
        "assumptions": chip.assumptions,
        "selected": dict(chip.selected),
        "scale_up": {"kind": chip.scale_up.kind, "shape": list(chip.scale_up.shape), "chips": chip.scale_up.size},
        "figures": [figure.as_dict() for figure in spec_sheet(chip)],
    }
