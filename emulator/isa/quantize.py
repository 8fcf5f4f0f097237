"""quantize_mx: blocks of 8 partitions by 4 elements to FP8 and a shared scale, in the layout nc_matmul_mx reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from jax import Array, lax

from trnlab.emulator import dtypes as formats
from trnlab.emulator.dtypes import DType, element_of
from trnlab.emulator.errors import ShapeError
from trnlab.emulator.isa.limits import AttributeIn, FreeMultipleOf, PartitionsMultipleOf, Rule, SamePartitions
from trnlab.emulator.isa.registry import SBUF, Call, instruction, reads, updates, writes
from trnlab.emulator.numerics.microscaling import GROUP_PARTITIONS, quantize_mx as quantize
from trnlab.emulator.numerics.microscaling_layout import QUADRANT, SCALE_OFFSETS, scale_partitions
from trnlab.emulator.numerics.microscaling_policies import BLOCK_POLICIES, ScaleRule
from trnlab.emulator.numerics.x4_words import LANES
from trnlab.emulator.target import Engine, Feature, Generation

_SOURCE: Final = "NKI reference, nisa.quantize_mx"
_LAYOUT: Final = "NKI deep dive, MXFP matrix multiplication: scale tensor"


def _wrong_width(name: str) -> Rule:
    """One word of data, and one scale, for every four elements of src."""

    def broken(call: Call) -> str | None:
        view, needed = call[name], call["src"].free_elements // LANES
        return None if view.free_elements == needed else f"{view}, {view.free_elements} elements per partition"

    return Rule(broken, "a quarter of src's elements per partition", operand=name, source=_SOURCE)


def _too_few_scale_rows(call: Call) -> str | None:
    scale, partitions = call["dst_scale"], call["src"].partitions
    needed = partitions - QUADRANT + QUADRANT // GROUP_PARTITIONS  # the last quadrant's four rows end here
    return None if scale.partitions >= needed else f"{scale}, {scale.partitions} partitions for {needed} rows of scales"


@instruction(
    engines=(Engine.VECTOR,),
    since=Generation.V4,
    feature=Feature.QUANTIZE_MX,
    operands=(
        writes("dst", regions=SBUF, dtypes=frozenset({formats.float8_e5m2_x4, formats.float8_e4m3fn_x4})),
        reads("src", regions=SBUF, dtypes=frozenset({formats.float16, formats.bfloat16})),
        updates(
            "dst_scale",
            regions=SBUF,
            dtypes=frozenset({formats.uint8, formats.float8_e8m0fnu}),
            quadrant_offsets=SCALE_OFFSETS,
        ),
    ),
    attributes=("scale_rule", "block_policy"),
    limits=(
        PartitionsMultipleOf("src", QUADRANT, source=_SOURCE),
        FreeMultipleOf("src", LANES, source=_SOURCE),
        SamePartitions("src", "dst", source=_SOURCE),
        _wrong_width("dst"),
        _wrong_width("dst_scale"),
        Rule(
            _too_few_scale_rows,
            "P / 8 partitions for P = 32, else at least P - 28: scales lie in the quadrant of their group",
            operand="dst_scale",
            error=ShapeError,
            source=_LAYOUT,
        ),
        AttributeIn("scale_rule", tuple(rule.value for rule in ScaleRule)),
        AttributeIn("block_policy", tuple(BLOCK_POLICIES)),
    ),
    math="raw",
    source=_SOURCE,
    assumptions=(
        "elements are rounded to nearest even; a group with a NaN or an infinity gets scale code 255; exponents below "
        "-127 are clamped before scaling (see trnlab.emulator.numerics.microscaling_policies)",
    ),
)
def quantize_mx(
    src: Array, dst_scale: Array, scale_rule: str, block_policy: str, dtypes: Mapping[str, DType]
) -> tuple[Array, Array]:
    """dst = FP8(src / 2**e) in words of four; dst_scale[32 (g // 4) + g % 4] = e + 127 of the 8 x 4 group g."""
    words, codes = quantize(src, element_of(dtypes["dst"]), ScaleRule(scale_rule), BLOCK_POLICIES[block_policy])
    rows = scale_partitions(src.shape[0])
    scales = lax.bitcast_convert_type(dst_scale, codes.dtype).at[rows].set(codes)
    return words, lax.bitcast_convert_type(scales, dst_scale.dtype)
