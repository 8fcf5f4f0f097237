"""matmul_mx_f32 against float64 within the bound of any f32 order, over ordinary and extreme scales."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import DtypeError, ShapeError
from trnlab.emulator.numerics.arithmetic import matmul_f32
from trnlab.emulator.numerics.microscaling_matmul import SAFE_SPREAD, matmul_mx_f32
from trnlab.emulator.numerics.sealing import seal

ELEMENTS = [dtypes.float8_e4m3fn, dtypes.float8_e5m2, dtypes.float4_e2m1fn]
UNIT_ROUNDOFF = 2.0**-24
F32_MAX = float(np.finfo(np.float32).max)
Codes = NDArray[np.uint8]


class Tile(NamedTuple):
    """Decoded elements [P, F, 4] and scale codes [P/8, F]."""

    elements: NDArray[np.float32]
    codes: Codes

    def exact(self) -> NDArray[np.float64]:
        """[4P, F] in float64, which holds every element times its scale."""
        scales = np.repeat(self.codes.astype(np.int32), 8, axis=0)[:, :, None] - 127
        values = np.ldexp(self.elements.astype(np.float64), scales)
        return values.transpose(0, 2, 1).reshape(-1, values.shape[1])


@pytest.fixture(autouse=True)
def _quiet_numpy() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def random_elements(generator: np.random.Generator, element: DType, shape: tuple[int, ...]) -> NDArray[np.float32]:
    codes = generator.integers(0, 2**element.format.bits, shape).astype(np.uint8)
    values: NDArray[np.float32] = codes.view(element.storage).astype(np.float32)
    return np.where(np.isfinite(values), values, np.float32(1))


def tile(seed: int, element: DType, codes: NDArray[Any], partitions: int = 128, free: int = 32) -> Tile:
    """Random elements of the format, with each group's scale drawn from `codes`."""
    generator = np.random.default_rng(seed)
    drawn = generator.choice(codes, (partitions // 8, free)).astype(np.uint8)
    return Tile(random_elements(generator, element, (partitions, free, 4)), drawn)


def product(left: Tile, right: Tile) -> NDArray[np.float32]:
    return np.asarray(matmul_mx_f32(*map(jnp.asarray, left), *map(jnp.asarray, right)))


def check_within_bound(left: Tile, right: Tile) -> None:
    """|c - exact| <= gamma_(4P) sum |a||b| + 2**-149; infinite only where that interval leaves f32's range."""
    found = product(left, right)
    a, b = left.exact(), right.exact()
    exact, magnitude = a.T @ b, np.abs(a).T @ np.abs(b)
    depth = a.shape[0] * UNIT_ROUNDOFF
    bound = depth / (1 - depth) * magnitude + 2.0**-149
    may_overflow = np.where(found > 0, exact + bound > F32_MAX, exact - bound < -F32_MAX)
    is_close = np.abs(found.astype(np.float64) - exact) <= bound
    assert np.where(np.isinf(found), may_overflow, is_close).all()


ORDINARY = np.arange(110, 140)
EXTREME = np.array([0, 1, 126, 254])


@pytest.mark.parametrize("codes", [ORDINARY, np.arange(255), EXTREME], ids=["ordinary", "all", "extreme"])
@pytest.mark.parametrize("right", ELEMENTS, ids=str)
@pytest.mark.parametrize("left", ELEMENTS, ids=str)
def test_error_bound(left: DType, right: DType, codes: NDArray[Any]) -> None:
    check_within_bound(tile(1, left, codes), tile(2, right, codes))


@pytest.mark.parametrize(("partitions", "m", "n"), [(64, 8, 40), (96, 128, 16), (32, 1, 1)])
def test_other_shapes(partitions: int, m: int, n: int) -> None:
    left = tile(3, dtypes.float8_e4m3fn, ORDINARY, partitions, m)
    check_within_bound(left, tile(4, dtypes.float8_e5m2, ORDINARY, partitions, n))


@settings(max_examples=40, deadline=None)  # the first example compiles
@given(seed=st.integers(0, 2**32 - 1), low=st.integers(0, 254), spread=st.integers(0, 254), sparse=st.booleans())
def test_error_bound_at_any_range_of_scales(seed: int, low: int, spread: int, sparse: bool) -> None:
    codes = np.arange(low, min(low + spread, 254) + 1)
    left, right = tile(seed, dtypes.float8_e5m2, codes), tile(seed + 1, dtypes.float8_e4m3fn, codes[::-1])
    if sparse:
        keep = np.random.default_rng(seed).random(left.codes.shape) < 0.2
        left = left._replace(elements=left.elements * np.repeat(keep, 8, axis=0)[..., None].astype(np.float32))
    check_within_bound(left, right)


def test_scales_that_cancel_across_the_whole_range() -> None:
    """2**-127 * 2**127 beside 0 * 2**127: a column's common exponent alone would flush the only product there is."""
    left = Tile(np.zeros((32, 2, 4), np.float32), np.full((4, 2), 127, np.uint8))
    right = Tile(np.zeros((32, 2, 4), np.float32), np.full((4, 2), 127, np.uint8))
    left.elements[0], left.codes[0] = 1, 254
    left.elements[8], left.codes[1] = 1, 0
    right.elements[8], right.codes[1] = 1, 254
    right.elements[16], right.codes[2] = 1, 0
    np.testing.assert_array_equal(product(left, right), np.full((2, 2), 4.0, np.float32))  # four lanes of 1 * 1


@pytest.mark.parametrize("spread", [SAFE_SPREAD - 1, SAFE_SPREAD, SAFE_SPREAD + 1, 80, 150])
def test_the_smallest_elements_survive_at_every_spread(spread: int) -> None:
    """The smallest float8_e5m2 on both sides, under scales of 2**-27, beside larger scales whose products vanish.

    Four lanes give 4 * 2**(2 * (-16 - 27)) = 2**-84. At SAFE_SPREAD the common exponents bring each factor to 2**-63
    and the product to 2**-126, the last normal one.
    """
    left = Tile(np.zeros((32, 1, 4), np.float32), np.full((4, 1), 100, np.uint8))
    right = Tile(np.zeros((32, 1, 4), np.float32), np.full((4, 1), 100, np.uint8))
    left.elements[0] = right.elements[0] = 2.0**-16
    left.elements[8], right.elements[16] = 1, 1  # each meets a zero
    left.codes[1] = right.codes[2] = 100 + spread
    assert product(left, right)[0, 0] == np.float32(2.0**-84)


def test_subnormal_and_overflowing_results() -> None:
    """One product of 4 lanes: 4 * 2**(s + t), at 2**-149, below half of it, at 2**127 and beyond."""
    ones = np.zeros((32, 1, 4), np.float32)
    ones[0] = 1
    sums = {-151: 2.0**-149, -152: 0.0, -153: 0.0, 125: 2.0**127, 126: np.inf}
    for total, expected in sums.items():
        s = total // 2
        left = Tile(ones, np.full((4, 1), 127 + s, np.uint8))
        right = Tile(ones, np.full((4, 1), 127 + total - s, np.uint8))
        assert product(left, right)[0, 0] == np.float32(expected), total


def test_code_255_spoils_its_row_or_column_only() -> None:
    left, right = tile(5, dtypes.float8_e4m3fn, ORDINARY), tile(6, dtypes.float8_e4m3fn, ORDINARY)
    expected = product(left, right).copy()
    left.codes[3, 7] = right.codes[0, 20] = 255
    left.elements[24:32, 7] = 0  # NaN even over zeros: the scale itself is NaN
    expected[7, :] = np.nan
    expected[:, 20] = np.nan
    np.testing.assert_array_equal(product(left, right), expected)


def test_infinite_and_nan_elements() -> None:
    left, right = tile(7, dtypes.float8_e5m2, ORDINARY), tile(8, dtypes.float8_e5m2, ORDINARY)
    expected = product(left, right).copy()
    left.elements[5, 4, 2] = np.inf
    right.elements[100, 9, 1] = np.nan
    expected[4] = np.copysign(np.inf, right.elements[5, :, 2])
    expected[4, right.elements[5, :, 2] == 0] = np.nan
    expected[:, 9] = np.nan
    np.testing.assert_array_equal(product(left, right), expected)


def test_ordinary_scales_give_the_bits_of_dequantise_then_multiply() -> None:
    """Powers of two commute with rounding, so bringing columns to a common exponent changes no bit."""
    left, right = tile(9, dtypes.float8_e4m3fn, ORDINARY), tile(10, dtypes.float8_e4m3fn, ORDINARY)

    def lanes(operand: Tile) -> list[jax.Array]:
        scale = np.ldexp(np.float32(1), np.repeat(operand.codes.astype(np.int32), 8, axis=0) - 127)
        return [jnp.asarray(operand.elements[..., lane] * scale) for lane in range(4)]

    @jax.jit
    def definition(left: list[jax.Array], right: list[jax.Array]) -> jax.Array:
        first, second = (
            seal(matmul_f32(jnp.concatenate(left[lane : lane + 2]), jnp.concatenate(right[lane : lane + 2])))
            for lane in (0, 2)
        )
        return first + second

    np.testing.assert_array_equal(product(left, right), np.asarray(definition(lanes(left), lanes(right))))


def test_fp4_under_equal_scales_is_exact() -> None:
    """Products of FP4 are multiples of 1/4 up to 36, so 512 of them sum exactly: 512 * 36 * 4 < 2**24."""
    left, right = (tile(seed, dtypes.float4_e2m1fn, np.array([120])) for seed in (11, 12))
    np.testing.assert_array_equal(product(left, right), left.exact().T @ right.exact())


def test_bits_of_an_entry_depend_on_its_own_row_and_column_only() -> None:
    left, right = tile(13, dtypes.float8_e4m3fn, ORDINARY), tile(14, dtypes.float8_e4m3fn, ORDINARY)
    ordinary = product(left, right)
    left.codes[0, 5] = 120 - SAFE_SPREAD - 20  # this column now takes the path by groups
    mixed = product(left, right)
    others = np.arange(32) != 5
    np.testing.assert_array_equal(mixed[others], ordinary[others])
    assert (mixed[5] != ordinary[5]).any()


def test_groups_of_zeros_do_not_widen_a_column() -> None:
    """quantize_mx gives them code 0; any other code must leave the same bits."""
    left, right = tile(15, dtypes.float8_e4m3fn, ORDINARY), tile(16, dtypes.float8_e4m3fn, ORDINARY)
    left.elements[:8] = 0
    results = []
    for code in (0, 125, 254):
        left.codes[0] = code
        results.append(product(left, right))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_same_bits_inside_a_loop_and_under_vmap() -> None:
    pairs = [(tile(seed, dtypes.float8_e5m2, codes), tile(seed + 1, dtypes.float8_e5m2, codes))
             for seed, codes in ((17, ORDINARY), (19, EXTREME), (21, ORDINARY))]  # fmt: skip
    alone = np.stack([product(*pair) for pair in pairs])
    batch = [np.stack([pair[side][field] for pair in pairs]) for side in (0, 1) for field in (0, 1)]
    np.testing.assert_array_equal(np.asarray(jax.jit(jax.vmap(matmul_mx_f32))(*batch)), alone)
    looped = jax.jit(lambda *arrays: jax.lax.map(lambda row: matmul_mx_f32(*row), arrays))(*batch)
    np.testing.assert_array_equal(np.asarray(looped), alone)


def test_errors() -> None:
    left, right = tile(1, dtypes.float8_e4m3fn, ORDINARY), tile(2, dtypes.float8_e4m3fn, ORDINARY)
    with pytest.raises(ShapeError, match="moving_scale"):
        product(left, right._replace(codes=right.codes[:4]))
    with pytest.raises(ShapeError, match="64 partitions"):
        product(left, Tile(right.elements[:64], right.codes[:8]))
    with pytest.raises(DtypeError, match="int32"):
        matmul_mx_f32(*map(jnp.asarray, left), jnp.asarray(right.elements), jnp.asarray(right.codes, jnp.int32))
