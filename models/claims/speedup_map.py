"""Speed-up over batch and context: at which operating points an announced factor holds.

A factor that depends on the operating point is not one number. The map has it at every batch and prompt length, and
the contours on which it is exactly the announced one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from trnlab.models.arrays import Array
from trnlab.models.claims.claim import OperatingPoint
from trnlab.models.claims.deployment import Deployment, speedup
from trnlab.models.frames import data_frame
from trnlab.models.projection.method import Case
from trnlab.models.quantity import ModelError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Measure = Literal["throughput", "latency"]
MEASURES: Final[tuple[Measure, ...]] = ("throughput", "latency")
TITLES: Final[dict[Measure, str]] = {"throughput": "output tokens/s per chip", "latency": "tokens/s per request"}
"""What a measure is of."""
BATCHES: Final = tuple(2.0 ** (step / 2) for step in range(25))
"""Running requests, 1 to 4,096, two points an octave."""
PROMPTS: Final = tuple(1024 * 2**step for step in range(8))
"""Tokens of the prompt, 1,024 to 131,072."""
ANSWER: Final = 1024
BISECTIONS: Final = 20
MARKS: Final = (
    "+: at least 3 times; *: at least 4; -: does not fit the memory. The contours run where the marks change."
)


def marked(ratio: float) -> str:
    """The ratio with a mark from which the contours of 3 and 4 times can be read in plain text: "2.4", "3.1+", "4.0*".

    A ratio is cut, not rounded, so that "4.0" without its mark cannot be.
    """
    if np.isnan(ratio):
        return "-"
    mark = "*" if ratio >= 4 else "+" if ratio >= 3 else " "
    return f"{np.floor(ratio * 10) / 10:.1f}{mark}"


@dataclass(frozen=True, eq=False, kw_only=True)
class SpeedupMap:
    """Ratios by prompt (rows) and batch (columns); NaN where the old or the new deployment does not fit its memory.

    throughput: output tokens a second per chip. latency: 1 / TPOT. case, old_case: ends of the bands of the new and the
    old deployment's fixed cost per layer of the model.
    """

    old: Deployment
    new: Deployment
    layer: str
    case: Case = "central"
    old_case: Case = "central"
    batches: tuple[float, ...]
    prompts: tuple[int, ...]
    throughput: Array
    latency: Array

    @property
    def title(self) -> str:
        """The layer, and which end of the fixed cost's band it takes."""
        return self.layer if self.case == "central" else f"{self.layer}, {self.case} end of the fixed cost"

    def values(self, measure: Measure) -> Array:
        """The ratios of a measure.

        Raises:
            ModelError: no such measure.
        """
        if measure not in MEASURES:
            raise ModelError("measure", measure, ", ".join(MEASURES))
        return self.throughput if measure == "throughput" else self.latency

    def rows(self, measure: Measure, step: int = 2) -> tuple[tuple[str, ...], ...]:
        """The ratios as text, one row a prompt and every `step`th batch, under `header`; see `MARKS`.

        Raises:
            ModelError: no such measure.
        """
        values = self.values(measure)[:, ::step].tolist()
        return tuple((f"{prompt:,}", *map(marked, row)) for prompt, row in zip(self.prompts, values, strict=True))

    def header(self, step: int = 2) -> tuple[str, ...]:
        """What stands above the cells of `rows`: requests."""
        return ("prompt", *(f"{batch:g}" for batch in self.batches[::step]))

    def to_pandas(self) -> Any:
        """One row a point: layer, prompt, batch, throughput and latency ratio; NaN where it does not fit.

        Raises:
            TrnlabError: pandas is not installed.
        """
        return data_frame(
            [
                {
                    "layer": self.title,
                    "prompt": prompt,
                    "batch": batch,
                    "throughput": float(self.throughput[row, column]),
                    "latency": float(self.latency[row, column]),
                }
                for row, prompt in enumerate(self.prompts)
                for column, batch in enumerate(self.batches)
            ]
        )

    def plot(self, factors: Sequence[float] = (3, 4)) -> Figure:
        """Both measures as heat maps with the contours of the factors.

        Raises:
            TrnlabError: matplotlib is not installed.
        """
        from trnlab.models.claims.picture import draw_maps

        return draw_maps([self], factors)

    def contour(self, measure: Measure, factor: float) -> tuple[OperatingPoint, ...]:
        """Where the ratio crosses the factor along the batch, for each prompt, by bisection between the map's points.

        Where the ratio jumps over the factor, as it does when tokens begin another row of the Tensor Engine, the
        point is that of the jump.

        Raises:
            ModelError: no such measure.
        """
        values = self.values(measure)
        known = ~np.isnan(values[:, :-1]) & ~np.isnan(values[:, 1:])
        rows, columns = np.nonzero(known & ((values[:, :-1] < factor) != (values[:, 1:] < factor)))
        batches, prompts = np.array(self.batches), np.array(self.prompts)[rows]
        low, high = batches[columns], batches[columns + 1]
        starts_below = values[rows, columns] < factor
        for _ in range(BISECTIONS):
            middle = np.sqrt(low * high)
            same_side = (self._at(measure, middle, prompts) < factor) == starts_below
            low, high = np.where(same_side, middle, low), np.where(same_side, high, middle)
        crossings = np.sqrt(low * high).tolist()
        return tuple(
            OperatingPoint(layer=self.title, batch=batch, prompt=prompt)
            for batch, prompt in zip(crossings, prompts.tolist(), strict=True)
        )

    def _at(self, measure: Measure, batch: Array, prompt: npt.NDArray[np.int64]) -> Array:
        found = speedup(
            self.old, self.new, self.layer, batch, prompt.astype(np.float64), ANSWER, self.case, self.old_case
        )
        return found.throughput if measure == "throughput" else found.latency


def speedup_map(
    old: Deployment,
    new: Deployment,
    layer: str,
    batches: tuple[float, ...] = BATCHES,
    prompts: tuple[int, ...] = PROMPTS,
    case: Case = "central",
    old_case: Case = "central",
) -> SpeedupMap:
    """The map of one layer of the projection, answers of 1,024 tokens; cases: see `SpeedupMap`.

    Raises:
        ModelError: no such layer, or a format that a chip does not multiply.
    """
    batch, prompt = np.array(batches)[None, :], np.array(prompts, np.float64)[:, None]
    found = speedup(old, new, layer, batch, prompt, ANSWER, case, old_case)
    fits = old.fits(batch, prompt + ANSWER) & new.fits(batch, prompt + ANSWER)
    return SpeedupMap(
        old=old,
        new=new,
        layer=layer,
        case=case,
        old_case=old_case,
        batches=tuple(batches),
        prompts=tuple(prompts),
        throughput=np.where(fits, found.throughput, np.nan),
        latency=np.where(fits, found.latency, np.nan),
    )
