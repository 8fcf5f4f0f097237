"""range_select and select_reduce: values against NumPy, the running maximum, limits, generations."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.emulator.isa.values import F, P, column, f32, instructions, like, operator, random, same
from trnlab.emulator import dtypes
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, GenerationError, ShapeError
from trnlab.emulator.isa.select import FP32_MIN
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.nki.isa import reduce_cmd

LOWEST = np.finfo(np.float32).min
COMPARISONS = {
    "equal": np.equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
}

# --------------------------------------------------------------------------------------------------- range_select


def selected(values, low, high, start=0, compare=(np.greater_equal, np.less)):
    """NKI's NumPy equivalent."""
    index = (start + np.arange(values.shape[1])).astype(np.float32)
    inside = compare[0](index, low) & compare[1](index, high)
    return np.where(inside, f32(values), LOWEST)


def test_the_fill_is_the_lowest_float32():
    assert np.float32(FP32_MIN) == LOWEST == np.float32(-3.4028235e38)


@pytest.mark.parametrize("first", COMPARISONS)
def test_range_select_compares_indices_with_bounds(run, first):
    values = random(np.float32)
    low = (np.arange(P) % F).astype(np.float32)[:, None]
    high = np.full((P, 1), 40.5, np.float32)

    def body(x, bound0, bound1):
        result, largest = like(x), column(x)
        nisa.range_select(result, x, operator(first), nl.less_equal, bound0, bound1, reduce_res=largest, range_start=5)
        return result, largest

    result, largest = run(body, values, low, high, target="trn2").outputs
    expected = selected(values, low, high, 5, (COMPARISONS[first], np.less_equal))
    same(result, expected)
    same(largest, expected.max(axis=1, keepdims=True))


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, ml_dtypes.float8_e4m3])
def test_range_select_downcasts_the_fill_but_not_the_maximum(run, dtype):
    values = random(dtype)
    low, high = np.zeros((P, 1), np.float32), np.full((P, 1), 6, np.float32)
    high[0] = 0  # nothing in range

    def body(x, bound0, bound1):
        result, largest, wide = like(x), column(x, dtype), column(x)
        nisa.range_select(result, x, nl.greater_equal, nl.less, bound0, bound1, reduce_res=wide)
        nisa.range_select(result, x, nl.greater_equal, nl.less, bound0, bound1, reduce_res=largest)
        return result, largest, wide

    result, largest, wide = run(body, values, low, high).outputs
    expected = selected(values, low, high)
    with np.errstate(over="ignore"):
        same(result, expected.astype(dtype))
        same(largest, expected.max(axis=1, keepdims=True).astype(dtype))
    assert (f32(result)[0] == -np.inf).all()
    assert wide[0] == LOWEST  # so that exp(row - maximum) is exp(-inf), not NaN (NKI reference, range_select)


def test_range_select_chains_over_tiles(run):
    tiles = [random(np.float32) for _ in range(4)]
    low, high = np.zeros((P, 1), np.float32), np.full((P, 1), 2.0 * F + 7, np.float32)

    def body(*arguments):
        *sources, bound0, bound1 = arguments
        largest = column(bound0)
        results = [like(source) for source in sources]
        for number, (result, source) in enumerate(zip(results, sources, strict=True)):
            nisa.range_select(
                result,
                source,
                nl.greater_equal,
                nl.less,
                bound0,
                bound1,
                reduce_cmd=reduce_cmd.reset_reduce if number == 0 else reduce_cmd.reduce,
                reduce_res=largest if number == 3 else None,
                range_start=number * F,
            )
        return (*results, largest)

    executed = run(body, *tiles, low, high)
    *results, largest = executed.outputs
    expected = [selected(tile, low, high, number * F) for number, tile in enumerate(tiles)]
    for found, wanted in zip(results, expected, strict=True):
        same(found, wanted)
    same(largest, np.max([wanted.max(axis=1) for wanted in expected], axis=0)[:, None])
    # range_start is a column of the program, so that a loop over tiles repeats one signature.
    ranges = instructions(executed, "range_select")
    assert [item.immediates["range_start"] for item in ranges] == [0, F, 2 * F, 3 * F]
    assert ranges[1].signature == ranges[2].signature


def test_range_select_registers_reset_and_idle(run):
    values = random(np.float32)
    low, high = np.zeros((P, 1), np.float32), np.full((P, 1), F, np.float32)

    def body(x, bound0, bound1):
        result, after_reset, after_idle = like(x), column(x), column(x)
        ends = (nl.greater_equal, nl.less, bound0, bound1)
        nisa.range_select(result, x, *ends)
        nisa.range_select(result, x, *ends, reduce_cmd=reduce_cmd.idle, reduce_res=after_idle)
        nisa.range_select(result, x, *ends, reduce_cmd=reduce_cmd.reset, reduce_res=after_reset)
        return after_reset, after_idle

    after_reset, after_idle = run(body, values, low, high).outputs
    assert (after_reset == -np.inf).all()
    same(after_idle, values.max(axis=1, keepdims=True))


def test_range_select_indices_stay_exact_in_float32(run, reject):
    values = random(np.float32)
    low, high = np.full((P, 1), 2.0**24 - 1, np.float32), np.full((P, 1), np.inf, np.float32)

    def starting_at(start):
        def body(x, bound0, bound1):
            result = like(x)
            nisa.range_select(result, x, nl.greater_equal, nl.less, bound0, bound1, range_start=start)
            return result

        return body

    last = 2**24 - F + 1  # the last index is 2**24
    result = run(starting_at(last), values, low, high).outputs[0]
    same(result, np.where(last + np.arange(F) >= 2**24 - 1, values, LOWEST))
    reject(
        ArgumentError,
        starting_at(last + 1),
        values,
        low,
        high,
        at="range_select.range_start",
        found=str(last + 1),
        allowed="16777216",
        everywhere=True,
    )
    reject(
        ArgumentError,
        starting_at(0.5),
        values,
        low,
        high,
        at="range_select.range_start",
        found="0.5",
        allowed="a compile-time integer",
        everywhere=True,
    )


def test_range_select_needs_neuroncore_v3(reject):
    def body(x, low, high):
        nisa.range_select(like(x), x, nl.greater, nl.less, low, high)

    bound = np.zeros((P, 1), np.float32)
    reject(
        GenerationError,
        body,
        random(np.float32),
        bound,
        bound,
        at="range_select",
        found="range_select on NeuronCore-v2",
        allowed="from NeuronCore-v3 (trn2) on",
        target="trn1",
    )


def test_range_select_limits(reject):
    values, bound = random(np.float32), np.zeros((P, 1), np.float32)

    def call(first=nl.greater, second=nl.less, **more):
        def body(x, low):
            nisa.range_select(like(x), x, first, second, low, low, **more)

        return body

    at = "range_select"
    reject(
        ArgumentError, call(nl.not_equal), values, bound, at=f"{at}.comp_op0", found="not_equal", allowed="equal, less"
    )
    reject(ArgumentError, call(nl.less, nl.add), values, bound, at=f"{at}.comp_op1", found="add", allowed="equal, less")
    reject(ArgumentError, call(reduce_op=nl.add), values, bound, at=f"{at}.reduce_op", found="add", allowed="maximum")
    reject(
        ArgumentError,
        call(reduce_cmd=reduce_cmd.load_reduce),
        values,
        bound,
        at=f"{at}.reduce_cmd",
        found="load_reduce",
        allowed="idle, reset, reduce, reset_reduce",
    )
    reject(
        ArgumentError,
        call(on_false_value=0.0),
        values,
        bound,
        at=f"{at}.on_false_value",
        found="0.0",
        allowed="-3.4028235e+38",
        everywhere=True,
    )
    reject(
        DtypeError, call(), random(np.int32), bound, at=f"{at}.on_true_tile", found="int32", allowed="bfloat16, float16"
    )
    reject(DtypeError, call(), values, bound.astype(np.int32), at=f"{at}.bound0", found="int32", allowed="float32")
    reject(
        ShapeError,
        call(),
        values,
        np.zeros((P, 2), np.float32),
        at=f"{at}.bound0",
        found="2 elements",
        allowed="(P, 1)",
    )
    reject(ShapeError, call(), values, bound[:32], at=f"{at}.bound0", found="count 32", allowed="count 64")


def test_range_select_takes_the_fill_as_any_number(run):
    values, bound = random(np.float32), np.zeros((P, 1), np.float32)

    def body(x, low):
        result = like(x)
        nisa.range_select(result, x, nl.less, nl.less, low, low, on_false_value=float(LOWEST))
        nisa.range_select(result, x, nl.less, nl.less, low, low, on_false_value=LOWEST)
        return result

    assert (run(body, values, bound).outputs[0] == LOWEST).all()


# -------------------------------------------------------------------------------------------------- select_reduce


@pytest.mark.parametrize(
    ("dtype", "flags"),
    [
        *((dtype, np.uint8) for dtype in (np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, np.int8, np.uint16)),
        *((np.float32, flags) for flags in (np.int8, np.int16, np.uint16)),
    ],
)
def test_select_reduce_chooses_by_predicate(run, dtype, flags):
    values, otherwise = random(dtype), random(np.float32, (P, 1))
    predicate = (random(flags) % 3).astype(flags)  # zero, and true values that are not one

    def body(x, p, y):
        result, reversed_, largest = like(x, nl.float32), like(x, nl.float32), column(x)
        nisa.select_reduce(result, p, x, y, largest, reduce_cmd.reset_reduce)
        nisa.select_reduce(reversed_, p, x, -2.5, reverse_pred=True)
        return result, reversed_, largest

    result, reversed_, largest = run(body, values, predicate, otherwise).outputs
    expected = np.where(predicate != 0, f32(values), otherwise)
    same(result, expected)
    same(reversed_, np.where(predicate == 0, f32(values), np.float32(-2.5)))
    same(largest, expected.max(axis=1, keepdims=True))


def test_select_reduce_takes_truth_values_and_ranks_that_differ(run):
    values, truth = random(np.float32, (P, 6, 4)), random(np.float32) > 0

    def body(x, p):
        result = like(x, nl.bfloat16, shape=(P, F))
        nisa.select_reduce(result, p, x, 0.0)
        return result

    expected = np.where(truth, values.reshape(P, F), np.float32(0))
    same(run(body, values, truth).outputs[0], expected.astype(ml_dtypes.bfloat16))


def test_select_reduce_accumulates_the_maximum(run):
    tiles = [random(np.float32) for _ in range(2)]
    truth = np.ones((P, F), np.uint8)

    def body(a, b, p):
        scratch, largest = like(a), column(a, nl.bfloat16)
        nisa.select_reduce(scratch, p, a, 0.0, reduce_cmd=reduce_cmd.reset_reduce)
        nisa.select_reduce(scratch, p, b, 0.0, largest, reduce_cmd.reduce, nl.max)
        return largest

    expected = np.maximum(*(tile.max(axis=1, keepdims=True) for tile in tiles))
    same(run(body, *tiles, truth).outputs[0], expected.astype(ml_dtypes.bfloat16))


def test_select_reduce_runs_on_every_generation(run):
    values, predicate = random(np.float32), random(np.uint8)

    def body(x, p):
        result = like(x)
        nisa.select_reduce(result, p, x, 1.0)
        return result

    for target in ("trn1", "trn2", "trn3", "trn4"):
        same(run(body, values, predicate, target=target).outputs[0], np.where(predicate, values, np.float32(1)))


def test_select_reduce_limits(reject):
    values, predicate = random(np.float32), np.ones((P, F), np.uint8)

    def call(**more):
        def body(x, p):
            nisa.select_reduce(like(x), p, x, 0.0, **more)

        return body

    at = "select_reduce"
    for dtype in (np.int32, np.uint32, np.float32):
        reject(
            DtypeError, call(), values, predicate.astype(dtype), at=f"{at}.predicate", found="32", allowed="int16, int8"
        )
    for dtype in (np.int32, np.uint32):
        reject(
            DtypeError,
            call(),
            random(dtype),
            predicate,
            at=f"{at}.on_true",
            found="int32",
            allowed="float8_e8m0fnu, int16",
        )
    reject(
        ArgumentError, call(reduce_op=nl.add), values, predicate, at=f"{at}.reduce_op", found="add", allowed="maximum"
    )
    for command in ("reset", "load_reduce"):
        reject(
            ArgumentError,
            call(reduce_cmd=reduce_cmd[command]),
            values,
            predicate,
            at=f"{at}.reduce_cmd",
            found=command,
            allowed="idle, reduce, reset_reduce",
        )

    def integer_maximum(x, p):
        nisa.select_reduce(like(x), p, x, 0.0, column(x, nl.int16), reduce_cmd.reset_reduce)

    reject(DtypeError, integer_maximum, values, predicate, at=f"{at}.reduce_res", found="int16", allowed="float32")

    def tfloat(x, p):
        nisa.select_reduce(like(x), p, x.view(dtypes.tfloat32), 0.0)

    reject(DtypeError, tfloat, values, predicate, at=f"{at}.on_true", found="tfloat32", allowed="uint8")

    def both_in_psum(x, p):
        data, flags = like(x, buffer=nl.psum), like(p, buffer=nl.psum)
        nisa.tensor_copy(data, x)
        nisa.tensor_copy(flags, p)
        nisa.select_reduce(x, flags, data, 0.0)

    reject(
        BufferError, both_in_psum, values, predicate, at=f"{at}.predicate", found="both in psum", allowed="at most one"
    )

    def wide_alternative(x, p):
        nisa.select_reduce(like(x), p, x, x)

    reject(ShapeError, wide_alternative, values, predicate, at=f"{at}.on_false", found="24 elements", allowed="(P, 1)")

    def shorter(x, p):
        nisa.select_reduce(like(x), p[:, :3], x, 0.0)

    reject(ShapeError, shorter, values, predicate, at=f"{at}.predicate", found="free size 3", allowed="free size 24")
