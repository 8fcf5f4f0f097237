"""MX checkpoints, whose blocks are 32 consecutive K, as operands of nc_matmul_mx and back, without requantising.

A checkpoint stores W[N, K] row by row: 32 elements of K under one scale, FP4 as pairs with the lower K in the low
nibble. Four consecutive elements are then one x4 word as they lie, and eight words with their scale one scaling group,
once row k sits in partition k // 4, lane k % 4 (`LaneOrder.CONSECUTIVE`). The other operand must be laid out alike.

Source: OCP Microscaling Formats v1.0, section 5.2; openai/gpt-oss and transformers' mxfp4 integration for the MXFP4
tensors `*_blocks` [experts, N, K/32, 16] and `*_scales` [experts, N, K/32].
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from trnlab.emulator.dtypes import DType, as_dtype, element_of, float4_e2m1fn_x4, float8_e8m0fnu, uint8
from trnlab.emulator.errors import ArgumentError, DtypeError, KernelError, ShapeError, Violation
from trnlab.emulator.numerics.microscaling import GROUP_PARTITIONS
from trnlab.emulator.numerics.microscaling_host import GROUP_ROWS, K_MULTIPLE
from trnlab.emulator.numerics.microscaling_policies import NON_FINITE_CODE
from trnlab.emulator.numerics.x4_words import LANES

_MULTIPLE: Final = K_MULTIPLE // GROUP_ROWS
"""Blocks of K in the smallest step of an operand."""


def pack_checkpoint(
    blocks: NDArray[np.uint8], scales: NDArray[Any], dtype: DType = float4_e2m1fn_x4
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """(words [..., round_up(K, 128) / 4, N], scales [..., round_up(K, 128) / 32, N]) of a checkpoint's tensor.

    blocks: uint8 [..., N, K/32, 16] for MXFP4, [..., N, K/32, 32] (a float8's bytes) for MXFP8.
    scales: uint8 or float8_e8m0fnu [..., N, K/32].
    dtype:  the packed x4 dtype that the blocks hold. Every bit of them is kept; padding is zeros under code 0.

    Raises:
        DtypeError: blocks that are no uint8, scales that are neither uint8 nor float8_e8m0fnu, a dtype not packed.
        ShapeError: shapes that do not fit each other or the dtype.
        ArgumentError: a scale that is NaN; the first is named.
    """
    _check(blocks, scales, dtype)
    codes = np.ascontiguousarray(scales).view(np.uint8)
    spoilt = np.argwhere(codes == NON_FINITE_CODE)
    if len(spoilt):
        found = f"{len(spoilt)} NaN (code 255), the first at {tuple(int(index) for index in spoilt[0])}"
        _fail(ArgumentError, "scales", found, "codes 0 to 254")
    width = [(0, 0)] * (codes.ndim - 1) + [(0, -codes.shape[-1] % _MULTIPLE)]
    padded = np.ascontiguousarray(np.pad(blocks, [*width, (0, 0)]))
    words = padded.reshape(*padded.shape[:-2], -1).view(dtype.storage.newbyteorder("<"))
    return np.ascontiguousarray(np.swapaxes(words, -1, -2)), np.ascontiguousarray(
        np.swapaxes(np.pad(codes, width), -1, -2)
    )


def unpack_checkpoint(
    words: NDArray[Any], scales: NDArray[Any], rows: int, dtype: DType = float4_e2m1fn_x4
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(blocks [..., N, rows/32, bytes], scales [..., N, rows/32]): undoes `pack_checkpoint`, for K = rows.

    Raises:
        DtypeError: words that are not the dtype's, a dtype not packed.
        ShapeError: scales that do not cover the words, or rows that are no multiple of 32 or more than there are.
    """
    if not dtype.is_packed or words.dtype != dtype.storage:
        _fail(DtypeError, "words", f"{words.dtype} for {dtype}", "the word type of a packed dtype")
    if words.ndim < 2 or scales.shape != (*words.shape[:-2], words.shape[-2] // GROUP_PARTITIONS, words.shape[-1]):
        found = f"shape {scales.shape} for words {words.shape}"
        _fail(ShapeError, "scales", found, "words [..., K/4, N] and scales [..., K/32, N]")
    if rows % GROUP_ROWS or not 0 < rows <= LANES * words.shape[-2]:
        _fail(ShapeError, "rows", str(rows), f"a multiple of {GROUP_ROWS}, at most {LANES * words.shape[-2]}")
    kept = np.ascontiguousarray(np.swapaxes(words, -1, -2)[..., : rows // LANES])
    blocks = kept.view(np.uint8).reshape(*kept.shape[:-1], rows // GROUP_ROWS, -1)
    codes = np.ascontiguousarray(scales).view(np.uint8)
    return blocks, np.ascontiguousarray(np.swapaxes(codes, -1, -2)[..., : rows // GROUP_ROWS])


def _check(blocks: NDArray[Any], scales: NDArray[Any], dtype: DType) -> None:
    if not dtype.is_packed:
        _fail(DtypeError, "dtype", str(dtype), "a packed x4 dtype")
    if blocks.dtype != np.uint8:
        _fail(DtypeError, "blocks", str(blocks.dtype), "uint8")
    if as_dtype(scales.dtype) not in (uint8, float8_e8m0fnu):
        _fail(DtypeError, "scales", str(scales.dtype), "uint8 or float8_e8m0fnu")
    size = GROUP_ROWS * element_of(dtype).format.bits // 8
    if blocks.ndim < 3 or blocks.shape[-1] != size or 0 in blocks.shape:
        _fail(ShapeError, "blocks", f"shape {blocks.shape}", f"[..., N, K/32, {size}] for {dtype}, none of them 0")
    if scales.shape != blocks.shape[:-1]:
        _fail(ShapeError, "scales", f"shape {scales.shape}", f"{blocks.shape[:-1]}, one per block")


def _fail(error: type[KernelError], operand: str, found: str, allowed: str) -> NoReturn:
    raise error(Violation(subject="MX checkpoint", operand=operand, found=found, allowed=allowed))
