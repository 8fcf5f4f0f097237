"""tensor_partition_reduce: folds over partitions against NumPy, bit patterns, limits."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.emulator.isa.agreement import run_both, same_in_every_form
from tests.emulator.isa.conftest import run_tiles
from tests.emulator.isa.values import UNIT, F, P, f32, f64, instructions, like, random, same
from trnlab.emulator import dtypes
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, ShapeError
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.target import Engine

NUMBERS = [np.float32, ml_dtypes.bfloat16, np.float16, ml_dtypes.float8_e4m3, np.int8, np.uint16, np.int32]


def reduced(op, dtype=nl.float32):
    """A body that folds its tile into one partition."""

    def body(x):
        result = like(x, dtype, (1, *x.shape[1:]))
        nisa.tensor_partition_reduce(result, op, x)
        return result

    return body


def within(found, exact, magnitude, roundings):
    assert (np.abs(f64(found) - exact) <= roundings * UNIT * magnitude + 2.0**-126).all()


@settings(max_examples=14)
@given(
    shape=st.tuples(st.integers(1, 128), st.integers(1, 40)),
    dtype=st.sampled_from(NUMBERS),
    op=st.sampled_from(["add", "average", "maximum"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_folds_over_partitions(shape, dtype, op, seed):
    values = (np.random.default_rng(seed).standard_normal(shape) * 50).astype(np.float32).astype(dtype)
    found = run_tiles(reduced(getattr(nl, op)), values).outputs[0]
    assert found.shape == (1, shape[1])
    if op == "maximum":
        same(found, f32(values).max(axis=0, keepdims=True))
        return
    share = shape[0] if op == "average" else 1
    exact, magnitude = (x.sum(axis=0, keepdims=True) / share for x in (f64(values), np.abs(f64(values))))
    within(found, exact, magnitude, 9)  # ceil(log2 128) additions by halves, a division, one to spare


@settings(max_examples=10)
@given(
    rows=st.integers(1, 128),
    dtype=st.sampled_from([np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32]),
    op=st.sampled_from(["bitwise_or", "bitwise_and"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_folds_bits_over_partitions(rows, dtype, op, seed):
    limits, rng = np.iinfo(dtype), np.random.default_rng(seed)
    values = rng.integers(limits.min, limits.max, (rows, 9), dtype=dtype, endpoint=True)
    if op == "bitwise_or":  # few bits set, so that the result is not all ones
        values &= rng.integers(limits.min, limits.max, (rows, 9), dtype=dtype, endpoint=True)
        values[2:] &= dtype(3)
    expected = getattr(np, op).reduce(values, axis=0, keepdims=True)
    same(run_tiles(reduced(getattr(nl, op), np.dtype(dtype).name), values).outputs[0], expected)


def test_a_narrow_source_is_extended_with_zeros_and_a_narrow_destination_keeps_low_bits(run):
    values = random(np.int8)

    def body(x):
        wide, narrow = like(x, nl.uint32, (1, F)), like(x, nl.uint8, (1, F))
        nisa.tensor_partition_reduce(wide, nl.bitwise_and, x)
        nisa.tensor_partition_reduce(narrow, nl.bitwise_or, wide)
        return wide, narrow

    wide, narrow = run(body, values).outputs
    expected = np.bitwise_and.reduce(values.view(np.uint8), axis=0, keepdims=True)
    same(wide, expected.astype(np.uint32))
    same(narrow, expected)


def test_sums_are_in_float32_and_rounded_once(run):
    values = np.ones((128, 5), ml_dtypes.bfloat16)
    values[0] = 256  # bfloat16 has no 257: a bfloat16 sum would stay at 256

    result = run(reduced(nl.add, nl.bfloat16), values).outputs[0]
    same(result, np.full((1, 5), 256 + 127, np.float32).astype(ml_dtypes.bfloat16))


def test_free_dimensions_keep_their_order(run):
    values = random(np.float32, (128, 32, 4))

    def body(x):
        result, flat = like(x, shape=(1, 32, 4)), like(x, shape=(1, 128))
        nisa.tensor_partition_reduce(result, nl.add, x)  # the reference's example 1
        nisa.tensor_partition_reduce(flat, nl.add, x)
        return result, flat

    result, flat = run(body, values).outputs
    within(result, f64(values).sum(axis=0, keepdims=True), np.abs(f64(values)).sum(axis=0, keepdims=True), 8)
    same(flat, result.reshape(1, 128))


def test_maximum_keeps_nan_and_signs_of_zero(run):
    values = np.full((P, 3), -0.0, np.float32)
    values[17] = [np.nan, 0.0, -0.0]
    result = run(reduced(nl.max), values).outputs[0]
    same(result, np.array([[np.nan, 0.0, -0.0]], np.float32))


def test_views_may_start_in_any_quadrant():
    values = random(np.float32, (128, F))

    def body(x):
        result = like(x, shape=(P, F))
        nisa.memset(result, 0.0)
        nisa.tensor_partition_reduce(result[32:33, 1:F:2], nl.add, x[64:96, 0:F:2])
        return result

    ran = run_both(body, values)
    part = values[64:96, 0:F:2]
    within(ran.outputs[0][32:33, 1:F:2], f64(part).sum(axis=0), np.abs(f64(part)).sum(axis=0), 6)
    assert instructions(ran, "tensor_partition_reduce")[0].engine is Engine.GPSIMD


@pytest.mark.slow
def test_the_fold_has_one_meaning():
    values, bits = random(np.float32, (96, 13)), random(np.int16, (96, 13))

    def body(x, y):
        results = [like(x, shape=(1, 13)) for _ in range(3)]
        for result, op in zip(results, (nl.add, nl.average, nl.maximum), strict=True):
            nisa.tensor_partition_reduce(result, op, x)
        patterns = like(y, shape=(1, 13))
        nisa.tensor_partition_reduce(patterns, nl.bitwise_and, y)
        return *results, patterns

    same_in_every_form(run_both(body, values, bits), "tensor_partition_reduce")


@pytest.mark.parametrize("op", ["multiply", "minimum", "subtract", "bitwise_xor", "logical_or"])
def test_other_operators_are_refused(reject, op):
    body, at = reduced(getattr(nl, op)), "tensor_partition_reduce.op"
    reject(ArgumentError, body, random(np.float32), at=at, found=op, allowed="add, average, maximum, bitwise_or")


def test_tensor_partition_reduce_limits(reject):
    values, at = random(np.float32), "tensor_partition_reduce"

    def into(shape, op=nl.add, dtype=nl.float32, buffer=nl.sbuf):
        def body(x):
            nisa.tensor_partition_reduce(nl.ndarray(shape, dtype=dtype, buffer=buffer), op, x)

        return body

    reject(ShapeError, into((2, F)), values, at=f"{at}.dst", found="partition count 2", allowed="at most 1")
    reject(ShapeError, into((1, 5)), values, at=f"{at}.dst", found="free size 5", allowed="free size 24")
    reject(DtypeError, into((1, F), nl.bitwise_or), values, at=f"{at}.dst", found="float32", allowed="int16, int32")
    integers = into((1, F), nl.bitwise_and, nl.int32)
    reject(DtypeError, integers, values, at=f"{at}.data", found="float32", allowed="for a bitvec operator")
    in_psum = into((1, F), buffer=nl.psum)
    reject(BufferError, in_psum, values, at=f"{at}.dst", found="in psum", allowed="a tensor in sbuf")
    in_hbm = into((1, F), buffer=nl.shared_hbm)
    reject(BufferError, in_hbm, values, at=f"{at}.dst", found="shared_hbm", allowed="a tensor in sbuf")
    reject(ArgumentError, into((1, F), None), values, at=f"{at}.op", found="None", allowed="nl.add", everywhere=True)

    def packed(x):
        nisa.tensor_partition_reduce(like(x, shape=(1, F)), nl.add, x.view(dtypes.float8_e4m3fn_x4))

    reject(DtypeError, packed, values, at=f"{at}.data", found="float8_e4m3fn_x4", allowed="bfloat16")
