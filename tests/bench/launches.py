"""The launches that the bench measures, by name, at full size or at a size for a smoke test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np

from tests.bench import kernels, stress_kernels
from tests.bench.measure import Launch
from trnlab.emulator import Kernel, dtypes
from trnlab.kernels.attention import flash_attention
from trnlab.kernels.packing import pack_weights, unpack_weights

Array = np.ndarray[Any, Any]
PACKED = dtypes.float8_e4m3fn_x4
SEED = 7


@dataclass(frozen=True)
class Sizes:
    """Sides of squares (matmul, mx, quantized), attention (tokens, head width), softmax (rows, columns), counts."""

    matmul: int
    mx: int
    attention: tuple[int, int]
    softmax: tuple[int, int]
    library_tokens: int
    unfoldable: int
    fold: tuple[int, ...]
    fold_random: int
    reference_matmul: int
    reference_tokens: int
    reference_counts: tuple[int, ...]
    traced_matmul: int
    traced_tokens: int
    quantized: int


FULL = Sizes(
    matmul=2048,
    mx=4096,
    attention=(4096, 128),
    softmax=(4000, 2000),
    library_tokens=2048,
    unfoldable=10_000,
    fold=(100_000, 1_000_000),
    fold_random=100_000,
    reference_matmul=1024,
    reference_tokens=1024,
    reference_counts=(1000, 10_000, 100_000),
    traced_matmul=2048,
    traced_tokens=2048,
    quantized=4096,
)
SMALL = Sizes(
    matmul=1024,
    mx=512,
    attention=(512, 32),
    softmax=(160, 200),
    library_tokens=256,
    unfoldable=100,
    fold=(2000, 4000),
    fold_random=2000,
    reference_matmul=512,
    reference_tokens=256,
    reference_counts=(50, 100),
    traced_matmul=512,
    traced_tokens=256,
    quantized=256,
)


def normal(*shape: int, seed: int = SEED, dtype: Any = ml_dtypes.bfloat16) -> Array:
    """Reproducible standard normal values."""
    values = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return values.astype(dtype, copy=False)


def matrices(side: int) -> tuple[Array, Array]:
    """Two square bfloat16 matrices, lhs and rhs."""
    return normal(side, side), normal(side, side, seed=SEED + 1)


def attention_operands(sizes: Sizes) -> list[Array]:
    """q, k and v of one head, [tokens, width]."""
    return [normal(*sizes.attention, seed=SEED + number) for number in range(3)]


def softmax_operand(sizes: Sizes) -> Array:
    """The rows that softmax takes."""
    return normal(*sizes.softmax, dtype=np.float32)


def packed_matrices(side: int) -> list[tuple[Array, Array]]:
    """(words, scales) of lhs.T and of rhs in MXFP8."""
    lhs, rhs = matrices(side)
    return [pack_weights(matrix.astype(np.float32), PACKED) for matrix in (lhs.T, rhs)]


def meant_matrices(side: int) -> tuple[Array, Array]:
    """lhs and rhs that the packed ones stand for: bfloat16 holds FP8 elements times powers of two exactly."""
    left, right = (
        unpack_weights(*packed, PACKED, rows=side).astype(ml_dtypes.bfloat16) for packed in packed_matrices(side)
    )
    return np.ascontiguousarray(left.T), right


def matmul_launch(kernel: Kernel, side: int) -> Launch:
    """A matmul of the two matrices."""
    lhs, rhs = matrices(side)
    return launch(kernel, np.ascontiguousarray(lhs.T), rhs)


def mx_launch(side: int) -> Launch:
    """The same in MXFP8; the host packs before any time is taken."""
    (left, left_scales), (right, right_scales) = packed_matrices(side)
    return launch(kernels.matmul_mx_packed, left, left_scales, right, right_scales)


def attention_launch(sizes: Sizes, *, causal: bool) -> Launch:
    """Flash attention of one head."""
    return launch(flash_attention, *(operand[None] for operand in attention_operands(sizes)), causal=causal)


def unfoldable_launch(count: int) -> Launch:
    """Instructions in random order."""
    x = normal(stress_kernels.RANDOM_TILES, 128, stress_kernels.RANDOM_COLUMNS, dtype=np.float32)
    return launch(stress_kernels.unfoldable, x, count=count, seed=SEED)


def transfers_launch(count: int, results: int = 1) -> Launch:
    """Two transfers in three instructions, of random widths."""
    x = normal(128, stress_kernels.TRANSFER_COLUMNS, dtype=np.float32)
    return launch(stress_kernels.random_transfers, x, count=count, seed=SEED, results=results)


def launch(kernel: Kernel, *arrays: Array, **options: Any) -> Launch:
    """The kernel on JAX arrays, as a JAX program would call it."""
    return Launch(kernel, tuple(jnp.asarray(array) for array in arrays), options)


LAUNCHES: dict[str, Callable[[Sizes], Launch]] = {
    "matmul naive": lambda sizes: matmul_launch(kernels.matmul_naive, sizes.matmul),
    "matmul hoisted": lambda sizes: matmul_launch(kernels.matmul_hoisted, sizes.matmul),
    "matmul blocked": lambda sizes: matmul_launch(kernels.matmul_blocked, sizes.matmul),
    "matmul mxfp8": lambda sizes: mx_launch(sizes.mx),
    "attention": lambda sizes: attention_launch(sizes, causal=False),
    "attention causal": lambda sizes: attention_launch(sizes, causal=True),
    "softmax": lambda sizes: launch(kernels.softmax, softmax_operand(sizes)),
}
