"""exponential: values, accumulator registers, limits, generations."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.emulator.isa.values import (
    UNIT,
    F,
    P,
    column,
    f32,
    f64,
    like,
    random,
    same,
    within_rounding,
)
from trnlab.emulator import dtypes
from trnlab.emulator.errors import ArgumentError, DtypeError, GenerationError, ShapeError
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.nki.isa import reduce_cmd


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, np.int8])
def test_exponential_subtracts_then_sums(run, dtype):
    values = random(dtype) if dtype is not np.int8 else random(dtype) // 16
    largest = f32(values).max(axis=1, keepdims=True)

    def body(x, top):
        result, total, plain = like(x, nl.float32), column(x), like(x, nl.bfloat16)
        nisa.exponential(result, x, top, total, reduce_cmd.reset_reduce)
        nisa.exponential(plain, x, max_value=8.0)
        return result, total, plain

    result, total, plain = run(body, values, largest).outputs
    exact = np.exp(f64(f32(values) - largest))
    np.testing.assert_allclose(result, exact, rtol=4 * UNIT, atol=2.0**-126)
    within_rounding(total, exact.sum(axis=1, keepdims=True), exact.sum(axis=1, keepdims=True), F + 4)
    np.testing.assert_allclose(f32(plain), np.exp(f64(f32(values) - 8)), rtol=2.0**-8)


def test_exponential_accumulates(run):
    values = random(np.float32, scale=1.0)

    def body(x):
        scratch, reset, more, loaded, read = like(x), column(x), column(x), column(x), column(x)
        nisa.exponential(scratch, x, reduce_cmd=reduce_cmd.reset_reduce, reduce_res=reset)
        nisa.exponential(scratch, x, reduce_cmd=reduce_cmd.reduce, reduce_res=more)
        nisa.exponential(scratch, x, reduce_res=read)  # idle: the registers are read as they are
        nisa.exponential(scratch, x, reduce_cmd=reduce_cmd.load_reduce, reduce_init=1000.0, reduce_res=loaded)
        return reset, more, read, loaded

    reset, more, read, loaded = run(body, values).outputs
    exact = np.exp(f64(values)).sum(axis=1, keepdims=True)
    within_rounding(reset, exact, exact, F + 4)
    within_rounding(more, 2 * exact, 2 * exact, F + 5)
    same(read, more)
    within_rounding(loaded, 1000 + exact, 1000 + exact, F + 5)


@pytest.mark.parametrize("target", ["trn1", "trn2"])
def test_exponential_needs_neuroncore_v4(reject, target):
    def body(x):
        nisa.exponential(like(x), x)

    reject(
        GenerationError,
        body,
        random(np.float32),
        at="exponential",
        found="exponential on NeuronCore",
        allowed="from NeuronCore-v4 (trn3) on",
        target=target,
    )


def test_exponential_limits(run, reject):
    values = random(np.float32)

    def call(dst=nl.float32, src=nl.float32, **more):
        def body(x):
            source = like(x, src)
            nisa.memset(source, 1)
            nisa.exponential(like(x, dst), source, **more)

        return body

    reject(DtypeError, call(dst=nl.uint32), values, at="exponential.dst", found="uint32", allowed="bfloat16, float16")
    reject(
        DtypeError, call(dst=nl.float8_e4m3fn), values, at="exponential.dst", found="e4m3fn", allowed="float8_e4m3, "
    )
    reject(DtypeError, call(src=dtypes.tfloat32), values, at="exponential.src", found="tfloat32", allowed="uint32")
    reject(
        ArgumentError, call(reduce_init=2.0), values, at="exponential.reduce_init", found="a value with reduce_cmd.idle"
    )
    reject(
        ArgumentError,
        call(reduce_cmd=reduce_cmd.reset),
        values,
        at="exponential.reduce_cmd",
        found="reset",
        allowed="idle, reset_reduce, reduce, load_reduce",
    )

    def of_rank(rank):
        def body(x):
            shaped = x.reshape((P, *[1] * (rank - 2), F))
            nisa.exponential(shaped, shaped)
            return x

        return body

    np.testing.assert_allclose(run(of_rank(4), values).outputs[0], np.exp(f64(values)), rtol=4 * UNIT)
    reject(ShapeError, of_rank(5), values, at="exponential.src", found="dimensions 5", allowed="at most 4")

    def integer_sum(x):
        nisa.exponential(like(x), x, reduce_res=column(x, nl.int32), reduce_cmd=reduce_cmd.reset_reduce)

    reject(DtypeError, integer_sum, values, at="exponential.reduce_res", found="int32", allowed="float32")
