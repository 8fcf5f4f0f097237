"""The links as groups of chips use them: sizes of groups in, steps and bytes per second out, as arrays.

A group of up to the domain's size is the most compact part of it (`Topology.group`). A larger one takes several whole
domains, joined by the network between systems; what is not known about that network is an error, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from trnlab.models.arrays import Array
from trnlab.models.chips import Chip, Topology
from trnlab.models.chips.systems import domain_of
from trnlab.models.quantity import ModelError, Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group size on one fabric, as plain numbers.

    inner: chips of the group inside a domain; outer: domains that it takes. steps: most steps between two of its chips
    in a domain; mean_steps: averaged over all ordered pairs, a chip and itself included. bandwidth: B/s of one chip in
    one direction; latency: seconds of a step; `outer_...` between domains.
    """

    inner: int
    outer: int
    steps: int
    mean_steps: float
    switched: bool
    bandwidth: float
    latency: float
    outer_bandwidth: float
    outer_latency: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fabric:
    """A scale-up domain and the way out of it.

    outer_bandwidth: B/s of one chip in one direction to other domains; None where it is not known.
    """

    name: str
    domain: Topology
    outer_bandwidth: Quantity | None = None
    outer_latency: Quantity | None = None

    @classmethod
    def of(cls, chip: Chip) -> Fabric:
        """The chip's largest domain."""
        system = domain_of(chip)
        return cls(
            name=system.name,
            domain=system.topology,
            outer_bandwidth=system.efa_bandwidth_per_chip,
            outer_latency=system.efa_step_latency,
        )

    def group(self, size: int) -> Group:
        """The group of that many chips.

        Raises:
            ModelError: not a positive size, the domain has no compact part of it, it is no whole number of domains, or
                nothing is known about the network between domains.
        """
        return _group(self, size)

    def has_group(self, size: int) -> bool:
        """Whether a group of that size exists here."""
        try:
            _group(self, size)
        except ModelError:
            return False
        return True


@cache
def _group(fabric: Fabric, size: int) -> Group:
    if size < 1:
        raise ModelError(f"chips of a group on {fabric.name}", size, "a whole number >= 1")
    inner = min(size, fabric.domain.size)
    outer, rest = divmod(size, inner)
    if rest:
        raise ModelError(
            f"chips of a group on {fabric.name}", size, f"up to {inner}, or whole multiples of a domain of {inner}"
        )
    if outer > 1 and (fabric.outer_bandwidth is None or fabric.outer_latency is None):
        raise ModelError(f"chips of a group on {fabric.name}", size, f"up to {inner}: no network beyond it is known")
    part = fabric.domain.group(inner)
    known = outer > 1 and fabric.outer_bandwidth is not None and fabric.outer_latency is not None
    return Group(
        inner=inner,
        outer=outer,
        steps=part.diameter,
        mean_steps=part.mean_steps * (inner - 1) / inner,
        switched=part.kind != "torus",
        bandwidth=part.bandwidth.value,
        latency=part.step_latency.value,
        outer_bandwidth=fabric.outer_bandwidth.value if known and fabric.outer_bandwidth else np.inf,
        outer_latency=fabric.outer_latency.value if known and fabric.outer_latency else 0.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """The columns of `Group` for an array of sizes, in its shape."""

    inner: Array
    outer: Array
    steps: Array
    mean_steps: Array
    switched: npt.NDArray[np.bool_]
    bandwidth: Array
    latency: Array
    outer_bandwidth: Array
    outer_latency: Array

    @classmethod
    def of(cls, fabric: Fabric, sizes: npt.NDArray[Any]) -> Groups:
        """The groups of those sizes.

        Raises:
            ModelError: one of them does not exist on the fabric.
        """
        values, inverse = np.unique(sizes, return_inverse=True)
        rows = [fabric.group(int(size)) for size in values.tolist()]

        def column(name: str, kind: Any = np.float64) -> npt.NDArray[Any]:
            return np.array([getattr(row, name) for row in rows], kind)[inverse].reshape(np.shape(sizes))

        names = ("inner", "outer", "steps", "mean_steps", "bandwidth", "latency", "outer_bandwidth", "outer_latency")
        return cls(switched=column("switched", np.bool_), **{name: column(name) for name in names})
