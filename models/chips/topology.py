"""How the chips of a scale-up domain are wired: a torus, a switch, or a link between every pair.

A chip's bandwidth is one direction, all its links inside the domain together, because the time of a collective is
volume / (bytes that a chip can send per second). The latency is that of one step: a hop between neighbours of a
torus, or one crossing of the switch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

from trnlab.models.quantity import ModelError, Quantity

Kind = Literal["torus", "switch", "fully connected"]
MOST_CHIPS: Final = 1_000_000
KINDS: Final[tuple[Kind, ...]] = ("torus", "switch", "fully connected")


@dataclass(frozen=True, kw_only=True)
class Topology:
    """A scale-up domain, or the part of one that a group of chips uses.

    kind: "torus" (neighbours in each dimension), "switch" (any to any through switches), "fully connected".
    shape: chips by dimension of a torus, (4, 4, 4); one number otherwise.
    bandwidth: B/s of one chip in one direction, over all its links of the domain.
    step_latency: seconds of one hop, or of one crossing of the switch.
    shares: fraction of `bandwidth` by dimension; equal when not given.
    wraps: whether each dimension closes into a ring; all of them do when not given. Where one does not, only one of a
    chip's two links along it counts in `bandwidth`: that is what a ring laid through the line can use.

    Raises:
        ModelError: an unknown kind, a size below 1, or lists of unequal length.
    """

    kind: Kind
    shape: tuple[int, ...]
    bandwidth: Quantity
    step_latency: Quantity
    shares: tuple[float, ...] = ()
    wraps: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ModelError("kind of a topology", self.kind, ", ".join(KINDS))
        whole = all(isinstance(length, int) and length >= 1 for length in self.shape)
        if not self.shape or not whole or (self.kind != "torus" and len(self.shape) > 1):
            raise ModelError(f"shape of a {self.kind}", self.shape, "whole numbers >= 1, several for a torus only")
        dimensions = len(self.shape)
        if self.size > MOST_CHIPS:
            raise ModelError(f"chips of a {self.kind}", self.size, f"at most {MOST_CHIPS}")
        object.__setattr__(self, "shares", tuple(self.shares) or (1 / dimensions,) * dimensions)
        object.__setattr__(self, "wraps", tuple(self.wraps) or (True,) * dimensions)
        if not len(self.shares) == len(self.wraps) == dimensions or not math.isclose(sum(self.shares), 1):
            raise ModelError(
                "shares and wraps of a topology", (self.shares, self.wraps), "one a dimension; shares add to 1"
            )
        for what, quantity, unit in (("bandwidth", self.bandwidth, "B/s"), ("step_latency", self.step_latency, "s")):
            if quantity.unit != unit or quantity.value <= 0:
                raise ModelError(f"{what} of a topology", f"{quantity:v}", f"a quantity above zero in {unit}")

    @property
    def size(self) -> int:
        """Chips in the domain."""
        return math.prod(self.shape)

    @property
    def dimensions(self) -> int:
        """Dimensions of a torus; 1 otherwise."""
        return len(self.shape)

    @property
    def label(self) -> str:
        """Shape and kind: "4x4x4 torus", "switch of 144", "full mesh of 8"."""
        if self.kind == "torus":
            return f"{'x'.join(map(str, self.shape))} {'torus' if all(self.wraps) else 'open torus'}"
        return f"{'full mesh' if self.kind == 'fully connected' else self.kind} of {self.size}"

    @property
    def diameter(self) -> int:
        """Most steps between two chips."""
        return sum(longest for longest, _ in self._distances())

    @property
    def mean_steps(self) -> float:
        """Steps between two chips, averaged over all ordered pairs of chips that differ; 0 for one chip."""
        if self.size == 1:
            return 0.0
        return sum(mean for _, mean in self._distances()) * self.size / (self.size - 1)

    def _distances(self) -> list[tuple[int, float]]:
        """(longest, mean with itself included) distance along each dimension."""
        if self.kind != "torus":
            return [(0, 0.0)] if self.size == 1 else [(1, 1 - 1 / self.size)]
        return [_line_distances(length, ring) for length, ring in zip(self.shape, self.wraps, strict=True)]

    @property
    def bisection_bandwidth(self) -> Quantity:
        """B/s in one direction across the worst cut into two halves.

        A switch carries the bandwidth of half the chips, a full mesh the links between the halves, a torus those of the
        dimension that is cut.
        """
        if self.kind != "torus":
            half, rest = self.size // 2, self.size - self.size // 2
            crossing = half if self.kind == "switch" else half * rest / max(self.size - 1, 1)
            return self.bandwidth * float(crossing)
        lines = [
            self.size / length * share for length, share in zip(self.shape, self.shares, strict=True) if length > 1
        ]
        return self.bandwidth * min(lines, default=0.0)

    def group(self, chips: int) -> Topology:
        """The best connected part of the domain with that many chips.

        A group of a torus is the box with the most bandwidth, and of equal ones the most compact.
        Where the box does not span a dimension, that dimension does not close and half of its links lead outside, so
        half of its share counts. Every chip of a switch keeps its bandwidth; of a full mesh, its links to the others.

        Raises:
            ModelError: fewer than 1 chip, more than the domain has, or no box of that many; lists the counts that fit.
        """
        if not 1 <= chips <= self.size:
            raise ModelError(f"chips of a group in a {self.label}", chips, f"1 to {self.size}")
        if chips == self.size:
            return self
        if chips == 1 or self.kind == "switch":
            return replace(self, shape=(chips,), shares=(), wraps=())
        if self.kind == "fully connected":
            return replace(self, shape=(chips,), bandwidth=self.bandwidth * ((chips - 1) / (self.size - 1)))
        boxes = [box for box in _boxes(self.shape) if math.prod(box) == chips]
        if not boxes:
            fitting = sorted({math.prod(box) for box in _boxes(self.shape)})
            raise ModelError(f"chips of a group in a {self.label}", chips, ", ".join(map(str, fitting)))
        return self._part(min(boxes, key=lambda box: (-self._part(box).bandwidth.value, sum(box))))

    def _part(self, box: tuple[int, ...]) -> Topology:
        kept = [
            (length, share if length == whole and ring else share / 2, length == whole and ring)
            for length, whole, share, ring in zip(box, self.shape, self.shares, self.wraps, strict=True)
            if length > 1
        ]
        total = sum(share for _, share, _ in kept)
        return replace(
            self,
            shape=tuple(length for length, _, _ in kept),
            bandwidth=self.bandwidth * total,
            shares=tuple(share / total for _, share, _ in kept),
            wraps=tuple(ring for _, _, ring in kept),
        )

    def dimension_bandwidth(self, dimension: int) -> Quantity:
        """B/s of one chip in one direction along one dimension of a torus.

        Raises:
            ModelError: no such dimension.
        """
        if not 0 <= dimension < self.dimensions:
            raise ModelError(f"dimension of a {self.label}", dimension, f"0 to {self.dimensions - 1}")
        return self.bandwidth * self.shares[dimension]


def _line_distances(length: int, ring: bool) -> tuple[int, float]:
    """Longest and mean distance of two places on a ring or a line of `length`, a place and itself included."""
    if not ring:
        return length - 1, (length * length - 1) / (3 * length)
    steps = [min(step, length - step) for step in range(length)]
    return max(steps), sum(steps) / length


def _boxes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    boxes: list[tuple[int, ...]] = [()]
    for length in shape:
        boxes = [(*box, part) for box in boxes for part in range(1, length + 1)]
    return boxes
