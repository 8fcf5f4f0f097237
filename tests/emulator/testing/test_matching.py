"""Kernels against oracles: bounds derived by hand, shrunk counterexamples, lines that reproduce a failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from trnlab.emulator import testing
from trnlab.emulator.errors import ArgumentError, ShapeError, UsageError
from trnlab.emulator.target import get_target
from trnlab.emulator.testing import Bound, MismatchError, assert_matches, from_codes, kernel_arguments
from trnlab.emulator.testing.formats import spacing
from trnlab.emulator.testing.matching import UNIT_ROUNDOFF
from trnlab.emulator.testing.reproduce import codes_of, expression
from trnlab.kernels.matmul import matmul

RNG = np.random.default_rng(5)


def load(x: Any, dtype: Any = None) -> Any:
    tile = nl.ndarray(x.shape, dtype=dtype or x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=x)
    return tile


def store(tile: Any) -> Any:
    out = nl.ndarray(tile.shape, dtype=tile.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(dst=out, src=tile)
    return out


def combined(op: Any) -> Any:
    @nki.jit
    def combine(a: nl.NkiTensor, b: nl.NkiTensor) -> nl.NkiTensor:
        left, right = load(a), load(b)
        nisa.tensor_tensor(dst=left, data1=left, data2=right, op=op)
        return store(left)

    return combine


add, subtract = combined(nl.add), combined(nl.subtract)


def plus(a: Any, b: Any) -> Any:
    return a + b


# ------------------------------------------------------------------------------------------------- counterexamples


def shrunk(kernel: Any, oracle: Callable[..., Any], strategy: Any) -> MismatchError:
    @settings(
        max_examples=60,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(strategy)
    def check(arguments: dict[str, Any]) -> None:
        assert_matches(kernel, oracle, mode="reference", **arguments)

    with pytest.raises(MismatchError) as failure:
        check()
    return failure.value


TINY = kernel_arguments({"a": ("P", "F"), "b": ("P", "F")}, "bfloat16", sizes={"P": 1, "F": st.integers(1, 2)})


def test_a_wrong_kernel_fails_with_the_smallest_counterexample() -> None:
    failure = shrunk(subtract, plus, TINY)
    # 0 - 1 where 0 + 1 was asked for: one element, and no simpler values tell the two apart.
    assert failure.reproduce == (
        "assert_matches(combine, plus, a=encode([[0.0]], 'bfloat16'), b=encode([[1.0]], 'bfloat16'), mode='reference')"
    )
    assert (failure.comparison.shape, failure.comparison.worst_actual) == ((1, 1), -1.0)
    with pytest.raises(MismatchError, match="1 of 1 elements beyond the bound"):
        eval(failure.reproduce, {**vars(testing), "combine": subtract, "plus": plus})  # the line does what it says


def test_a_kernel_wrong_in_one_sign_only_is_found() -> None:
    @nki.jit
    def clipped(a: nl.NkiTensor) -> nl.NkiTensor:
        tile = load(a)
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.maximum, operand0=0.0)
        return store(tile)

    strategy = kernel_arguments({"a": ("P", "F")}, "float16", sizes={"P": 1, "F": st.integers(1, 2)})
    failure = shrunk(clipped, lambda a: a, strategy)
    assert "a=encode([[-1.0]], 'float16')" in failure.reproduce


def test_the_right_kernel_passes() -> None:
    a, b = (RNG.standard_normal((4, 8)).astype(ml_dtypes.bfloat16) for _ in range(2))
    (found,) = assert_matches(add, plus, a, b, mode="reference")
    assert found.max_ulp == 0  # one exact sum, rounded once


# ------------------------------------------------------------------------------------------------------------ bounds


def test_the_bound_is_the_documented_sum() -> None:
    # u = 2**-24, n = 64: gamma = n u / (1 - n u); S = 8; half a bfloat16 step at |e| + accumulated, which lies in
    # [2, 4) where neighbours are 2**-6 apart.
    accumulated = 64 * 2.0**-24 / (1 - 64 * 2.0**-24) * 8 + 64 * 2.0**-126
    room = accumulated + 0.5 * 2.0**-6
    e, magnitude = np.array([3.0]), np.array([8.0])
    bound, dtype = Bound(contraction=64), testing.formats.as_dtype("bfloat16")
    assert bound.accumulated(magnitude)[0] == pytest.approx(accumulated, rel=1e-15)
    assert bound.allowed(e + room * (1 - 1e-9), e, magnitude, dtype).all()
    assert not bound.allowed(e + room * (1 + 1e-9), e, magnitude, dtype).any()
    assert np.finfo(np.float32).eps / 2 == UNIT_ROUNDOFF
    # Products that flush leave an error where the magnitudes are nothing.
    assert bound.accumulated(np.zeros(1))[0] == 64 * float(np.finfo(np.float32).smallest_normal)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float8_e5m2"])
def test_spacing_is_the_gap_between_neighbours(dtype: str) -> None:
    element = testing.formats.as_dtype(dtype)
    codes = np.array([1, 2, 5, 0x38, 0x3B], f"u{element.itemsize}")
    low = testing.decode(codes.view(element.storage), element)
    high = testing.decode((codes + 1).astype(codes.dtype).view(element.storage), element)
    assert np.array_equal(spacing(low, element), high - low)


def test_beyond_the_largest_value_infinity_is_right() -> None:
    element = testing.formats.as_dtype("float8_e4m3")
    e = np.array([1000.0, 250.0, 100.0])
    assert Bound().allowed(np.array([np.inf, np.inf, np.inf]), e, e, element).tolist() == [True, True, False]
    assert not Bound().allowed(np.array([-np.inf]), e[:1], e[:1], element).any()
    assert Bound().allowed(np.array([np.nan]), np.array([np.nan]), np.array([1.0]), element).all()
    assert not Bound().allowed(np.array([np.nan]), np.array([1.0]), np.array([1.0]), element).any()


def test_a_matmul_within_gamma_and_a_dropped_row_outside() -> None:
    lhsT, rhs = (RNG.standard_normal((128, 8)).astype(np.float32) for _ in range(2))
    found = assert_matches(matmul, lambda lhsT, rhs: lhsT.T @ rhs, lhsT, rhs, contraction=128, mode="both")
    assert [comparison.name for comparison in found] == ["result (reference)", "result (compiled)"]
    # gamma_128 is about 8e-6 of the sum of magnitudes; leaving a row out changes far more.
    with pytest.raises(MismatchError):
        assert_matches(matmul, lambda lhsT, rhs: lhsT[1:].T @ rhs[1:], lhsT, rhs, contraction=128, mode="reference")
    # Cancellation: the result is near 0, and its error is still a share of the magnitudes, not of the result.
    lhsT[64:], rhs[64:] = -lhsT[:64], rhs[:64]
    assert_matches(matmul, lambda lhsT, rhs: lhsT.T @ rhs, lhsT, rhs, contraction=128, mode="reference")


# --------------------------------------------------------------------------------------------------- forms of results


def test_a_kernel_that_returns_nothing_is_judged_by_what_it_wrote() -> None:
    @nki.jit
    def doubled(out: nl.NkiTensor, x: nl.NkiTensor) -> None:
        tile = load(x)
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.multiply, operand0=2.0)
        nisa.dma_copy(dst=out, src=tile)

    out, x = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
    (found,) = assert_matches(doubled, lambda out, x: 2 * x, out, x, mode="reference")
    assert found.max_ulp == 0
    assert not out.any()  # the argument itself is left alone
    with pytest.raises(MismatchError):
        assert_matches(doubled, lambda out, x: 3 * x, out, x, mode="reference")


def test_several_results_and_integers() -> None:
    @nki.jit
    def both(x: nl.NkiTensor) -> tuple[Any, Any]:
        tile = load(x)
        whole = nl.ndarray(tile.shape, dtype=nl.int32, buffer=nl.sbuf)
        nisa.tensor_copy(dst=whole, src=tile)
        return store(tile), store(whole)

    x = np.array([[0.25, 1.5, -2.75]], np.float32)
    found = assert_matches(both, lambda x: (x, np.rint(x)), x, mode="reference")
    assert [comparison.dtype for comparison in found] == ["float32", "int32"]
    with pytest.raises(MismatchError, match=r"result\[1\]"):
        assert_matches(both, lambda x: (x, np.rint(x) + 1), x, mode="reference")


def test_refusals() -> None:
    a = np.ones((1, 1), np.float32)
    with pytest.raises(ArgumentError, match="compiled, reference, both"):
        assert_matches(add, plus, a, a, mode="fast")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="contraction"):
        assert_matches(add, plus, a, a, contraction=2**24)
    with pytest.raises(UsageError, match="no array returned"):
        assert_matches(add, lambda a, b: None, a, a, mode="reference")
    with pytest.raises(ShapeError, match="2 arrays"):
        assert_matches(add, lambda a, b: (a, b), a, a, mode="reference")
    with pytest.raises(ShapeError, match="as actual"):
        assert_matches(add, lambda a, b: (a + b)[0], a, a, mode="reference")


# ----------------------------------------------------------------------------------------------------- reproductions


@pytest.mark.parametrize(
    "array",
    [
        np.array([[0.1, -0.0]], np.float32),
        np.array([np.inf, np.nan, 1], ml_dtypes.bfloat16),
        np.zeros((64, 64), np.float16),
        RNG.standard_normal((16, 16)).astype(ml_dtypes.float8_e4m3),
        np.arange(5, dtype=np.int8),
        np.array([[7, 8]], np.uint32).view(np.dtype([("float8_e5m2_x4", np.uint32)])),
    ],
    ids=str,
)
def test_expressions_give_the_array_back(array: np.ndarray) -> None:
    again = eval(expression(array), dict(vars(testing)))
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    assert again.tobytes() == array.tobytes()


def test_texts_of_codes() -> None:
    assert codes_of(np.zeros(1000, np.float32)) == "0*1000"
    assert from_codes("float8_e4m3", (1, 3), "38*2 40").tolist() == [[1.0, 1.0, 2.0]]
    with pytest.raises(ArgumentError, match="2 bytes"):
        from_codes("float8_e4m3", (1, 3), "38*2")
    noise = RNG.integers(0, 2**32, 4096, dtype=np.uint32).view(np.float32)
    assert "SHA-256" in expression(np.nan_to_num(noise))
    assert expression(3) == "3"
    one = np.ones((1, 1), np.float32)
    with pytest.raises(MismatchError) as failure:
        assert_matches(add, subtract_oracle, one, one, mode="reference", target=get_target("trn2"))
    assert failure.value.reproduce.endswith("target='trn2', mode='reference')")


def subtract_oracle(a: Any, b: Any) -> Any:
    return a - b
