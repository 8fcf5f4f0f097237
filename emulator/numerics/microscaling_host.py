"""MX operands prepared on the host, NumPy in and NumPy out: packing, quantising, tiles of a whole matrix.

An operand of nc_matmul_mx is a matrix [K, F], K the contraction: words [K/4, F] of four elements each, and one scale
code for every eight words, [K/32, F]. Kernels contract K in tiles of 512, and each tile is interleaved on its own.
Stationary and moving operands are laid out alike; a stationary one needs an even number of columns.

Source: NKI reference, nki.isa.nc_matmul_mx; NKI deep dive "MXFP Matrix Multiplication", data tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, NoReturn, get_args

import jax
import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from trnlab.emulator.dtypes import DType, as_dtype, element_of, float4_e2m1fn_x4
from trnlab.emulator.errors import ArgumentError, DtypeError, KernelError, ShapeError, Violation
from trnlab.emulator.numerics.microscaling import GROUP_PARTITIONS, dequantize_mx, quantize_mx
from trnlab.emulator.numerics.microscaling_layout import QUADRANT, LaneOrder, deinterleave, interleave
from trnlab.emulator.numerics.microscaling_policies import HARDWARE, BlockPolicy, ScaleRule
from trnlab.emulator.numerics.x4_words import LANES, packed_of

K_TILE: Final = 512
"""Rows of K that one nc_matmul_mx contracts: 128 partitions of four lanes."""

K_MULTIPLE: Final = LANES * QUADRANT
"""The smallest step of K: partitions come in whole quadrants."""

GROUP_ROWS: Final = LANES * GROUP_PARTITIONS
"""Rows of K under one scale."""

Role = Literal["moving", "stationary"]

_quantize = jax.jit(quantize_mx, static_argnums=(1, 2, 3))
_dequantize = jax.jit(dequantize_mx, static_argnums=2)


# -------------------------------------------------------------------------------------------------------- words


def pack_x4(elements: NDArray[Any]) -> NDArray[Any]:
    """words[..., f] = elements[..., 4f : 4f + 4], element 0 in the low byte (FP8) or the low nibble (FP4).

    elements: [..., 4F] float8_e4m3fn, float8_e5m2 (words are uint32) or float4_e2m1fn (uint16), in any memory order.

    Raises:
        DtypeError: another element dtype.
        ShapeError: the last axis is no multiple of 4.
    """
    packed = packed_of(as_dtype(elements.dtype))
    if elements.ndim == 0 or elements.shape[-1] % LANES:
        _fail(ShapeError, "pack_x4", "elements", f"shape {elements.shape}", "a last axis that is a multiple of 4")
    stored = np.ascontiguousarray(elements).view(np.uint8)
    if packed == float4_e2m1fn_x4:
        stored = pack_nibbles(stored)
    return np.ascontiguousarray(stored).view(packed.storage.newbyteorder("<"))


def unpack_x4(words: NDArray[Any], dtype: DType) -> NDArray[Any]:
    """The elements of packed words [..., F] as [..., 4F] in the element's storage; the inverse of `pack_x4`.

    Raises:
        DtypeError: `dtype` is not packed, or `words` is not stored as its word type.
        ShapeError: `words` has no axis.
    """
    _check_packed("unpack_x4", dtype)
    _check_words("unpack_x4", words, dtype)
    if words.ndim == 0:
        _fail(ShapeError, "unpack_x4", "words", "a scalar", "[..., F]")
    stored = np.ascontiguousarray(words).view(np.uint8)
    if dtype == float4_e2m1fn_x4:
        return unpack_nibbles(stored).view(ml_dtypes.float4_e2m1fn)
    return stored.view(element_of(dtype).storage)


def pack_nibbles(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Codes [..., 2 F] of four bits as bytes [..., F], the lower index in the low nibble."""
    return np.asarray((codes[..., 0::2] & 0xF) | (codes[..., 1::2] << 4), np.uint8)


def unpack_nibbles(pairs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes [..., F] as codes [..., 2 F] of four bits; undoes `pack_nibbles`."""
    return np.stack([pairs & 0xF, pairs >> 4], axis=-1).reshape(*pairs.shape[:-1], 2 * pairs.shape[-1])


# ----------------------------------------------------------------------------------------------------- one tile


def quantize_mx_host(
    x: NDArray[Any],
    dtype: DType,
    rule: ScaleRule = ScaleRule.OCP_FLOOR,
    *,
    policy: BlockPolicy = HARDWARE,
    order: LaneOrder = LaneOrder.STRIDED,
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """(words [K/4, F], codes [K/32, F] uint8) of a matrix [K, F], K the contraction, for nc_matmul_mx.

    x:      bfloat16, float16 or float32; float64 is refused, because two roundings are not one.
    dtype:  a packed x4 dtype; words have its storage.
    rule:   the OCP floor by default, as in AWS's host functions; FP4 has no other.
    policy: blocks of zeros, of tiny values, with NaN or infinities; `AWS_TUTORIAL` and its neighbours do as others do.
    order:  which four K share a word. Strided is over the whole of K: for a tile, pass K <= 512.

    Raises:
        ShapeError: K is no multiple of 32 (four lanes of groups of 8 partitions).
        DtypeError: `dtype` is not packed, or `x` is of another NKI dtype (TypeError for float64, which NKI has not).
        ArgumentError: FP4 with ScaleRule.NKI.
    """
    _check_packed("quantize_mx_host", dtype)
    as_dtype(x.dtype)  # before jit, which would narrow float64 without a word
    if x.ndim != 2 or x.shape[0] % GROUP_ROWS:
        _fail(ShapeError, "quantize_mx_host", "x", f"shape {x.shape}", f"[K, F] with K a multiple of {GROUP_ROWS}")
    stored = interleave(x, order)
    words, codes = _quantize(stored.reshape(stored.shape[0], -1), element_of(dtype), rule, policy)
    return np.asarray(words), np.asarray(codes)


def dequantize_mx_host(
    words: NDArray[Any], codes: NDArray[Any], dtype: DType, *, order: LaneOrder = LaneOrder.STRIDED
) -> NDArray[np.float32]:
    """The f32 [K, F] that words [K/4, F] and dense codes [K/32, F] stand for; see `dequantize_mx`.

    Raises:
        DtypeError: `dtype` is not packed, `words` is not stored as its word type, or codes are no scales.
        ShapeError: the codes do not cover the words; those of a scale tile lie in quadrants (`gather_scales`).
    """
    _check_packed("dequantize_mx_host", dtype)
    _check_words("dequantize_mx_host", words, dtype)
    _check_dense("dequantize_mx_host", words, codes)
    values = np.asarray(_dequantize(words, codes, dtype))
    return deinterleave(values.reshape(*words.shape, LANES), order)


# ----------------------------------------------------------------------------------------------- a whole operand


def pack_operand(
    matrix: NDArray[Any],
    dtype: DType,
    *,
    role: Role = "moving",
    transposed: bool = False,
    rule: ScaleRule = ScaleRule.OCP_FLOOR,
    policy: BlockPolicy = HARDWARE,
    order: LaneOrder = LaneOrder.STRIDED,
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """(words, scales) of a matrix [K, F] of any size, in tiles of 512 rows of K as the kernels contract them.

    matrix: bfloat16, float16 or float32, [K, F], or [F, K] with `transposed`; K is padded with zeros to a multiple
            of 128, F of a stationary operand to an even number.
    words:  [round_up(K, 128) / 4, F] uint32 (MXFP8) or uint16 (MXFP4).
    scales: [round_up(K, 128) / 32, F] uint8, dense; `scatter_scales` places those of a tile in its quadrants.

    Raises:
        ArgumentError: a role that is neither moving nor stationary; FP4 with ScaleRule.NKI.
        ShapeError: the matrix is not 2-D or is empty.
        DtypeError: see `quantize_mx_host`.
    """
    _check_packed("pack_operand", dtype)
    if role not in get_args(Role):
        _fail(ArgumentError, "pack_operand", "role", repr(role), " or ".join(get_args(Role)))
    if matrix.ndim != 2 or 0 in matrix.shape:
        _fail(ShapeError, "pack_operand", "matrix", f"shape {matrix.shape}", "[K, F], at least one of each")
    as_dtype(matrix.dtype)
    rows = matrix.T if transposed else matrix
    columns = rows.shape[1] % 2 if role == "stationary" else 0
    padded = np.pad(rows, ((0, -rows.shape[0] % K_MULTIPLE), (0, columns)))
    pieces = [quantize_mx_host(padded[k], dtype, rule, policy=policy, order=order) for k in _tiles(len(padded), K_TILE)]
    return np.concatenate([words for words, _ in pieces]), np.concatenate([scales for _, scales in pieces])


def unpack_operand(
    words: NDArray[Any],
    scales: NDArray[Any],
    dtype: DType,
    *,
    rows: int | None = None,
    columns: int | None = None,
    order: LaneOrder = LaneOrder.STRIDED,
) -> NDArray[np.float32]:
    """The [rows, columns] in float32 that packed words and dense scales stand for; undoes `pack_operand`.

    rows, columns: what to keep of K and F, all by default (padding included).

    Raises:
        ShapeError: words or scales are no operand's, or fewer rows or columns are there than are asked for.
        DtypeError: see `dequantize_mx_host`.
    """
    _check_packed("unpack_operand", dtype)
    _check_words("unpack_operand", words, dtype)
    _check_dense("unpack_operand", words, scales)
    present = LANES * words.shape[0], words.shape[1]
    wanted = tuple(have if want is None else want for have, want in zip(present, (rows, columns), strict=True))
    if not all(0 < want <= have for have, want in zip(present, wanted, strict=True)):
        _fail(ShapeError, "unpack_operand", "rows, columns", f"{wanted}", f"at least 1 and at most {present}")
    pieces = [
        dequantize_mx_host(
            words[k], scales[k.start // GROUP_PARTITIONS : k.stop // GROUP_PARTITIONS], dtype, order=order
        )
        for k in _tiles(len(words), K_TILE // LANES)
    ]
    whole: NDArray[np.float32] = np.concatenate(pieces)
    return whole[: wanted[0], : wanted[1]]


def _tiles(length: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


# -------------------------------------------------------------------------------------------------------- checks


def _check_packed(subject: str, dtype: DType) -> None:
    if not dtype.is_packed:
        _fail(DtypeError, subject, "dtype", str(dtype), "a packed x4 dtype")


def _check_words(subject: str, words: NDArray[Any], dtype: DType) -> None:
    if words.dtype != dtype.storage:
        _fail(DtypeError, subject, "words", str(words.dtype), f"{dtype.storage}, the words of {dtype}")


def _check_dense(subject: str, words: NDArray[Any], codes: NDArray[Any]) -> None:
    allowed = "words [K/4, F] with K a multiple of 32"
    if words.ndim != 2 or 0 in words.shape or words.shape[0] % GROUP_PARTITIONS:
        _fail(ShapeError, subject, "words", f"shape {words.shape}", allowed)
    dense = words.shape[0] // GROUP_PARTITIONS, words.shape[1]
    if codes.shape != dense:
        placed = "; a scale tile's lie in quadrants: gather_scales first" if codes.shape == words.shape else ""
        _fail(ShapeError, subject, "scales", f"shape {codes.shape}", f"{dense} for words {words.shape}{placed}")


def _fail(error: type[KernelError], subject: str, operand: str, found: str, allowed: str) -> NoReturn:
    raise error(Violation(subject=subject, operand=operand, found=found, allowed=allowed))
