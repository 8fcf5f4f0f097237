"""The record of PSUM writes against a map of bytes, and what it decides for a matmul's accumulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.emulator.isa.harness import accepted, load, psum, rejected, run, sbuf, store
from trnlab.emulator import dtypes
from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.memory import Allocation, Buffer, MemoryRegion
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.psum import Origin, footprint, record_of
from trnlab.emulator.tensor import NkiTensor

PARTITIONS, BYTES = 16, 48


class Owner:
    is_open = True

    def assign(self, view, value):
        raise AssertionError


def buffer(dtype):
    shape = (PARTITIONS, BYTES // dtype.itemsize)
    return NkiTensor(shape, dtype, Allocation(Buffer(0, MemoryRegion.psum, shape, dtype, "t"), Owner(), None))


@st.composite
def views(draw):
    """Views of one buffer: any item size, any range of partitions, strided, nested and reversed free patterns."""
    base = buffer(dtypes.float32).view(draw(st.sampled_from([dtypes.float32, dtypes.bfloat16, dtypes.uint8])))
    first = draw(st.integers(0, PARTITIONS - 1))
    count = draw(st.integers(1, PARTITIONS - first))
    row = base.shape[1]
    outer, inner = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    steps = [draw(st.integers(-row // 4, row // 4)), draw(st.integers(-2, 2))]
    reach = [min(s, 0) * (n - 1) for s, n in zip(steps, (outer, inner), strict=True)]
    extent = [max(s, 0) * (n - 1) for s, n in zip(steps, (outer, inner), strict=True)]
    start = draw(st.integers(-sum(reach), max(-sum(reach), row - 1 - sum(extent))))
    if start + sum(extent) >= row:
        start = -sum(reach)
        outer, steps[0] = 1, 1
    return base.ap([[row, count], [steps[0], outer], [steps[1], inner]], offset=first * row + start)


def bytes_of(view):
    """The bytes a view reaches, by enumeration."""
    reached = np.zeros(PARTITIONS * BYTES, bool)
    index = np.zeros(view.shape, int) + view.offset
    for dim, (size, stride) in enumerate(zip(view.shape, view.strides, strict=True)):
        index = index + (np.arange(size) * stride).reshape((-1,) + (1,) * (len(view.shape) - dim - 1))
    for element in np.unique(index):
        reached[element * view.dtype.itemsize : (element + 1) * view.dtype.itemsize] = True
    return reached


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(views(), st.sampled_from(Origin)), max_size=8), views())
def test_history_is_that_of_a_map_of_bytes(writes, asked):
    record = record_of(buffer(dtypes.float32))
    last = np.full(PARTITIONS * BYTES, -1)
    for view, origin in writes:
        record.note(view, origin)
        last[bytes_of(view)] = origin
    place = footprint(asked)
    assert place is not None
    seen = set(last[bytes_of(asked)].tolist())
    history = record.history(place)
    assert (history.matmul, history.zero, history.other, history.nothing) == tuple(
        origin in seen for origin in (Origin.MATMUL, Origin.ZERO, Origin.OTHER, -1)
    )
    assert all(
        first.end <= second.first for first, second in zip(sorted_bands(record), sorted_bands(record)[1:], strict=False)
    )


def sorted_bands(record):
    return sorted(record.bands, key=lambda band: band.first)


@given(views())
def test_a_footprint_names_the_bytes_of_a_view(view):
    place = footprint(view)
    assert place is not None
    inside = np.array([(place.bytes >> byte) & 1 for byte in range(BYTES)], bool)
    expected = np.zeros((PARTITIONS, BYTES), bool)
    expected[place.first : place.end] = inside
    assert (expected.reshape(-1) == bytes_of(view)).all()
    assert place.byte_range == (int(np.flatnonzero(inside)[0]), int(np.flatnonzero(inside)[-1]) + 1)


def test_a_skewed_or_run_time_place_is_not_known():
    base = buffer(dtypes.float32)
    assert footprint(base.ap([[13, 4], [1, 2]])) is None  # 13 elements: not a step of whole partitions
    assert footprint(base.ap([[12, 4], [1, 13]])) is None  # runs over into the next partition


# ------------------------------------------------------------------------------------ decisions, inside kernels

ONES = np.ones((32, 32), np.float32)  # a product of ones sums K = 32 ones


def matmul(dst, tile, accumulate=None):
    nisa.nc_matmul(dst, tile, tile[:, : dst.shape[-1]] if dst.shape[-1] < 32 else tile, accumulate=accumulate)


def values(body, target="trn3", columns=32):
    def kernel(ones):
        result = psum((32, columns))
        body(result, load(ones))
        return store(result)

    return run(kernel, ONES, target=target)


def refusal(body, found, allowed, target="trn3", columns=32):
    def build():
        body(psum((32, columns)), sbuf((32, 32)))

    rejected(
        ArgumentError, build, instruction="nc_matmul", operand="accumulate", found=found, allowed=allowed, target=target
    )


@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
def test_the_first_write_overwrites_and_later_ones_accumulate(target):
    def body(result, tile):
        for _ in range(3):
            matmul(result, tile)

    assert (values(body, target) == 3 * 32).all()


def test_disjoint_and_contained_views_have_their_own_history():
    def body(result, tile):
        matmul(result[:, :16], tile)
        matmul(result[:, 16:], tile)  # disjoint: overwrites
        matmul(result, tile)  # covered by the two together: accumulates
        matmul(result[:, 4:20], tile)  # inside: accumulates

    expected = np.full((32, 32), 2 * 32.0)
    expected[:, 4:20] += 32
    assert (values(body) == expected).all()


def test_interleaved_views_are_told_apart():
    def body(result, tile):
        matmul(result[:, 0:64:2], tile)
        matmul(result[:, 1:64:2], tile)
        matmul(result[:, 1:64:2], tile)

    assert (values(body, columns=64) == np.tile([32.0, 64.0], 32)).all()


def test_a_view_written_in_part_asks_for_an_explicit_flag():
    def body(result, tile):
        matmul(result[:, :16], tile)
        matmul(result, tile)

    refusal(body, "of which a part was written before", "accumulate=True or accumulate=False")


def test_accumulating_onto_nothing_is_refused_everywhere():
    for target in ("trn1", "trn2", "trn3", "trn4"):
        refusal(lambda result, tile: matmul(result, tile, True), "not initialised", "wrote before", target)


def memset(value):
    def body(result, tile):
        nisa.memset(result, value)
        matmul(result, tile, None)

    return body


def test_newer_generations_accumulate_onto_data_of_any_origin():
    assert (values(memset(5.0), "trn3") == 32 + 5).all()
    assert (values(memset(5.0), "trn4") == 32 + 5).all()

    def explicit(result, tile):
        nisa.memset(result, 5.0)
        matmul(result, tile, True)

    assert (values(explicit, "trn3") == 32 + 5).all()
    for target in ("trn1", "trn2"):
        refusal(explicit, "written by another instruction than a matmul", "accumulate=False wrote before", target)


@pytest.mark.parametrize("target", ["trn1", "trn2"])
def test_older_generations_overwrite_zeros_and_refuse_other_data(target):
    def zeros(result, tile):
        nisa.memset(result, 0)
        matmul(result, tile)
        matmul(result, tile)

    assert (values(zeros, target) == 2 * 32).all()
    refusal(memset(5.0), "written by another instruction than a matmul", "accumulate=False wrote before", target)

    def explicit(result, tile):
        nisa.memset(result, 0)
        matmul(result, tile, True)

    cure = "accumulate=False wrote before; without accumulate, the first matmul overwrites the zeros"
    refusal(explicit, "written by another instruction than a matmul", cure, target)

    def half(result, tile):
        nisa.memset(result, 0)
        matmul(result[:, :16], tile)
        matmul(result, tile)

    refusal(half, "of which a part was written before", "accumulate=True or accumulate=False", target)


def test_a_write_by_another_engine_ends_the_history_of_a_matmul():
    def body(result, tile):
        matmul(result, tile)
        nisa.tensor_copy(result[:, 8:9], tile[:, 8:9])
        matmul(result, tile)

    expected = np.full((32, 32), 64.0)
    expected[:, 8] = 33
    assert (values(body, "trn3") == expected).all()
    refusal(body, "written by another instruction than a matmul", "accumulate=False wrote before", "trn2")


def test_in_a_run_time_loop_the_first_write_must_be_explicit():
    def loop(accumulate, *, inside):
        def build():
            outer, tile, count = psum((32, 32)), sbuf((32, 32)), nisa.register_alloc(3)
            for _ in nl.dynamic_range(count):
                result = psum((32, 32)) if inside else outer
                nisa.nc_matmul(result, tile, tile, accumulate=accumulate)
                nisa.nc_matmul(result, tile, tile)

        return build

    rejected(
        ArgumentError,
        loop(None, inside=False),
        instruction="nc_matmul",
        operand="accumulate",
        found="in a run-time loop, to PSUM allocated outside of the loop",
        allowed="one instruction stands for every iteration",
    )
    accepted(loop(None, inside=True))
    accepted(loop(False, inside=False))


def test_accumulation_through_a_run_time_loop():
    def kernel(ones):
        result, tile, count = psum((32, 32)), load(ones), nisa.register_alloc(4)
        nisa.nc_matmul(result, tile, tile, accumulate=False)
        for _ in nl.dynamic_range(count):
            nisa.nc_matmul(result, tile, tile)
        return store(result)

    assert (run(kernel, ONES) == 5 * 32).all()


def test_a_place_known_at_run_time_only_asks_for_an_explicit_flag():
    def build(accumulate):
        def body():
            result, tile, where = psum((32, 64)), sbuf((32, 32)), nisa.register_alloc(8)
            nisa.nc_matmul(result[:, nl.ds(where, 32)], tile, tile, accumulate=accumulate)

        return body

    rejected(
        ArgumentError,
        build(None),
        instruction="nc_matmul",
        operand="accumulate",
        found="a place known only at run time",
        allowed="accumulate=True or accumulate=False",
    )
    accepted(build(False))
