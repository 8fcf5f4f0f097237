"""Measurements that were compared only after the rules were fixed, with the error that they were first met with.

Four things have changed since in their light, none for a single row: float32 transposes of v2 stay at four cycles for
each row although a hint promises two; the Vector Engine's static overhead on v3 is 50 cycles instead of 100; the start
and end of an execution on v3 take 10 instead of 40 microseconds; and copies of v3 wait for the one generator of their
descriptors.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import numpy as np

from trnlab.models.validation import dma_kernels, fused_kernels, matmul_kernels
from trnlab.models.validation.measured_case import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    NKI_LIBRARY,
    NKIBENCH,
    Kernel,
    MeasuredCase,
)

NKI_SAMPLES: Final = "contributed matmul of GitHub aws-neuron/nki-samples; aws-neuron-sdk issue 1005, device latency"
VECTOR_ADDITION: Final = "GitHub xaviergonzalez/asst4-trainium2: times on one NeuronCore and profiles"
NKI_AUTOTUNE: Final = "GitHub awslabs/nki-autotune issue 25, host-timed until the device is done"


def _bench(
    name: str,
    title: str,
    kernel: Kernel,
    shapes: tuple[tuple[int, ...], ...],
    milliseconds: float,
    first: float,
    **facts: Any,
) -> MeasuredCase:
    return MeasuredCase(
        name=name,
        group="AO",
        title=f"{title} {' x '.join(map(str, shapes[0]))} fp32",
        target="trn1",
        source=NKIBENCH,
        kernel=kernel,
        shapes=tuple((shape, FLOAT32) for shape in shapes),
        milliseconds=milliseconds,
        unseen=first / 100,
        **facts,
    )


def _blocked(number: int, rows: int, columns: int, depth: int, milliseconds: float, first: float) -> MeasuredCase:
    return MeasuredCase(
        name=f"AT-{number}",
        group="AT",
        title=f"fully blocked matmul {rows} x {depth} x {columns} bf16",
        target="trn1",
        source=NKI_AUTOTUNE,
        kernel=matmul_kernels.blocked,
        shapes=(((depth, rows), BFLOAT16), ((depth, columns), BFLOAT16)),
        milliseconds=milliseconds,
        counted=False,
        unseen=first / 100,
    )


def _attention(
    number: int,
    shape: tuple[int, int, int, int],
    dtype: np.dtype[Any],
    milliseconds: float,
    first: float,
    kernel: str = "attention_cte",
) -> MeasuredCase:
    """shape: batch, queries, keys, head dimension."""
    batch, queries, keys, depth = shape
    turned = kernel.endswith("d by queries")
    return MeasuredCase(
        name=f"QL+{number}",
        group="QL",
        title=f"attention prefill {batch} x {queries} x {keys}, d {depth}, {dtype.name}, {kernel}",
        target="trn2",
        source=NKI_LIBRARY,
        kernel=kernel,
        shapes=(
            ((batch, depth, queries) if turned else (batch, queries, depth), dtype),
            ((batch, depth, keys), dtype),
            ((batch, keys, depth), dtype),
        ),
        milliseconds=milliseconds,
        unseen=first / 100,
    )


def _quantisation(number: int, rows: int, milliseconds: float, first: float, kernel: str) -> MeasuredCase:
    return MeasuredCase(
        name=f"QL+{number}",
        group="QL",
        title=f"{kernel} of {rows} x 16384, bf16 to FP8",
        target="trn2",
        source=NKI_LIBRARY,
        kernel=kernel,
        shapes=(((1, rows, 16384), BFLOAT16), ((1, 16384), BFLOAT16)),
        milliseconds=milliseconds,
        unseen=first / 100,
        note=f"measured for {2 * rows} rows on two cores, of which each takes half; one half is timed",
    )


def _addition(
    number: int, shape: tuple[int, int], tile: tuple[int, int], milliseconds: float, first: float, band: float
) -> MeasuredCase:
    rows, columns = tile
    return MeasuredCase(
        name=f"VA-{number}",
        group="VA",
        title=f"vector addition of {shape[0] * shape[1]} in tiles of {rows} x {columns}, fp32",
        target="trn2",
        source=VECTOR_ADDITION,
        kernel=partial(dma_kernels.addition, rows=rows, columns=columns),
        shapes=((shape, FLOAT32), (shape, FLOAT32)),
        milliseconds=milliseconds,
        band=band,
        unseen=first / 100,
    )


LATER_CASES: Final[tuple[MeasuredCase, ...]] = (
    _bench(
        "AO AdamW",
        "AdamW",
        fused_kernels.adamw,
        4 * ((10944, 2048),),
        2.000,
        +3.4,
        active={"vector": 0.9002 * 2.000, "scalar": 0.6162 * 2.000},
        hbm_bytes=448.3e6,
    ),
    _bench(
        "AO mm",
        "matmul",
        fused_kernels.matmul,
        ((4096, 5120), (5120, 12288)),
        35.20,
        +0.3,
        active={"scalar": 0.06803 * 35.20},
        hbm_bytes=9261e6,
    ),
    _bench(
        "AO norm+mm",
        "RMSNorm + matmul",
        fused_kernels.rmsnorm_matmul,
        ((4096, 1024), (1024, 2048)),
        1.0558,
        -0.9,
        active={"scalar": 0.1775 * 1.0558, "vector": 0.0388 * 1.0558},
    ),
    _bench(
        "AO add+norm+mm",
        "add + RMSNorm + matmul",
        fused_kernels.add_rmsnorm_matmul,
        ((4096, 1024), (1024, 2048), (4096, 1024), (1, 1024)),
        1.2219,
        -5.4,
        active={"scalar": 0.2254 * 1.2219, "vector": 0.1484 * 1.2219},
        hbm_bytes=75.57e6,
    ),
    _bench(
        "AO mm+add+norm",
        "matmul + add + RMSNorm",
        fused_kernels.matmul_add_rmsnorm,
        ((4096, 2048), (2048, 2048), (4096, 2048), (1, 2048)),
        2.6666,
        -3.0,
        active={"scalar": 0.1679 * 2.6666, "vector": 0.1242 * 2.6666},
    ),
    MeasuredCase(
        name="NS mm",
        group="NS",
        title="4096 x 8192 x 8192 fp16, result stationary in blocks of 512 x 2048",
        target="trn1",
        source=NKI_SAMPLES,
        kernel=matmul_kernels.result_stationary,
        shapes=(((8192, 4096), FLOAT16), ((8192, 8192), FLOAT16)),
        milliseconds=6.931,
        unseen=0.017,
    ),
    _blocked(1, 4096, 4096, 8192, 3.538, +1.2),
    _blocked(2, 4096, 8192, 4096, 3.539, +2.1),
    _blocked(3, 4096, 8192, 8192, 6.991, +1.7),
    _blocked(4, 8192, 4096, 4096, 3.876, +1.8),
    _blocked(5, 8192, 4096, 8192, 7.516, -0.1),
    _blocked(6, 8192, 8192, 4096, 7.476, +5.0),
    _attention(1, (1, 9216, 9216, 64), BFLOAT16, 1.25, -2.0),
    _attention(2, (1, 2048, 16384, 128), FLOAT32, 0.520, +17.7),
    _attention(3, (1, 4096, 16384, 128), BFLOAT16, 0.981, +7.6),
    _attention(4, (1, 8192, 16384, 128), FLOAT32, 1.96, +2.0),
    _attention(5, (1, 4096, 32768, 128), BFLOAT16, 1.88, +10.5),
    _attention(6, (1, 16384, 16384, 64), FLOAT16, 1.96, +12.1, "attention_cte causal"),
    _attention(7, (1, 16384, 16384, 8), FLOAT32, 1.88, +16.3, "attention_cte causal, d by queries"),
    _attention(8, (1, 16384, 16384, 128), FLOAT16, 2.03, +17.2, "attention_cte causal, out turned, d by queries"),
    _attention(9, (3, 2048, 2048, 128), FLOAT16, 0.209, +45.1, "attention_cte causal"),
    _quantisation(10, 1, 0.05156, +56.0, "quant"),
    _quantisation(11, 80, 0.06836, +39.6, "quant"),
    _quantisation(12, 1, 0.08910, +48.0, "rmsnorm_quant"),
    _quantisation(13, 80, 0.1065, +39.2, "rmsnorm_quant"),
    _quantisation(14, 1024, 0.6833, -6.2, "rmsnorm_quant"),
    _addition(1, (25600, 1), (1, 1), 37.308, -36.3, 0.0),
    _addition(2, (25600, 1), (128, 1), 0.378, -47.5, 0.002),
    _addition(3, (128, 200), (128, 2), 0.186, -43.1, 0.003),
    _addition(4, (128, 200), (128, 200), 0.015, -1.0, 0.04),  # printed in whole microseconds
    _addition(5, (128, 2000), (128, 1000), 0.026, -11.9, 0.02),
    _addition(6, (128, 2000), (128, 2000), 0.028, -6.8, 0.02),
)
"""In the order of their sources."""
