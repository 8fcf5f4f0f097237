"""Blocks of 32 values for tests of MX: quantise them by the library, decode them by hand, draw them with Hypothesis."""

from __future__ import annotations

from typing import Any, Final

import jax
import ml_dtypes
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType
from trnlab.emulator.numerics.microscaling import quantize_mx
from trnlab.emulator.numerics.microscaling_policies import HARDWARE, BlockPolicy, ScaleRule

BFLOAT16: Final = np.dtype(ml_dtypes.bfloat16)
EMAX: Final = {"float8_e4m3fn": 8, "float8_e5m2": 15, "float4_e2m1fn": 2}
LARGEST: Final = {"float8_e4m3fn": 448.0, "float8_e5m2": 57344.0, "float4_e2m1fn": 6.0}
MANTISSA: Final = {"float8_e4m3fn": 3, "float8_e5m2": 2, "float4_e2m1fn": 1}
SMALLEST: Final = {"float8_e4m3fn": 2.0**-9, "float8_e5m2": 2.0**-16, "float4_e2m1fn": 0.5}

FP8: Final = [dtypes.float8_e4m3fn, dtypes.float8_e5m2]
ELEMENTS: Final = [*FP8, dtypes.float4_e2m1fn]
CASES: Final = [(element, rule) for rule in ScaleRule for element in FP8] + [
    (dtypes.float4_e2m1fn, ScaleRule.OCP_FLOOR)
]
every_case = pytest.mark.parametrize(("element", "rule"), CASES, ids=lambda value: getattr(value, "value", str(value)))
every_element = pytest.mark.parametrize("element", ELEMENTS, ids=str)
every_fp8 = pytest.mark.parametrize("element", FP8, ids=str)

_quantize = jax.jit(quantize_mx, static_argnums=(1, 2, 3))

Bytes = NDArray[np.uint8]


def quantize(
    blocks: NDArray[Any], element: DType, rule: ScaleRule, policy: BlockPolicy = HARDWARE
) -> tuple[Bytes, Bytes]:
    """Element codes [N, 32] and scale codes [N] of blocks [N, 32], the groups of a tile of 8 partitions."""
    tile = blocks.reshape(-1, 8, 4).transpose(1, 0, 2).reshape(8, -1)
    words, codes = (np.array(result) for result in _quantize(tile, element, rule, policy))
    width = element.format.bits
    lanes = np.stack([(words.astype(np.uint32) >> (width * lane)) & (2**width - 1) for lane in range(4)], axis=-1)
    return lanes.astype(np.uint8).transpose(1, 0, 2).reshape(-1, 32), codes[0]


def dequantize(elements: Bytes, codes: Bytes, element: DType) -> NDArray[np.float64]:
    """The exact values [N, 32]: float64 holds every element times every scale."""
    values = elements.view(element.storage).astype(np.float64)
    return np.where(codes[:, None] == 255, np.nan, np.ldexp(values, codes.astype(np.int32)[:, None] - 127))


def once(blocks: NDArray[Any], element: DType, rule: ScaleRule) -> NDArray[np.float32]:
    """Blocks [N, 32] quantised and decoded; f32 holds every such value but 2**128, which becomes an infinity."""
    with np.errstate(over="ignore"):
        return dequantize(*quantize(blocks, element, rule), element).astype(np.float32)


# ---------------------------------------------------------------------------------------------------- strategies


def finite(patterns: NDArray[np.uint16]) -> NDArray[Any]:
    """bfloat16 patterns with ones for NaN and infinities."""
    values = patterns.view(BFLOAT16)
    return np.where(np.isfinite(values.astype(np.float32)), values, np.ones(1, BFLOAT16))


def _with_exponents(patterns: NDArray[np.uint16], low: int, width: int) -> NDArray[Any]:
    """The patterns with their exponent fields moved into [low, low + width)."""
    field = np.clip(low + (patterns >> 7 & 0xFF) % width, 0, 254)
    return finite((patterns & 0x807F | field << 7).astype(np.uint16))


_patterns = arrays(np.uint16, (1, 32), fill=st.nothing())


def _outlier(patterns: NDArray[np.uint16], place: int, binades: int) -> NDArray[Any]:
    values = _with_exponents(patterns, 110, 8)
    values[0, place] = np.ldexp(values[0, place].astype(np.float32), binades)
    return values


def _edge(patterns: NDArray[np.uint16], place: int, top: float, exponent: int) -> NDArray[Any]:
    """A block whose largest value sits at the edge of rounding up or clipping."""
    values = _with_exponents(patterns, 127 + exponent - 12, 12)
    values[0, place] = np.ldexp(np.float32(top), exponent)
    return values


any_block: st.SearchStrategy[NDArray[Any]] = st.one_of(
    _patterns.map(finite),
    st.builds(_with_exponents, _patterns, st.integers(0, 254), st.integers(1, 24)),
    st.builds(_with_exponents, _patterns, st.just(0), st.sampled_from([1, 8, 24])),  # subnormals and the clamp
    st.builds(_outlier, _patterns, st.integers(0, 31), st.integers(0, 30)),
    st.builds(
        _edge,
        _patterns,
        st.integers(0, 31),
        st.sampled_from([1.0, 1.5, 1.75, 1.8125, 1.875, 1.9921875]),
        st.integers(-90, 90),
    ),
    _patterns.map(lambda patterns: (patterns & 0x8000).view(BFLOAT16)),  # signed zeros
)
"""One block [1, 32] of finite bfloat16."""

middle_block: st.SearchStrategy[NDArray[Any]] = st.builds(
    _with_exponents, _patterns, st.integers(90, 150), st.integers(1, 16)
)
"""One block far from the clamp and from overflow, so that 2**k times it is exact and unclamped for |k| <= 60."""
