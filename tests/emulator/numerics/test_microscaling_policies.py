"""Blocks that the formulas leave open: every named policy against what it is named after, and worked examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from numpy.typing import NDArray

from tests.emulator.numerics.mx_blocks import (
    BFLOAT16,
    EMAX,
    LARGEST,
    any_block,
    dequantize,
    every_case,
    every_element,
    quantize,
)
from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType
from trnlab.emulator.numerics.microscaling_policies import (
    AWS_NKI_LIBRARY,
    AWS_TUTORIAL,
    BLOCK_POLICIES,
    HARDWARE,
    TORCHAO,
    BlockPolicy,
    InfiniteBlocks,
    NanBlocks,
    ScaleRule,
    TinyBlocks,
    ZeroBlocks,
)

E4M3, OCP = dtypes.float8_e4m3fn, ScaleRule.OCP_FLOOR
Blocks = NDArray[np.float32]


@pytest.fixture(autouse=True)
def _quiet_numpy() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def block(*values: float) -> Blocks:
    """One block that starts with the values and goes on with zeros."""
    return np.array([*values, *[0.0] * (32 - len(values))], np.float32)[None]


def classes() -> dict[str, Blocks]:
    """Blocks [N, 32] of every kind on which the references part, and of the kinds on which they agree."""
    generator = np.random.default_rng(7)
    gauss = generator.standard_normal((256, 32))
    tiny = np.ldexp(gauss, generator.integers(-126, -110, (256, 1)))
    infinite, broken = gauss.copy(), gauss.copy()
    infinite[np.arange(256), generator.integers(0, 32, 256)] = generator.choice([np.inf, -np.inf], 256)
    broken[np.arange(256), generator.integers(0, 32, 256)] = np.nan
    both = np.where(generator.random((256, 32)) < 0.1, np.inf, broken)
    found = {
        "gaussian": gauss,
        "any exponent": np.ldexp(gauss, generator.integers(-100, 120, (256, 1))),
        "tiny": tiny,
        "subnormal": np.ldexp(gauss, -132),
        "zero": 0 * gauss,
        "infinite": infinite,
        "NaN": broken,
        "NaN and infinite": both,
    }
    return {name: values.astype(np.float32) for name, values in found.items()}


ORDINARY = ("gaussian", "any exponent")


# ------------------------------------------------------------------------------------- oracles, from the descriptions


def exponent_field(x: Blocks) -> NDArray[np.int32]:
    """The largest f32 exponent field of each block."""
    fields: NDArray[np.int32] = ((x.view(np.uint32) >> 23) & 0xFF).max(axis=1).astype(np.int32)
    return fields


def divided(x: Blocks, exponent: NDArray[np.int32], element: DType) -> NDArray[np.float64]:
    """x / 2**exponent, clipped; NaN stays NaN."""
    scaled = x.astype(np.float64) / 2.0 ** exponent[:, None].astype(np.float64)
    return np.clip(scaled, -LARGEST[element], LARGEST[element])


def tutorial(x: Blocks, element: DType) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """The code is the field less E_max in eight bits, which wraps, and the elements use what the code says."""
    codes = ((exponent_field(x) - EMAX[element]) % 256).astype(np.uint8)
    return divided(x, codes.astype(np.int32) - 127, element), codes


def library(x: Blocks, element: DType) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """The code is clipped at 0, the elements use the exponent before that."""
    wanted = exponent_field(x) - EMAX[element]
    return divided(x, wanted - 127, element), wanted.clip(0, 255).astype(np.uint8)


def rounded(values: NDArray[np.float64], element: DType) -> NDArray[np.float64]:
    """Through f32, which holds what an element can tell from zero, to the nearest element."""
    return values.astype(np.float32).astype(element.storage).astype(np.float64)


@pytest.mark.parametrize(("policy", "oracle"), [(AWS_TUTORIAL, tutorial), (AWS_NKI_LIBRARY, library)])
@pytest.mark.parametrize("kind", classes())
@every_element
def test_aws_host_references(policy: BlockPolicy, oracle: Any, kind: str, element: DType) -> None:
    x = classes()[kind]
    values, expected_codes = oracle(x, element)
    elements, codes = quantize(x, element, OCP, policy)
    np.testing.assert_array_equal(codes, expected_codes)
    np.testing.assert_array_equal(elements.view(element.storage).astype(np.float64), rounded(values, element))


@pytest.mark.parametrize("policy", BLOCK_POLICIES.values(), ids=BLOCK_POLICIES)
@every_element
def test_policies_agree_on_ordinary_blocks_to_the_bit(policy: BlockPolicy, element: DType) -> None:
    for kind in ORDINARY:
        x = classes()[kind]
        expected, found = quantize(x, element, OCP), quantize(x, element, OCP, policy)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


@given(x=any_block)
@example(x=np.zeros((1, 32), BFLOAT16))
@every_case
def test_clamping_is_right_wherever_it_acts(element: DType, rule: ScaleRule, x: NDArray[Any]) -> None:
    """The default decodes to within half a step of every finite block; a policy that acts nowhere changes nothing."""
    elements, codes = quantize(x, element, rule)
    other = quantize(x, element, rule, AWS_TUTORIAL)
    if codes[0] > 0:
        np.testing.assert_array_equal(other[0], elements)
        np.testing.assert_array_equal(other[1], codes)
    largest = np.abs(x.astype(np.float64)).max()
    error = np.abs(dequantize(elements, codes, element) - x.astype(np.float64)).max()
    assert error <= max(
        largest / 4, 2.0**-127 * 0.5 * 2.0**-1
    )  # FP4: a quarter when clipped; half the smallest element


# ------------------------------------------------------------- blocks on which the references part, worked out by hand


@pytest.mark.parametrize(("policy", "code"), [(HARDWARE, 0), (AWS_TUTORIAL, 248), (AWS_NKI_LIBRARY, 0), (TORCHAO, 0)])
def test_a_block_of_zeros(policy: BlockPolicy, code: int) -> None:
    """E_max = 8: field 0 less 8 wraps to 248."""
    elements, codes = quantize(block(0.0, -0.0), E4M3, OCP, policy)
    assert codes.tolist() == [code]
    assert elements[0, :2].tolist() == [0x00, 0x80]
    assert not elements[0, 2:].any()


@pytest.mark.parametrize(
    ("policy", "code", "element", "factor"),
    [
        (HARDWARE, 0, 4.0, 1.0),  # 2**-125 / 2**-127
        (AWS_TUTORIAL, 250, 0.0, 0.0),  # field 2 less 8 is -6, modulo 256; 2**-125 / 2**123 is nothing
        (AWS_NKI_LIBRARY, 0, 256.0, 64.0),  # divided by 2**-133, read back under 2**-127
        (TORCHAO, 0, 2.0, 0.5),  # divided by 2**-126
    ],
)
def test_a_block_below_the_smallest_scale(policy: BlockPolicy, code: int, element: float, factor: float) -> None:
    elements, codes = quantize(block(2.0**-125), E4M3, OCP, policy)
    assert codes.tolist() == [code]
    assert float(elements.view(E4M3.storage)[0, 0]) == element
    assert dequantize(elements, codes, E4M3)[0, 0] == factor * 2.0**-125


@pytest.mark.parametrize(
    ("policy", "code", "element"),
    [
        (HARDWARE, 0, 2.0**-3),  # 2**-130 / 2**-127
        (AWS_TUTORIAL, 248, 0.0),
        (AWS_NKI_LIBRARY, 0, 32.0),  # the field of a subnormal is 0: divided by 2**(0 - 8 - 127)
        (TORCHAO, 0, 2.0**-4),
    ],
)
def test_a_block_of_subnormals(policy: BlockPolicy, code: int, element: float) -> None:
    elements, codes = quantize(block(2.0**-130), E4M3, OCP, policy)
    assert codes.tolist() == [code]
    assert float(elements.view(E4M3.storage)[0, 0]) == element


@pytest.mark.parametrize(
    ("policy", "code", "elements"),
    [
        (HARDWARE, 255, [np.nan, np.nan, np.nan]),
        (AWS_TUTORIAL, 247, [448.0, -0.0, 2.0**7]),  # 255 - 8; 2**127 / 2**120; -1 / 2**120 is nothing
        (AWS_NKI_LIBRARY, 247, [448.0, -0.0, 2.0**7]),
        (TORCHAO, 247, [448.0, -0.0, 2.0**7]),
    ],
)
def test_a_block_with_an_infinity(policy: BlockPolicy, code: int, elements: list[float]) -> None:
    found, codes = quantize(block(np.inf, -1.0, 2.0**127), E4M3, OCP, policy)
    assert codes.tolist() == [code]
    values = found.view(E4M3.storage)[0, :3].astype(np.float32)
    np.testing.assert_array_equal(values, np.array(elements, np.float32))
    finite = np.isfinite(values)
    np.testing.assert_array_equal(np.signbit(values[finite]), np.signbit(np.array(elements)[finite]))


@pytest.mark.parametrize(
    ("policy", "code", "elements"),
    [
        (HARDWARE, 255, [np.nan, np.nan, np.nan]),
        (AWS_TUTORIAL, 247, [np.nan, 2.0**7, -448.0]),
        (AWS_NKI_LIBRARY, 247, [np.nan, 2.0**7, -448.0]),
        (TORCHAO, 255, [np.nan, 0.0, np.nan]),  # divided by an infinity
    ],
)
def test_a_block_with_a_nan(policy: BlockPolicy, code: int, elements: list[float]) -> None:
    found, codes = quantize(block(np.nan, 2.0**127, -np.inf), E4M3, OCP, policy)
    assert codes.tolist() == [code]
    np.testing.assert_array_equal(found.view(E4M3.storage)[0, :3].astype(np.float32), np.array(elements, np.float32))


def test_policies_are_chosen_field_by_field() -> None:
    policy = BlockPolicy(zero=ZeroBlocks.AS_TINY, tiny=TinyBlocks.WRAP, infinite=InfiniteBlocks.LARGEST_EXPONENT)
    x = np.concatenate([block(0.0), block(np.inf, 1.0), block(np.nan, 1.0), block(1.0)])
    elements, codes = quantize(x, E4M3, OCP, policy)
    assert codes.tolist() == [248, 247, 255, 127 - 8]
    assert policy.nan is NanBlocks.POISON
    assert np.isnan(elements.view(E4M3.storage)[2].astype(np.float32)).all()


def test_the_nki_rule_takes_policies_too() -> None:
    """Under the NKI rule 2**127 comes out as 2**(127 - (128 - 7)); an infinity still clips to the largest element."""
    elements, codes = quantize(block(np.inf, 2.0**127), E4M3, ScaleRule.NKI, AWS_TUTORIAL)
    assert codes.tolist() == [255 - 7]
    assert elements.view(E4M3.storage)[0, :2].astype(float).tolist() == [448.0, 2.0**6]
