"""The formats that a tensor can be quantised to on the host, each as a function from rows of blocks to what is kept.

Blocks are consecutive on the last axis: 32 for MX (as checkpoints have them), 16 for NVFP4. A plain cast has no scale;
its values are clipped to the largest finite one first, as AWS's kernels do, and reported in groups of 32 all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType, element_of
from trnlab.emulator.numerics import nvfp4
from trnlab.emulator.numerics.casts import narrow
from trnlab.emulator.numerics.microscaling_checkpoints import unpack_checkpoint
from trnlab.emulator.numerics.microscaling_host import GROUP_ROWS, dequantize_mx_host, quantize_mx_host
from trnlab.emulator.numerics.microscaling_layout import LaneOrder
from trnlab.emulator.numerics.microscaling_policies import NON_FINITE_CODE, SCALE_BIAS, BlockPolicy, ScaleRule

Floats = NDArray[np.float32]


class Encoded(NamedTuple):
    """Rows [R, K] in a format: what they decode to, the value of each block's scale, and the arrays to store."""

    decoded: Floats  # [R, K]
    scales: NDArray[np.float64]  # [R, K/block]
    parts: Mapping[str, NDArray[Any]]  # by name, rows first


class Request(NamedTuple):
    """What encoding depends on besides the rows; `largest` is the largest magnitude of the whole tensor."""

    rule: ScaleRule
    policy: BlockPolicy
    largest: float


@dataclass(frozen=True, slots=True)
class QuantizationFormat:
    """A host format: its element, the elements per scale, and how rows [R, K] in f32 are encoded.

    rules:      the scale rules it takes, its default first; none for formats whose scale no rule of MX makes
    scale_bits: of a block's scale, 0 where it has none
    source:     who defines it, or the word assumed
    """

    element: DType
    block: int
    encode: Callable[[Floats, Request], Encoded]
    source: str
    scale_bits: int
    rules: tuple[ScaleRule, ...] = ()


def _encode_mx(dtype: DType, rows: Floats, request: Request) -> Encoded:
    order = LaneOrder.CONSECUTIVE
    words, codes = quantize_mx_host(rows.T, dtype, request.rule, policy=request.policy, order=order)
    decoded = dequantize_mx_host(words, codes, dtype, order=order).T
    blocks, stored = unpack_checkpoint(words, codes, rows.shape[1], dtype)
    scales = np.where(stored == NON_FINITE_CODE, np.nan, np.ldexp(1.0, stored.astype(np.int32) - SCALE_BIAS))
    return Encoded(decoded, scales, {"blocks": blocks, "scales": stored})


def _encode_nvfp4(rows: Floats, request: Request) -> Encoded:
    quantised = nvfp4.quantize_nvfp4(rows, nvfp4.nvfp4_tensor_scale(request.largest))
    packed, scales, tensor_scale = quantised
    values = scales.astype(np.float64) * np.float64(tensor_scale)
    parts: dict[str, NDArray[Any]] = {
        "packed": packed,
        "scales": scales.view(np.uint8),
        "tensor_scales": np.full(len(rows), tensor_scale),  # the same in every row
    }
    return Encoded(nvfp4.dequantize_nvfp4(quantised), values, parts)


_narrow = jax.jit(narrow, static_argnums=1)


def _encode_plain(dtype: DType, rows: Floats, request: Request) -> Encoded:
    del request
    elements = np.asarray(_narrow(np.clip(rows, -dtype.format.max, dtype.format.max), dtype))
    ones = np.ones((len(rows), rows.shape[1] // GROUP_ROWS))
    bits = elements.view(np.dtype(f"u{elements.itemsize}"))
    return Encoded(elements.astype(np.float32), ones, {"elements": bits})


def _mx(dtype: DType, *rules: ScaleRule) -> QuantizationFormat:
    source = "OCP Microscaling Formats v1.0"
    return QuantizationFormat(element_of(dtype), GROUP_ROWS, partial(_encode_mx, dtype), source, 8, rules)


def _plain(dtype: DType, source: str = "NKI reference, Supported Data Types") -> QuantizationFormat:
    return QuantizationFormat(dtype, GROUP_ROWS, partial(_encode_plain, dtype), source, 0)


FORMATS: Final[Mapping[str, QuantizationFormat]] = {
    "mxfp4": _mx(dtypes.float4_e2m1fn_x4, ScaleRule.OCP_FLOOR),
    "mxfp8_e4m3": _mx(dtypes.float8_e4m3fn_x4, ScaleRule.NKI, ScaleRule.OCP_FLOOR),
    "mxfp8_e5m2": _mx(dtypes.float8_e5m2_x4, ScaleRule.NKI, ScaleRule.OCP_FLOOR),
    "nvfp4": QuantizationFormat(
        dtypes.float4_e2m1fn, nvfp4.BLOCK, _encode_nvfp4, "NVIDIA's recipe; on Trainium assumed", 8
    ),
    **{
        str(dtype): _plain(dtype)
        for dtype in (
            dtypes.float8_e4m3,
            dtypes.float8_e4m3fn,
            dtypes.float8_e5m2,
            dtypes.float8_e3m4,
            dtypes.float16,
            dtypes.bfloat16,
        )
    },
}
"""Every format, by the name that the command line takes."""
