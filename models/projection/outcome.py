"""The results of a projection as data: what was asked, what each layer says, where the numbers come from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, Final

from trnlab.models.frames import data_frame, html_table
from trnlab.models.parallel.partitioning import Partitioning
from trnlab.models.projection.constants import Layer
from trnlab.models.projection.kernel_shapes import UsedEfficiency
from trnlab.models.projection.method import LayerName
from trnlab.models.quantity import Quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerOutcome:
    """What one layer says of a serving point.

    ttft, tpot: seconds to the first token and between tokens. request: from first to last, TTFT + answer x TPOT.
    user_rate, chip_rate, rate: output tokens per second of one user, one chip, all chips; decode_rate: all chips when
    prompts are processed elsewhere. mfu, hbm_share: shares of peak FLOP/s and of HBM bandwidth. energy: J per output
    token, None where the chip's power is not known. cost: per million output tokens, None without a price.
    parts: seconds of a decode step by what they are spent on; prompt_parts: of one prompt.
    """

    name: LayerName
    ttft: Quantity
    tpot: Quantity
    request: Quantity
    user_rate: Quantity
    chip_rate: Quantity
    rate: Quantity
    decode_rate: Quantity
    mfu: Quantity
    hbm_share: Quantity
    energy: Quantity | None
    cost: Quantity | None
    parts: Mapping[str, Quantity]
    prompt_parts: Mapping[str, Quantity]
    layer: Layer = field(repr=False)

    @property
    def note(self) -> str:
        """What the reader must know of this layer."""
        return self.layer.note


_MISSING: Final = {"energy per token": "power not known", "cost per million tokens": "no price given"}


def _text(title: str, quantity: Quantity | None, spec: str = ".3") -> str:
    return _MISSING[title] if quantity is None else format(quantity, spec)


ROWS: Final[tuple[tuple[str, Callable[[LayerOutcome], Quantity | None]], ...]] = (
    ("time to first token", lambda found: found.ttft),
    ("time per output token", lambda found: found.tpot),
    ("request, first to last", lambda found: found.request),
    ("tokens/s per user", lambda found: found.user_rate),
    ("tokens/s per chip", lambda found: found.chip_rate),
    ("tokens/s, all chips", lambda found: found.rate),
    ("tokens/s, prompts elsewhere", lambda found: found.decode_rate),
    ("model FLOP utilisation", lambda found: found.mfu),
    ("HBM bandwidth used", lambda found: found.hbm_share),
    ("energy per token", lambda found: found.energy),
    ("cost per million tokens", lambda found: found.cost),
)


@dataclass(frozen=True, kw_only=True)
class Projection:
    """A serving point on a chip, in the three layers.

    weights, kv, memory: bytes on the fullest chip, and what it has for both. efficiencies: where those of the middle
    layer come from, empty when its defaults were used.
    """

    model: str
    chip: str
    precision: str
    partitioning: Partitioning
    batch: int
    prompt: int
    answer: int
    weights: Quantity
    kv: Quantity
    memory: Quantity
    layers: tuple[LayerOutcome, ...]
    efficiencies: tuple[UsedEfficiency, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def chips(self) -> int:
        """Chips of the deployment."""
        return self.partitioning.chips

    @property
    def title(self) -> str:
        """One line that says what was asked."""
        point = f"batch {self.batch}, {self.prompt} + {self.answer} tokens"
        return f"{self.model} on {self.chips} x {self.chip}, {self.precision}, {self.partitioning}, {point}"

    def layer(self, name: LayerName) -> LayerOutcome:
        """One layer's outcome, by name."""
        return next(found for found in self.layers if found.name == name)

    def table(self) -> tuple[tuple[str, ...], ...]:
        """Rows of text: the quantity, then one cell per layer."""
        rows = [(title, *(_text(title, get(found)) for found in self.layers)) for title, get in ROWS]
        parts = self.layers[0].parts
        rows += [(f"decode: {part}", *(_text(part, found.parts[part]) for found in self.layers)) for part in parts]
        return tuple(rows)

    def __str__(self) -> str:
        rows = [("", *(found.name for found in self.layers)), *self.table()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([self.title, *lines, self.memory_line, *self._remarks()])

    def _remarks(self) -> tuple[str, ...]:
        """Where the middle layer's efficiencies come from, and the notes."""
        return (*map(str, self.efficiencies), *(f"note: {note}" for note in self.all_notes))

    @property
    def memory_line(self) -> str:
        """Memory of the fullest chip, in one line."""
        return f"memory of a chip: weights {self.weights:v} + KV cache {self.kv:v} of {self.memory:v}"

    @property
    def all_notes(self) -> tuple[str, ...]:
        """Notes of the point and of the layers, each once."""
        return tuple(dict.fromkeys((*self.notes, *(note for found in self.layers for note in found.layer.notes))))

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        header = ("", *(found.name for found in self.layers))
        lines = "".join(f"<li>{escape(line)}</li>" for line in (self.memory_line, *self._remarks()))
        return f"{html_table(self.title, header, self.table())}<ul>{lines}</ul>"

    def records(self) -> list[dict[str, Any]]:
        """One record per quantity and layer: value, unit, band, class, source, and what the layer falls back to."""
        return [
            {
                "layer": found.name,
                "quantity": title,
                "value": value.value,
                "unit": value.unit,
                "low": value.interval[0],
                "high": value.interval[1],
                "class": value.klass,
                "source": value.source,
                "note": self._note_of(found),
            }
            for found in self.layers
            for title, value in _quantities(found)
        ]

    def _note_of(self, found: LayerOutcome) -> str:
        """The layer's notes, and for the middle one the operators without a timed kernel."""
        used = self.efficiencies if found.name == "efficiencies" else ()
        defaults = (f"default efficiency of {one.phase}, {one.operator}" for one in used if one.entry.is_default)
        return "; ".join((*found.layer.notes, *defaults))

    def to_json(self) -> str:
        """What was asked and every record, as JSON."""
        asked = {
            key: getattr(self, key) for key in ("model", "chip", "precision", "batch", "prompt", "answer", "chips")
        }
        split = self.partitioning._asdict()
        data = {**asked, "partitioning": split, "notes": self.all_notes, "records": self.records()}
        data["efficiencies"] = [
            {
                "phase": used.phase,
                "operator": used.operator,
                "shape": list(used.shape),
                "compute": used.entry.value.value,
                "memory": used.memory.value,
                "default": used.entry.is_default,
                "origin": used.entry.origin,
            }
            for used in self.efficiencies
        ]
        return json.dumps(data, indent=2, allow_nan=False)

    def to_pandas(self) -> Any:
        """The records as a pandas DataFrame.

        Raises:
            TrnlabError: pandas is not installed.
        """
        return data_frame(self.records())

    def plot(self) -> Figure:
        """What a decode step's time is spent on, one bar per layer.

        Raises:
            TrnlabError: matplotlib is not installed.
        """
        from trnlab.models.projection.charts import breakdown

        return breakdown([self])


def _quantities(found: LayerOutcome) -> list[tuple[str, Quantity]]:
    named = [(title, get(found)) for title, get in ROWS]
    parts = [(f"decode: {part}", value) for part, value in found.parts.items()]
    parts += [(f"prompt: {part}", value) for part, value in found.prompt_parts.items()]
    return [(title, value) for title, value in (*named, *parts) if value is not None]
