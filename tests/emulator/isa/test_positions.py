"""nonzero_with_count and sequence_bounds against loops written from the documentation; limits, both modes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.emulator.isa.harness import accepted, psum, rejected, sbuf
from tests.emulator.isa.modes import in_both_modes, in_every_transformation, in_reference
from tests.emulator.isa.values import same
from trnlab.emulator import dtypes
from trnlab.emulator.check.initialisation import uninitialised_reads
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, GenerationError, ShapeError
from trnlab.emulator.isa import positions
from trnlab.emulator.memory import INTEGER_SENTINEL
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.target import get_target
from trnlab.emulator.timing.cost import signature_costs

BF16 = ml_dtypes.bfloat16
SPECIALS = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 1.0, 1.0, -2.0], np.float32)

# ---------------------------------------------------------------------------------------------- nonzero_with_count


def listed(row, offset=0, padding=-1):
    """The published loops for one partition."""
    found = [i + offset for i in range(len(row)) if row[i] != 0]
    return [*found, *[padding] * (len(row) - len(found)), len(found)]


def nonzero(x, **options):
    free = int(np.prod(x.shape[1:]))
    result = nl.ndarray((x.shape[0], free + 1), dtype=nl.int32, buffer=nl.sbuf)
    nisa.nonzero_with_count(result, x, **options)
    return result


def expected_nonzero(tile, offset=0, padding=-1):
    """Partitions 0, 16, 32, ...; the others hold what fresh memory holds."""
    rows = tile.reshape(tile.shape[0], -1)
    result = np.full((rows.shape[0], rows.shape[1] + 1), INTEGER_SENTINEL, np.int32)
    for partition in range(0, rows.shape[0], 16):
        result[partition] = listed(rows[partition], offset, padding)
    return result


def test_nonzero_with_count_example_of_the_reference():
    row = np.array([[0, 1, 1, 0, 0, 1, 0, 0]], np.float32)
    (found,) = in_both_modes(lambda x: nonzero(x, index_offset=16), row)
    same(found, np.array([[17, 18, 21, -1, -1, -1, -1, -1, 3]], np.int32))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    partitions=st.sampled_from([1, 16, 17, 128]),
    density=st.sampled_from([0.0, 0.2, 0.9, 1.0]),
    offset=st.integers(-(2**31), 2**31 - 40),
    padding=st.integers(-(2**31), 2**31 - 1),
)
def test_nonzero_with_count_lists_every_sixteenth_partition(dtype, seed, partitions, density, offset, padding):
    rng = np.random.default_rng(seed)
    tile = (rng.integers(1, 2**31, (partitions, 5, 7)) * (rng.random((partitions, 5, 7)) < density)).astype(dtype)
    (found,) = in_reference(lambda x: nonzero(x, index_offset=offset, padding_val=padding), tile)
    same(found, expected_nonzero(tile, offset, padding))


def test_nonzero_with_count_in_both_modes():
    tile = (np.random.default_rng(6).random((128, 300)) < 0.3).astype(np.float32)
    (found,) = in_both_modes(lambda x: nonzero(x, index_offset=-5, padding_val=2**31 - 1), tile)
    same(found, expected_nonzero(tile, -5, 2**31 - 1))


def test_nonzero_with_count_tells_values_from_zero_by_their_bits():
    row = np.array([[0.0, -0.0, np.nan, 1e-45, -1e-40, np.inf]], np.float32)
    (found,) = in_both_modes(nonzero, row)
    same(found, np.array([[2, 3, 4, 5, -1, -1, 4]], np.int32))
    row = np.array([[0, -(2**31), 2**31 - 1, 1]], np.int32)
    (found,) = in_both_modes(nonzero, row)
    same(found, np.array([[1, 2, 3, -1, 3]], np.int32))


def test_nonzero_with_count_keeps_the_other_partitions():
    def body(x):
        result = nl.ndarray((32, 4), dtype=nl.int32, buffer=nl.sbuf)
        nisa.memset(result, 9)
        nisa.nonzero_with_count(result, x)
        return result

    (found,) = in_both_modes(body, np.ones((32, 3), np.int32))
    expected = np.full((32, 4), 9, np.int32)
    expected[[0, 16]] = [0, 1, 2, 3]
    same(found, expected)


def test_nonzero_with_count_needs_only_the_partitions_it_reads():
    def written(partitions):
        def build():
            source = sbuf((128, 8))
            for partition in partitions:
                nisa.dma_copy(source[partition : partition + 1], hbm_row)
            result = sbuf((128, 9), nl.int32)
            nisa.nonzero_with_count(result, source)

        hbm_row = None

        def kernel():
            nonlocal hbm_row
            hbm_row = nl.ndarray((1, 8), dtype=nl.float32, buffer=nl.private_hbm)
            scratch = sbuf((1, 8))
            nisa.memset(scratch, 1.0)
            nisa.dma_copy(hbm_row, scratch)
            build()

        return uninitialised_reads(accepted(kernel))

    def findings(partitions):
        return [finding for finding in written(partitions) if finding.opcode == "nisa.nonzero_with_count"]

    assert findings(range(0, 128, 16)) == []
    (finding,) = findings([0, 1, 2, 32])
    assert finding.operand == "src"
    assert finding.found.startswith(f"{6 * 8} of")


# ------------------------------------------------------------------------------------------------- sequence_bounds


def bounds_of(ids):
    """Start and end of the run around each element, by walking; n and -1 where the ID is 0."""
    n = len(ids)
    starts, ends = [], []
    for place in range(n):
        start = end = place
        while start > 0 and ids[start - 1] == ids[place]:
            start -= 1
        while end < n and ids[end] == ids[place]:
            end += 1
        starts.append(n if ids[place] == 0 else start)
        ends.append(-1 if ids[place] == 0 else end)
    return [starts, ends]


def bounds(x, dtype=None):
    result = nl.ndarray((1, 2, int(np.prod(x.shape[1:]))), dtype=dtype or x.dtype, buffer=nl.sbuf)
    nisa.sequence_bounds(result, x)
    return result


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_sequence_bounds_example_of_the_reference(dtype):
    ids = np.array([[0, 1, 1, 2, 2, 2, 0, 3, 3]], dtype)
    (found,) = in_both_modes(bounds, ids)
    same(found, np.array([[[9, 1, 1, 3, 3, 3, 9, 7, 7], [-1, 3, 3, 6, 6, 6, -1, 9, 9]]], dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize("result", [nl.float32, nl.int32])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.sampled_from([1, 2, 31, 64]), kinds=st.integers(1, 5))
def test_sequence_bounds_are_those_of_runs(dtype, result, seed, n, kinds):
    ids = np.random.default_rng(seed).integers(0, kinds + 1, (1, n)).astype(dtype)
    (found,) = in_reference(lambda x: bounds(x, result), ids)
    same(found, np.array([bounds_of(ids[0])], dtypes.as_dtype(result).storage))


def test_sequence_bounds_tells_large_integers_apart():
    ids = np.array([[2**24, 2**24 + 1, 2**31 - 1, 2**31 - 1]], np.int32)
    (found,) = in_both_modes(bounds, ids)
    same(found, np.array([[[0, 1, 2, 2], [1, 2, 4, 4]]], np.int32))


def test_sequence_bounds_of_sorted_ids_as_in_the_reference():
    ids = np.sort(np.random.default_rng(0).integers(0, 512, (1, 512))).astype(np.float32)
    (found,) = in_both_modes(bounds, ids)
    same(found, np.array([bounds_of(ids[0])], np.float32))


# ------------------------------------------------------------------------------------------------- transformations


@pytest.mark.slow
def test_bodies_give_the_same_bits_under_every_transformation():
    rng = np.random.default_rng(0)
    flags = (rng.random((2, 32, 9)) < 0.5).astype(np.float32)
    numbers = np.array([3, 2**32 - 1], np.uint32)

    def nonzero_body(dst, src, number):
        return positions.nonzero_with_count.body(dst, src, index_offset=number, padding_val=number)

    in_every_transformation(nonzero_body, np.zeros((2, 32, 10), np.int32), flags, numbers)
    ids = rng.integers(0, 3, (2, 1, 40)).astype(np.int32)
    in_every_transformation(lambda x: positions.sequence_bounds.body(np.zeros((1, 80), np.float32), x), ids)


# ---------------------------------------------------------------------------------------------------------- limits


def call_nonzero(src=(32, 8), dst=(32, 9), dtype=nl.float32, result=nl.int32, **options):
    return lambda: nisa.nonzero_with_count(sbuf(dst, result), sbuf(src, dtype), **options)


def call_bounds(ids=(1, 8), dst=(1, 2, 8), dtype=nl.float32, result=nl.int32):
    return lambda: nisa.sequence_bounds(sbuf(dst, result), sbuf(ids, dtype))


@pytest.mark.parametrize(
    "build",
    [
        call_bounds(),
        call_bounds((1, 4, 2), (1, 16), nl.int32, nl.float32),
    ],
)
@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
def test_accepted_at_the_limits(build, target):
    accepted(build, target)


@pytest.mark.parametrize("target", ["trn2", "trn3", "trn4"])
def test_nonzero_with_count_accepted_from_neuroncore_v3_on(target):
    accepted(call_nonzero(dtype=nl.int32), target)
    accepted(call_nonzero((128, 4, 2), (128, 1, 9), index_offset=-(2**31), padding_val=2**31 - 1), target)


@pytest.mark.parametrize(
    ("build", "error", "instruction", "operand", "found", "allowed"),
    [
        (call_nonzero(dst=(32, 8)), ShapeError, "nonzero_with_count", "dst", "free size 8", "free size 9"),
        (call_nonzero(dst=(16, 9)), ShapeError, "nonzero_with_count", "dst", "count 16", "count 32"),
        (call_nonzero(dtype=nl.bfloat16), DtypeError, "nonzero_with_count", "src", "bfloat16", "float32, int32"),
        (call_nonzero(result=nl.uint32), DtypeError, "nonzero_with_count", "dst", "uint32", "int32"),
        (call_bounds((2, 8), (2, 2, 8)), ShapeError, "sequence_bounds", "segment_ids", "count 2", "at most 1"),
        (call_bounds(dst=(2, 2, 8)), ShapeError, "sequence_bounds", "dst", "count 2", "at most 1"),
        (call_bounds(dst=(1, 8)), ShapeError, "sequence_bounds", "dst", "free size 8", "free size 16"),
        (call_bounds(dtype=nl.int16), DtypeError, "sequence_bounds", "segment_ids", "int16", "float32, int32"),
        (call_bounds(result=nl.bfloat16), DtypeError, "sequence_bounds", "dst", "bfloat16", "float32, int32"),
    ],
)
def test_rejected_past_the_limits(build, error, instruction, operand, found, allowed):
    rejected(error, build, instruction=instruction, operand=operand, found=found, allowed=allowed)


@pytest.mark.parametrize("argument", ["index_offset", "padding_val"])
@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 1.0])
def test_nonzero_with_count_takes_int32(argument, value):
    with pytest.raises(ArgumentError, match=argument):
        accepted(call_nonzero(**{argument: value}))


def test_nonzero_with_count_needs_neuroncore_v3():
    rejected(
        GenerationError,
        call_nonzero(),
        instruction="nonzero_with_count",
        operand="",
        found="nonzero_with_count on NeuronCore-v2",
        allowed="from NeuronCore-v3 (trn2) on",
        target="trn1",
    )


def test_gpsimd_does_not_reach_psum():
    rejected(
        BufferError,
        lambda: nisa.nonzero_with_count(psum((16, 9), nl.int32), sbuf((16, 8))),
        instruction="nonzero_with_count",
        operand="dst",
        found="psum",
        allowed="sbuf",
    )
    rejected(
        BufferError,
        lambda: nisa.sequence_bounds(sbuf((1, 2, 8)), psum((1, 8))),
        instruction="sequence_bounds",
        operand="segment_ids",
        found="psum",
        allowed="sbuf",
    )


def test_costs():
    for name in ("trn2", "trn3"):
        target = get_target(name)
        builds = (call_nonzero((32, 100), (32, 101)), call_bounds((1, 70), (1, 2, 70)))

        def kernel(builds=builds):
            for build in builds:
                build()

        costs = {cost.opcode: cost for cost in signature_costs(accepted(kernel, name), target)}
        assert costs["nonzero_with_count"].cycles == 150 + 100
        assert costs["nonzero_with_count"].assumed
        assert costs["sequence_bounds"].cycles == 150 + 70
        assert costs["sequence_bounds"].assumed
