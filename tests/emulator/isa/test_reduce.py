"""tensor_reduce and tensor_scalar_reduce: values, accumulator registers, limits, generations."""

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
    instructions,
    like,
    operator,
    random,
    same,
    within_rounding,
)
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, GenerationError, ShapeError
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.nki.isa import reduce_cmd
from trnlab.emulator.target import Engine

# -------------------------------------------------------------------------------------------------- tensor_reduce


@pytest.mark.parametrize("axis", [3, -1, (3,), [2, 3], (1, 2, 3), (3, 2)])
def test_tensor_reduce_folds_the_last_axes(run, axis):
    values = random(np.float32, (P, 2, 3, 4))
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    expected = values.max(axis=axes)

    def body(x):
        smaller = like(x, shape=(P, max(1, expected[0].size)))
        kept = like(x, shape=values.max(axis=axes, keepdims=True).shape)
        nisa.tensor_reduce(smaller, nl.maximum, x, axis)
        nisa.tensor_reduce(kept, nl.maximum, x, axis, keepdims=True)
        return smaller, kept

    smaller, kept = run(body, values).outputs
    same(smaller, expected.reshape(P, -1))
    same(kept, values.max(axis=axes, keepdims=True))


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3, np.int16])
def test_tensor_reduce_adds_in_float32(run, dtype):
    values = random(dtype, (P, 200))

    def body(x):
        total, difference, negated = (column(x) for _ in range(3))
        nisa.tensor_reduce(total, nl.add, x, 1)
        nisa.tensor_reduce(difference, nl.subtract, x, 1)
        nisa.tensor_reduce(negated, nl.add, x, axis=1, negate=True)
        return total, difference, negated

    total, difference, negated = run(body, values).outputs
    magnitude = np.abs(f64(values)).sum(axis=1, keepdims=True)
    within_rounding(total, f64(values).sum(axis=1, keepdims=True), magnitude, 200)
    within_rounding(difference, 2 * f64(values)[:, :1] - f64(values).sum(axis=1, keepdims=True), magnitude, 200)
    same(negated, -total)


def test_tensor_reduce_does_not_sum_in_the_narrow_dtype(run):
    values = np.full((P, 512), 1, ml_dtypes.bfloat16)  # a bfloat16 sum of ones would stop at 256

    def body(x):
        total = column(x, nl.bfloat16)
        nisa.tensor_reduce(total, nl.add, x, 1)
        return total

    assert (f32(run(body, values).outputs[0]) == 512).all()


def test_tensor_reduce_multiplies_and_takes_truth(run):
    values = np.abs(random(np.float32, scale=1.0)) + 0.5
    values[:32, 3] = 0

    def body(x):
        product, all_, any_, odd = (column(x) for _ in range(4))
        nisa.tensor_reduce(product, nl.multiply, x, 1)
        nisa.tensor_reduce(all_, nl.logical_and, x, 1)
        nisa.tensor_reduce(any_, nl.logical_or, x, 1)
        nisa.tensor_reduce(odd, nl.logical_xor, x, 1)
        return product, all_, any_, odd

    product, all_, any_, odd = run(body, values).outputs
    np.testing.assert_allclose(product, f64(values).prod(axis=1, keepdims=True), rtol=F * UNIT)
    same(all_, f32((values != 0).all(axis=1, keepdims=True)))
    same(any_, f32((values != 0).any(axis=1, keepdims=True)))
    same(odd, f32((values != 0).sum(axis=1, keepdims=True) % 2))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_tensor_reduce_bitvec(run, dtype):
    values = random(dtype) | dtype(1)

    def body(x):
        tiles = [column(x, dtype) for _ in range(3)]
        for tile, name in zip(tiles, ("bitwise_and", "bitwise_or", "bitwise_xor"), strict=True):
            nisa.tensor_reduce(tile, operator(name), x, 1)
        return tuple(tiles)

    expected = (np.bitwise_and, np.bitwise_or, np.bitwise_xor)
    for found, function in zip(run(body, values).outputs, expected, strict=True):
        same(found, function.reduce(values, axis=1, keepdims=True))


def test_tensor_reduce_reads_and_writes_psum(run):
    values = random(np.float32)

    def body(x):
        source, destination = like(x, buffer=nl.psum), column(x, buffer=nl.psum)
        nisa.tensor_copy(source, x)
        nisa.tensor_reduce(destination, nl.minimum, source, 1)
        return destination

    executed = run(body, values)
    same(executed.outputs[0], values.min(axis=1, keepdims=True))
    assert instructions(executed, "tensor_reduce")[0].engine is Engine.VECTOR


def test_tensor_reduce_limits(reject):
    values, whole = random(np.float32, (P, 2, 3, 4)), random(np.int32)

    def over_axis(axis):
        def body(x):
            nisa.tensor_reduce(column(x), nl.add, x, axis)

        return body

    for axis in (0, (0, 1, 2, 3), 1, (1, 2), (1, 3), (3, 3), ()):
        reject(ArgumentError, over_axis(axis), values, at="tensor_reduce.axis", found="4 dimensions", allowed="last")
    for axis in (4, -5):
        reject(
            ArgumentError,
            over_axis(axis),
            values,
            at="tensor_reduce.axis",
            found=str(axis),
            allowed="-4",
            everywhere=True,
        )
    reject(ArgumentError, over_axis(1.0), values, at="tensor_reduce.axis", found="1.0", everywhere=True)

    def too_small(x):
        nisa.tensor_reduce(column(x), nl.add, x, 3)

    reject(ShapeError, too_small, values, at="tensor_reduce.dst", found="where axis leaves 6", allowed="one element")

    def not_foldable(x):
        nisa.tensor_reduce(column(x), nl.equal, x, (1, 2, 3))

    reject(ArgumentError, not_foldable, values, at="tensor_reduce.op", found="equal", allowed="add, subtract, multiply")

    def bits_of_floats(x):
        nisa.tensor_reduce(column(x), nl.bitwise_or, x, (1, 2, 3))

    reject(DtypeError, bits_of_floats, values, at="tensor_reduce.dst", found="float32", allowed="for a bitvec operator")

    def negated_bits(x):
        nisa.tensor_reduce(column(x, nl.int32), nl.bitwise_or, x, 1, negate=True)

    reject(ArgumentError, negated_bits, whole, at="tensor_reduce.negate", found="bitwise_or", allowed="arithmetic")


# ------------------------------------------------------------------------------------------- tensor_scalar_reduce

FOLDS = {"add": np.sum, "multiply": np.prod, "maximum": np.max, "minimum": np.min}


@pytest.mark.parametrize("name", FOLDS)
def test_tensor_scalar_reduce_returns_result_and_fold(run, name):
    values, scale = random(ml_dtypes.bfloat16, scale=1.0), 1 + random(np.float32, (P, 1), scale=0.1)

    def body(x, by):
        result, folded, negated = like(x), column(x), column(x)
        nisa.tensor_scalar_reduce(result, x, nl.multiply, by, operator(name), folded)
        nisa.tensor_scalar_reduce(result, x, nl.multiply, by, operator(name), negated, reduce_res_negate=True)
        return result, folded, negated

    result, folded, negated = run(body, values, scale).outputs
    exact = f32(values) * scale
    same(result, exact.astype(ml_dtypes.bfloat16))
    same(negated, -folded)
    expected = FOLDS[name](f64(exact), axis=1, keepdims=True)  # of the float32 results, not of the bfloat16 ones
    if name in ("maximum", "minimum"):
        same(folded, f32(expected))
    elif name == "add":
        within_rounding(folded, expected, np.abs(f64(exact)).sum(axis=1, keepdims=True), F)
    else:
        np.testing.assert_allclose(folded, expected, rtol=2 * F * UNIT)


def test_tensor_scalar_reduce_folds_rounded_products(run):
    values, scale = random(np.float32, (128, 2)), random(np.float32, (128, 1))

    def body(x, by):
        folded = column(x)
        nisa.tensor_scalar_reduce(like(x), x, nl.multiply, by, nl.add, folded)
        return folded

    products = values * scale  # a fused multiply-add would keep one of the two products unrounded
    same(run(body, values, scale).outputs[0], products[:, :1] + products[:, 1:])


def test_tensor_scalar_reduce_accumulates_over_tiles(run):
    tiles = [np.round(random(np.float32)) for _ in range(3)]  # whole numbers: every sum is exact

    def body(a, b, c):
        scratch, total, negated, again = like(a), column(a), column(a), column(a)
        nisa.tensor_scalar_reduce(scratch, a, nl.add, 0.0, nl.add)
        nisa.tensor_scalar_reduce(
            scratch, b, nl.add, 0.0, nl.add, negated, reduce_cmd=reduce_cmd.reduce, reduce_res_negate=True
        )
        nisa.tensor_scalar_reduce(scratch, c, nl.add, 0.0, nl.add, total, reduce_cmd=reduce_cmd.reduce)
        nisa.tensor_scalar_reduce(scratch, c, nl.add, 0.0, nl.add, again)  # reset_reduce is the default
        return total, negated, again

    total, negated, again = run(body, *tiles).outputs
    sums = [tile.sum(axis=1, keepdims=True) for tile in tiles]
    np.testing.assert_array_equal(total, sums[0] + sums[1] + sums[2])  # negating on the way out changed no register
    np.testing.assert_array_equal(negated, -(sums[0] + sums[1]))
    np.testing.assert_array_equal(again, sums[2])


def test_tensor_scalar_reduce_loads_the_registers(run):
    values, start = np.round(random(np.float32)), np.round(random(np.float32, (P, 1), scale=100.0))
    load = reduce_cmd.load_reduce

    def body(x, first):
        scratch, from_tile, from_number = like(x), column(x), column(x, nl.int32)
        nisa.tensor_scalar_reduce(scratch, x, nl.add, 1.0, nl.add, from_tile, reduce_cmd=load, reduce_init=first)
        nisa.tensor_scalar_reduce(scratch, x, nl.add, 1.0, nl.maximum, from_number, reduce_cmd=load, reduce_init=100.0)
        return from_tile, from_number

    from_tile, from_number = run(body, values, start).outputs
    np.testing.assert_array_equal(from_tile, (values + 1).sum(axis=1, keepdims=True) + start)
    assert (from_number == 100).all()


def test_registers_belong_to_lanes_and_to_the_instructions_that_use_them(run):
    values = np.round(random(np.float32, (128, F)))

    def body(x):
        scratch, high, low = like(x), column(x[64:128]), column(x[0:64])
        nisa.tensor_scalar_reduce(scratch[0:64], x[0:64], nl.add, 0.0, nl.add)
        nisa.tensor_scalar_reduce(scratch[0:64], x[64:128], nl.add, 0.0, nl.add)  # other lanes: nothing is overwritten
        nisa.tensor_scalar_reduce(scratch[0:64], x[0:64], nl.add, 0.0, nl.add, low, reduce_cmd=reduce_cmd.reduce)
        nisa.tensor_scalar_reduce(scratch[0:64], x[64:128], nl.add, 0.0, nl.add, high, reduce_cmd=reduce_cmd.reduce)
        nisa.exponential(scratch, x)  # idle
        return low, high

    executed = run(body, values)
    doubled = 2 * values.sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(executed.outputs[0], doubled[0:64])
    np.testing.assert_array_equal(executed.outputs[1], doubled[64:128])
    states = [
        [record for record in instruction.operands if record.buffer.region is MemoryRegion.register]
        for instruction in (*instructions(executed, "tensor_scalar_reduce"), *instructions(executed, "exponential"))
    ]
    assert [[(state.offset, state.signature.shape) for state in used] for used in states] == [
        [(0, (64, 1))],
        [(64, (64, 1))],
        [(0, (64, 1))],
        [(64, (64, 1))],
        [],
    ]
    assert [used[0].signature.access for used in states[:4]] == ["write", "write", "update", "update"]


def test_tensor_scalar_reduce_reduces_maximum_under_either_name(run):
    values = random(np.float32)

    def body(x):
        folded = column(x)
        nisa.tensor_scalar_reduce(like(x), x, nl.abs, None, nl.max, folded)
        return folded

    same(run(body, values).outputs[0], np.abs(values).max(axis=1, keepdims=True))


def test_tensor_scalar_reduce_limits(reject):
    values, whole = random(np.float32), random(np.int32)

    def call(op0=nl.add, operand0=1.0, reduce_op=nl.add, **more):
        def body(x):
            nisa.tensor_scalar_reduce(like(x), x, op0, operand0, reduce_op, column(x), **more)

        return body

    at = "tensor_scalar_reduce"
    reject(ArgumentError, call(nl.bitwise_and, 1), whole, at=f"{at}.op0", found="bitwise_and", allowed="add, subtract")
    reject(
        ArgumentError,
        call(reduce_op=nl.subtract),
        values,
        at=f"{at}.reduce_op",
        found="subtract",
        allowed="add, multiply, maximum, minimum",
    )
    reject(ArgumentError, call(reduce_op=None), values, at=f"{at}.reduce_op", found="None", everywhere=True)
    for command in ("idle", "reset"):
        reject(
            ArgumentError,
            call(reduce_cmd=reduce_cmd[command]),
            values,
            at=f"{at}.reduce_cmd",
            found=command,
            allowed="reset_reduce, reduce, load_reduce",
        )
    reject(ArgumentError, call(reduce_cmd="reduce"), values, at=f"{at}.reduce_cmd", found="'reduce'", everywhere=True)
    reject(ArgumentError, call(reverse0=True), values, at=f"{at}.reverse0", found="True", allowed="False")
    reject(
        ArgumentError,
        call(reduce_init=1.0),
        values,
        at=f"{at}.reduce_init",
        found="a value with reduce_cmd.reset_reduce",
        allowed="reduce_cmd.load_reduce",
    )
    reject(
        ArgumentError,
        call(reduce_cmd=reduce_cmd.load_reduce),
        values,
        at=f"{at}.reduce_init",
        found="None",
        allowed="reduce_cmd.load_reduce",
    )
    reject(
        GenerationError,
        call(nl.square, None),
        values,
        at=f"{at}.op0",
        found="square",
        allowed="NeuronCore-v4",
        target="trn2",
    )

    def wide_result(x):
        nisa.tensor_scalar_reduce(like(x), x, nl.add, 1.0, nl.add, like(x))

    reject(ShapeError, wide_result, values, at=f"{at}.reduce_res", found="24 elements", allowed="(P, 1)")

    def narrow_operand(x):
        half = column(x, nl.bfloat16)
        nisa.memset(half, 1)
        nisa.tensor_scalar_reduce(like(x), x, nl.add, half, nl.add)

    reject(DtypeError, narrow_operand, values, at=f"{at}.operand0", found="bfloat16", allowed="float32")

    def from_hbm(x):
        nisa.tensor_scalar_reduce(like(x), like(x, buffer=nl.shared_hbm), nl.add, 1.0, nl.add)

    reject(BufferError, from_hbm, values, at=f"{at}.data", found="shared_hbm", allowed="psum, sbuf")
