"""Topologies against graphs: distances by breadth-first search, bandwidths by counting links."""

from __future__ import annotations

import itertools
import math
import pickle
from collections import deque

import pytest
from hypothesis import given, settings, strategies as st

from trnlab.models.chips import get_chip
from trnlab.models.chips.topology import MOST_CHIPS, Topology
from trnlab.models.quantity import ModelError, Quantity

Place = tuple[int, ...]
BANDWIDTH = Quantity(6e11, "B/s", "test")
STEP = Quantity(2e-6, "s", "test")


def torus(*shape: int, shares: tuple[float, ...] = (), wraps: tuple[bool, ...] = ()) -> Topology:
    return Topology(kind="torus", shape=shape, bandwidth=BANDWIDTH, step_latency=STEP, shares=shares, wraps=wraps)


def one(kind: str, chips: int) -> Topology:
    return Topology(kind=kind, shape=(chips,), bandwidth=BANDWIDTH, step_latency=STEP)  # type: ignore[arg-type]


def neighbours(place: Place, shape: Place, wraps: tuple[bool, ...]) -> list[tuple[int, Place]]:
    """(dimension, place at the other end) of each link that leaves a place; two links where a ring has two chips."""
    found = []
    for dimension, (length, ring) in enumerate(zip(shape, wraps, strict=True)):
        for step in (-1, 1):
            to = place[dimension] + step
            if length > 1 and (ring or 0 <= to < length):
                found.append((dimension, (*place[:dimension], to % length, *place[dimension + 1 :])))
    return found


def distances(start: Place, shape: Place, wraps: tuple[bool, ...]) -> dict[Place, int]:
    found, queue = {start: 0}, deque([start])
    while queue:
        place = queue.popleft()
        for _, to in neighbours(place, shape, wraps):
            if to not in found:
                found[to] = found[place] + 1
                queue.append(to)
    return found


shapes = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


@settings(max_examples=40, deadline=None)
@given(shapes, st.data())
def test_distances_are_those_of_the_graph(shape: Place, data: st.DataObject) -> None:
    wraps = tuple(data.draw(st.booleans()) for _ in shape)
    places = list(itertools.product(*(range(length) for length in shape)))
    every = [d for place in places for d in distances(place, shape, wraps).values()]
    found = torus(*shape, wraps=wraps)
    assert found.size == len(places)
    assert found.diameter == max(every)
    pairs = len(places) * (len(places) - 1)
    assert found.mean_steps == pytest.approx(sum(every) / pairs if pairs else 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([2, 4, 6]), min_size=1, max_size=3).map(tuple), st.data())
def test_bisection_of_a_torus_counts_the_links_of_a_cut(shape: Place, data: st.DataObject) -> None:
    raw = [data.draw(st.integers(1, 5)) for _ in shape]
    shares = tuple(x / sum(raw) for x in raw)
    places = list(itertools.product(*(range(length) for length in shape)))
    cuts = []
    for dimension, length in enumerate(shape):
        # Each of a place's two links along a dimension carries half of that dimension's share.
        crossing = [
            shares[d] / 2
            for place in places
            for d, to in neighbours(place, shape, (True,) * len(shape))
            if place[dimension] < length // 2 <= to[dimension]
        ]
        cuts.append(sum(crossing) * BANDWIDTH.value)
    assert torus(*shape, shares=shares).bisection_bandwidth.value == pytest.approx(min(cuts))


def test_bisection_of_switches_and_meshes() -> None:
    assert one("switch", 144).bisection_bandwidth.value == pytest.approx(72 * BANDWIDTH.value)
    assert one("switch", 1).bisection_bandwidth.value == 0
    # 8 GPUs, each with 7 links of equal rate: 4 x 4 links join the halves.
    assert one("fully connected", 8).bisection_bandwidth.value == pytest.approx(16 * BANDWIDTH.value / 7)


def test_steps_of_switches_and_meshes() -> None:
    for kind in ("switch", "fully connected"):
        assert (one(kind, 8).diameter, one(kind, 8).mean_steps) == (1, 1)
        assert (one(kind, 1).diameter, one(kind, 1).mean_steps) == (0, 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 64))
def test_groups_of_the_trn2_ultraserver_have_the_most_links(chips: int) -> None:
    domain = get_chip("trn2").scale_up
    total, per_link = domain.bandwidth.value, [0.4, 0.4, 0.2]

    def usable(box: Place) -> float:
        """A whole dimension closes and gives both links; a part of one is a line, of which a ring can use one."""
        return sum(share * (1 if n == 4 else 0.5) for n, share in zip(box, per_link, strict=True) if n > 1) * total

    boxes = [box for box in itertools.product(range(1, 5), repeat=3) if math.prod(box) == chips]
    if not boxes:
        with pytest.raises(ModelError, match="chips of a group in a 4x4x4 torus"):
            domain.group(chips)
        return
    group = domain.group(chips)
    assert group.size == chips
    if chips > 1:
        assert group.bandwidth.value == pytest.approx(max(usable(box) for box in boxes))
        assert sum(group.shares) == pytest.approx(1)


def test_an_instance_of_the_ultraserver_is_the_printed_one() -> None:
    # AWS prints 1,024 of the 1,280 GB/s inside an instance of 4 x 4 chips, both directions.
    instance = get_chip("trn2").scale_up.group(16)
    assert (instance.shape, instance.wraps) == ((4, 4), (True, True))
    assert instance.bandwidth.value == pytest.approx(1024e9 / 2)
    assert get_chip("trn2").scale_up.dimension_bandwidth(2).value == pytest.approx(256e9 / 2)


def test_groups_behind_a_switch_and_in_a_mesh() -> None:
    assert one("switch", 144).group(16).bandwidth == BANDWIDTH
    assert one("switch", 144).group(16).shape == (16,)
    assert one("fully connected", 8).group(4).bandwidth.value == pytest.approx(BANDWIDTH.value * 3 / 7)
    for domain in (one("switch", 8), one("fully connected", 8), torus(2, 4)):
        assert domain.group(8) is domain
        assert domain.group(1).size == 1
        for chips in (0, 9):
            with pytest.raises(ModelError, match="allowed: 1 to 8"):
                domain.group(chips)
    with pytest.raises(ModelError, match="found 5; allowed: 1, 2, 3, 4, 6, 8"):
        torus(2, 4).group(5)


def test_labels_and_pickles() -> None:
    assert torus(4, 4, 4).label == "4x4x4 torus"
    assert torus(4, 4).group(8).label == "2x4 open torus"
    assert [one(kind, 8).label for kind in ("switch", "fully connected")] == ["switch of 8", "full mesh of 8"]
    assert pickle.loads(pickle.dumps(torus(4, 4))) == torus(4, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "hypercube"}, "kind of a topology: found 'hypercube'; allowed: torus, switch, fully connected"),
        ({"shape": ()}, "shape of a torus"),
        ({"shape": (4, 0)}, "shape of a torus"),
        ({"shape": (4.0,)}, "shape of a torus"),
        ({"kind": "switch", "shape": (4, 4)}, "shape of a switch"),
        ({"shares": (0.5, 0.6)}, "shares and wraps"),
        ({"shares": (1.0,)}, "shares and wraps"),
        ({"wraps": (True,)}, "shares and wraps"),
        ({"shape": (MOST_CHIPS, 2)}, "chips of a torus"),
        ({"bandwidth": Quantity(1.0, "B", "t")}, "bandwidth of a topology"),
        ({"bandwidth": Quantity(0.0, "B/s", "t")}, "bandwidth of a topology"),
        ({"step_latency": Quantity(-1e-6, "s", "t")}, "step_latency of a topology"),
    ],
)
def test_impossible_topologies_are_refused(changes: dict[str, object], message: str) -> None:
    values = {"kind": "torus", "shape": (4, 4), "bandwidth": BANDWIDTH, "step_latency": STEP} | changes
    with pytest.raises(ModelError, match=message):
        Topology(**values)  # type: ignore[arg-type]


def test_a_dimension_that_is_not_there() -> None:
    with pytest.raises(ModelError, match="dimension of a 4x4 torus: found 2; allowed: 0 to 1"):
        torus(4, 4).dimension_bandwidth(2)
