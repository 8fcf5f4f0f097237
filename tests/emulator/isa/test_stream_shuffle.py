"""nc_stream_shuffle against loops written from the documentation; limits, both modes."""

from __future__ import annotations

import functools

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.emulator.isa.harness import accepted, hbm, psum, random_bits, rejected, sbuf
from tests.emulator.isa.modes import in_both_modes, in_every_transformation, in_reference
from tests.emulator.isa.values import same
from trnlab.emulator.check.initialisation import uninitialised_reads
from trnlab.emulator.check.limits import what_breaks
from trnlab.emulator.errors import ArgumentError, DtypeError, PartitionError, ShapeError
from trnlab.emulator.isa import gather
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.target import get_target
from trnlab.emulator.timing.cost import signature_costs

DTYPES = [np.float32, ml_dtypes.bfloat16, np.float16, ml_dtypes.float8_e5m2, np.int32, np.uint8]


def expected_shuffle(dst, src, mask):
    """The rule of the reference, quadrant by quadrant."""
    result = dst.copy()
    for partition in range(len(dst)):
        quadrant, entry = partition // 32, mask[partition % 32]
        if entry != 255:
            result[partition] = src[32 * quadrant + entry]
    return result


def shuffle(mask):
    def body(dst, src):
        nisa.nc_stream_shuffle(dst, src, mask)
        return dst

    return body


@pytest.mark.parametrize(
    ("partitions", "dtype"), [*((96, dtype) for dtype in DTYPES), *((size, DTYPES[0]) for size in (32, 64, 128))]
)
def test_stream_shuffle_in_both_modes(partitions, dtype):
    rng = np.random.default_rng(partitions)
    dst, src = random_bits((partitions, 3, 5), dtype, 1), random_bits((partitions, 15), dtype, 2)
    mask = np.where(rng.random(32) < 0.3, 255, rng.integers(0, 32, 32))
    (found,) = in_both_modes(shuffle(mask.tolist()), dst, src)
    same(found, expected_shuffle(dst, src.reshape(dst.shape), mask))


@settings(max_examples=25, deadline=None)
@given(
    mask=st.lists(st.one_of(st.integers(0, 31), st.just(255)), min_size=32, max_size=32),
    partitions=st.sampled_from([1, 8, 32, 40, 128]),
)
def test_stream_shuffle_takes_any_mask(mask, partitions):
    src = np.arange(128 * 2, dtype=np.int32).reshape(128, 2)
    dst = -np.ones((partitions, 2), np.int32)
    (found,) = in_reference(shuffle(mask), dst, src)
    same(found, expected_shuffle(dst, src, mask))


def test_stream_shuffle_examples_of_the_reference():
    data = np.random.default_rng(0).random((128, 128), np.float32)
    rotate = [(i - 1) % 32 for i in range(32)]

    def in_place(x):
        nisa.nc_stream_shuffle(x, x, rotate)
        return x

    (found,) = in_both_modes(in_place, data[:32])
    same(found, np.roll(data[:32], 1, axis=0))
    (found,) = in_both_modes(shuffle([0] * 32), np.zeros((32, 128), np.float32), data[:1])
    same(found, np.repeat(data[:1], 32, axis=0))
    (found,) = in_both_modes(shuffle(rotate), np.zeros_like(data), data)
    same(found, np.roll(data.reshape(4, 32, 128), 1, axis=1).reshape(128, 128))


def test_stream_shuffle_broadcasts_over_all_partitions_in_place():
    """One partition to 32 at a time, dst and src views of one tile, as AWS's kernels do."""
    data = np.zeros((128, 8), ml_dtypes.bfloat16)
    data[0] = np.arange(8)

    def body(x):
        for start in range(0, 128, 32):
            nisa.nc_stream_shuffle(src=x[0:1], dst=x[start : start + 32], shuffle_mask=[0] * 32)
        return x

    (found,) = in_both_modes(body, data)
    same(found, np.repeat(data[:1], 128, axis=0))


def test_stream_shuffle_between_quadrants_and_memories():
    data = random_bits((128, 4), np.float32, 9)

    def body(x):
        held, result = psum((64, 4)), nl.ndarray((64, 4), dtype=nl.float32, buffer=nl.sbuf)
        nisa.nc_stream_shuffle(held, x[64:128], list(range(31, -1, -1)))
        nisa.nc_stream_shuffle(result, held, [5] * 32)
        return result

    (found,) = in_both_modes(body, data, target="trn1")
    same(found, np.repeat(data[[64 + 26, 96 + 26]], 32, axis=0))


def test_stream_shuffle_reads_dst_only_where_the_mask_keeps():
    def build(mask, partitions=32):
        nisa.nc_stream_shuffle(sbuf((partitions, 4)), sbuf((32, 4)), mask)

    def access(mask, partitions=32):
        (signature,) = (s for s in accepted(lambda: build(mask, partitions)).signatures if "shuffle" in s.opcode)
        return signature.operands[0].access

    assert access(list(range(32))) == "write"
    assert access([*range(31), 255]) == "update"
    assert access([*range(31), 255], 31) == "write"  # the entry is of a partition that dst does not have


def test_stream_shuffle_needs_only_the_partitions_it_reads():
    def program(mask, written):
        def build():
            source, result = sbuf((64, 4)), sbuf((64, 4))
            row = hbm((1, 4))
            nisa.dma_copy(row, store)
            for partition in written:
                nisa.dma_copy(source[partition : partition + 1], row)
            nisa.nc_stream_shuffle(result, source, mask)

        store = None

        def kernel():
            nonlocal store
            store = sbuf((1, 4))
            nisa.memset(store, 1.0)
            build()

        findings = uninitialised_reads(accepted(kernel))
        return [finding for finding in findings if finding.opcode == "nisa.nc_stream_shuffle"]

    assert program([16] + [255] * 31, [16, 48]) == []
    (finding,) = program([16, 3] + [255] * 30, [16, 48, 35])
    assert finding.operand == "src"
    assert finding.found.startswith("4 of")  # partition 3


@pytest.mark.slow
def test_the_body_gives_the_same_bits_under_every_transformation():
    rng = np.random.default_rng(0)
    source = np.stack([random_bits((32, 20), ml_dtypes.bfloat16, seed) for seed in range(2)])
    mask = tuple(rng.permutation([*range(24), *[255] * 8]).tolist())
    shuffled = functools.partial(gather.nc_stream_shuffle.body, shuffle_mask=mask, keeps=True)
    in_every_transformation(shuffled, source[::-1].copy(), source)


# ---------------------------------------------------------------------------------------------------------- limits

MASK = list(range(32))


def call_shuffle(dst=(32, 4), src=(32, 4), mask=MASK, dtype=nl.float32, result=nl.float32):
    return lambda: nisa.nc_stream_shuffle(sbuf(dst, result), sbuf(src, dtype), mask)


def started(dst_start, dst_count, src_start, src_count, mask):
    def build():
        dst, src = sbuf((128, 4)), sbuf((128, 4))
        nisa.nc_stream_shuffle(dst[dst_start : dst_start + dst_count], src[src_start : src_start + src_count], mask)

    return build


FIRST = [0] * 32
HIGH = [255] * 8 + [0] * 24  # reads nothing for a second quadrant of 8 partitions


@pytest.mark.parametrize(
    "build",
    [
        call_shuffle(),
        call_shuffle((128, 2, 2), (128, 4), [*range(31), 255]),
        call_shuffle((31, 4), (31, 4), MASK),
        call_shuffle((8, 4), (1, 4), FIRST),
        call_shuffle((32, 4), (128, 4)),
        started(96, 32, 32, 32, MASK),
        started(64, 64, 0, 64, MASK),
        started(0, 96, 0, 96, MASK),
        started(64, 20, 96, 1, FIRST),
        started(64, 40, 64, 1, HIGH),
    ],
)
@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
def test_accepted_at_the_limits(build, target):
    program = accepted(build, target)
    assert what_breaks(program, get_target(target)) == ()


@pytest.mark.parametrize(
    ("build", "error", "operand", "found", "allowed"),
    [
        (call_shuffle(mask=MASK[:31]), ArgumentError, "shuffle_mask", "31 entries", "32 integers"),
        (call_shuffle(mask=[32, *MASK[1:]]), ArgumentError, "shuffle_mask", "entry 32", "0 to 31"),
        (call_shuffle(mask=[*MASK[1:], -1]), ArgumentError, "shuffle_mask", "entry -1", "0 to 31"),
        (call_shuffle(mask=[254, *MASK[1:]]), ArgumentError, "shuffle_mask", "entry 254", "255"),
        (call_shuffle(result=nl.int32), DtypeError, "dst", "int32", "dtype float32"),
        (call_shuffle((32, 5)), ShapeError, "dst", "free size 5", "free size 4"),
        (call_shuffle(src=(31, 4)), ShapeError, "src", "reads partition 31", "a partition of src"),
        (call_shuffle((64, 4), (1, 4), FIRST), ShapeError, "src", "partition 32", "quadrant by"),
        (started(0, 40, 32, 1, HIGH), PartitionError, "src", "partition 32", "40 partitions start at 0, 64"),
        (started(32, 20, 0, 128, MASK), PartitionError, "dst", "partition 32", "start at 0"),
        (started(32, 20, 0, 64, MASK), PartitionError, "dst", "partition 32", "start at 0, 64"),
        (started(16, 16, 0, 32, MASK), PartitionError, "dst", "partition 16", "0, 32, 64, 96"),
    ],
)
def test_rejected_past_the_limits(build, error, operand, found, allowed):
    rejected(error, build, instruction="nc_stream_shuffle", operand=operand, found=found, allowed=allowed)


@pytest.mark.parametrize("mask", [None, 3, "abc", [0.0] * 32])
def test_the_mask_is_a_list_of_integers(mask):
    with pytest.raises(ArgumentError, match=r"shuffle_mask.*integer"):
        accepted(call_shuffle(mask=mask))


def test_cost_is_one_element_per_cycle():
    target = get_target("trn2")
    costs = signature_costs(accepted(call_shuffle((32, 500), (32, 500)), "trn2"), target)
    moved = next(cost for cost in costs if cost.opcode == "nc_stream_shuffle")
    assert moved.cycles == 500 + target.vector_static_cycles
    assert not moved.assumed
    assert moved.work.elementwise_operations == 0
