"""Published measurements as data: what was run, how long it took, and what its profile counted.

Latencies are in milliseconds as printed. `active` holds active times by resource in milliseconds, `hbm_bytes` the bytes
moved; both from the same profile. What the source does not say about a kernel is decided by its builder and written
there. Rows that cannot be rebuilt (compilers that spilled, two cores) are left out, with the reason in `LEFT_OUT`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import numpy as np

from trnlab.models.validation import bench_kernels, dma_kernels, library, matmul_kernels, scan_kernels
from trnlab.models.validation.later_cases import LATER_CASES
from trnlab.models.validation.measured_case import (
    BFLOAT16,
    FLOAT32,
    NKI_LIBRARY,
    NKIBENCH,
    Kernel,
    MeasuredCase,
    Shapes,
)

__all__ = ["CASES", "LEFT_OUT", "MeasuredCase"]

MATMUL_TUTORIAL = "AWS NKI tutorial, matrix multiplication (SDK 2.26)"
OPTIMIZATION_TUTORIAL = "AWS NKI tutorial, kernel optimization"
MAMBA_TUTORIAL = "AWS NKI tutorial, fused Mamba"
DMA_OVERVIEW = "AWS NKI DMA overview"
PERFORMANCE_GUIDE = "AWS NKI performance guide"


def _matmul(rows: int, depth: int, columns: int, dtype: np.dtype[Any]) -> Shapes:
    return ((depth, rows), dtype), ((depth, columns), dtype)


def _tutorial(name: str, title: str, kernel: Kernel, milliseconds: float, **facts: Any) -> MeasuredCase:
    first = name.startswith("T1")
    return MeasuredCase(
        name=name,
        group=name[:2],
        title=f"4096 x 8192 x 8192 {'bf16' if first else 'fp32'}, {title}",
        target="trn1" if first else "trn2",
        source=MATMUL_TUTORIAL if first else OPTIMIZATION_TUTORIAL,
        kernel=kernel,
        shapes=_matmul(4096, 8192, 8192, BFLOAT16 if first else FLOAT32),
        milliseconds=milliseconds,
        family=name[:2],
        **facts,
    )


def _scan(
    name: str, version: str, kernel: Kernel, sequence: int, milliseconds: float, channels: int = 4096, **facts: Any
) -> MeasuredCase:
    rows = ((channels, sequence), FLOAT32)
    state = ((16, sequence), FLOAT32)
    return MeasuredCase(
        name=name,
        group="T3",
        title=f"selective scan {version}, {channels} channels, sequence {sequence}",
        target="trn1",
        source=MAMBA_TUTORIAL,
        kernel=kernel,
        shapes=(rows, rows, ((channels, 16), FLOAT32), state, state),
        milliseconds=milliseconds,
        family=f"T3 {channels} x {sequence}",
        **facts,
    )


_PIECES = partial(scan_kernels.states_inside, piece=512)
_SWEEP_V2: Final = {1024: 4.4, 2048: 8.9, 3072: 13.1, 4096: 17.6}
_SWEEP_V3: Final = {1024: 3.3, 2048: 6.6, 3072: 10.1, 4096: 13.3, 5120: 17.3, 6144: 19.6, 7168: 24.2}


def _bench(
    name: str, title: str, kernel: Kernel, shapes: tuple[tuple[int, ...], ...], milliseconds: float, **facts: Any
) -> MeasuredCase:
    arrays = tuple((shape, FLOAT32) for shape in shapes)
    return MeasuredCase(
        name=name,
        group="AO",
        title=f"{title} fp32",
        target="trn1",
        source=NKIBENCH,
        kernel=kernel,
        shapes=arrays,
        milliseconds=milliseconds,
        **facts,
    )


def _attention(
    name: str, queries: int, keys: int, dtype: np.dtype[Any], milliseconds: float, causal: bool = False, **facts: Any
) -> MeasuredCase:
    kind = "causal" if causal else "full"
    return MeasuredCase(
        name=name,
        group="QL",
        title=f"attention prefill {queries} x {keys}, d 64, {dtype.name}, {kind}",
        target="trn2",
        source=NKI_LIBRARY,
        kernel="attention_cte causal" if causal else "attention_cte",
        shapes=(((1, queries, 64), dtype), ((1, 64, keys), dtype), ((1, keys, 64), dtype)),
        milliseconds=milliseconds,
        family="" if causal else "QL",
        **facts,
    )


CASES: Final[tuple[MeasuredCase, ...]] = (
    _tutorial("T1-1", "tiled", matmul_kernels.tiled, 51.80),
    _tutorial("T1-2", "loads hoisted", partial(matmul_kernels.hoisted, declared=512), 42.96),
    _tutorial("T1-3", "free dimensions blocked", matmul_kernels.blocked_free, 22.07),
    _tutorial("T1-4", "fully blocked", matmul_kernels.blocked, 6.97),
    _tutorial(
        "T2-4",
        "tiled",
        matmul_kernels.tiled,
        39.89,
        active={"tensor": 34.82, "dma": 39.87, "dma packets": 519.58},
        hbm_bytes=10.87e9,
    ),
    _tutorial(
        "T2-5",
        "loads hoisted",
        matmul_kernels.hoisted,
        28.20,
        active={"tensor": 28.16, "dma": 28.12, "dma packets": 402.07},
        hbm_bytes=8.86e9,
    ),
    _tutorial(
        "T2-6",
        "free dimensions blocked",
        matmul_kernels.blocked_free,
        28.41,
        active={"tensor": 28.28},
        sbuf_kib=448,
        note="its tiles take 330 KiB of the 224 KiB of a partition; the bytes it moved are not those of its loops",
    ),
    _tutorial(
        "T2-7",
        "fully blocked",
        partial(matmul_kernels.blocked, spilled=5),
        28.30,
        active={"tensor": 28.16, "vector": 2.99, "dma": 6.10, "dma packets": 81.73},
        hbm_bytes=1.82e9,
        note="bytes by its MBU, of the 716 GB/s that T2-4 and T2-5 give; its DMA packet time agrees. The printed loops "
        "move 1.48 GB, but fill a partition to the last byte; assumed: 5 of 32 rows of sums wait in HBM",
    ),
    _scan("T3-2", "v1", scan_kernels.channels_inside, 512, 0.17293, channels=256),
    _scan("T3-3", "v1", scan_kernels.channels_inside, 512, 2.34, active={"vector": 0.9216 * 2.34}),
    _scan("T3-4", "v2", scan_kernels.states_inside, 512, 1.61, active={"vector": 0.9963 * 1.61}),
    *(_scan(f"T3 v2 {n}", "v2", scan_kernels.states_inside, n, ms) for n, ms in _SWEEP_V2.items()),
    *(_scan(f"T3 v3 {n}", "v3", _PIECES, n, ms) for n, ms in _SWEEP_V3.items()),
    _scan("T3-6", "v3", _PIECES, 8192, 27.8, active={"vector": 0.9485 * 27.8}),
    _bench(
        "AO-7",
        "rotary embedding 128 x 262144",
        bench_kernels.rope,
        ((128, 262144), (64, 262144), (64, 262144)),
        4.333,
        active={"vector": 0.716 * 4.333, "scalar": 0.141 * 4.333},
        hbm_bytes=402e6,
    ),
    _bench(
        "AO-8",
        "batched matmul 16 x 4096 x 64 x 4096",
        bench_kernels.batched_matmul,
        ((16, 4096, 64), (16, 64, 4096)),
        4.611,
        active={"scalar": 0.373 * 4.611},
        hbm_bytes=1153e6,
    ),
    _bench(
        "AO-10",
        "transposed matmul 4096 x 2048 x 10944",
        bench_kernels.transposed_matmul,
        ((2048, 4096), (2048, 10944)),
        9.610,
        active={"scalar": 0.0379 * 9.610},
        hbm_bytes=571e6,
    ),
    _bench(
        "AO-13",
        "SiLU 4096 x 7168",
        bench_kernels.silu,
        ((4096, 7168),),
        1.333,
        active={"scalar": 0.315 * 1.333, "vector": 0.739 * 1.333},
        hbm_bytes=234e6,
    ),
    _attention("QL-1", 4096, 9216, FLOAT32, 0.580, band=0.02),
    _attention("QL-1b", 9216, 4096, FLOAT32, 0.567, band=0.02),
    _attention("QL-2", 9216, 9216, FLOAT32, 1.25),
    _attention(
        "QL-9",
        4096,
        8192,
        FLOAT32,
        0.520,
        note="measured for 8192 x 8192 on two cores, which take half of the queries each; one core's half is timed",
    ),
    _attention("QL-2b", 9216, 9216, BFLOAT16, 0.694, causal=True),
    MeasuredCase(
        name="DMA ex1",
        group="DMA",
        title="load, exp, store [4, 4096] bf16",
        target="trn2",
        source=DMA_OVERVIEW,
        kernel=dma_kernels.load_exp_store,
        shapes=(((4, 4096), BFLOAT16),),
        milliseconds=10.2e-3,
        band=0.01,
        overhead=False,
        counted=False,
        note="read off a profile, trigger of the load to completion of the store",
    ),
    MeasuredCase(
        name="DMA ex2",
        group="DMA",
        title="load, exp, store [128, 128] bf16",
        target="trn2",
        source=DMA_OVERVIEW,
        kernel=dma_kernels.load_exp_store,
        shapes=(((128, 128), BFLOAT16),),
        milliseconds=5.34e-3,
        band=0.01,
        overhead=False,
        counted=False,
        note="read off a profile, trigger of the load to completion of the store",
    ),
    MeasuredCase(
        name="T4-2",
        group="T4",
        title="1000 dependent activations of one element",
        target="trn1",
        source=PERFORMANCE_GUIDE,
        kernel=dma_kernels.chain_of_activations,
        shapes=(((128, 1), FLOAT32),),
        milliseconds=0.189,
        overhead=False,
        counted=False,
        note="189 ns each; the load before them is not measured",
    ),
    *LATER_CASES,
)
"""Every measurement that can be rebuilt."""

LEFT_OUT: Final[Mapping[str, str]] = {
    "T3-5": "the compiler spilled: ten live tiles of 32 KiB do not fit the 192 KiB of a partition",
    "T3 v2 5120..8192": "the compiler spilled, as in T3-5",
    "AO-9": "spills 2.6 GB; the instruction stream is the compiler's",
    "AO-11": "spills; the instruction stream is the compiler's",
    "AO SwiGLU, grouped-query attention, Mamba": "spills, as AO-11",
    "QL-9 causal": "two cores, which share the rows unequally",
    "T4-1": "percentiles of a host benchmark; only their ratio is usable",
}
"""Rows of the same sources that are not rebuilt, and why."""

assert library.KERNELS.keys() >= {case.kernel for case in CASES if isinstance(case.kernel, str)}
