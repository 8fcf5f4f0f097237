"""Collectives of chips that do not lie side by side: the same chip of every replica, stage or part of a context.

`members` chips take part, `stride` chips apart, so a domain holds domain // stride of them. What goes on inside domains
goes at the domain's bandwidth; what crosses takes the network between systems, which must be known.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from trnlab.models.arrays import Values, array
from trnlab.models.parallel.collectives import Algorithm, CollectiveTime, all_reduce, point_to_point
from trnlab.models.parallel.fabric import Fabric
from trnlab.models.quantity import ModelError

Whole: TypeAlias = npt.NDArray[np.int64]


def members_in_a_domain(fabric: Fabric, members: Whole, stride: Whole) -> Whole:
    """How many of the members lie in one domain: all where they fit, else the same number in every domain."""
    members, room = np.asarray(members), np.maximum(1, fabric.domain.size // np.asarray(stride))
    return np.asarray(np.where(members <= room, members, np.gcd(members, room)), np.int64)


def can_meet(fabric: Fabric, members: int, stride: int) -> bool:
    """Whether the fabric has the group inside a domain, and a way between domains where the members need one."""
    inner = int(members_in_a_domain(fabric, np.array(members), np.array(stride)))
    return fabric.has_group(inner) and (inner == members or _is_connected(fabric))


def strided_all_reduce(
    fabric: Fabric, size: Values, members: Whole, stride: Whole, algorithm: Algorithm = "auto"
) -> CollectiveTime:
    """All-reduce inside each domain, then in a ring between domains over each chip's share.

    Raises:
        ModelError: a group that the fabric does not have, or members in several domains and no known way between.
    """
    inner = members_in_a_domain(fabric, members, stride)
    inside, domains = all_reduce(fabric, size, inner, algorithm), members / inner
    if not np.any(domains > 1):
        return inside
    bandwidth, latency = _way_out(fabric, int(np.max(members)))
    share = 2 * (domains - 1) / domains * (array(size) / inner) / bandwidth
    return CollectiveTime(inside.latency + 2 * (domains - 1) * latency, inside.transfer + share)


def ring_hop(fabric: Fabric, size: Values, members: Whole, stride: Whole) -> CollectiveTime:
    """Every member hands `size` bytes to the next, all at once: as slow as the slowest of their links.

    Raises:
        ModelError: members in several domains and no known way between.
    """
    inside = point_to_point(fabric, size, members)
    crosses = np.asarray(members * stride > fabric.domain.size)
    if not np.any(crosses):
        return inside
    bandwidth, latency = _way_out(fabric, int(np.max(members)))
    return CollectiveTime(
        np.where(crosses, latency, inside.latency), np.where(crosses, array(size) / bandwidth, inside.transfer)
    )


def pipeline_hops(fabric: Fabric, size: Values, stages: Whole, stride: Whole) -> CollectiveTime:
    """`size` bytes from the first stage of `stride` chips through all of them to the last.

    Raises:
        ModelError: stages in several domains and no known way between.
    """
    inside = point_to_point(fabric, size, stages)
    crossings = np.minimum(np.ceil(stages * stride / fabric.domain.size), stages) - 1
    if not np.any(crossings > 0):
        return inside * (stages - 1)
    bandwidth, latency = _way_out(fabric, int(np.max(stages)))
    stay = stages - 1 - crossings
    return CollectiveTime(
        inside.latency * stay + crossings * latency, inside.transfer * stay + crossings * array(size) / bandwidth
    )


def _is_connected(fabric: Fabric) -> bool:
    return fabric.outer_bandwidth is not None and fabric.outer_latency is not None


def _way_out(fabric: Fabric, members: int) -> tuple[float, float]:
    """(B/s, seconds a step) of the network between domains."""
    if fabric.outer_bandwidth is None or fabric.outer_latency is None:
        raise ModelError(
            f"members of a collective on {fabric.name}", members, "those of one domain: no network beyond it is known"
        )
    return fabric.outer_bandwidth.value, fabric.outer_latency.value
