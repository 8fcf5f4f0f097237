"""Collective times against small simulations that pass real blocks around, and against limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from trnlab.models.chips import Topology, get_chip
from trnlab.models.chips.topology import Kind
from trnlab.models.parallel.collectives import (
    ALGORITHMS,
    KANGARING_BYTES,
    MESH_BYTES,
    all_gather,
    all_reduce,
    all_to_all,
    point_to_point,
)
from trnlab.models.parallel.fabric import Fabric
from trnlab.models.quantity import ModelError, Quantity

W, A = 4e11, 2e-6


def fabric(kind: Kind, shape: tuple[int, ...], outer: float | None = None) -> Fabric:
    def quantity(value: float, unit: str) -> Quantity:
        return Quantity(value, unit, "test", "assumed")

    domain = Topology(kind=kind, shape=shape, bandwidth=quantity(W, "B/s"), step_latency=quantity(A, "s"))
    return Fabric(
        name="test",
        domain=domain,
        outer_bandwidth=None if outer is None else quantity(outer, "B/s"),
        outer_latency=None if outer is None else quantity(15e-6, "s"),
    )


def ring_all_reduce(chips: int, size: int) -> tuple[int, int]:
    """(steps, bytes a chip sends) of a ring that really adds up blocks."""
    blocks = np.array([[chip * 100 + block for block in range(chips)] for chip in range(chips)])
    total, sent, steps = blocks.sum(axis=0), 0, 0
    for adding in (True, False):
        for step in range(chips - 1):
            moving = [(chip - step + (0 if adding else 1)) % chips for chip in range(chips)]
            values = [blocks[chip, moving[chip]] for chip in range(chips)]
            for chip in range(chips):
                target = (chip + 1) % chips
                old = blocks[target, moving[chip]] if adding else 0
                blocks[target, moving[chip]] = old + values[chip]
            sent, steps = sent + size // chips, steps + 1
    assert (blocks == total).all()
    return steps, sent


def halving_doubling(chips: int, size: int) -> tuple[int, int]:
    """(steps, bytes a chip sends) of recursive halving and doubling that really adds up."""
    data = np.arange(chips * size, dtype=np.int64).reshape(chips, size)
    total, sent, steps = data.sum(axis=0), 0, 0
    low, high, reach = np.zeros(chips, int), np.full(chips, size), chips // 2
    while reach:
        old = data.copy()
        for chip in range(chips):
            middle = (low[chip] + high[chip]) // 2
            low[chip], high[chip] = (low[chip], middle) if chip & reach == 0 else (middle, high[chip])
            own = slice(low[chip], high[chip])
            data[chip, own] = old[chip, own] + old[chip ^ reach, own]
        sent, steps, reach = sent + (high[0] - low[0]), steps + 1, reach // 2
    reach = 1
    while reach < chips:
        length = int(high[0] - low[0])
        old, old_low = data.copy(), low.copy()
        for chip in range(chips):
            other = slice(old_low[chip ^ reach], old_low[chip ^ reach] + length)
            data[chip, other] = old[chip ^ reach, other]
            low[chip] = min(old_low[chip], old_low[chip ^ reach])
        high = low + 2 * length
        sent, steps, reach = sent + length, steps + 1, reach * 2
    assert (data == total).all()
    return steps, int(sent)


@pytest.mark.parametrize("chips", [2, 4, 8, 16])
def test_ring_steps_and_bytes_are_those_of_a_simulation(chips: int) -> None:
    size = 1 << 16
    steps, sent = ring_all_reduce(chips, size)
    found = all_reduce(fabric("torus", (chips,)), size, chips, "ring")
    assert float(found.latency) == pytest.approx(steps * A)
    assert float(found.transfer) == pytest.approx(sent / W)


@pytest.mark.parametrize("chips", [2, 4, 8, 16])
def test_halving_doubling_steps_and_bytes_are_those_of_a_simulation(chips: int) -> None:
    size = 1 << 12
    steps, sent = halving_doubling(chips, size)
    found = all_reduce(fabric("torus", (chips,)), size, chips, "recursive halving-doubling")
    assert float(found.latency) == pytest.approx(steps * A)
    assert float(found.transfer) == pytest.approx(sent / W)


@pytest.mark.parametrize("side", [2, 4, 6])
def test_all_to_all_on_a_torus_takes_the_mean_way(side: int) -> None:
    def way(a: int, b: int) -> int:
        return min((a - b) % side, (b - a) % side)

    cells = [(x, y) for x in range(side) for y in range(side)]
    mean = np.mean([way(a, c) + way(b, d) for a, b in cells for c, d in cells])
    found = all_to_all(fabric("torus", (side, side)), 1e6, side * side)
    assert float(found.latency) == pytest.approx(mean * A)
    assert float(found.transfer) == pytest.approx((1 - 1 / side**2) * 1e6 * mean / W)


def test_all_to_all_on_a_switch_takes_one_step() -> None:
    found = all_to_all(fabric("switch", (16,)), 1e6, 16)
    assert float(found.latency) == A
    assert float(found.transfer) == pytest.approx(15 / 16 * 1e6 / W)


@pytest.mark.parametrize(
    ("size", "algorithm"),
    [
        (MESH_BYTES / 2, "mesh"),
        (MESH_BYTES * 2, "recursive halving-doubling"),
        (KANGARING_BYTES / 2, "recursive halving-doubling"),
        (KANGARING_BYTES * 2, "kangaring"),
    ],
)
def test_auto_follows_neurons_published_crossovers(size: float, algorithm: str) -> None:
    torus = fabric("torus", (4, 4))
    assert all_reduce(torus, size, 16) == all_reduce(torus, size, 16, algorithm)  # type: ignore[arg-type]


@given(size=st.floats(1, 1e9), chips=st.integers(2, 64))
def test_auto_on_a_switch_is_the_quicker_of_one_and_two_steps(size: float, chips: int) -> None:
    switch = fabric("switch", (64,))
    both = [float(all_reduce(switch, size, chips, name).total) for name in ("one step", "switch")]
    assert float(all_reduce(switch, size, chips).total) == min(both)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", ["torus", "switch"])
def test_one_chip_says_nothing(algorithm: str, kind: Kind) -> None:
    found = all_reduce(fabric(kind, (8,)), 1e6, 1, algorithm)  # type: ignore[arg-type]
    assert float(found.total) == 0
    assert float(all_to_all(fabric(kind, (8,)), 1e6, 1).total) == 0
    assert float(point_to_point(fabric(kind, (8,)), 1e6, 1).total) == 0


@given(size=st.floats(1, 1e9), chips=st.integers(2, 16))
def test_least_volume_moves_no_more_bytes_than_any_algorithm(size: float, chips: int) -> None:
    """2 (N - 1) / N n bytes a chip is the lower bound of an all-reduce; the one step on a switch moves (N - 1) n."""
    switched = fabric("switch", (16,))
    found = all_reduce(switched, size, chips, "least volume")
    assert found.transfer <= all_reduce(switched, size, chips, "auto").transfer
    assert found.transfer == pytest.approx(2 * (chips - 1) / chips * size / switched.group(chips).bandwidth)
    assert found == all_reduce(switched, size, chips, "switch")


@given(size=st.floats(1, 1e9), more=st.floats(1, 1e9))
def test_more_bytes_never_take_less_within_an_algorithm(size: float, more: float) -> None:
    for kind, names in (("torus", ("ring", "mesh", "kangaring")), ("switch", ("auto", "switch", "one step"))):
        made = fabric(kind, (16,))  # type: ignore[arg-type]
        for name in names:
            few, many = (float(all_reduce(made, n, 16, name).total) for n in (size, size + more))  # type: ignore[arg-type]
            assert few <= many


def test_kangaring_takes_half_the_hops_of_a_ring() -> None:
    torus = fabric("torus", (16,))
    ring, kanga = (all_reduce(torus, 1e9, 16, name) for name in ("ring", "kangaring"))
    assert float(kanga.latency) == pytest.approx(15 * A)
    assert float(kanga.latency) == pytest.approx(float(ring.latency) / 2)
    assert float(kanga.transfer) == float(ring.transfer)


def test_an_all_gather_is_half_an_all_reduce() -> None:
    torus = fabric("torus", (8,))
    whole, half = all_reduce(torus, 1e6, 8, "ring"), all_gather(torus, 1e6, 8, "ring")
    assert float(half.latency) == pytest.approx(7 * A)
    assert float(half.transfer) == pytest.approx(7 / 8 * 1e6 / W)
    assert float(whole.total) == 2 * float(half.total)


def test_domains_reduce_between_themselves_over_the_network() -> None:
    made = fabric("switch", (8,), outer=1e10)
    inside = all_reduce(made, 1e6, 8)
    found = all_reduce(made, 1e6, 32)  # 4 domains: a ring over each chip's eighth
    assert float(found.latency) == pytest.approx(float(inside.latency) + 2 * 3 * 15e-6)
    assert float(found.transfer) == pytest.approx(float(inside.transfer) + 2 * 3 / 4 * 1e6 / 8 / 1e10)


def test_arrays_of_groups_are_the_numbers_one_by_one() -> None:
    made = fabric("switch", (64,))
    chips = np.array([[1], [2], [16], [64]])
    sizes = np.array([1e3, 1e6, 1e9])
    found = all_reduce(made, sizes, chips).total
    assert found.shape == (4, 3)
    for row, count in enumerate(chips.ravel().tolist()):
        for column, size in enumerate(sizes.tolist()):
            assert found[row, column] == float(all_reduce(made, size, count).total)


def test_what_a_fabric_cannot_do_is_refused() -> None:
    torus, switch = fabric("torus", (4, 4)), fabric("switch", (8,))
    with pytest.raises(ModelError, match="algorithm on a torus"):
        all_reduce(torus, 1e6, 16, "switch")
    with pytest.raises(ModelError, match="tree"):
        all_reduce(torus, 1e6, 16, "tree")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="no network beyond"):
        all_reduce(switch, 1e6, 16)
    with pytest.raises(ModelError, match="whole multiples"):
        all_reduce(fabric("switch", (8,), outer=1e10), 1e6, 12)
    with pytest.raises(ModelError, match="group"):
        all_reduce(torus, 1e6, 7)
    with pytest.raises(ModelError, match="one step"):
        all_gather(switch, 1e6, 8, "one step")
    with pytest.raises(ModelError, match="pipeline"):
        point_to_point(fabric("switch", (1,)), 1e6, 2)


def test_fabrics_of_chips_know_their_domain_and_the_way_out() -> None:
    trn3 = Fabric.of(get_chip("trn3"))
    assert trn3.domain.size == 144
    assert trn3.group(288).outer == 2
    assert trn3.group(288).outer_bandwidth == pytest.approx(25e9)  # 200 Gb/s a chip
    h100 = Fabric.of(get_chip("h100"))
    assert h100.has_group(8)
    assert not h100.has_group(16)
    assert math.isinf(h100.group(8).outer_bandwidth)


@pytest.mark.parametrize("chips", [0, -4])
def test_a_group_has_at_least_one_chip(chips: int) -> None:
    with pytest.raises(ModelError, match="a whole number >= 1"):
        all_reduce(Fabric.of(get_chip("trn3")), 1e6, chips)


def test_negative_bytes_are_refused_rather_than_timed() -> None:
    fabric = Fabric.of(get_chip("trn3"))
    for collective in (all_reduce, all_gather, all_to_all, point_to_point):
        with pytest.raises(ModelError, match="bytes of a collective"):
            collective(fabric, -1.0, 16)
