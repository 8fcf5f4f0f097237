"""local_gather and nc_n_gather against loops written from the documentation; limits, both modes."""

from __future__ import annotations

import functools

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.emulator.isa.harness import accepted, psum, random_bits, rejected, sbuf, words
from tests.emulator.isa.modes import in_both_modes, in_every_transformation, in_reference
from tests.emulator.isa.values import same
from trnlab.emulator import dtypes
from trnlab.emulator.check.limits import what_breaks
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, ShapeError
from trnlab.emulator.isa import gather
from trnlab.emulator.memory import uninitialised_bytes
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.target import get_target
from trnlab.emulator.timing.cost import signature_costs

DTYPES = [np.float32, ml_dtypes.bfloat16, np.float16, ml_dtypes.float8_e5m2, np.int32, np.uint8]


def fresh(dtype):
    """What memory that nothing wrote holds, as one element."""
    found = dtypes.as_dtype(dtype)
    return uninitialised_bytes(found, found.itemsize).view(found.storage)[0]


# ---------------------------------------------------------------------------------------------------- local_gather


def expected_local(source, index, run, count):
    """The published NumPy semantics, with an index that counts elements; out of bounds, what fresh memory holds."""
    rows = source.reshape(source.shape[0], -1)
    result = np.full((rows.shape[0], count * run), fresh(source.dtype), source.dtype)
    for core in range(rows.shape[0] // 16):
        mine = slice(16 * core, 16 * core + 16)
        indices = index.reshape(index.shape[0], -1)[mine].flatten(order="F")[:count]
        for j, start in enumerate(indices.tolist()):
            for e in range(run):
                if start + e < rows.shape[1]:
                    result[mine, j * run + e] = rows[mine, start + e]
    return result


def local(source, index, run=1, count=None):
    used = 16 * int(np.prod(index.shape[1:])) if count is None else count
    result = nl.ndarray((source.shape[0], used * run), dtype=source.dtype, buffer=nl.sbuf)
    nisa.local_gather(result, source, index, run, count)
    return result


def test_local_gather_example_of_the_reference():
    """128 partitions of 512 runs of 4 elements, the same 64 indices on every core."""
    rng = np.random.default_rng(0)
    source = (rng.random((128, 512, 4)) * 100).astype(np.float32)
    index = np.tile(rng.integers(0, 512, (16, 4)).astype(np.uint16), (8, 1))
    (found,) = in_both_modes(lambda s, i: local(s, i, 4, 64), source, index * np.uint16(4))
    indices = index[:16].flatten(order="F")
    same(found, source[:, indices].reshape(128, -1))


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([(16, 40, 2, 1), (48, 70, 1, 8), (32, 33, 3, 32)]),
    short=st.sampled_from([0, 1, 15]),
)
def test_local_gather_reads_runs_within_each_core(dtype, seed, shape, short):
    partitions, elements, columns, run = shape
    source = random_bits((partitions, elements), dtype, seed)
    index = np.random.default_rng(seed).integers(0, elements + 9, (partitions, columns)).astype(np.uint16)
    count = 16 * columns - short
    (found,) = in_reference(lambda s, i: local(s, i, run, count), source, index)
    same(found, expected_local(source, index, run, count))


@pytest.mark.parametrize("dtype", DTYPES)
def test_local_gather_in_both_modes(dtype):
    source = random_bits((32, 3, 20), dtype)
    index = np.random.default_rng(3).integers(0, 65536, (32, 2, 3)).astype(np.uint16)
    index[:, 0] %= 59  # others are mostly out of bounds
    (found,) = in_both_modes(lambda s, i: local(s, i, 2), source, index)
    same(found, expected_local(source, index, 2, 96))


# ----------------------------------------------------------------------------------------------------- nc_n_gather


def expected_flat(data, indices):
    rows, wanted = data.reshape(data.shape[0], -1), indices.reshape(indices.shape[0], -1)
    values = [
        [row[i] if i < len(row) else fresh(data.dtype) for i in places]
        for row, places in zip(rows, wanted.tolist(), strict=True)
    ]
    return np.array(values, data.dtype).reshape(indices.shape)


def flat(data, indices):
    result = nl.ndarray(indices.shape, dtype=data.dtype, buffer=nl.sbuf)
    nisa.nc_n_gather(result, data, indices)
    return result


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), shape=st.sampled_from([(1, (5,), (9,)), (7, (3, 4), (2, 2)), (128, (2, 3), (1,))])
)
def test_n_gather_takes_elements_of_the_flattened_partition(dtype, seed, shape):
    partitions, free, wanted = shape
    data = random_bits((partitions, *free), dtype, seed)
    indices = np.random.default_rng(seed).integers(0, np.prod(free) + 2, (partitions, *wanted)).astype(np.uint32)
    (found,) = in_reference(flat, data, indices)
    same(found, expected_flat(data, indices))


@pytest.mark.parametrize("dtype", DTYPES)
def test_n_gather_in_both_modes(dtype):
    data = random_bits((16, 1200), dtype)
    indices = np.random.default_rng(1).integers(0, 1200, (16, 600)).astype(np.uint32)
    indices[3, :4] = [1199, 1200, 2**31, 2**32 - 1]  # the last three are out of bounds
    (found,) = in_both_modes(flat, data, indices)
    same(found, expected_flat(data, indices))


def test_n_gather_moves_packed_elements():
    def body(x, indices):
        return flat(x.view(nl.float8_e4m3fn_x4), indices).view(nl.uint32)

    data, indices = random_bits((4, 8), np.uint32), np.array([[7, 0]] * 4, np.uint32)
    (found,) = in_both_modes(body, data, indices)
    same(found, data[:, [7, 0]])


# ------------------------------------------------------------------------------------------------- transformations


@pytest.mark.slow
def test_bodies_give_the_same_bits_under_every_transformation():
    rng = np.random.default_rng(0)
    facts = {"src_buffer": dtypes.bfloat16, "data": dtypes.bfloat16}
    source = np.stack([random_bits((32, 20), ml_dtypes.bfloat16, seed) for seed in range(2)])
    index = rng.integers(0, 24, (2, 32, 2)).astype(np.uint16)
    gathered = functools.partial(gather.local_gather.body, num_elem_per_idx=4, num_valid_indices=30, dtypes=facts)
    in_every_transformation(gathered, source, index)
    indices = rng.integers(0, 24, (2, 32, 5)).astype(np.uint32)
    in_every_transformation(functools.partial(gather.nc_n_gather.body, dtypes=facts), source, indices)


# ---------------------------------------------------------------------------------------------------------- limits


def call_local(source=(16, 8), index=(16, 2), run=1, count=32, dst=None, dtype=nl.float32, result=None, kind=nl.uint16):
    def build():
        into = sbuf(dst or (source[0], (count or 0) * run or 1), result or dtype)
        nisa.local_gather(into, sbuf(source, dtype), sbuf(index, kind), run, count)

    return build


def call_flat(data=(4, 8), indices=(4, 3), dst=(4, 3), dtype=nl.float32, result=nl.float32, kind=nl.uint32):
    return lambda: nisa.nc_n_gather(sbuf(dst, result), sbuf(data, dtype), sbuf(indices, kind))


@pytest.mark.parametrize(
    "build",
    [
        *(call_local(run=run) for run in (1, 2, 4, 8, 16, 32)),
        call_local(count=1),
        call_local(count=31),
        call_local((128, 3, 4), (128, 256), count=4096),
        call_local((128, 8), (128, 300), count=4096),
        call_local(dtype=nl.uint8),
        lambda: nisa.local_gather(sbuf((16, 32)), sbuf((16, 8)), sbuf((16, 2), nl.uint16)),
        call_flat(),
        call_flat((128, 16384), (128, 4, 2), (128, 8)),
    ],
)
@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
def test_accepted_at_the_limits(build, target):
    program = accepted(build, target)
    assert what_breaks(program, get_target(target)) == ()


@pytest.mark.parametrize(
    ("build", "error", "instruction", "operand", "found", "allowed"),
    [
        (call_local((24, 8), (24, 2)), ShapeError, "local_gather", "src_buffer", "count 24", "multiple of 16"),
        (call_local(index=(32, 2)), ShapeError, "local_gather", "index", "count 32", "count 16"),
        (call_local(dst=(32, 32)), ShapeError, "local_gather", "dst", "count 32", "count 16"),
        (call_local(run=3), ArgumentError, "local_gather", "num_elem_per_idx", "3", "1, 2, 4, 8, 16, 32"),
        (call_local(run=64), ArgumentError, "local_gather", "num_elem_per_idx", "64", "1, 2, 4, 8, 16, 32"),
        (call_local(count=33), ArgumentError, "local_gather", "num_valid_indices", "33", "1 to 32"),
        (call_local(count=0), ArgumentError, "local_gather", "num_valid_indices", "0", "1 to 32"),
        (
            call_local((16, 8), (16, 257), count=4097),
            ArgumentError,
            "local_gather",
            "num_valid_indices",
            "4097",
            "1 to 4096",
        ),
        (call_local(run=2, dst=(16, 32)), ShapeError, "local_gather", "dst", "free size 32", "free size 64"),
        (call_local(result=nl.bfloat16), DtypeError, "local_gather", "dst", "bfloat16", "dtype float32"),
        (call_local(kind=nl.uint32), DtypeError, "local_gather", "index", "uint32", "uint16"),
        (call_local(kind=nl.int16), DtypeError, "local_gather", "index", "int16", "uint16"),
        (call_flat(result=nl.bfloat16), DtypeError, "nc_n_gather", "dst", "bfloat16", "dtype float32"),
        (call_flat(kind=nl.int32), DtypeError, "nc_n_gather", "indices", "int32", "uint32"),
        (call_flat(indices=(8, 3)), ShapeError, "nc_n_gather", "indices", "count 8", "count 4"),
        (call_flat(dst=(4, 4)), ShapeError, "nc_n_gather", "dst", "free size 4", "free size 3"),
    ],
)
def test_rejected_past_the_limits(build, error, instruction, operand, found, allowed):
    rejected(error, build, instruction=instruction, operand=operand, found=found, allowed=allowed)


def test_gpsimd_does_not_reach_psum():
    rejected(
        BufferError,
        lambda: nisa.nc_n_gather(sbuf((4, 3)), psum((4, 8)), sbuf((4, 3), nl.uint32)),
        instruction="nc_n_gather",
        operand="data",
        found="psum",
        allowed="sbuf",
    )
    rejected(
        BufferError,
        lambda: nisa.local_gather(psum((16, 16)), sbuf((16, 8)), sbuf((16, 1), nl.uint16)),
        instruction="local_gather",
        operand="dst",
        found="psum",
        allowed="sbuf",
    )


def cost_of(build, opcode, name="trn2"):
    costs = signature_costs(accepted(build, name), get_target(name))
    return next(cost for cost in costs if cost.opcode == opcode)


def test_costs():
    # 150 + indices * E * (28 + 4 E) / (4 E) / min(4 / bytes, E)
    assert cost_of(call_local(count=32), "local_gather").cycles == 150 + 32 * 8
    assert cost_of(call_local(run=4, count=32), "local_gather").cycles == 150 + 32 * 11
    bytewise = cost_of(call_local(run=4, count=32, dtype=nl.uint8), "local_gather")
    assert bytewise.cycles == 150 + 32 * 11 / 4
    assert bytewise.assumed
    assert cost_of(call_flat((4, 8), (4, 512), (4, 512)), "nc_n_gather").cycles == 150 + 512
    assert cost_of(call_flat((4, 8), (4, 513), (4, 513)), "nc_n_gather").cycles == 2 * 150 + 513


def test_fresh_memory_is_what_the_tests_take_it_for():
    assert np.isnan(fresh(np.float32))
    assert fresh(np.int32) == 4
    assert words(np.array([fresh(ml_dtypes.bfloat16)]))[0] == 0x7FC0
