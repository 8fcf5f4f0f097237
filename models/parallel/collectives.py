"""Time of collectives by algorithm: steps x latency + volume per chip / bandwidth of a chip in one direction.

N chips, n bytes of the whole tensor, W bytes per second of one chip in one direction, a seconds per step.

    all-reduce   ring 2 (N - 1) a; recursive halving-doubling 2 log2(N) a; mesh (longest way + 1) a;
                 kangaring (N - 1) a, each over 2 (N - 1) / N n / W bytes; switch 2 a over the same;
                 one step on a switch: a + (N - 1) n / W
    all-gather, reduce-scatter: half the steps and half the volume of an all-reduce
    all-to-all   (mean way) a + (N - 1) / N n (mean way) / W on a torus, where n is what one chip sends;
                 a + (N - 1) / N n / W on a switch

"auto" follows Neuron's published rule on a torus (mesh below 1 MB, recursive halving-doubling to 56 MB, kangaring
above: AWS Neuron collective communication deep dive) and takes the quicker of one and two steps on a switch. "least
volume" is "auto" without the one step, for those who count bytes and not steps. Groups of several domains reduce
inside each, then in a ring between them over each chip's share, then inside again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from trnlab.models.arrays import Array, Values, array
from trnlab.models.parallel.fabric import Fabric, Groups
from trnlab.models.quantity import ModelError

Algorithm = Literal[
    "auto", "least volume", "ring", "recursive halving-doubling", "mesh", "kangaring", "switch", "one step"
]
ALGORITHMS: Final[tuple[Algorithm, ...]] = get_args(Algorithm)
MESH_BYTES: Final = 1e6
KANGARING_BYTES: Final = 56e6
"""Crossovers of Neuron's own choice for an all-reduce (AWS Neuron collective communication deep dive)."""


class CollectiveTime(NamedTuple):
    """Seconds of latency, and seconds that the bytes take at the links' bandwidth."""

    latency: Array
    transfer: Array

    @property
    def total(self) -> Array:
        """Both."""
        return self.latency + self.transfer

    def __mul__(self, times: Values) -> CollectiveTime:  # type: ignore[override]
        return CollectiveTime(self.latency * times, self.transfer * times)


def _two_way(groups: Groups, size: Array) -> Array:
    return 2 * (groups.inner - 1) / groups.inner * size / groups.bandwidth


_STEPS: Final[Mapping[str, Callable[[Groups], Array]]] = {
    "ring": lambda g: 2 * (g.inner - 1),
    "recursive halving-doubling": lambda g: 2 * np.log2(g.inner),
    "mesh": lambda g: np.where(g.inner > 1, g.steps + 1, 0),
    "kangaring": lambda g: g.inner - 1,
    "switch": lambda g: np.where(g.inner > 1, 2.0, 0.0),
}


def _by(name: str, groups: Groups, size: Array) -> CollectiveTime:
    if name == "one step":
        steps = np.where(groups.inner > 1, 1.0, 0.0)
        return CollectiveTime(steps * groups.latency, (groups.inner - 1) * size / groups.bandwidth)
    return CollectiveTime(_STEPS[name](groups) * groups.latency, _two_way(groups, size))


def _choose(where: npt.NDArray[np.bool_], yes: CollectiveTime, no: CollectiveTime) -> CollectiveTime:
    return CollectiveTime(np.where(where, yes.latency, no.latency), np.where(where, yes.transfer, no.transfer))


def _auto(groups: Groups, size: Array, *, one_step: bool) -> CollectiveTime:
    two, one = _by("switch", groups, size), _by("one step", groups, size)
    switched = _choose((one.total < two.total) & one_step, one, two)
    middle = _by("recursive halving-doubling", groups, size)
    torus = _choose(size > KANGARING_BYTES, _by("kangaring", groups, size), middle)
    torus = _choose(size < MESH_BYTES, _by("mesh", groups, size), torus)
    return _choose(groups.switched, switched, torus)


def _bytes(size: Values) -> Array:
    found = array(size)
    if not np.all(found >= 0):
        raise ModelError("bytes of a collective", float(np.min(found)), ">= 0")
    return found


def _check_algorithm(algorithm: str, groups: Groups) -> None:
    if algorithm not in ALGORITHMS:
        raise ModelError("collective algorithm", algorithm, ", ".join(ALGORITHMS))
    if algorithm in ("switch", "one step") and not np.all(groups.switched | (groups.inner == 1)):
        raise ModelError("collective algorithm on a torus", algorithm, "auto, ring, mesh, kangaring, ...")


def all_reduce(fabric: Fabric, size: Values, chips: Values, algorithm: Algorithm = "auto") -> CollectiveTime:
    """Time to add up a tensor of `size` bytes over groups of `chips`, every chip ending with the sum.

    Raises:
        ModelError: negative bytes, an algorithm that does not exist or that the fabric cannot run, or a group that it
            does not have.
    """
    sizes, size = np.asarray(chips), _bytes(size)
    groups = Groups.of(fabric, sizes)
    _check_algorithm(algorithm, groups)
    chosen = algorithm in ("auto", "least volume")
    inside = _auto(groups, size, one_step=algorithm == "auto") if chosen else _by(algorithm, groups, size)
    between = 2 * (groups.outer - 1) * groups.outer_latency
    share = 2 * (groups.outer - 1) / groups.outer * (size / groups.inner) / groups.outer_bandwidth
    return CollectiveTime(inside.latency + between, inside.transfer + share)


def all_gather(fabric: Fabric, size: Values, chips: Values, algorithm: Algorithm = "auto") -> CollectiveTime:
    """Time until every chip of a group has all `size` bytes, of which each had 1/N; half an all-reduce.

    Raises:
        ModelError: as `all_reduce`; "one step" is not an algorithm here.
    """
    if algorithm == "one step":
        raise ModelError("algorithm of an all-gather", algorithm, "auto, ring, mesh, kangaring, switch, ...")
    chosen: Algorithm = algorithm
    groups = Groups.of(fabric, np.asarray(chips))
    if algorithm == "auto" and bool(np.all(groups.switched)):
        chosen = "switch"
    return all_reduce(fabric, size, chips, chosen) * 0.5


reduce_scatter = all_gather
"""Time until each chip has 1/N of the sum: the all-gather run backwards."""


def all_to_all(fabric: Fabric, size: Values, chips: Values) -> CollectiveTime:
    """Time for every chip to send `size` bytes in all, an equal part to each chip of its group.

    Raises:
        ModelError: a group that the fabric does not have.
    """
    groups, size = Groups.of(fabric, np.asarray(chips)), _bytes(size)
    way = np.where(groups.switched, np.where(groups.inner > 1, 1.0, 0.0), groups.mean_steps)
    crowding = np.where(groups.switched, 1.0, groups.mean_steps)
    members = groups.inner * groups.outer
    inside = size * (groups.inner - 1) / members * crowding / groups.bandwidth
    outside = size * (members - groups.inner) / members / groups.outer_bandwidth
    return CollectiveTime(way * groups.latency + (groups.outer > 1) * groups.outer_latency, inside + outside)


def point_to_point(fabric: Fabric, size: Values, stages: Values) -> CollectiveTime:
    """Time to hand `size` bytes to the next stage of a pipeline; nothing for a single stage.

    Neighbouring stages are taken to be neighbours in the domain, and one pair of links of it carries the bytes.

    Raises:
        ModelError: negative bytes, or a domain of one chip.
    """
    link = fabric.group(2) if fabric.domain.size > 1 else None
    if link is None:
        raise ModelError(f"pipeline on {fabric.name}", "a domain of one chip", "two chips or more")
    several = np.where(np.asarray(stages) > 1, 1.0, 0.0)
    return CollectiveTime(several * link.latency, several * _bytes(size) / link.bandwidth)
