"""The x4 interleave, the quadrant placement of scales, and weights prepared on the host, element by element."""

from __future__ import annotations

from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType, element_of
from trnlab.emulator.errors import ArgumentError, DtypeError, PartitionError, ShapeError
from trnlab.emulator.numerics.microscaling_host import dequantize_mx_host, quantize_mx_host
from trnlab.emulator.numerics.microscaling_layout import (
    SCALE_OFFSETS,
    deinterleave,
    gather_scales,
    interleave,
    scale_partitions,
    scatter_scales,
)
from trnlab.emulator.numerics.microscaling_policies import ScaleRule

PACKED = [dtypes.float8_e4m3fn_x4, dtypes.float8_e5m2_x4, dtypes.float4_e2m1fn_x4]


def test_scales_lie_in_the_quadrant_of_their_group() -> None:
    """Rows 0:4, 32:36, 64:68, 96:100 for 128 partitions, as the deep dive's picture has them."""
    expected = [*range(4), *range(32, 36), *range(64, 68), *range(96, 100)]
    assert scale_partitions(128).tolist() == expected
    assert scale_partitions(64, 12).tolist() == [12, 13, 14, 15, 44, 45, 46, 47]
    assert scale_partitions(32).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("offset", SCALE_OFFSETS)
@pytest.mark.parametrize("partitions", [32, 64, 96, 128])
def test_gather_undoes_scatter(partitions: int, offset: int) -> None:
    codes = np.arange(1, 1 + partitions // 8 * 5, dtype=np.uint8).reshape(-1, 5)
    scattered = scatter_scales(codes, partitions, offset)
    assert scattered.shape == ((partitions // 8, 5) if partitions == 32 and offset == 0 else (partitions, 5))
    np.testing.assert_array_equal(gather_scales(scattered, partitions, offset), codes)
    assert np.count_nonzero(scattered) == codes.size
    traced = jax.jit(lambda scales: gather_scales(scales, partitions, offset))(scattered)
    np.testing.assert_array_equal(np.asarray(traced), codes)


def test_four_scale_tensors_share_an_allocation() -> None:
    tensors = {offset: np.full((16, 3), offset + 1, np.uint8) for offset in SCALE_OFFSETS}
    shared = np.sum([scatter_scales(codes, 128, offset) for offset, codes in tensors.items()], axis=0)
    assert np.count_nonzero(shared) == 4 * 16 * 3
    for offset, codes in tensors.items():
        np.testing.assert_array_equal(gather_scales(shared, 128, offset), codes)


def test_interleave_puts_a_quarter_of_k_between_lanes() -> None:
    x = np.arange(512 * 3).reshape(512, 3)
    stored = interleave(x)
    assert stored.shape == (128, 3, 4)
    # The first scaling group of column 0 holds K = 0..7 and the same plus 128, 256 and 384.
    rows = sorted((stored[:8, 0, :] // 3).reshape(-1).tolist())
    assert rows == [base + k for base in (0, 128, 256, 384) for k in range(8)]
    np.testing.assert_array_equal(deinterleave(stored), x)


def weight(k: int, f: int) -> NDArray[Any]:
    generator = np.random.default_rng(k)
    spread = np.ldexp(1.0, generator.integers(-20, 20, (k, f)))
    return np.asarray((generator.standard_normal((k, f)) * spread).astype(ml_dtypes.bfloat16))


@pytest.mark.parametrize("dtype", PACKED, ids=str)
@pytest.mark.parametrize("k", [32, 512, 1024])
def test_host_words_and_scales_decode_to_the_weight(k: int, dtype: DType) -> None:
    """Element k, f is lane k // (K/4) of word k % (K/4), under the scale of that word's partition // 8."""
    x = weight(k, 6)
    words, codes = quantize_mx_host(x, dtype)
    assert words.shape == (k // 4, 6)
    assert words.dtype == dtype.storage
    assert codes.shape == (k // 32, 6)
    assert codes.dtype == np.uint8
    element, width = element_of(dtype), element_of(dtype).format.bits
    lane, partition = np.arange(k) // (k // 4), np.arange(k) % (k // 4)
    shift = (lane * width).astype(np.uint32)[:, None]
    values = ((words[partition].astype(np.uint32) >> shift) & (2**width - 1)).astype(np.uint8).view(element.storage)
    scales = codes[partition // 8].astype(np.int32) - 127
    decoded = np.ldexp(values.astype(np.float64), scales)
    np.testing.assert_array_equal(dequantize_mx_host(words, codes, dtype), decoded.astype(np.float32))
    # Half an ulp of an element or half its smallest value, or an eighth (FP4: a quarter) of the group's largest when
    # the OCP rule clips; all are below a quarter of the group's largest magnitude.
    largest = np.abs(x.astype(np.float64)).reshape(4, k // 32, 8, 6).max(axis=(0, 2))
    assert (np.abs(decoded - x.astype(np.float64)) <= largest[partition // 8] / 4).all()


def test_host_rules_differ_by_one_binade() -> None:
    x = weight(128, 4)
    _, ocp = quantize_mx_host(x, dtypes.float8_e4m3fn_x4)
    _, nki = quantize_mx_host(x, dtypes.float8_e4m3fn_x4, ScaleRule.NKI)
    np.testing.assert_array_equal(nki, ocp + 1)


def test_errors() -> None:
    x = np.zeros((64, 4), np.float32)
    with pytest.raises(ShapeError, match="multiple of 32"):
        quantize_mx_host(x[:48], dtypes.float8_e5m2_x4)
    with pytest.raises(DtypeError, match="packed"):
        quantize_mx_host(x, dtypes.float8_e5m2)
    with pytest.raises(TypeError, match="float64"):
        quantize_mx_host(x.astype(np.float64), dtypes.float8_e5m2_x4)
    with pytest.raises(ArgumentError, match="OCP_FLOOR"):
        quantize_mx_host(x, dtypes.float4_e2m1fn_x4, ScaleRule.NKI)
    with pytest.raises(ShapeError, match="multiple of 4"):
        interleave(x[:6])
    with pytest.raises(PartitionError, match="offset"):
        scale_partitions(128, 16)
    with pytest.raises(PartitionError, match="multiple of 8"):
        scale_partitions(20)
    with pytest.raises(ShapeError, match="16 rows"):
        scatter_scales(np.zeros((8, 4), np.uint8), 128)
    with pytest.raises(ShapeError, match="104 partitions"):
        gather_scales(np.zeros((64, 4), np.uint8), 128, 4)
