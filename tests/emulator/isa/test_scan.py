"""tensor_tensor_scan and tensor_scalar_cumulative: the plain loop in NumPy, bit for bit; registers, limits, speed."""

from __future__ import annotations

import time

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.emulator.isa.agreement import run_both, same_in_every_form
from tests.emulator.isa.conftest import run_tiles
from tests.emulator.isa.float_operators import BINARY
from tests.emulator.isa.values import F, P, column, f32, f64, instructions, like, operator, random, same
from trnlab.emulator import dtypes
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, GenerationError, ShapeError
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.nki.isa import reduce_cmd
from trnlab.emulator.target import Engine

FLOATS = [np.float32, ml_dtypes.bfloat16, np.float16, ml_dtypes.float8_e4m3, ml_dtypes.float8_e5m2]
INTEGERS = [np.int8, np.uint8, np.int16, np.uint16]


def scanned(data0, data1, initial, op0, op1, reverse0=False, reverse1=False):
    """The reference's loop; the state is float32."""
    state = np.broadcast_to(f32(initial), (data0.shape[0], 1))[:, 0]
    result = np.empty(data0.shape, np.float32)
    for i in range(data0.shape[1]):
        first, second = f32(data0[:, i]), f32(data1[:, i])
        inner = BINARY[op0](state, first) if reverse0 else BINARY[op0](first, state)
        state = BINARY[op1](second, inner) if reverse1 else BINARY[op1](inner, second)
        result[:, i] = state
    return result


def accumulated(source, imm0, register, op0, op1):
    """The reference's loop of tensor_scalar_cumulative; `register` is what it starts with."""
    register = np.broadcast_to(f32(register), (source.shape[0], 1))[:, 0]
    values = BINARY[op0](f32(source), np.broadcast_to(f32(imm0), source.shape))
    result = np.empty(source.shape, np.float32)
    for i in range(source.shape[1]):
        register = BINARY[op1](values[:, i], register)
        result[:, i] = register
    return result


# --------------------------------------------------------------------------------------------- tensor_tensor_scan


@settings(max_examples=8)  # each compiles its own scan
@given(
    op0=st.sampled_from(sorted(BINARY)),
    op1=st.sampled_from(sorted(BINARY)),
    reverse0=st.booleans(),
    reverse1=st.booleans(),
    shape=st.tuples(st.integers(1, 128), st.integers(1, 40)),
    dtypes_=st.tuples(*[st.sampled_from(FLOATS + INTEGERS)] * 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_scan_is_the_plain_loop(op0, op1, reverse0, reverse1, shape, dtypes_, seed):
    rng = np.random.default_rng(seed)
    data0, data1 = ((rng.standard_normal(shape) * 3).astype(np.float32).astype(dtype) for dtype in dtypes_)
    initial = rng.standard_normal((shape[0], 1)).astype(np.float32)

    def body(a, b, start):
        result = like(a, nl.float32)
        nisa.tensor_tensor_scan(result, a, b, start, operator(op0), operator(op1), reverse0, reverse1)
        return result

    found = run_tiles(body, data0, data1, initial).outputs[0]
    same(found, scanned(data0, data1, initial, op0, op1, reverse0, reverse1))


@pytest.mark.slow
@pytest.mark.parametrize(("op0", "op1"), [("multiply", "add"), ("power", "subtract")])
def test_the_scan_has_one_meaning(op0, op1):
    data0, data1 = np.abs(random(np.float32, scale=0.5)), random(ml_dtypes.bfloat16)

    def body(a, b):
        result = like(a)
        nisa.tensor_tensor_scan(result, a, b, 0.5, operator(op0), operator(op1), reverse0=True)
        nisa.tensor_tensor_scan(b, b, a, result[:, 3:4], operator(op0), operator(op1))
        return result, b

    same_in_every_form(run_both(body, data0, data1), "tensor_tensor_scan")


@pytest.mark.parametrize("op0", ["multiply", "maximum", "less"])
@pytest.mark.parametrize("op1", ["subtract", "minimum"])
def test_special_values_run_through_the_scan(run, op0, op1):
    specials = np.array([0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 1e-39, -1e-39, 3e38, 1.2e-38], np.float32)
    data0, data1 = (specials[np.random.default_rng(seed).integers(0, specials.size, (P, 12))] for seed in (1, 2))

    def body(a, b):
        result = like(a)
        nisa.tensor_tensor_scan(result, a, b, -0.0, operator(op0), operator(op1))
        return result

    same(run(body, data0, data1).outputs[0], scanned(data0, data1, -0.0, op0, op1))


def test_the_state_is_not_rounded_to_the_destination(run):
    ones, data = np.ones((P, 512), ml_dtypes.bfloat16), np.ones((P, 512), ml_dtypes.bfloat16)

    def body(a, b):
        result = like(a)
        nisa.tensor_tensor_scan(result, a, b, 0, nl.multiply, nl.add)
        return result

    # A bfloat16 sum of ones would stay at 256; the float32 one reaches 512, each partial sum rounded once.
    expected = np.arange(1, 513, dtype=np.float32).astype(ml_dtypes.bfloat16)
    same(run(body, ones, data).outputs[0], np.broadcast_to(expected, ones.shape).copy())


def test_two_tiles_chained_by_the_last_column_are_one_scan(run):
    data0, data1 = random(np.float32, (128, 64), 0.5), random(np.float32, (128, 64))

    def body(a, b):
        result = like(a)
        nisa.tensor_tensor_scan(result[:, :24], a[:, :24], b[:, :24], 0.0, nl.multiply, nl.add)
        nisa.tensor_tensor_scan(result[:, 24:], a[:, 24:], b[:, 24:], result[:, 23:24], nl.multiply, nl.add)
        return result

    same(run(body, data0, data1).outputs[0], scanned(data0, data1, 0.0, "multiply", "add"))


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.int32])
def test_the_initial_state_may_have_any_dtype(run, dtype):
    data0, data1, initial = random(np.float32), random(np.float32), random(np.float32, (P, 1)).astype(dtype)

    def body(a, b, start):
        result = like(a)
        nisa.tensor_tensor_scan(result, a, b, start, nl.add, nl.maximum)
        return result

    same(run(body, data0, data1, initial).outputs[0], scanned(data0, data1, initial, "add", "maximum"))


def test_power_scans_too(run):
    data0, data1 = np.abs(random(np.float32, scale=0.2)) + 0.5, np.abs(random(np.float32, scale=0.2)) + 0.5

    def body(a, b):
        result = like(a)
        nisa.tensor_tensor_scan(result, a, b, 1.0, nl.power, nl.add)
        return result

    found = run(body, data0, data1).outputs[0]
    before = np.concatenate([np.ones((P, 1)), f64(found)[:, :-1]], axis=1)
    np.testing.assert_allclose(found, f64(data0) ** before + data1, rtol=2.0**-20)


def test_free_dimensions_are_scanned_in_element_order(run):
    data0, data1 = random(np.float32, (P, 3, 8), 0.5), random(np.float32, (P, 2, 12))

    def body(a, b):
        result = like(a, shape=(P, F))
        nisa.tensor_tensor_scan(result, a, b, 0.25, nl.multiply, nl.add)
        return result

    expected = scanned(data0.reshape(P, F), data1.reshape(P, F), 0.25, "multiply", "add")
    same(run(body, data0, data1).outputs[0], expected)


def test_a_source_may_be_in_psum_and_may_be_the_destination():
    data0, data1 = random(np.float32, scale=0.5), random(np.float32)

    def body(a, b):
        moved = like(b, buffer=nl.psum)
        nisa.tensor_copy(moved, b)
        nisa.tensor_tensor_scan(a, a, moved, 0.0, nl.multiply, nl.add)
        nisa.tensor_tensor_scan(moved, moved, a, 0.0, nl.maximum, nl.add)
        return a, moved

    first, second = run_both(body, data0, data1).outputs
    same(first, scanned(data0, data1, 0.0, "multiply", "add"))
    same(second, scanned(data1, first, 0.0, "maximum", "add"))


def test_a_wide_scan_takes_milliseconds(run):
    data0, data1 = random(np.float32, (128, 2048), 0.5), random(np.float32, (128, 2048))

    def body(a, b):
        result = like(a)
        nisa.tensor_tensor_scan(result, a, b, 0.0, nl.multiply, nl.add)
        return result

    same(run(body, data0, data1).outputs[0], scanned(data0, data1, 0.0, "multiply", "add"))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        run(body, data0, data1)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.25  # a step per column in Python would take longer; compiled, it is a few milliseconds


@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3", "trn4"])
def test_the_scan_runs_on_the_vector_engine_of_every_generation(run, target):
    data = random(np.float32)

    def body(a):
        result = like(a)
        nisa.tensor_tensor_scan(result, a, a, 0.0, nl.multiply, nl.add)
        return result

    ran = run(body, data, target=target)
    assert [item.engine for item in instructions(ran, "tensor_tensor_scan")] == [Engine.VECTOR]


def test_tensor_tensor_scan_limits(reject):
    data, at = random(np.float32), "tensor_tensor_scan"

    def call(initial=0.0, op0=nl.multiply, op1=nl.add, second=lambda b: b, **more):
        def body(a, b, start):
            nisa.tensor_tensor_scan(like(a), a, second(b), start if initial is None else initial, op0, op1, **more)

        return body

    arrays = (data, data, np.zeros((P, 1), np.float32))
    for name in ("bitwise_and", "left_shift", "abs", "reciprocal"):
        reject(ArgumentError, call(op0=operator(name)), *arrays, at=f"{at}.op0", found=name, allowed="add, subtract")
        reject(ArgumentError, call(op1=operator(name)), *arrays, at=f"{at}.op1", found=name, allowed="add, subtract")
    reject(
        ArgumentError,
        call(op0=None),
        *arrays,
        at=f"{at}.op0",
        found="None",
        allowed="an operator of nki.language",
        everywhere=True,
    )
    reject(
        GenerationError,
        call(op1=nl.abs_max),
        *arrays,
        at=f"{at}.op1",
        found="abs_max on NeuronCore-v3",
        allowed="from NeuronCore-v4",
        target="trn2",
    )
    reject(ShapeError, call(second=lambda b: b[:, :5]), *arrays, at=f"{at}.data1", found="free size 5", allowed="24")
    reject(ShapeError, call(second=lambda b: b[:32]), *arrays, at=f"{at}.data1", found="count 32", allowed="count 64")
    reject(ShapeError, call(None), data, data, data, at=f"{at}.initial", found="24 elements", allowed="(P, 1)")
    reject(ShapeError, call(None), data, data, arrays[2][:32], at=f"{at}.initial", found="count 32", allowed="64")
    reject(ArgumentError, call("zero"), *arrays, at=f"{at}.initial", found="'zero'", allowed="number", everywhere=True)

    def packed(a, b, start):
        words = a.view(dtypes.float8_e4m3fn_x4)
        nisa.tensor_tensor_scan(like(a), words, b, 0.0, nl.multiply, nl.add)

    reject(DtypeError, packed, *arrays, at=f"{at}.data0", found="float8_e4m3fn_x4", allowed="bfloat16")

    def both_in_psum(a, b, start):
        first, second = like(a, buffer=nl.psum), like(b, buffer=nl.psum)
        nisa.tensor_copy(first, a)
        nisa.tensor_copy(second, b)
        nisa.tensor_tensor_scan(a, first, second, 0.0, nl.multiply, nl.add)

    reject(BufferError, both_in_psum, *arrays, at=f"{at}.data1", found="both in psum", allowed="at most one")

    def from_hbm(a, b, start):
        data1 = nl.ndarray((P, F), dtype=nl.float32, buffer=nl.shared_hbm)
        nisa.tensor_tensor_scan(a, a, data1, 0.0, nl.multiply, nl.add)

    reject(BufferError, from_hbm, *arrays, at=f"{at}.data1", found="shared_hbm", allowed="psum, sbuf")


# --------------------------------------------------------------------------------------- tensor_scalar_cumulative

IDENTITIES = {"add": 0.0, "subtract": 0.0, "multiply": 1.0, "maximum": -np.inf, "minimum": np.inf}


@settings(max_examples=8)  # each compiles its own scan
@given(
    op0=st.sampled_from(sorted(BINARY)),
    op1=st.sampled_from(sorted(IDENTITIES)),
    command=st.sampled_from(["reset_reduce", "load_reduce"]),
    is_vector=st.booleans(),
    shape=st.tuples(st.integers(1, 128), st.integers(1, 40)),
    dtype=st.sampled_from(FLOATS + INTEGERS),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_cumulation_is_the_plain_loop(op0, op1, command, is_vector, shape, dtype, seed):
    rng = np.random.default_rng(seed)
    data = (rng.standard_normal(shape) * 3).astype(np.float32).astype(dtype)
    imm0, imm1 = (rng.standard_normal((shape[0], 1)).astype(np.float32) for _ in range(2))
    if not is_vector:
        imm0, imm1 = np.full_like(imm0, imm0[0]), np.full_like(imm1, imm1[0])

    def body(x, first, second):
        result = like(x, nl.float32)
        given0, given1 = (first, second) if is_vector else (float(imm0[0, 0]), float(imm1[0, 0]))
        start = given1 if command == "load_reduce" else None
        nisa.tensor_scalar_cumulative(
            result, x, operator(op0), operator(op1), given0, start, reduce_cmd=reduce_cmd[command]
        )
        return result

    found = run_tiles(body, data, imm0, imm1).outputs[0]
    same(found, accumulated(data, imm0, imm1 if command == "load_reduce" else IDENTITIES[op1], op0, op1))


@pytest.mark.slow
def test_the_cumulation_has_one_meaning():
    data, scale = random(ml_dtypes.bfloat16), random(np.float32, (P, 1))

    def body(x, scale):
        result, total = like(x, nl.float32), column(x)
        nisa.tensor_scalar_cumulative(result, x, nl.multiply, nl.add, scale)
        nisa.tensor_scalar_cumulative(x, result, nl.subtract, nl.add, 0.25, reduce_cmd=reduce_cmd.reduce)
        nisa.tensor_scalar_reduce(like(x), x, nl.multiply, 0.0, nl.add, total, reduce_cmd=reduce_cmd.reduce)
        return result, x, total

    same_in_every_form(run_both(body, data, scale), "tensor_scalar_cumulative")


def test_the_register_is_that_of_the_other_vector_instructions(run):
    data = random(np.float32)

    def body(x):
        scratch, taken, handed = like(x), like(x), column(x)
        nisa.tensor_scalar_reduce(scratch, x, nl.add, 0.0, nl.maximum)  # register = row maximum
        nisa.tensor_scalar_cumulative(taken, x, nl.multiply, nl.add, 0.0, reduce_cmd=reduce_cmd.reduce)
        nisa.tensor_scalar_cumulative(scratch, x, nl.multiply, nl.minimum, 1.0)
        nisa.tensor_scalar_reduce(scratch, x, nl.multiply, 1.0, nl.minimum, handed, reduce_cmd=reduce_cmd.reduce)
        return taken, handed

    taken, handed = run(body, np.abs(data) + 1).outputs
    largest = (np.abs(data) + 1).max(axis=1, keepdims=True)
    same(taken, np.broadcast_to(largest, data.shape).copy())  # zeros added to the maximum
    same(handed, (np.abs(data) + 1).min(axis=1, keepdims=True))


@pytest.mark.parametrize("first", ["reset_reduce", "load_reduce"])
def test_cumulations_chain_and_imm1_waits_for_load_reduce(run, first):
    tiles = [random(np.float32) for _ in range(3)]

    def body(*sources):
        results = [like(source) for source in sources]
        for number, (result, source) in enumerate(zip(results, sources, strict=True)):
            command = reduce_cmd[first] if number == 0 else reduce_cmd.reduce
            nisa.tensor_scalar_cumulative(result, source, nl.add, nl.add, 0.5, 7.0, command)
        return tuple(results)

    start = 7.0 if first == "load_reduce" else 0.0
    expected = accumulated(np.concatenate(tiles, axis=1), 0.5, start, "add", "add")
    same(np.concatenate(run(body, *tiles).outputs, axis=1), expected)


def test_registers_are_those_of_the_source_partitions(run):
    data = random(np.float32, (64, F))

    def body(x):
        upper, lower = like(x), column(x)
        nisa.tensor_scalar_cumulative(upper[0:32], x[32:64], nl.add, nl.add, 0.0)  # registers of lanes 32 to 63
        nisa.tensor_scalar_cumulative(upper[32:64], x[0:32], nl.add, nl.add, 0.0)  # of lanes 0 to 31
        # Zeros added, so that the registers of all lanes are read out.
        nisa.tensor_scalar_reduce(like(x), x, nl.multiply, 0.0, nl.add, lower, reduce_cmd=reduce_cmd.reduce)
        return upper, lower

    upper, lower = run(body, data).outputs
    sums = accumulated(data, 0.0, 0.0, "add", "add")
    same(upper, np.concatenate([sums[32:], sums[:32]]))
    same(lower, sums[:, -1:])


def test_results_are_rounded_once_and_the_register_not_at_all(run):
    data = np.ones((P, 512), ml_dtypes.bfloat16)

    def body(x):
        result, total = like(x), column(x)
        nisa.tensor_scalar_cumulative(result, x, nl.multiply, nl.add, 1.0)
        nisa.tensor_scalar_reduce(like(x), x, nl.multiply, 0.0, nl.add, total, reduce_cmd=reduce_cmd.reduce)
        return result, total

    result, total = run(body, data).outputs
    expected = np.arange(1, 513, dtype=np.float32).astype(ml_dtypes.bfloat16)
    same(result, np.broadcast_to(expected, data.shape).copy())
    assert (total == 512).all()


def test_subtract_takes_the_value_first(run):
    data = np.array([[5.0, 3.0, 10.0]], np.float32)

    def body(x):
        result = like(x)
        nisa.tensor_scalar_cumulative(result, x, nl.add, nl.subtract, 0.0)
        return result

    same(run(body, data).outputs[0], np.array([[5.0, 3.0 - 5.0, 10.0 - (3.0 - 5.0)]], np.float32))


@pytest.mark.parametrize("op0", ["square", "relu", "abs"])
def test_unary_operators_take_no_operand(run, op0):
    data = random(np.float32)

    def body(x):
        result = like(x)
        nisa.tensor_scalar_cumulative(result, x, operator(op0), nl.max, 0)
        return result

    values = {"square": data * data, "relu": np.where(data > 0, data, np.float32(0)), "abs": np.abs(data)}[op0]
    same(run(body, data).outputs[0], np.maximum.accumulate(values, axis=1))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_saturate(run, dtype):
    data = np.full((P, 64), np.iinfo(dtype).max // 4, dtype)

    def body(x):
        result = like(x)
        nisa.tensor_scalar_cumulative(result, x, nl.multiply, nl.add, 1.0)
        return result

    sums = np.cumsum(data.astype(np.float64), axis=1)
    same(run(body, data).outputs[0], np.minimum(sums, np.iinfo(dtype).max).astype(dtype))


def test_tensor_scalar_cumulative_limits(reject):
    data, vector, at = random(np.float32), np.zeros((P, 1), np.float32), "tensor_scalar_cumulative"

    def call(op0=nl.add, op1=nl.add, imm0=0.0, imm1=None, **more):
        def body(x, start):
            first, second = (start if value == "tile" else value for value in (imm0, imm1))
            nisa.tensor_scalar_cumulative(like(x), x, op0, op1, first, second, **more)

        return body

    for name in ("equal", "bitwise_or", "abs_max", "logical_and", "bypass"):
        reject(
            ArgumentError, call(op1=operator(name)), data, vector, at=f"{at}.op1", found=name, allowed="add, subtract"
        )
    reject(ArgumentError, call(op0=nl.bitwise_and), data, vector, at=f"{at}.op0", found="bitwise_and", allowed="power")
    for command in ("idle", "reset"):
        reject(
            ArgumentError,
            call(reduce_cmd=reduce_cmd[command]),
            data,
            vector,
            at=f"{at}.reduce_cmd",
            found=command,
            allowed="reset_reduce, load_reduce, reduce",
        )
    loads = {"reduce_cmd": reduce_cmd.load_reduce}
    reject(ArgumentError, call(**loads), data, vector, at=f"{at}.imm1", found="None", allowed="load_reduce")
    reject(ArgumentError, call(imm0=None), data, vector, at=f"{at}.imm0", found="None", allowed="binary operator add")
    reject(ArgumentError, call(op0=nl.abs, imm0=1.0), data, vector, at=f"{at}.imm0", found="an operand", allowed="0")
    half = vector.astype(ml_dtypes.bfloat16)
    reject(DtypeError, call(imm0="tile"), data, half, at=f"{at}.imm0", found="bfloat16", allowed="float32")
    reject(DtypeError, call(imm1="tile", **loads), data, half, at=f"{at}.imm1", found="bfloat16", allowed="float32")
    reject(ShapeError, call(imm0="tile"), data, data, at=f"{at}.imm0", found="24 elements", allowed="(P, 1)")
    reject(ShapeError, call(imm0="tile"), data, vector[:32], at=f"{at}.imm0", found="count 32", allowed="count 64")
    reject(
        GenerationError,
        call(op0=nl.square, imm0=0),
        data,
        vector,
        at=f"{at}.op0",
        found="square on NeuronCore-v3",
        allowed="from NeuronCore-v4",
        target="trn2",
    )
    for dtype in (np.int32, np.uint32):
        reject(DtypeError, call(), random(dtype), vector, at=f"{at}.dst", found="int32", allowed="bfloat16, float16")

    def narrow_view(dtype):
        def body(x, start):
            nisa.tensor_scalar_cumulative(like(x), x.view(dtype), nl.add, nl.add, 0.0)

        return body

    for dtype in (dtypes.tfloat32, dtypes.int32):
        reject(DtypeError, narrow_view(dtype), data, vector, at=f"{at}.src", found=str(dtype), allowed="uint8")

    def shorter(x, start):
        nisa.tensor_scalar_cumulative(like(x)[:, :3], x, nl.add, nl.add, 0.0)

    reject(ShapeError, shorter, data, vector, at=f"{at}.dst", found="free size 3", allowed="free size 24")
