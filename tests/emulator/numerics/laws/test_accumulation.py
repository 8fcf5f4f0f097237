"""The matmul's sums against float64: within gamma_K sum |a||b| whatever the order, exact where the products allow it.

u = 2**-24, gamma_n = n u / (1 - n u) (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). Products of
all operand dtypes here but float32 are exact in f32, and those of float32 are rounded once more, which is one more u.
Where products or sums may be subnormal and flush, K * 2**-126 is added. PSUM in bfloat16 (NeuronCore-v4) rounds after
each of T writes: a relative 2**-8 of what is there, at most (1 + 2**-8)**T - 1 of sum |a||b| altogether.

float64 is exact for FP4 and for FP8 of three mantissa bits, else good to K * 2**-53 sum |a||b|, which is added.
The errors found are far below the bound; sqrt(K) u is reported to Hypothesis as a target, and not asserted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st, target
from numpy.typing import NDArray

from tests.emulator.isa.harness import load, psum, store
from trnlab.emulator import dtypes, launch
from trnlab.emulator.dtypes import DType, element_of
from trnlab.emulator.nki import isa as nisa
from trnlab.emulator.numerics.microscaling_host import pack_x4

Array = NDArray[Any]
U: Final = 2.0**-24
U64: Final = 2.0**-53
TILES, K_TILE, M, N = 2, 128, 16, 24
K: Final = TILES * K_TILE


class Operands(NamedTuple):
    """What the kernel gets and the float64 matrices [K, M], [K, N] that it stands for."""

    arguments: tuple[Array, ...]
    left: Array
    right: Array


def gaussian(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.standard_normal(shape)


def positive(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """All of one sign: the partial sums grow, and so do their roundings."""
    return generator.uniform(1, 2, shape)


def cancelling(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Every second row is the negative of the one before, but for the last bits."""
    values = generator.standard_normal(shape)
    values[1::2] = -values[::2] * (1 + generator.choice([0, 2.0**-3], (shape[0] // 2, shape[1])))
    return values


def one_huge(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """One row beside which the others fall below the last place."""
    values = generator.standard_normal(shape) * 2.0**-6
    values[generator.integers(shape[0])] *= 2.0**9
    return values


def wide(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Twelve binades in each direction, subnormals of the narrow formats among them."""
    return np.ldexp(generator.standard_normal(shape), generator.integers(-12, 4, shape))


KINDS: Final[dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]]] = {
    draw.__name__: draw for draw in (gaussian, positive, cancelling, one_huge, wide)
}
drawn = st.tuples(st.integers(0, 2**32 - 1), st.sampled_from(sorted(KINDS)), st.sampled_from(sorted(KINDS)))


def exact_of(left: Array, right: Array) -> tuple[Array, Array]:
    """left.T @ right in float64 and sum |a||b|."""
    return left.T @ right, np.abs(left).T @ np.abs(right)


def check(found: Array, operands: Operands, terms: int, *, bfloat16_writes: int = 0) -> None:
    exact, magnitude = exact_of(operands.left, operands.right)
    gamma = terms * U / (1 - terms * U) + K * U64
    bound = gamma * magnitude + K * 2.0**-126
    if bfloat16_writes:
        bound += ((1 + 2.0**-8) ** bfloat16_writes - 1) * (magnitude + bound)
    error = np.abs(found.astype(np.float64) - exact)
    assert (error <= bound).all(), f"{(error / bound).max():.3g} times the bound"
    alarm = error / np.where(magnitude > 0, magnitude * np.sqrt(terms) * U, 1)
    target(float(alarm.max()), label="largest error over sqrt(K) u sum |a||b|")


# ------------------------------------------------------------------------------------------------- plain operands

PLAIN: Final[dict[str, tuple[DType, DType, str]]] = {
    "bf16": (dtypes.bfloat16, dtypes.bfloat16, "trn2"),
    "fp16": (dtypes.float16, dtypes.float16, "trn2"),
    "fp32": (dtypes.float32, dtypes.float32, "trn2"),
    "tf32": (dtypes.tfloat32, dtypes.tfloat32, "trn2"),
    "e4m3": (dtypes.float8_e4m3, dtypes.float8_e4m3, "trn2"),
    "e5m2": (dtypes.float8_e5m2, dtypes.float8_e5m2, "trn2"),
    "e3m4": (dtypes.float8_e3m4, dtypes.float8_e3m4, "trn2"),
    "e4m3 by e5m2": (dtypes.float8_e4m3, dtypes.float8_e5m2, "trn2"),
    "e4m3fn by e5m2": (dtypes.float8_e4m3fn, dtypes.float8_e5m2, "trn3"),
}


def stored(values: Array, dtype: DType) -> tuple[Array, Array]:
    """The values in the dtype's storage, clipped to its range, and what it holds in float64."""
    single = np.clip(values, -dtype.format.max, dtype.format.max).astype(np.float32)
    if dtype == dtypes.tfloat32:
        single = (single.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
    kept = single.astype(dtype.storage)
    return kept, kept.astype(np.float64)


def plain_kernel(left: DType, right: DType, result_dtype: DType) -> Any:
    def kernel(a: Any, b: Any) -> Any:
        result = psum((M, N), result_dtype)
        for k in range(0, K, K_TILE):
            operands = load(a[k : k + K_TILE]).view(left), load(b[k : k + K_TILE]).view(right)
            nisa.nc_matmul(result, *operands)
        return store(result)

    return kernel


PLAIN_KERNELS = {
    (name, result): plain_kernel(left, right, result)
    for name, (left, right, _) in PLAIN.items()
    for result in (dtypes.float32, dtypes.bfloat16)
}


def plain_operands(name: str, seed: int, kinds: tuple[str, str]) -> Operands:
    generator = np.random.default_rng(seed)
    left, right, _ = PLAIN[name]
    (a, exact_a), (b, exact_b) = (
        stored(KINDS[kind](generator, (K, width)), dtype)
        for kind, width, dtype in zip(kinds, (M, N), (left, right), strict=True)
    )
    return Operands((a, b), exact_a, exact_b)


@pytest.mark.parametrize("name", PLAIN)
@settings(max_examples=15)
@given(draw=drawn)
def test_float32_sums_of_plain_operands(name: str, draw: tuple[int, str, str]) -> None:
    operands = plain_operands(name, draw[0], draw[1:])
    kernel, generation = PLAIN_KERNELS[name, dtypes.float32], PLAIN[name][2]
    found = np.asarray(launch.run(kernel, *operands.arguments, target=generation).outputs)
    check(found, operands, K + (name == "fp32"))


@pytest.mark.parametrize("name", ["bf16", "e4m3fn by e5m2", "fp32"])
@settings(max_examples=15)
@given(draw=drawn)
def test_bfloat16_sums_of_the_fourth_generation(name: str, draw: tuple[int, str, str]) -> None:
    operands = plain_operands(name, draw[0], draw[1:])
    found = launch.run(PLAIN_KERNELS[name, dtypes.bfloat16], *operands.arguments, target="trn3").outputs
    assert found.dtype == ml_dtypes.bfloat16
    check(np.asarray(found).astype(np.float32), operands, K + (name == "fp32"), bfloat16_writes=TILES)


# ---------------------------------------------------------------------------------------------------- MX operands

MX: Final[dict[str, tuple[DType, DType]]] = {
    "mxfp8 e4m3": (dtypes.float8_e4m3fn_x4, dtypes.float8_e4m3fn_x4),
    "mxfp8 e5m2": (dtypes.float8_e5m2_x4, dtypes.float8_e5m2_x4),
    "mxfp8 by mxfp4": (dtypes.float8_e4m3fn_x4, dtypes.float4_e2m1fn_x4),
    "mxfp4": (dtypes.float4_e2m1fn_x4, dtypes.float4_e2m1fn_x4),
}
PARTITIONS: Final = K // 4


def mx_kernel(left: DType, right: DType, result_dtype: DType) -> Any:
    def kernel(a: Any, b: Any, s: Any, t: Any) -> Any:
        result = psum((M, N), result_dtype)
        nisa.nc_matmul_mx(result, load(a).view(left), load(b).view(right), load(s), load(t))
        return store(result)

    return kernel


MX_KERNELS = {(name, dtypes.float32): mx_kernel(left, right, dtypes.float32) for name, (left, right) in MX.items()}
MX_KERNELS |= {(name, dtypes.bfloat16): mx_kernel(*MX[name], dtypes.bfloat16) for name in ("mxfp8 by mxfp4",)}


def mx_operand(generator: np.random.Generator, dtype: DType, columns: int, spread: int) -> tuple[Array, Array, Array]:
    """(words, placed scales, float64 [K, columns]) of random codes under scales that spread over that many binades."""
    element = element_of(dtype)
    bits = generator.integers(0, 2**element.format.bits, (PARTITIONS, 4 * columns)).astype(np.uint8)
    values = bits.view(element.storage).astype(np.float64)
    bits = np.where(np.isfinite(values), bits, 0).astype(np.uint8)
    codes = (127 + generator.integers(-spread, spread + 1, (PARTITIONS // 8, columns))).astype(np.uint8)
    scales = np.zeros((PARTITIONS, columns), np.uint8)
    for group, row in enumerate(codes):
        scales[32 * (group // 4) + group % 4] = row
    exact = np.where(np.isfinite(values), values, 0.0).reshape(PARTITIONS, columns, 4)
    exact = np.ldexp(exact, np.repeat(codes.astype(np.int32) - 127, 8, axis=0)[..., None])
    return pack_x4(bits.view(element.storage)), scales, exact.transpose(2, 0, 1).reshape(K, columns)


def mx_operands(name: str, seed: int, spread: int) -> Operands:
    generator = np.random.default_rng(seed)
    a, s, left = mx_operand(generator, MX[name][0], M, spread)
    b, t, right = mx_operand(generator, MX[name][1], N, spread)
    return Operands((a, b, s, t), left, right)


@pytest.mark.parametrize("name", MX)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), spread=st.integers(0, 12))
def test_float32_sums_of_mx_operands(name: str, seed: int, spread: int) -> None:
    operands = mx_operands(name, seed, spread)
    found = np.asarray(launch.run(MX_KERNELS[name, dtypes.float32], *operands.arguments, target="trn3").outputs)
    check(found, operands, K)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_mxfp4_under_equal_scales_is_exact(seed: int) -> None:
    """Products are multiples of 1/4 up to 36, so K of them stay below 2**24 quarters: 256 * 36 * 4 = 36,864."""
    operands = mx_operands("mxfp4", seed, spread=0)
    found = np.asarray(launch.run(MX_KERNELS["mxfp4", dtypes.float32], *operands.arguments, target="trn3").outputs)
    np.testing.assert_array_equal(found, exact_of(operands.left, operands.right)[0])


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), spread=st.integers(0, 12))
def test_bfloat16_sums_of_mx_operands(seed: int, spread: int) -> None:
    operands = mx_operands("mxfp8 by mxfp4", seed, spread)
    found = launch.run(MX_KERNELS["mxfp8 by mxfp4", dtypes.bfloat16], *operands.arguments, target="trn3").outputs
    check(np.asarray(found).astype(np.float32), operands, K, bfloat16_writes=1)


def test_the_bound_would_notice_a_lost_term() -> None:
    """Leaving one of K products out is far outside the bound: the checks above can fail."""
    operands = plain_operands("bf16", 0, ("positive", "positive"))
    short = operands.left[1:].T @ operands.right[1:]
    with pytest.raises(AssertionError, match="times the bound"):
        check(short, operands, K)
