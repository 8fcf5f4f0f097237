"""MX by torchao's FLOOR mode as an independent oracle: agreement on ordinary blocks, and each known disagreement.

Runs where torch and torchao are installed. torchao 0.18 quantises along the last axis in blocks of 32.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.emulator.numerics.mx_blocks import BFLOAT16, EMAX, FP8, dequantize, every_element, quantize
from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType
from trnlab.emulator.numerics.microscaling_host import unpack_nibbles
from trnlab.emulator.numerics.microscaling_policies import HARDWARE, TORCHAO, ScaleRule
from trnlab.emulator.numerics.nvfp4 import quantize_nvfp4

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torchao warns of torch's own deprecations when it is imported
    logging.disable(logging.WARNING)
    mx_tensor = pytest.importorskip("torchao.prototype.mx_formats.mx_tensor")
    nvfp4_tensor = pytest.importorskip("torchao.prototype.mx_formats.nvfp4_tensor")
    logging.disable(logging.NOTSET)

Array = NDArray[Any]
MODES = mx_tensor.ScaleCalculationMode
OCP = ScaleRule.OCP_FLOOR


def by_torchao(blocks: Array, element: DType, mode: Any = MODES.FLOOR) -> tuple[Array, Array]:
    """(element codes [N, 32], scale codes [N])."""
    source = torch.from_numpy(blocks.astype(np.float32))
    source = source.bfloat16() if blocks.dtype == BFLOAT16 else source
    kind = torch.float4_e2m1fn_x2 if element == dtypes.float4_e2m1fn else getattr(torch, element)
    scales, elements = mx_tensor.to_mx(source, kind, 32, mode)
    data = elements.view(torch.uint8).numpy()
    if element == dtypes.float4_e2m1fn:
        data = np.stack([data & 0xF, data >> 4], axis=-1).reshape(len(blocks), 32)
    return data, scales.view(torch.uint8).numpy().reshape(-1)


def ordinary() -> dict[str, Array]:
    """Blocks [N, 32] on which every reference agrees."""
    generator = np.random.default_rng(11)
    gauss = generator.standard_normal((2000, 32))
    outlier = np.where(generator.random((2000, 32)) < 1 / 32, 2.0**20, 1)
    edges = generator.choice([1, 1.5, 1.75, 1.8125, 1.875, 1.9921875, -1.25], (2000, 32))
    found = {
        "gaussian": gauss,
        "any exponent": np.ldexp(gauss, generator.integers(-90, 90, (2000, 1))),
        "outliers": gauss * outlier,
        "edges": np.ldexp(edges, generator.integers(-8, 1, (2000, 32))),
        "huge": np.ldexp(gauss, 124),
    }
    return {name: values.astype(np.float32) for name, values in found.items()}


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), BFLOAT16], ids=str)
@every_element
def test_floor_mode_and_the_ocp_rule_agree_to_the_bit(element: DType, dtype: np.dtype[Any]) -> None:
    for name, blocks in ordinary().items():
        x = blocks.astype(dtype)
        (elements, codes), (expected, expected_codes) = quantize(x, element, OCP), by_torchao(x, element)
        np.testing.assert_array_equal(codes, expected_codes, err_msg=name)
        np.testing.assert_array_equal(elements, expected, err_msg=name)


@pytest.mark.parametrize("element", FP8, ids=str)
def test_ceil_mode_is_the_nki_rule_but_for_powers_of_two(element: DType) -> None:
    """ceil(log2 amax) is floor + 1 unless amax is a power of two, where CEIL's scale is one lower."""
    blocks = ordinary()["gaussian"]
    blocks[::7] = np.where(np.arange(32) == 5, 4.0, np.clip(blocks[::7], -3.5, 3.5))
    (elements, codes), (expected, expected_codes) = (
        quantize(blocks, element, ScaleRule.NKI),
        by_torchao(blocks, element, MODES.CEIL),
    )
    is_power = np.frexp(np.abs(blocks).max(axis=1))[0] == 0.5
    assert is_power.sum() >= len(blocks) // 7
    np.testing.assert_array_equal(codes.astype(int) - expected_codes, is_power.astype(int))
    np.testing.assert_array_equal(elements[~is_power], expected[~is_power])


def disagreements() -> dict[str, Array]:
    """Blocks on which torchao and the clamped rule part."""
    generator = np.random.default_rng(12)
    gauss = generator.standard_normal((300, 32))
    infinite, broken = gauss.copy(), gauss.copy()
    infinite[:, 3], broken[:, 4] = np.inf, np.nan
    found = {"tiny": np.ldexp(gauss, -124), "subnormal": np.ldexp(gauss, -132), "infinite": infinite, "NaN": broken}
    return {name: values.astype(np.float32) for name, values in found.items()}


@pytest.mark.parametrize("kind", disagreements())
@every_element
def test_the_torchao_policy_is_torchao(kind: str, element: DType) -> None:
    """Elements too, but for FP4 under a NaN scale, which decode to NaN whatever they are."""
    x = disagreements()[kind]
    (elements, codes), (expected, expected_codes) = quantize(x, element, OCP, TORCHAO), by_torchao(x, element)
    np.testing.assert_array_equal(codes, expected_codes)
    np.testing.assert_array_equal(dequantize(elements, codes, element), dequantize(expected, expected_codes, element))
    if element.format.has_nan:
        mine, theirs = (values.view(element.storage).astype(np.float32) for values in (elements, expected))
        np.testing.assert_array_equal(mine, theirs)


@every_element
def test_below_the_clamp_torchao_stores_half(element: DType) -> None:
    """Both store code 0, which is 2**-127; torchao divides by 2**-126."""
    x = disagreements()["subnormal"]
    (ours, codes), (theirs, their_codes) = quantize(x, element, OCP, HARDWARE), by_torchao(x, element)
    np.testing.assert_array_equal(codes, 0)
    np.testing.assert_array_equal(their_codes, 0)
    largest = np.abs(x.astype(np.float64)).max(axis=1)
    tolerance = np.maximum(largest / 4, element.format.smallest_subnormal * 2.0**-127 / 2)
    for found, expected in ((ours, largest), (theirs, largest / 2)):
        assert (np.abs(np.abs(dequantize(found, codes, element)).max(axis=1) - expected) <= tolerance).all()


@pytest.mark.parametrize(("kind", "fields"), [("infinite", 255), ("NaN", None)])
@every_element
def test_torchao_takes_an_infinity_for_a_number(kind: str, fields: int | None, element: DType) -> None:
    """Code 255 for every such block here; torchao's is 255 less E_max for infinities, and 255 for NaN."""
    x = disagreements()[kind]
    assert (quantize(x, element, OCP)[1] == 255).all()
    assert (by_torchao(x, element)[1] == (255 if fields is None else fields - EMAX[element])).all()


def nvfp4_by_torchao(x: Array) -> tuple[Array, Array]:
    """(element codes [R, K], block scales in f32) with torchao's own scale for the whole tensor."""
    source = torch.from_numpy(x)
    tensor_scale = nvfp4_tensor.per_tensor_amax_to_scale(source.abs().max())
    scales, packed = nvfp4_tensor.nvfp4_quantize(source, per_tensor_scale=tensor_scale)
    return unpack_nibbles(packed.numpy()), scales.float().numpy()


def test_nvfp4_agrees_where_torchao_rounds_once() -> None:
    """Scales that are powers of two: the tensor's is 1, each block's largest is 6 * 2**j, every quotient is exact."""
    generator = np.random.default_rng(13)
    x = generator.uniform(-6, 6, (64, 16, 16))
    x[..., 0] = 6
    x *= 2.0 ** generator.integers(-6, 7, (64, 16, 1))
    x[0, 0, 0] = 2688
    x = x.reshape(64, 256).astype(np.float32)
    packed, scales, tensor_scale = quantize_nvfp4(x)
    codes, their_scales = nvfp4_by_torchao(x)
    assert tensor_scale == 1
    np.testing.assert_array_equal(scales.astype(np.float32), their_scales)
    np.testing.assert_array_equal(unpack_nibbles(packed)[1:], codes[1:])


def test_nvfp4_parts_from_torchao_by_neighbours_only() -> None:
    """torchao multiplies by a rounded reciprocal: an element may land on the neighbour, where it was nearly a tie."""
    x = np.random.default_rng(14).standard_normal((512, 1024)).astype(np.float32)
    packed, scales, _ = quantize_nvfp4(x)
    codes, their_scales = nvfp4_by_torchao(x)
    is_same = np.repeat(scales.astype(np.float32) == their_scales, 16, axis=1)
    assert is_same.mean() > 0.999  # amax / 6 / t rounds twice before it rounds to float8_e4m3fn
    apart = np.abs(unpack_nibbles(packed).astype(int) - codes)[is_same]
    assert apart.max() <= 1
    assert apart.mean() < 1e-4


def test_nvfp4_blocks_below_the_smallest_normal_scale() -> None:
    """torchao keeps scales at 2**-6 at least; here they go on through the subnormals of float8_e4m3fn."""
    x = np.zeros((1, 32), np.float32)
    x[0, 0], x[0, 16] = 2688, 6 * 2.0**-8
    assert quantize_nvfp4(x).scales.astype(float).tolist() == [[448, 2.0**-8]]
    assert nvfp4_by_torchao(x)[1].tolist() == [[448, 2.0**-6]]


def test_torchao_takes_no_float16() -> None:
    with pytest.raises(AssertionError, match="float16"):
        mx_tensor.to_mx(torch.zeros(1, 32, dtype=torch.float16), torch.float8_e4m3fn, 32)
