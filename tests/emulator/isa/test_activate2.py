"""activate2: its pipeline against NumPy, the registers it shares with activation, limits, generations."""

from __future__ import annotations

import math
from itertools import product

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.emulator.isa.agreement import run_both, same_in_every_form
from tests.emulator.isa.conftest import run_tiles
from tests.emulator.isa.float_operators import BINARY, flushed
from tests.emulator.isa.values import UNIT, F, P, column, f32, f64, instructions, like, operator, random, same
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, GenerationError, ShapeError
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.nki.isa import reduce_cmd
from trnlab.emulator.target import Engine

PAIRS = [
    ("multiply", "add"),
    ("multiply", "subtract"),
    ("multiply", "bypass"),
    ("add", "bypass"),
    ("subtract", "bypass"),
    ("bypass", "bypass"),
]
EXACT = {  # functions whose float32 result is exactly rounded
    "copy": lambda x: x,
    "relu": lambda x: np.where(np.isnan(x), x, np.maximum(x, np.float32(0))),
    "square": lambda x: BINARY["multiply"](x, x),
    "abs": np.abs,
}
FOLDS = {  # over a row, as the reference's loop leaves them, and what the registers are reset to
    "maximum": (lambda row: row.max(), -np.inf),
    "minimum": (lambda row: row.min(), np.inf),
    "abs_max": (lambda row: row[np.abs(row).argmax()], 0.0),
    "abs_min": (lambda row: row[np.abs(row).argmin()], np.inf),
}


def staged(data, imm0, imm1, op0, op1, reverse0=False, reverse1=False):
    """The two tensor-scalar stages of the reference's loop."""
    value = f32(data)
    for op, imm, reverse in ((op0, imm0, reverse0), (op1, imm1, reverse1)):
        if op != "bypass":
            scalar = np.broadcast_to(f32(imm), value.shape)
            value = BINARY[op](scalar, value) if reverse else BINARY[op](value, scalar)
    return value


@settings(max_examples=16)
@given(
    pair=st.sampled_from(PAIRS),
    function=st.sampled_from(sorted(EXACT)),
    shape=st.tuples(st.integers(1, 128), st.integers(1, 40)),
    dtype=st.sampled_from([np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.int16]),
    reverse=st.tuples(st.booleans(), st.booleans()),
    is_vector=st.tuples(st.booleans(), st.booleans()),
    seed=st.integers(0, 2**32 - 1),
)
def test_two_operators_then_a_function(pair, function, shape, dtype, reverse, is_vector, seed):
    rng = np.random.default_rng(seed)
    data = (rng.standard_normal(shape) * 4).astype(np.float32).astype(dtype)
    immediates = [rng.standard_normal((shape[0], 1) if vector else (1, 1)).astype(np.float32) for vector in is_vector]
    reverses = [flag and op != "bypass" for flag, op in zip(reverse, pair, strict=True)]

    def body(x, *tiles):
        result = like(x, nl.float32)
        given_ = [
            tile if vector else float(number[0, 0])
            for tile, number, vector in zip(tiles, immediates, is_vector, strict=True)
        ]
        ops = [operator(op) for op in pair]
        nisa.activate2(result, operator(function), x, *given_, *ops, reverse0=reverses[0], reverse1=reverses[1])
        return result

    found = run_tiles(body, data, *immediates).outputs[0]
    same(found, flushed(EXACT[function](staged(data, *immediates, *pair, *reverses))))


@pytest.mark.parametrize(
    ("op0", "op1", "reverse0", "reverse1"),
    [
        ("multiply", "subtract", False, True),
        ("multiply", "subtract", True, False),
        ("subtract", "bypass", True, False),
        ("subtract", "bypass", False, False),
    ],
)
def test_reversed_operators_swap_their_operands(run, op0, op1, reverse0, reverse1):
    data = random(np.float32)

    def body(x):
        result = like(x)
        ops = operator(op0), operator(op1)
        nisa.activate2(result, nl.copy, x, 1.5, 0.25, *ops, reverse0=reverse0, reverse1=reverse1)
        return result

    same(run(body, data).outputs[0], staged(data, 1.5, 0.25, op0, op1, reverse0, reverse1))


@pytest.mark.parametrize("dtype", [nl.float32, nl.bfloat16, nl.float8_e5m2, nl.int8])
def test_the_published_example_in_every_destination(run, dtype):
    data = random(np.float32, scale=2.0)

    def body(x):
        wide, result = like(x), like(x, dtype)
        for dst in (wide, result):
            nisa.activate2(dst=dst, op=nl.gelu, data=x, imm0=2.0, imm1=0.5, op0=nl.multiply, op1=nl.add)
        plain = like(x)
        nisa.activation(plain, nl.gelu, x, bias=0.5, scale=2.0)
        return wide, plain, result

    wide, plain, result = run(body, data).outputs
    x = f64(staged(data, 2.0, 0.5, "multiply", "add"))
    exact = x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2
    np.testing.assert_allclose(wide, exact, rtol=0, atol=2.0**-20)
    same(wide, plain)
    if dtype == nl.int8:
        same(result, np.rint(wide).astype(np.int8))
    else:
        same(result, wide.astype(result.dtype))


@pytest.mark.parametrize("slope", [0.25, -1.5, "tile"])
def test_prelu_takes_its_slope(run, slope):
    data, slopes = random(np.float32), random(np.float32, (P, 1))

    def body(x, tile):
        result, default = like(x), like(x)
        given_ = tile if slope == "tile" else slope
        nisa.activate2(result, nl.prelu, x, 2.0, 0.0, nl.multiply, nl.bypass, given_)
        nisa.activate2(default, nl.prelu, x, 2.0, 0.0, nl.multiply, nl.bypass)
        return result, default

    result, default = run(body, data, slopes).outputs
    twice = 2 * data
    same(result, np.where(twice > 0, twice, twice * (slopes if slope == "tile" else np.float32(slope))))
    same(default, np.where(twice > 0, twice, np.float32(0) * twice))


def test_other_functions_do_not_read_the_slope(run):
    data = random(np.float32)

    def body(x):
        result = like(x)
        nisa.activate2(result, nl.relu, x, 1.0, 0.0, nl.bypass, nl.bypass, relu_param=like(x, shape=(3, 3)))
        return result

    ran = run(body, data)
    same(ran.outputs[0], np.maximum(data, 0))
    (call,) = instructions(ran, "activate2")
    assert [operand.name for operand in call.signature.operands] == ["dst", "data"]


# ------------------------------------------------------------------------------------------------------ registers


@pytest.mark.parametrize("name", FOLDS)
def test_registers_gather_extremes(run, name):
    first, second = random(np.float32), random(np.float32)
    fold, identity = FOLDS[name]

    def body(x, y):
        scratch, one, both, idle, reset = like(x, nl.bfloat16), *(column(x) for _ in range(4))
        arguments = (0.0, 0.0, nl.bypass, nl.bypass)
        op = operator(name)
        nisa.activate2(
            scratch, nl.copy, x, *arguments, reduce_op=op, reduce_res=one, reduce_cmd=reduce_cmd.reset_reduce
        )
        nisa.activate2(scratch, nl.copy, y, *arguments, reduce_op=op, reduce_res=both, reduce_cmd=reduce_cmd.reduce)
        nisa.activate2(scratch, nl.copy, x, *arguments, reduce_res=idle)
        nisa.activate2(scratch, nl.copy, x, *arguments, reduce_op=op, reduce_res=reset, reduce_cmd=reduce_cmd.reset)
        return one, both, idle, reset

    one, both, idle, reset = run(body, first, second).outputs
    same(one, np.array([[fold(row)] for row in first], np.float32))
    same(both, np.array([[fold(row)] for row in np.concatenate([first, second], axis=1)], np.float32))
    same(idle, both)
    same(reset, np.full((P, 1), identity, np.float32))


def test_registers_add_and_are_those_of_activation(run):
    data = random(ml_dtypes.bfloat16, (P, 200))

    def body(x):
        scratch, total, last = like(x, nl.bfloat16), column(x), column(x, nl.bfloat16)
        nisa.activation(scratch, nl.square, x, reduce_op=nl.add, reduce_cmd=reduce_cmd.reset_reduce)
        add = {"reduce_op": nl.add, "reduce_cmd": reduce_cmd.reduce}
        nisa.activate2(scratch, nl.abs, x, 3.0, 0.0, nl.multiply, nl.bypass, reduce_res=total, **add)
        nisa.activation(scratch, nl.copy, x, reduce_res=last)
        return total, last

    total, last = run(body, data).outputs
    exact = (f64(data) ** 2 + 3 * np.abs(f64(data))).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(total, exact, rtol=400 * UNIT)
    same(last, total.astype(ml_dtypes.bfloat16))


@pytest.mark.slow
def test_activate2_has_one_meaning():
    data, imm = random(ml_dtypes.bfloat16, (P, 13)), random(np.float32, (P, 1))

    def body(x, tile):
        result, largest, silu = like(x, nl.float32), column(x), like(x)
        add = {"reduce_op": nl.add, "reduce_cmd": reduce_cmd.reset_reduce}
        nisa.activate2(result, nl.prelu, x, tile, tile, nl.multiply, nl.subtract, tile, True, True, **add)
        nisa.activate2(silu, nl.silu, x, 0.3, 0.0, nl.subtract, nl.bypass, 0.0, True, reduce_res=largest)
        return result, silu, largest

    ran = run_both(body, data, imm)
    same_in_every_form(ran, "activate2")
    assert {call.engine for call in instructions(ran, "activate2")} == {Engine.SCALAR}


# --------------------------------------------------------------------------------------------------------- limits


def call(op=nl.exp, imm0=1.0, imm1=0.0, op0=nl.multiply, op1=nl.add, tiles=lambda x: (like(x), x), **more):
    """A body with one activate2; "tile" stands for the second input."""

    def body(x, tile):
        first, second = (tile if isinstance(imm, str) and imm == "tile" else imm for imm in (imm0, imm1))
        dst, data = tiles(x)
        nisa.activate2(dst, op, data, first, second, op0, op1, **more)

    return body


@pytest.mark.parametrize("target", ["trn1", "trn2"])
def test_activate2_needs_neuroncore_v4(reject, target):
    arrays = (random(np.float32), np.zeros((P, 1), np.float32))
    label = "NeuronCore-v2" if target == "trn1" else "NeuronCore-v3"
    reject(
        GenerationError,
        call(),
        *arrays,
        at="activate2",
        found=f"activate2 on {label}",
        allowed="from NeuronCore-v4 (trn3) on",
        target=target,
    )
    run_tiles(lambda x, tile: call()(x, tile) or x, *arrays, target="trn4")


_STAGES = ["multiply", "add", "subtract", "bypass", "maximum", "abs"]


@pytest.mark.parametrize(("op0", "op1"), [pair for pair in product(_STAGES, _STAGES) if pair not in PAIRS])
def test_other_pairs_of_operators_are_refused(reject, op0, op1):
    arrays = (random(np.float32), np.zeros((P, 1), np.float32))
    body = call(op0=operator(op0), op1=operator(op1))
    reject(
        ArgumentError,
        body,
        *arrays,
        at="activate2.op1",
        found=f"op0={op0} with op1={op1}",
        allowed="(multiply, add), (multiply, subtract), (multiply, bypass), (add, bypass), (subtract, bypass)",
    )


def test_activate2_limits(reject):
    data, vector, at = random(np.float32), np.zeros((P, 1), np.float32), "activate2"
    arrays = (data, vector)
    idle = {"op0": nl.bypass, "op1": nl.bypass}
    reject(ArgumentError, call(op=nl.maximum), *arrays, at=f"{at}.op", found="maximum", allowed="gelu")
    reject(ArgumentError, call(op0=None), *arrays, at=f"{at}.op0", found="None", allowed="nl.add", everywhere=True)
    reject(ArgumentError, call(reverse0=True, **idle), *arrays, at=f"{at}.reverse0", found="op0=bypass", allowed="op0")
    one = call(op1=nl.bypass, reverse1=True)
    reject(ArgumentError, one, *arrays, at=f"{at}.reverse1", found="op1=bypass", allowed="an operator as op1")
    reject(ArgumentError, call(imm0=None), *arrays, at=f"{at}.imm0", found="None", allowed="multiply")
    reject(ArgumentError, call(imm1=None), *arrays, at=f"{at}.imm1", found="None", allowed="add")
    slope = call(op=nl.prelu, relu_param=None)
    reject(ArgumentError, slope, *arrays, at=f"{at}.relu_param", found="None", allowed="a number or a (P, 1) tensor")
    for command in ("load_reduce",):
        body = call(reduce_cmd=reduce_cmd[command], reduce_op=nl.add)
        reject(ArgumentError, body, *arrays, at=f"{at}.reduce_cmd", found=command, allowed="idle, reset, reduce")
    for command in ("reset", "reduce", "reset_reduce"):
        body = call(reduce_cmd=reduce_cmd[command])
        reject(ArgumentError, body, *arrays, at=f"{at}.reduce_op", found=f"None with reduce_cmd.{command}")
    for name in ("multiply", "subtract", "logical_or"):
        body = call(reduce_cmd=reduce_cmd.reset_reduce, reduce_op=operator(name))
        reject(ArgumentError, body, *arrays, at=f"{at}.reduce_op", found=name, allowed="abs_max, abs_min")
    reject(ShapeError, call(imm0="tile"), data, data, at=f"{at}.imm0", found="24 elements", allowed="(P, 1)")
    reject(ShapeError, call(imm1="tile"), data, vector[:32], at=f"{at}.imm1", found="count 32", allowed="count 64")
    shorter = call(tiles=lambda x: (like(x), x[:, :3]))
    reject(ShapeError, shorter, *arrays, at=f"{at}.dst", found="free size 24", allowed="free size 3")
    fewer = call(tiles=lambda x: (like(x)[:32], x))
    reject(ShapeError, fewer, *arrays, at=f"{at}.dst", found="count 32", allowed="count 64")
    packed = call(tiles=lambda x: (like(x, nl.float8_e4m3fn_x4), x))
    reject(DtypeError, packed, *arrays, at=f"{at}.dst", found="float8_e4m3fn_x4", allowed="bfloat16")
    away = call(tiles=lambda x: (like(x, buffer=nl.shared_hbm), x))
    reject(BufferError, away, *arrays, at=f"{at}.dst", found="shared_hbm", allowed="psum, sbuf")

    def mixed(x, tile):
        half = like(tile, nl.bfloat16)
        nisa.tensor_copy(half, tile)
        nisa.activate2(x, nl.exp, x, tile, half, nl.multiply, nl.add)

    reject(DtypeError, mixed, *arrays, at=f"{at}.imm1", found="dtype bfloat16", allowed="dtype float32")


def test_immediates_of_one_narrow_dtype_and_results_in_psum():
    data, imm = random(np.float32), random(ml_dtypes.bfloat16, (P, 1))

    def body(x, tile):
        result = like(x, nl.float32, buffer=nl.psum)
        nisa.activate2(result, nl.copy, x, tile, tile, nl.multiply, nl.add)
        return result

    found = run_both(body, data, imm).outputs[0]
    same(found, staged(data, imm, imm, "multiply", "add"))
    assert found.shape == (P, F)
