"""Kernels printed in AWS's guides, with inputs and references made here."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np

from tests.conformance.case import Case
from tests.conformance.direct import Make, direct
from tests.conformance.documents import block_with
from tests.conformance.inputs import added, matmul, normal

OPTIMIZATION = "nki/guides/tutorials/kernel-optimization.rst"
SCHEDULING = "nki/guides/how-to-scheduling-apis.rst"
DMA = "nki/get-started/about/nki-dma-overview.rst"
TILING = "nki/get-started/about/tiling-overview.rst"
QUICKSTART = "nki/get-started/quickstart-implement-run-kernel.rst"
CORES = "nki/get-started/about/lnc.rst"
PRODUCT: dict[str, Any] = {"rtol": 2e-2, "atol": 1e-2, "elementwise": False}
BFLOAT16: dict[str, Any] = {
    "rtol": 2.0**-7,
    "atol": 0.0,
}  # one rounding to eight bits, after the activation's own error
RECIPROCAL: dict[str, Any] = {"rtol": 1e-5, "atol": 0.0}


def exponential(shape: tuple[int, int]) -> Make:
    """bfloat16 in, exponentials out."""

    def make(random: np.random.Generator, _: ModuleType) -> Any:
        x = normal(random, shape, ml_dtypes.bfloat16)
        return (x,), {}, np.exp(x.astype(np.float64))

    return make


def three_exponentials(random: np.random.Generator, _: ModuleType) -> Any:
    tiles = tuple(normal(random, (128, 64)) for _ in range(3))
    return tiles, {}, [np.exp(tile) for tile in tiles]


def reciprocal(shape: tuple[int, ...]) -> Make:
    """Numbers away from zero, and their reciprocals."""

    def make(random: np.random.Generator, _: ModuleType) -> Any:
        x = random.uniform(0.5, 2.0, shape).astype(np.float32)
        return (x,), {}, 1 / x.astype(np.float64)

    return make


def reciprocal_plus(random: np.random.Generator, _: ModuleType) -> Any:
    x = random.uniform(0.5, 2.0, (128, 64)).astype(np.float32)
    return (x,), {}, 1 / x.astype(np.float64) + x + 1


def printed(name: str, page: str, function: str, make: Make, *, kernel: str = "", place: int = 0, **more: Any) -> Case:
    """A code block's kernel; `kernel` where the block's result has another name than the function it defines."""
    load = block_with(function, place)
    return direct(f"guide-{name}", "sdk", page, kernel or function, make, load=load, group="sdk/guides", **more)


CASES = [
    printed("quickstart-add", QUICKSTART, "nki_tensor_add_kernel", added((4, 3), np.float16), place=1, rtol=2e-3),
    printed("matmul-single", OPTIMIZATION, "matrix_multiply_kernel", matmul(128, 128, 512), **PRODUCT),
    printed("matmul-tiled", OPTIMIZATION, "matrix_multiply_kernel", matmul(256, 128, 512), place=1, **PRODUCT),
    printed("matmul-hoist", OPTIMIZATION, "matrix_multiply_kernel", matmul(256, 256, 512), place=2, **PRODUCT),
    printed("matmul-blocked", OPTIMIZATION, "matrix_multiply_kernel", matmul(256, 256, 1024), place=3, **PRODUCT),
    printed(
        "matmul-full",
        OPTIMIZATION,
        "matrix_multiply_kernel",
        matmul(1024, 256, 1024, TILES_IN_BLOCK_M=2, TILES_IN_BLOCK_N=2, TILES_IN_BLOCK_K=8),
        place=4,
        tier=2,
        **PRODUCT,
    ),
    printed("schedule-pairs", SCHEDULING, "kernel", reciprocal_plus, kernel="scheduled", **RECIPROCAL),
    printed("schedule-loop", SCHEDULING, "kernel", three_exponentials, kernel="scheduled", place=1, rtol=1e-4),
    printed("no-reorder", SCHEDULING, "loop", three_exponentials, rtol=1e-4),
    printed("no-reorder-function", SCHEDULING, "loop", three_exponentials, place=1, rtol=1e-4),
    printed("dma-exp", DMA, "tensor_exp_kernel_isa", exponential((4, 4096)), **BFLOAT16),
    printed("dma-exp-square", DMA, "tensor_exp_kernel_isa", exponential((128, 128)), place=1, **BFLOAT16),
    printed(
        "tiling-single",
        TILING,
        "tensor_kernel",
        reciprocal((128, 512)),
        known="the docstring is indented otherwise than the body: a syntax error",
        symptom="IndentationError",
        **RECIPROCAL,
    ),
    printed("tiling-loop", TILING, "tensor_exp_kernel_", reciprocal((256, 512)), **RECIPROCAL),
    printed("tiling-multiple", TILING, "tensor_exp_kernel_", reciprocal((256, 256)), place=1, **RECIPROCAL),
    printed(
        "tiling-remainder",
        TILING,
        "tensor_exp_kernel_",
        reciprocal((300, 256)),
        place=1,
        known="the last tile's rows are copied into a whole tile; dma_copy wants as many elements on both sides",
        symptom="nisa.dma_copy: src: found float32[44, 256]",  # 300 = 2 × 128 + 44
        **RECIPROCAL,
    ),
    printed("lnc-one-core", CORES, "lnc_test", reciprocal((2, 128, 64)), place=1, **RECIPROCAL),
    printed("lnc-two-cores", CORES, "lnc_test", reciprocal((2, 128, 64)), place=1, cores=2, **RECIPROCAL),
]
