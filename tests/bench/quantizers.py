"""MX quantising and dequantising beside torchao and beside NumPy with ml_dtypes, and the MX matmul they serve.

All three get the same blocks of 32 in bfloat16 and the OCP floor rule, and must decode to the same values to the bit.
The peers' blocks are consecutive; ours are the groups of 8 x 4 of a tile, filled with the same values beforehand.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from tests.bench.comparisons import mx_case
from tests.bench.launches import Array, Sizes, normal
from tests.bench.measure import Action, assert_agree, fresh_memory, warm_pairs
from tests.bench.rows import Case, Comparison, SkippedError
from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType, element_of
from trnlab.emulator.numerics.microscaling import dequantize_mx, quantize_mx
from trnlab.emulator.numerics.microscaling_policies import ScaleRule

BLOCK = 32
FORMATS = {"mxfp8 e4m3": dtypes.float8_e4m3fn_x4, "mxfp8 e5m2": dtypes.float8_e5m2_x4, "mxfp4": dtypes.float4_e2m1fn_x4}
RATIO = 1.0  # not slower than either

_quantize = jax.jit(quantize_mx, static_argnums=(1, 2))
_dequantize = jax.jit(dequantize_mx, static_argnums=2)


@dataclass(frozen=True)
class Quantizer:
    """quantize() makes the quantised tensor, dequantize(it) the f32 one, blocks(that) NumPy's [blocks, 32]."""

    quantize: Action
    dequantize: Callable[[Any], Any]
    blocks: Callable[[Any], Array]


def grouped(side: int, flat: Array) -> Array:
    """Blocks of 32 that follow each other, as the 8 x 4 groups of a tile [side, side]."""
    return np.ascontiguousarray(flat.reshape(side // 8, side // 4, 8, 4).transpose(0, 2, 1, 3)).reshape(side, side)


def ours(x: Array, packed: DType) -> Quantizer:
    """The emulator's functions, compiled."""
    side = len(x)
    tile = jnp.asarray(grouped(side, x))
    return Quantizer(
        lambda: _quantize(tile, element_of(packed), ScaleRule.OCP_FLOOR),
        lambda quantised: _dequantize(*quantised, packed),
        lambda values: np.asarray(values).reshape(side // 8, 8, side // 4, 4).transpose(0, 2, 1, 3).reshape(-1, BLOCK),
    )


def torchao(x: Array, packed: DType) -> Quantizer:
    """torchao's MX path, FLOOR mode, eager: its compiled path is for GPUs."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)  # of extensions for GPUs that it cannot load
            import torch
            from torchao.prototype.mx_formats import mx_tensor
    except ImportError as error:
        raise SkippedError(f"needs torch and torchao ({error})") from None
    finally:
        logging.disable(logging.NOTSET)
    source = torch.from_numpy(x.view(np.uint16)).view(torch.bfloat16)
    element = element_of(packed)
    kind = torch.float4_e2m1fn_x2 if element == dtypes.float4_e2m1fn else getattr(torch, element)
    return Quantizer(
        lambda: mx_tensor.to_mx(source, kind, BLOCK, mx_tensor.ScaleCalculationMode.FLOOR),
        lambda quantised: mx_tensor.to_dtype(quantised[1], quantised[0], kind, BLOCK, torch.float32),
        lambda values: values.numpy().reshape(-1, BLOCK),
    )


def numpy(x: Array, packed: DType) -> Quantizer:
    """NumPy with ml_dtypes, as one would write it, in float32 and without temporaries that can be spared."""
    element = element_of(packed)
    largest, exponent = float(element.format.max), int(np.log2(element.format.max))
    table = np.arange(16, dtype=np.uint8).view(ml_dtypes.float4_e2m1fn).astype(np.float32)
    is_fp4 = element == dtypes.float4_e2m1fn

    def quantize() -> tuple[Array, Array]:
        values = x.astype(np.float32).reshape(-1, BLOCK)
        fields = np.abs(values).max(axis=1).view(np.uint32) >> 23
        codes = np.maximum(fields.astype(np.int32) - exponent, 0).astype(np.uint8)
        values *= np.ldexp(np.float32(1), 127 - codes.astype(np.int32))[:, None]
        np.clip(values, -largest, largest, out=values)
        elements = values.astype(element.storage).view(np.uint8)
        return (elements[:, 0::2] | elements[:, 1::2] << 4 if is_fp4 else elements), codes

    def dequantize(quantised: tuple[Array, Array]) -> Array:
        elements, codes = quantised
        if is_fp4:
            values = np.empty((len(codes), BLOCK), np.float32)
            values[:, 0::2], values[:, 1::2] = table[elements & 0xF], table[elements >> 4]
        else:
            values = elements.view(element.storage).astype(np.float32)
        values *= np.ldexp(np.float32(1), codes.astype(np.int32) - 127)[:, None]
        return values

    return Quantizer(quantize, dequantize, lambda values: values)


PEERS: dict[str, Callable[[Array, DType], Quantizer]] = {"torchao": torchao, "NumPy": numpy}


def quantizer_case(name: str, direction: str, peer: str, sizes: Sizes, repeats: int) -> Case:
    """One direction of one format beside one peer, warm, after both have decoded to the same values."""

    def measure() -> dict[str, Any]:
        x = normal(sizes.quantized, sizes.quantized)
        mine, theirs = ours(x, FORMATS[name]), PEERS[peer](x, FORMATS[name])
        quantised = [one.quantize() for one in (mine, theirs)]
        decoded = [one.blocks(one.dequantize(result)) for one, result in zip((mine, theirs), quantised, strict=True)]
        assert_agree(decoded[0], decoded[1], 0.0)
        actions: dict[str, tuple[Action, Action]] = {
            "quantize": (mine.quantize, theirs.quantize),
            "dequantize": (lambda: mine.dequantize(quantised[0]), lambda: theirs.dequantize(quantised[1])),
        }
        with fresh_memory():
            warm, peers = warm_pairs(*actions[direction], repeats)
        return {"warm": warm, "peer": peers}

    case = f"{direction} {sizes.quantized**2:,} elements, {name}"
    return Case(Comparison(case=case, peer_name=peer, ratio_target=RATIO), measure)


def quantize_cases(sizes: Sizes, repeats: int) -> list[Case]:
    """The matmul of the size that the others have, and every format and direction beside every peer."""
    return [
        mx_case(replace(sizes, mx=sizes.matmul), repeats),
        *(
            quantizer_case(name, direction, peer, sizes, repeats)
            for direction in ("quantize", "dequantize")
            for name in FORMATS
            for peer in PEERS
        ),
    ]
