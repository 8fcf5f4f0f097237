"""Every wide rule against the instruction itself: from the same operands both give the same, within float32's rounding.

The instructions are written in JAX on float32, the rules in NumPy on float64; neither knows the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from tests.emulator.attribution.harness import load, store, tile
from tests.emulator.attribution.instruction_cases import CASES, POSITIVE, WIDE, F, P, X, Y, quantised
from tests.emulator.reference import run
from trnlab.emulator.attribution.functions import FUNCTIONS
from trnlab.emulator.attribution.operators import OPERATORS, UNARY
from trnlab.emulator.attribution.rules_moves import RULES
from trnlab.emulator.attribution.twin import Executed, Twin
from trnlab.emulator.attribution.worlds import World
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.numerics.activations import ACTIVATIONS
from trnlab.emulator.numerics.elementwise import ALU_OPS

ULP = 2.0**-23


def executed(kernel: Callable[..., Any], *args: Any) -> list[Executed]:
    """Every instruction of the kernel, executed beside its twin."""
    result = run(nki.jit(kernel), *args, target="trn3")
    inputs = [np.ascontiguousarray(argument.as_numpy()) for argument in result.replay.inputs]
    found: list[Executed] = []
    Twin(result.program, result.target, inputs, [World(lambda line: False)]).run(found.append)
    return found


def check(opcode: str, kernel: Callable[..., Any], *args: Any, steps: float = 4.0) -> None:
    """The opcode occurs, has a wide form, and gives what its rule gives, within `steps` float32 ulps of the largest."""
    seen = [one for one in executed(kernel, *args) if one.opcode == opcode]
    assert seen
    for one in seen:
        assert not one.as_it_is
        assert not one.dropped
        assert one.integers == 0
        for result in one.results.values():
            assert np.array_equal(np.isnan(result.true), np.isnan(result.wide))
            finite = np.isfinite(result.true) & np.isfinite(result.wide)
            assert np.array_equal(result.true[~finite], result.wide[~finite], equal_nan=True)
            step = 2.0**-result.dtype.format.mantissa_bits
            size = np.abs(result.wide[finite])
            # Sums that cancel err by ulps of what they add up, the result's cast by half a step of each element.
            room = steps * ULP * size.max(initial=0) + (step / 2 * size if step > ULP else 0)
            error = np.abs(result.true[finite] - result.wide[finite])
            assert (error <= room + 1e-37).all()


# ------------------------------------------------------------------------------------------------- tables are complete


def test_tables_name_what_the_emulator_has() -> None:
    assert FUNCTIONS.keys() == ACTIVATIONS.keys()
    assert OPERATORS.keys() == {name for name, op in ALU_OPS.items() if op.kind != "bitvec"}
    assert {name for name in OPERATORS if ALU_OPS[name].arity == 1} == UNARY
    assert RULES.keys() <= CATALOGUE.keys()
    # What has no wide form works on bits, integers, positions or random numbers.
    assert CATALOGUE.keys() - RULES.keys() == {
        *("iota", "nc_find_index8", "nc_match_replace8", "topk", "nonzero_with_count", "sequence_bounds"),
        *("rng", "rand2", "dropout", "set_rng_seed", "rand_set_state", "rand_get_state"),
        *("register_move", "register_load", "register_store", "device_print"),
    }


# ------------------------------------------------------------------------------------------------------ by operator


@pytest.mark.parametrize("op", sorted(FUNCTIONS))
def test_activations(op: str) -> None:
    data = POSITIVE if op in ("log", "sqrt", "rsqrt", "reciprocal") else 3 * X

    def kernel(x: Any) -> Any:
        result = tile((P, F))
        if op == "prelu":
            idle = {"imm0": None, "imm1": None, "op0": nl.bypass, "op1": nl.bypass}
            nisa.activate2(dst=result, op=nl.prelu, data=load(x), relu_param=0.25, **idle)
        else:
            nisa.activation(dst=result, op=getattr(nl, op), data=load(x))
        return store(result)

    # Products of several rounded factors, and 1 - erf near 1, err by a few ulps more.
    check("activate2" if op == "prelu" else "activation", kernel, data, steps=12.0)


NO_INSTRUCTION = {"divide", "mod", "fmod", "logical_not", "bypass"}


@pytest.mark.parametrize("op", sorted(OPERATORS.keys() - NO_INSTRUCTION))
def test_operators(op: str) -> None:
    unary = op in UNARY
    left, right = (POSITIVE, np.abs(Y) + np.float32(0.25)) if op in ("power", "rsqrt", "reciprocal") else (X, Y)

    def kernel(x: Any, y: Any) -> Any:
        result = tile((P, F))
        if unary:
            nisa.tensor_scalar(dst=result, data=load(x), op0=getattr(nl, op), operand0=None)
        else:
            nisa.tensor_tensor(dst=result, data1=load(x), data2=load(y), op=getattr(nl, op))
        return store(result)

    check("tensor_scalar" if unary else "tensor_tensor", kernel, left, right)


@pytest.mark.parametrize("op", ["add", "subtract", "multiply", "maximum", "minimum", "logical_and", "logical_or"])
def test_folds(op: str) -> None:
    def kernel(x: Any) -> Any:
        result = tile((P, 2))
        data = load(x).reshape((P, 2, F // 2))
        nisa.tensor_reduce(dst=result, op=getattr(nl, op), data=data, axis=2, negate=op == "maximum")
        return store(result)

    check("tensor_reduce", kernel, POSITIVE)


@pytest.mark.parametrize("name", CASES)
def test_instructions(name: str) -> None:
    kernel, (opcode, *args) = CASES[name]
    check(opcode, kernel, *(args or [X]), steps=32.0 if opcode in ("tensor_tensor_scan", "bn_aggr") else 12.0)


def test_every_rule_has_a_case() -> None:
    covered = {name.partition("-")[0] for name in CASES} | {"activation", "activate2", "tensor_tensor"}
    assert RULES.keys() - covered == {"tensor_reduce", "quantize_mx"}  # which have tests of their own


def test_quantised_pairs_stand_for_the_source() -> None:
    # Words and scales of the twin multiply back to the source exactly; the program's are off by the rounding only.
    (one,) = [one for one in executed(lambda x: store(quantised(x)[0]), WIDE) if one.opcode == "quantize_mx"]
    result = one.results["dst"]
    source = WIDE.astype(np.float64).reshape(P, F, 4)
    exponent = np.log2(source[result.wide != 0] / result.wide[result.wide != 0])
    assert np.array_equal(exponent, np.rint(exponent))
    # Four significant bits, the largest of a block between 128 and 256: half a step of 16 at most.
    assert np.abs(result.true - result.wide).max() <= 8.0
    assert np.abs(result.wide).max() < 256.0
    assert one.integers == 0  # the scale codes are the program's
