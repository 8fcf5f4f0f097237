"""Packing and whole operands on the host: where every element goes, for both lane orders, and what is refused."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType, element_of
from trnlab.emulator.errors import ArgumentError, DtypeError, ShapeError
from trnlab.emulator.numerics.microscaling_host import (
    dequantize_mx_host,
    pack_nibbles,
    pack_operand,
    pack_x4,
    quantize_mx_host,
    unpack_nibbles,
    unpack_operand,
    unpack_x4,
)
from trnlab.emulator.numerics.microscaling_layout import LaneOrder, deinterleave, interleave
from trnlab.emulator.numerics.microscaling_policies import AWS_TUTORIAL, ScaleRule

E4M3, E5M2, E2M1 = dtypes.float8_e4m3fn_x4, dtypes.float8_e5m2_x4, dtypes.float4_e2m1fn_x4
PACKED = [E4M3, E5M2, E2M1]
every_order = pytest.mark.parametrize("order", LaneOrder)


def place_of(k: int, rows: int, order: LaneOrder) -> tuple[int, int]:
    """(word, lane) of row k in an operand of so many padded rows: tile by tile of 512, as the kernels contract it."""
    tile, within = divmod(k, 512)
    partitions = min(512, rows - 512 * tile) // 4
    word, lane = divmod(within, 4) if order is LaneOrder.CONSECUTIVE else divmod(within, partitions)[::-1]
    return 128 * tile + word, lane


@every_order
@pytest.mark.parametrize("dtype", PACKED, ids=str)
@pytest.mark.parametrize(("k", "f"), [(600, 3), (128, 2), (1, 1)])
def test_every_element_is_where_the_kernel_looks_for_it(k: int, f: int, dtype: DType, order: LaneOrder) -> None:
    generator = np.random.default_rng(k)
    x = (generator.standard_normal((k, f)) * 2.0 ** generator.integers(-9, 9, (k, f))).astype(ml_dtypes.bfloat16)
    words, scales = pack_operand(x, dtype, order=order)
    rows = -(-k // 128) * 128
    assert (words.shape, words.dtype) == ((rows // 4, f), dtype.storage)
    assert (scales.shape, str(scales.dtype)) == ((rows // 32, f), "uint8")
    element, width = element_of(dtype), element_of(dtype).format.bits
    found = unpack_operand(words, scales, dtype, rows=k, order=order)
    for row in range(0, k, 7):
        word, lane = place_of(row, rows, order)
        bits = (words[word].astype(np.uint32) >> np.uint32(lane * width)) & (2**width - 1)
        value = bits.astype(np.uint8).view(element.storage).astype(np.float64)
        exact = np.ldexp(value, scales[word // 8].astype(np.int32) - 127)
        np.testing.assert_array_equal(found[row], exact)
        # Half a step of the element, or the quarter that FP4 clips; a row of one element is its block's largest too.
        assert (np.abs(exact - x[row].astype(float)) <= np.abs(x.astype(float)).max() / 4).all()


def test_padding_is_zeros_that_decode_to_zeros() -> None:
    x = np.full((130, 3), -1.0, np.float32)
    for role, columns in (("moving", 3), ("stationary", 4)):
        words, scales = pack_operand(x, E4M3, role=role)  # type: ignore[arg-type]
        whole = unpack_operand(words, scales, E4M3)
        assert whole.shape == (256, columns)
        np.testing.assert_array_equal(whole[:130, :3], x)
        assert not whole[130:].any()
        assert not whole[:, 3:].any()


@every_order
def test_deinterleave_undoes_interleave(order: LaneOrder) -> None:
    x = np.arange(64 * 3).reshape(64, 3)
    np.testing.assert_array_equal(deinterleave(interleave(x, order), order), x)
    stored = interleave(x, order)
    assert stored[5, 2, 3] == (x[23, 2] if order is LaneOrder.CONSECUTIVE else x[3 * 16 + 5, 2])


def test_rules_and_policies_reach_the_quantiser() -> None:
    x = np.zeros((32, 1), np.float32)
    assert quantize_mx_host(x, E4M3)[1].tolist() == [[0]]
    assert quantize_mx_host(x, E4M3, policy=AWS_TUTORIAL)[1].tolist() == [[248]]
    assert pack_operand(x, E4M3, policy=AWS_TUTORIAL)[1].tolist() == [[248]] * 4
    x[0] = 1.0
    assert pack_operand(x, E4M3, rule=ScaleRule.NKI)[1][0] == 127 - 7


def test_packing_by_hand() -> None:
    fp8 = np.array([1.0, -2.0, 0.0, 448.0], np.float32).astype(ml_dtypes.float8_e4m3fn)  # 0x38, 0xc0, 0x00, 0x7e
    assert pack_x4(fp8).tolist() == [0x7E00C038]
    fp4 = np.array([0.5, -6.0, 0.0, 1.0], np.float32).astype(ml_dtypes.float4_e2m1fn)  # 1, 15, 0, 2
    assert pack_x4(fp4).tolist() == [0x20F1]
    assert unpack_x4(np.array([0x20F1], np.uint16), E2M1).astype(float).tolist() == [0.5, -6.0, 0.0, 1.0]
    assert pack_nibbles(np.array([1, 15], np.uint8)).tolist() == [0xF1]
    assert unpack_nibbles(np.array([0xF1], np.uint8)).tolist() == [1, 15]


def test_packing_takes_any_memory_order_and_leading_axes() -> None:
    elements = np.arange(2 * 3 * 8, dtype=np.uint8).reshape(2, 3, 8).view(ml_dtypes.float8_e5m2)
    expected = pack_x4(elements)
    assert expected.shape == (2, 3, 2)
    np.testing.assert_array_equal(pack_x4(np.asfortranarray(elements)), expected)
    np.testing.assert_array_equal(pack_x4(elements[:, ::-1])[:, ::-1], expected)
    np.testing.assert_array_equal(unpack_x4(np.asfortranarray(expected), E5M2).view(np.uint8), elements.view(np.uint8))


X = np.zeros((64, 4), np.float32)
WORDS, SCALES = np.zeros((32, 4), np.uint32), np.zeros((4, 4), np.uint8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pack_x4(X), DtypeError, "float32"),
        (lambda: pack_x4(X[:, :3].astype(ml_dtypes.float8_e5m2)), ShapeError, "multiple of 4"),
        (lambda: unpack_x4(WORDS, dtypes.float8_e5m2), DtypeError, "packed x4"),
        (lambda: unpack_x4(WORDS, E2M1), DtypeError, "uint16, the words of float4_e2m1fn_x4"),
        (lambda: unpack_x4(WORDS[0, 0, ...], E5M2), ShapeError, "scalar"),
        (lambda: quantize_mx_host(X[:48], E5M2), ShapeError, "multiple of 32"),
        (lambda: quantize_mx_host(X, dtypes.float8_e5m2), DtypeError, "packed"),
        (lambda: quantize_mx_host(X.astype(np.float64), E5M2), TypeError, "float64"),
        (lambda: quantize_mx_host(X, E2M1, ScaleRule.NKI), ArgumentError, "OCP_FLOOR"),
        (lambda: pack_operand(X[0], E5M2), ShapeError, r"\[K, F\]"),
        (lambda: pack_operand(X[:0], E5M2), ShapeError, "at least one"),
        (lambda: pack_operand(X, E5M2, role="static"), ArgumentError, "moving or stationary"),  # type: ignore[arg-type]
        (lambda: pack_operand(X.astype(np.int64), E5M2), TypeError, "int64"),
        (lambda: pack_operand(X.astype(np.int32), E5M2), DtypeError, "int32"),
        (lambda: dequantize_mx_host(WORDS, WORDS.astype(np.uint8), E5M2), ShapeError, "gather_scales first"),
        (lambda: dequantize_mx_host(WORDS, SCALES[:3], E5M2), ShapeError, r"scales: found shape \(3, 4\)"),
        (lambda: dequantize_mx_host(WORDS[:31], SCALES, E5M2), ShapeError, "words: found shape"),
        (lambda: dequantize_mx_host(WORDS, SCALES.astype(np.float32), E5M2), DtypeError, "float8_e8m0fnu"),
        (lambda: dequantize_mx_host(WORDS.astype(np.uint16), SCALES, E5M2), DtypeError, "uint32"),
        (lambda: unpack_operand(WORDS, SCALES, E5M2, rows=129), ShapeError, r"at most \(128, 4\)"),
        (lambda: unpack_operand(WORDS, SCALES, E5M2, columns=0), ShapeError, "at least 1"),
        (lambda: unpack_operand(WORDS, SCALES[:, :3], E5M2), ShapeError, "scales"),
    ],
)
def test_what_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_scales_may_be_stored_as_float8_e8m0fnu() -> None:
    x: NDArray[np.float32] = np.random.default_rng(0).standard_normal((128, 3)).astype(np.float32)
    words, scales = pack_operand(x, E4M3)
    np.testing.assert_array_equal(
        unpack_operand(words, scales.view(ml_dtypes.float8_e8m0fnu), E4M3), unpack_operand(words, scales, E4M3)
    )
