"""Tensor Engine instructions: matrix multiplication, plain and microscaled, and transposition.

The array adds in float32 whatever the inputs. PSUM holds the sum: an accumulating instruction reads its `dst`, adds in
float32 and rounds to the dtype of `dst` (NKI Trainium3 architecture guide, BF16 matmul results in PSUM).
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from trnlab.emulator import dtypes as formats
from trnlab.emulator.dtypes import DType
from trnlab.emulator.isa import matmul_limits, mx_limits, transpose_limits
from trnlab.emulator.isa.bits import from_words, to_words
from trnlab.emulator.isa.registry import (
    ANY_DTYPE,
    ON_CHIP,
    PACKED_DTYPES,
    PSUM,
    SBUF,
    UNPACKED_DTYPES,
    Call,
    Math,
    Narrow,
    instruction,
    reads,
    writes,
)
from trnlab.emulator.numerics.arithmetic import matmul_f32
from trnlab.emulator.numerics.casts import widen
from trnlab.emulator.numerics.microscaling_layout import SCALE_OFFSETS, gather_scales
from trnlab.emulator.numerics.microscaling_matmul import matmul_mx_f32
from trnlab.emulator.numerics.sealing import seal
from trnlab.emulator.numerics.x4_words import decode_x4
from trnlab.emulator.target import Engine, Feature, Generation

_SCALE_DTYPES = frozenset({formats.uint8, formats.float8_e8m0fnu})
_SCALE = {"regions": SBUF, "dtypes": _SCALE_DTYPES, "quadrant_offsets": SCALE_OFFSETS}


def _matmul_math(call: Call) -> Math:
    return "raw" if matmul_limits.has_transpose_mode(call) else "float32"


@instruction(
    engines=(Engine.TENSOR,),
    operands=(
        writes("dst", regions=PSUM, dtypes=UNPACKED_DTYPES, update_if="accumulate"),
        reads("stationary", regions=SBUF, dtypes=matmul_limits.MATMUL_INPUTS),
        reads("moving", regions=SBUF, dtypes=matmul_limits.MATMUL_INPUTS),
    ),
    attributes=(
        "is_stationary_onezero",
        "is_moving_onezero",
        "is_transpose",
        "accumulate",
        "tile_position",
        "tile_size",
        "perf_mode",
    ),
    limits=(
        *matmul_limits.TILE_LIMITS,
        *matmul_limits.DOUBLE_ROW_LIMITS,
        *matmul_limits.INPUT_DTYPES,
        matmul_limits.RESULT_DTYPE,
        *matmul_limits.SIZE_LIMITS,
        *matmul_limits.TRANSPOSE_MODE_LIMITS,
    ),
    math=_matmul_math,
    source="NKI reference, nisa.nc_matmul",
    assumptions=(
        "the order of the additions inside the array is that of the host's dot product",
        "in transpose mode, column n of dst is the row of the stationary where column n of the moving is not zero",
        "in transpose mode, the upper byte beside one-byte data keeps its content (the hardware clears it)",
    ),
)
def nc_matmul(
    dst: jax.Array | jax.ShapeDtypeStruct,
    stationary: jax.Array,
    moving: jax.Array,
    *,
    accumulate: bool,
    perf_mode: str,
    math: Math,
) -> jax.Array:
    """dst = stationary.T @ moving, or dst += stationary.T @ moving, added up in float32."""
    if math == "raw":
        return _picked_rows(stationary, moving)
    if perf_mode == matmul_limits.DOUBLE_ROW:
        stationary, moving = _as_one_contraction(stationary), _as_one_contraction(moving)
    product = matmul_f32(stationary, moving)
    return _added(dst, product) if accumulate else product


def _added(dst: jax.Array | jax.ShapeDtypeStruct, product: jax.Array) -> jax.Array:
    assert not isinstance(dst, jax.ShapeDtypeStruct)
    return dst + seal(product)


def _as_one_contraction(pairs: jax.Array) -> jax.Array:
    """[K, 2 * columns] as [2 K, columns]: a processing element multiplies its two pairs one after the other."""
    return pairs.reshape(2 * pairs.shape[0], pairs.shape[1] // 2)


def _picked_rows(stationary: jax.Array, moving: jax.Array) -> jax.Array:
    """Bits of the stationary, transposed and permuted as the 0/1 matrix `moving` says; columns of zeros give zeros."""
    words = to_words(stationary)
    picks = moving.astype(jnp.float32) != 0
    chosen = words[jnp.argmax(picks, axis=0)].T
    return from_words(jnp.where(picks.any(axis=0), chosen, jnp.zeros_like(chosen)), stationary.dtype)


@instruction(
    engines=(Engine.TENSOR,),
    operands=(
        writes("dst", regions=PSUM, dtypes=UNPACKED_DTYPES, update_if="accumulate"),
        reads("stationary", regions=SBUF, dtypes=PACKED_DTYPES),
        reads("moving", regions=SBUF, dtypes=PACKED_DTYPES),
        reads("stationary_scale", **_SCALE),
        reads("moving_scale", **_SCALE),
    ),
    attributes=("accumulate", "tile_position", "tile_size"),
    limits=(
        *matmul_limits.TILE_LIMITS,
        matmul_limits.RESULT_DTYPE,
        *mx_limits.MX_LIMITS,
        *matmul_limits.SIZE_LIMITS,
    ),
    since=Generation.V4,
    feature=Feature.MX_MATMUL,
    math="raw",
    source="NKI reference, nisa.nc_matmul_mx",
    assumptions=("the order and precision of the additions inside a processing element: see matmul_mx_f32",),
)
def nc_matmul_mx(
    dst: jax.Array | jax.ShapeDtypeStruct,
    stationary: jax.Array,
    moving: jax.Array,
    stationary_scale: jax.Array,
    moving_scale: jax.Array,
    *,
    accumulate: bool,
    dtypes: Mapping[str, DType],
    narrow: Narrow,
) -> jax.Array:
    """dst = sum over p, l of stationary[p, :, l] 2^(s - 127) * moving[p, :, l] 2^(t - 127), or dst += the same."""
    partitions = stationary.shape[0]
    product = matmul_mx_f32(
        decode_x4(stationary, dtypes["stationary"]),
        gather_scales(stationary_scale, partitions),
        decode_x4(moving, dtypes["moving"]),
        gather_scales(moving_scale, partitions),
    )
    if accumulate:
        assert not isinstance(dst, jax.ShapeDtypeStruct)
        product = _added(widen(dst, dtypes["dst"]), product)
    return narrow(seal(product), dtypes["dst"])


@instruction(
    engines=(Engine.TENSOR, Engine.VECTOR),
    operands=(
        writes("dst", regions=ON_CHIP, dtypes=ANY_DTYPE),
        reads("data", regions=ON_CHIP, dtypes=ANY_DTYPE),
    ),
    limits=transpose_limits.TRANSPOSE_LIMITS,
    math=lambda call: "raw" if transpose_limits.transposes_bits(call) else "float32",
    choose_engine=transpose_limits.choose_engine,
    source="NKI reference, nisa.nc_transpose",
    assumptions=(
        "without an engine given, the Vector Engine takes tiles of up to 32 x 32",
        "on NeuronCore-v2 the Tensor Engine may also leave its float32 product in dst",
        "on the Tensor Engine, the upper byte beside one-byte data keeps its content (the hardware clears it)",
    ),
)
def nc_transpose(data: jax.Array, *, math: Math) -> jax.Array:
    """dst[j, i] = data[i, j], free dimensions flattened; bits move, except on NeuronCore-v2's Tensor Engine."""
    if math == "raw":
        return from_words(to_words(data).T, data.dtype)
    # Without the transpose mode it is a product with the identity: a NaN or an infinity spreads over its column.
    return matmul_f32(data, jnp.eye(data.shape[0], dtype=jnp.float32))
