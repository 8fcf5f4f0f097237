"""The results of a training projection as data: what was asked, what each layer says, what memory it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, Final

from trnlab.models.frames import data_frame, html_table
from trnlab.models.parallel.partitioning import Partitioning
from trnlab.models.projection.method import LayerName
from trnlab.models.projection.training import RECOMPUTE, Recompute
from trnlab.models.quantity import ModelError, Quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSetup:
    """What is trained: tokens of a sequence, sequences of a step and of a micro-batch, and what is recomputed.

    Raises:
        ModelError: a number below 1, or an unknown kind of recomputation.
    """

    sequence: int
    batch: int
    micro_batch: int = 1
    recompute: Recompute = "full"

    def __post_init__(self) -> None:
        for name in ("sequence", "batch", "micro_batch"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ModelError(name, value, "a whole number >= 1")
        if self.recompute not in RECOMPUTE:
            raise ModelError("recompute", self.recompute, ", ".join(RECOMPUTE))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOutcome:
    """What one layer says: seconds of a step, tokens per second and chip, MFU, and the parts of the step."""

    name: LayerName
    step: Quantity
    chip_rate: Quantity
    mfu: Quantity
    compute: Quantity
    bubble: Quantity
    collectives: Quantity
    note: str = ""

    @property
    def parts(self) -> Mapping[str, Quantity]:
        """Seconds of a step by what they are spent on; they add up to it."""
        return {"compute": self.compute, "bubble": self.bubble, "collectives": self.collectives}


_ROWS: Final = (
    ("step", "step"),
    ("tokens/s per chip", "chip_rate"),
    ("model FLOP utilisation", "mfu"),
    ("compute", "compute"),
    ("bubble", "bubble"),
    ("collectives", "collectives"),
)


@dataclass(frozen=True, kw_only=True)
class TrainingProjection:
    """A training step on a chip, in the layers; weights, gradients, optimizer, activations: bytes of the fullest chip.

    available: what it has for all of them.
    """

    model: str
    chip: str
    precision: str
    partitioning: Partitioning
    setup: TrainingSetup
    layers: tuple[TrainingOutcome, ...]
    weights: Quantity
    gradients: Quantity
    optimizer: Quantity
    activations: Quantity
    available: Quantity
    notes: tuple[str, ...] = field(default=())

    @property
    def title(self) -> str:
        """One line that says what was asked."""
        where = f"{self.partitioning.chips} x {self.chip}, {self.precision}, {self.partitioning}"
        steps = f"{self.setup.batch} sequences of {self.setup.sequence} a step, recomputation {self.setup.recompute}"
        return f"training {self.model} on {where}, {steps}"

    def layer(self, name: LayerName) -> TrainingOutcome:
        """One layer's outcome, by name."""
        return next(found for found in self.layers if found.name == name)

    @property
    def memory_line(self) -> str:
        """Memory of the fullest chip, in one line."""
        names = ("weights", "gradients", "optimizer", "activations")
        parts = " + ".join(f"{name} {getattr(self, name):v}" for name in names)
        return f"memory of a chip: {parts} of {self.available:v}"

    @property
    def all_notes(self) -> tuple[str, ...]:
        """Notes of the set-up and of the layers, each once."""
        return tuple(dict.fromkeys((*self.notes, *(found.note for found in self.layers if found.note))))

    def table(self) -> tuple[tuple[str, ...], ...]:
        """Rows of text: the quantity, then one cell per layer."""
        return tuple((title, *(f"{getattr(found, name)}" for found in self.layers)) for title, name in _ROWS)

    def __str__(self) -> str:
        rows = [("", *(found.name for found in self.layers)), *self.table()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([self.title, *lines, self.memory_line, *(f"note: {note}" for note in self.all_notes)])

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        header = ("", *(found.name for found in self.layers))
        notes = "".join(f"<li>{escape(note)}</li>" for note in (self.memory_line, *self.all_notes))
        return f"{html_table(self.title, header, self.table())}<ul>{notes}</ul>"

    def records(self) -> list[dict[str, Any]]:
        """One record per quantity and layer: value, unit, band, class, source."""
        values = [(found.name, title, getattr(found, name)) for found in self.layers for title, name in _ROWS]
        return [
            {
                "layer": layer,
                "quantity": title,
                "value": value.value,
                "unit": value.unit,
                "low": value.interval[0],
                "high": value.interval[1],
                "class": value.klass,
                "source": value.source,
            }
            for layer, title, value in values
        ]

    def to_json(self) -> str:
        """What was asked, the memory and every record, as JSON."""
        memory = ("weights", "gradients", "optimizer", "activations", "available")
        data = {
            **{name: getattr(self, name) for name in ("model", "chip", "precision")},
            **{name: getattr(self.setup, name) for name in ("sequence", "batch", "micro_batch", "recompute")},
            "partitioning": self.partitioning._asdict(),
            "memory_bytes": {name: getattr(self, name).value for name in memory},
            "notes": self.all_notes,
            "records": self.records(),
        }
        return json.dumps(data, indent=2, allow_nan=False)

    def to_pandas(self) -> Any:
        """The records as a pandas DataFrame.

        Raises:
            TrnlabError: pandas is not installed.
        """
        return data_frame(self.records())

    def plot(self) -> Figure:
        """What a step's time is spent on, one bar per layer.

        Raises:
            TrnlabError: matplotlib is not installed.
        """
        from trnlab.models.projection.charts import training_breakdown

        return training_breakdown(self)
