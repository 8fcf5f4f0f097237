"""How a block's scale follows from its largest magnitude: the rules, and named policies for blocks that no rule covers.

The published formulas say nothing of a block of zeros, of one whose exponent falls below -127, or of NaN and
infinities. AWS's host references, torchao and the emulator each do something else there, so each behaviour has a name
and a `BlockPolicy` says which of them holds. On every other block all policies agree, to the bit.

Sources: NKI reference, nki.isa.quantize_mx; OCP Microscaling Formats v1.0, section 6.3; the host code of the NKI deep
dive "MXFP Matrix Multiplication" (mx_cpu_utils), of the NKI Library (mx_torch_common) and of torchao 0.18 (mx_tensor).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

import jax.numpy as jnp
from jax import Array

from trnlab.emulator.dtypes import DType

SCALE_BIAS: Final = 127

NON_FINITE_CODE: Final = 255
"""The NaN of float8_e8m0fnu: a block under it decodes to NaN, whatever its elements (OCP MX v1.0, section 5.4.1)."""

_INFINITY: Final = 0x7F800000
"""Bits of the f32 infinity; a magnitude above is a NaN."""


class ScaleRule(Enum):
    """The block scale of a group whose largest magnitude is amax; E_max is the element's largest exponent."""

    NKI = "nki"
    """2**(floor(log2 amax) - (E_max - 1)): quantize_mx since NKI 0.5. No element can overflow."""
    OCP_FLOOR = "ocp_floor"
    """2**(floor(log2 amax) - E_max): the OCP sample rule, used by AWS's host functions. Elements are clipped."""

    def target_exponent(self, element: DType) -> int:
        """The exponent to which amax is brought: E_max - 1 or E_max."""
        largest = math.frexp(element.format.max)[1] - 1
        return largest - 1 if self is ScaleRule.NKI else largest


class ZeroBlocks(Enum):
    """The scale code of a block of zeros; its elements are zeros in any case."""

    SMALLEST = "smallest"
    """Code 0, which is 2**-127 (documented by nki.isa.quantize_mx)."""
    AS_TINY = "as_tiny"
    """What `TinyBlocks` makes of the exponent field 0."""


class TinyBlocks(Enum):
    """A block whose scale would be below 2**-127, the smallest that float8_e8m0fnu has."""

    CLAMP = "clamp"
    """Scale and elements both use 2**-127, so that decoding gives back what was encoded (assumed of the hardware)."""
    CLAMP_CODE_ONLY = "clamp_code_only"
    """The code is 0, the elements use the exponent that was wanted: decoding is wrong by a power of two."""
    WRAP = "wrap"
    """The code is taken modulo 256 and the elements use the wrapped scale: they round to zero."""
    NORMAL_DIVISOR = "normal_divisor"
    """The code is 0, the elements are divided by 2**-126, the smallest normal f32: decoding gives half."""


class NanBlocks(Enum):
    """A block that holds a NaN, whatever else it holds."""

    POISON = "poison"
    """Code 255; FP8 elements are all NaN, FP4 ones, which have none, zero (assumed of the hardware)."""
    LARGEST_EXPONENT = "largest_exponent"
    """The f32 exponent field 255 is taken for a number's: NaN stay, infinities clip, finite elements are flushed."""
    NAN_SCALE = "nan_scale"
    """Code 255; finite FP8 elements are zero, NaN and infinities NaN."""


class InfiniteBlocks(Enum):
    """A block that holds an infinity and no NaN."""

    POISON = "poison"
    """As `NanBlocks.POISON` (assumed of the hardware)."""
    LARGEST_EXPONENT = "largest_exponent"
    """As `NanBlocks.LARGEST_EXPONENT`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPolicy:
    """What happens to blocks that the published formulas leave open. The default is what the emulated core does.

    Exponents are read from the f32 exponent field, so a subnormal counts as 2**-127; that makes a block tiny under
    every rule, and only policies other than CLAMP let it show.
    """

    zero: ZeroBlocks = ZeroBlocks.SMALLEST
    tiny: TinyBlocks = TinyBlocks.CLAMP
    nan: NanBlocks = NanBlocks.POISON
    infinite: InfiniteBlocks = InfiniteBlocks.POISON


HARDWARE: Final = BlockPolicy()
"""The emulated core's: zero blocks as documented, the rest assumed."""

AWS_TUTORIAL: Final = BlockPolicy(
    zero=ZeroBlocks.AS_TINY,
    tiny=TinyBlocks.WRAP,
    nan=NanBlocks.LARGEST_EXPONENT,
    infinite=InfiniteBlocks.LARGEST_EXPONENT,
)
"""quantize_mx_golden of the NKI deep dive "MXFP Matrix Multiplication" and of nki-samples; use with OCP_FLOOR."""

AWS_NKI_LIBRARY: Final = BlockPolicy(
    zero=ZeroBlocks.AS_TINY,
    tiny=TinyBlocks.CLAMP_CODE_ONLY,
    nan=NanBlocks.LARGEST_EXPONENT,
    infinite=InfiniteBlocks.LARGEST_EXPONENT,
)
"""quantize_to_mx of the NKI Library's mx_torch_common; use with OCP_FLOOR."""

TORCHAO: Final = BlockPolicy(
    tiny=TinyBlocks.NORMAL_DIVISOR, nan=NanBlocks.NAN_SCALE, infinite=InfiniteBlocks.LARGEST_EXPONENT
)
"""torchao 0.18, to_mx with ScaleCalculationMode.FLOOR; use with OCP_FLOOR."""

BLOCK_POLICIES: Final[Mapping[str, BlockPolicy]] = {
    "hardware": HARDWARE,
    "aws_tutorial": AWS_TUTORIAL,
    "aws_nki_library": AWS_NKI_LIBRARY,
    "torchao": TORCHAO,
}
"""The policies by the names that the command line takes."""


class MxChoice(NamedTuple):
    """How quantize_mx works in one run, by the names of a `ScaleRule` and of a policy in `BLOCK_POLICIES`."""

    rule: str = ScaleRule.NKI.value
    policy: str = "hardware"


DEFAULT_MX: Final = MxChoice()


def _wrapped(wanted: Array) -> Array:
    return ((wanted + SCALE_BIAS) & 0xFF) - SCALE_BIAS


_TINY: Final[Mapping[TinyBlocks, Callable[[Array], tuple[Array, Array]]]] = {
    TinyBlocks.CLAMP: lambda wanted: (jnp.maximum(wanted, -127), jnp.maximum(wanted, -127)),
    TinyBlocks.CLAMP_CODE_ONLY: lambda wanted: (jnp.maximum(wanted, -127), wanted),
    TinyBlocks.WRAP: lambda wanted: (_wrapped(wanted), _wrapped(wanted)),
    TinyBlocks.NORMAL_DIVISOR: lambda wanted: (jnp.maximum(wanted, -127), jnp.maximum(wanted, -126)),
}
"""The exponents that the code and the elements get, from the one that the rule wants."""


class Blocks(NamedTuple):
    """What a policy decides of every block; `divisor` is the exponent that the elements are divided by."""

    codes: Array  # uint8
    divisor: Array  # int32
    is_poisoned: Array  # bool: every element is to be the format's NaN, or zero where it has none
    is_nan_scale: Array  # bool: elements are as if divided by an infinity


def scale_blocks(largest: Array, target_exponent: int, policy: BlockPolicy) -> Blocks:
    """The scale of every block from its largest f32 magnitude, given as bits."""
    wanted = (largest >> 23).astype(jnp.int32) - (SCALE_BIAS + target_exponent)
    code, divisor = _TINY[policy.tiny](wanted)
    if policy.zero is ZeroBlocks.SMALLEST:
        code = jnp.where(largest == 0, -SCALE_BIAS, code)
    is_nan, is_infinite = largest > _INFINITY, largest == _INFINITY
    nothing = jnp.zeros_like(is_nan)
    poisoned = (is_nan if policy.nan is NanBlocks.POISON else nothing) | (
        is_infinite if policy.infinite is InfiniteBlocks.POISON else nothing
    )
    nan_scale = is_nan if policy.nan is NanBlocks.NAN_SCALE else nothing
    codes = jnp.where(poisoned | nan_scale, NON_FINITE_CODE, code + SCALE_BIAS).astype(jnp.uint8)
    return Blocks(codes, divisor, poisoned, nan_scale)


def treat_non_finite(scaled: Array, magnitude: Array, blocks: Blocks, element: DType, policy: BlockPolicy) -> Array:
    """Scaled f32 magnitudes with those of blocks that hold a NaN or an infinity as the policy has them.

    `scaled` and `magnitude` (f32 bits before scaling) have two axes more than the blocks: [G, 8, F, 4] for [G, F].
    """

    def spread(blockwise: Array) -> Array:
        return blockwise[:, None, :, None]

    nan = jnp.float32(jnp.nan)
    if policy.nan is not NanBlocks.POISON or policy.infinite is not InfiniteBlocks.POISON:
        scaled = jnp.where(magnitude == _INFINITY, jnp.float32(element.format.max), scaled)
        scaled = jnp.where(magnitude > _INFINITY, nan, scaled)
    if policy.nan is NanBlocks.NAN_SCALE:
        divided_by_infinity = jnp.where(magnitude >= _INFINITY, nan, jnp.float32(0))
        scaled = jnp.where(spread(blocks.is_nan_scale), divided_by_infinity, scaled)
    filler = nan if element.format.has_nan else jnp.float32(0)
    return jnp.where(spread(blocks.is_poisoned), filler, scaled)
