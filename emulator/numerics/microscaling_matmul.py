"""The scaled matmul of one tile: nc_matmul_mx's arithmetic, safe over the whole range of scales.

The order and precision of the additions inside a processing element are not public; what is chosen here is stated in
`matmul_mx_f32` and assumed. AWS compares with a tolerance and claims no bits either.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from trnlab.emulator.errors import ShapeError, Violation
from trnlab.emulator.numerics.arithmetic import ldexp_f32, matmul_f32
from trnlab.emulator.numerics.microscaling import GROUP_PARTITIONS, check_codes, scale_codes
from trnlab.emulator.numerics.microscaling_policies import NON_FINITE_CODE, SCALE_BIAS
from trnlab.emulator.numerics.sealing import seal
from trnlab.emulator.numerics.x4_words import LANES

SAFE_SPREAD: Final = 47
"""Binades between the scales of one column within which four f32 dots are as good as exact arithmetic allows.

Elements lie in [2**-16, 2**16) in magnitude (float8_e5m2 is the widest). With both columns scaled so that their
largest code is 2**0, products are multiples of 2**(2 * (-16 - 47)) = 2**-126: no product and no sum can be
subnormal, and 512 of them stay below 2**41.
"""


class _Operand(NamedTuple):
    """One matmul operand, its codes as int32, and what its columns allow."""

    elements: Array  # f32 [P, F, 4], unscaled
    codes: Array  # int32 [P/8, F]
    top: Array  # int32 [F], largest code of a group that holds a non-zero element
    is_wide: Array  # bool [F], such codes spread over more than SAFE_SPREAD
    is_nan: Array  # bool [F], some code is 255


def _operand(elements: Array, codes: Array) -> _Operand:
    groups = elements.reshape(codes.shape[0], GROUP_PARTITIONS, codes.shape[1], LANES)
    is_nan = codes == NON_FINITE_CODE
    # A group of zeros adds nothing whatever its code says, and quantize_mx gives it code 0.
    is_live = (groups != 0).any(axis=(1, 3)) & ~is_nan
    signed = codes.astype(jnp.int32)
    top = jnp.where(is_live, signed, 0).max(axis=0)
    low = jnp.where(is_live, signed, NON_FINITE_CODE).min(axis=0)
    return _Operand(elements, signed, top, top - low > SAFE_SPREAD, is_nan.any(axis=0))


@jax.jit
def matmul_mx_f32(stationary: Array, stationary_codes: Array, moving: Array, moving_codes: Array) -> Array:
    """`sum(stationary[p, m, l] * 2**s[p//8, m] * moving[p, n, l] * 2**t[p//8, n])` over p and l, as f32 [M, N].

    stationary, moving: decoded elements, f32 [P, M, 4] and [P, N, 4] (`decode_x4`), P a multiple of 8, at most 128.
    *_codes:            uint8 (or float8_e8m0fnu) [P/8, M] and [P/8, N]; s and t are the codes less 127.

    Order: each element takes its own scale, exactly; two dots, one over the first two lanes of all partitions and one
    over the last two, are added in f32. Rows and columns are brought to a common exponent first and put back after, so
    that neither underflow nor overflow on the way touches a result that f32 can hold. Where the codes of a row or
    column spread over more than `SAFE_SPREAD` binades, the sum runs by scaling group instead, with the same error
    bound: gamma_(4P) * sum |a||b|, plus 2**-149. A row or column with code 255 is NaN.

    Raises:
        DtypeError: codes of another dtype.
        ShapeError: partitions that differ, or codes that do not cover their elements.

    Source: nki.isa.nc_matmul_mx. The order and precision inside the processing element are not public (assumed).
    """
    stationary_codes, moving_codes = scale_codes(stationary_codes), scale_codes(moving_codes)
    check_codes("nc_matmul_mx", "stationary_scale", stationary, stationary_codes)
    check_codes("nc_matmul_mx", "moving_scale", moving, moving_codes)
    if stationary.shape[0] != moving.shape[0]:
        found = f"{stationary.shape[0]} and {moving.shape[0]} partitions"
        raise ShapeError(
            Violation(subject="nc_matmul_mx", operand="moving", found=found, allowed="the stationary's partitions")
        )
    left, right = _operand(stationary, stationary_codes), _operand(moving, moving_codes)
    return _replace_wide(_sum_by_lanes(left, right), left, right)


def _sum_by_lanes(left: _Operand, right: _Operand) -> Array:
    (low, high), (low_right, high_right) = _scaled_halves(left), _scaled_halves(right)
    total = seal(seal(matmul_f32(low, low_right)) + seal(matmul_f32(high, high_right)))
    return ldexp_f32(total, left.top[:, None] + right.top - 2 * SCALE_BIAS)


def _scaled_halves(operand: _Operand) -> tuple[Array, Array]:
    """Two lanes each as [2 P, F], scales relative to the column's largest, so in (0, 1] (dead groups: clipped to it).

    Columns with a NaN among their scales are NaN.
    """
    relative = jnp.clip(operand.codes - operand.top, -126, 0)
    power = lax.bitcast_convert_type((relative + SCALE_BIAS) << 23, jnp.float32)
    power = jnp.where(operand.is_nan, jnp.float32(jnp.nan), power)
    spread = jnp.repeat(power, GROUP_PARTITIONS, axis=0)
    lanes = operand.elements.transpose(2, 0, 1) * spread
    pairs = lanes.reshape(2, LANES // 2 * lanes.shape[1], lanes.shape[2])
    return pairs[0], pairs[1]


def _replace_wide(result: Array, left: _Operand, right: _Operand) -> Array:
    """Entries whose row or column is wide, summed by group; a loop of zero or one step.

    A loop and not a conditional: under vmap a conditional computes both sides always, a loop only when needed. What the
    step computes depends on its state, for else XLA would move it in front of the loop.
    """

    def step(state: tuple[Array, Array]) -> tuple[Array, Array]:
        is_wide = left.is_wide[:, None] | right.is_wide
        now = left._replace(codes=left.codes + (1 - state[0].astype(jnp.int32)))  # the flag is 1 inside the loop
        return jnp.zeros_like(state[0]), jnp.where(is_wide, _sum_by_group(now, right), state[1])

    is_needed = left.is_wide.any() | right.is_wide.any()
    return lax.while_loop(lambda state: state[0], step, (is_needed, result))[1]


def _sum_by_group(left: _Operand, right: _Operand) -> Array:
    """Dots of unscaled groups, added in group order, each entry at the largest exponent that it has met.

    What is left of a sum when it moves up by more than f32 can express is below 2**-60 of what is added then.
    """
    groups = left.codes.shape[0]
    left_groups, right_groups = _grouped(left), _grouped(right)

    def add(group: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        total, top = state
        partial = seal(matmul_f32(left_groups[group], right_groups[group]))
        shift = left.codes[group][:, None] + right.codes[group] - 2 * SCALE_BIAS
        raised = jnp.where(partial != 0, jnp.maximum(top, shift), top)
        return seal(ldexp_f32(total, top - raised) + ldexp_f32(partial, shift - raised)), raised

    nothing = 0 * (left.codes[0][:, None] + right.codes[0])  # varies under shard_map as the operands do
    start = nothing.astype(jnp.float32), nothing - 4 * SCALE_BIAS
    total, top = lax.fori_loop(0, groups, add, start)
    is_nan = left.is_nan[:, None] | right.is_nan
    return jnp.where(is_nan, jnp.float32(jnp.nan), ldexp_f32(total, top))


def _grouped(operand: _Operand) -> Array:
    """[P, F, 4] elements as [P/8, 32, F]: one scaling group per leading index."""
    groups, free = operand.codes.shape
    split = operand.elements.reshape(groups, GROUP_PARTITIONS, free, LANES)
    return split.transpose(0, 1, 3, 2).reshape(groups, GROUP_PARTITIONS * LANES, free)
