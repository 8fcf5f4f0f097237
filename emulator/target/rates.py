"""The tables of clocks, widths, overheads, memory and DMA rates, and the rows computed from them.

Same form as `target_facts`: one row per quantity, one column per generation, a source and a class on each number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from trnlab.emulator.target.facts import (
    ACTIVE_TIMES,
    ADA,
    CHIP_PAGES,
    DAA,
    DDA,
    DERIVED_THEN_ASSUMED,
    DGE_GUIDE,
    DMA_GUIDE,
    DMA_OVERVIEW,
    EXPLORER,
    GIB,
    GUIDES,
    ISA,
    ISA_COSTS,
    KEYNOTE,
    LATENCY_FIT,
    LIMITS,
    MEMORY_SPEEDUP,
    OPTIMIZATION_TUTORIAL,
    PACKET_TIMES,
    PERFORMANCE_GUIDE,
    SIZES,
    SMALL_TRANSFERS,
    TENSOR_ARRAY,
    ULTRASERVER_PAGES,
    Conflicts,
    Row,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedRow:
    """A number computed from others: `compute(*inputs)`, and the same in words in `formula`."""

    unit: str
    formula: str
    inputs: tuple[str, ...]
    compute: Callable[..., float]
    conflicts: Mapping[int, Conflicts] = field(default_factory=dict)


_TRN4_TENSOR_CLOCK = (2.4e9, 2.4e9, 2.8e9)
_TRN4_HBM = (0.95 * MEMORY_SPEEDUP * 4.7e12, MEMORY_SPEEDUP * 4.9e12, MEMORY_SPEEDUP * 4.9e12)
# Today's effective DMA rate is 528 of Trainium3's 612.5 GB/s HBM share per core.
_TRN4_DMA = (528 / 612.5 * _TRN4_HBM[0] / 8 / 16, 2 * 33e9, _TRN4_HBM[2] / 16 / 16)
_CLOCKS_STAY = "assumed: units multiply and clocks stay; the high case takes a raised clock"
_NANOSECONDS_STAY = "assumed: fixed overheads stay the same in nanoseconds"
# 1.5 times the work per second at 1.4 GHz instead of 1.2 GHz.
_TRN4_HIGH_WIDTH = 1.5 * 1.2 / 1.4
_AT_HIGH_VECTOR_CLOCK = 1.4 / 1.2
_SAME_SHARE = 23 / 33  # of the time for bytes on Trainium3's DMA engines, as on Trainium2's


CLOCKS: Final[dict[str, Row]] = {
    "tensor_clock_hz": Row(
        unit="Hz", published=(2.8e9, 2.4e9, 2.4e9), source=GUIDES, projected=_TRN4_TENSOR_CLOCK, reason=_CLOCKS_STAY
    ),
    "vector_clock_hz": Row(
        unit="Hz",
        published=(1.12e9, 0.96e9, 1.2e9),
        source=GUIDES,
        projected=(1.2e9, 1.2e9, 1.4e9),
        reason=_CLOCKS_STAY,
    ),
    "scalar_clock_hz": Row(
        unit="Hz", published=(1.4e9, 1.2e9, 1.2e9), source=GUIDES, projected=(1.2e9, 1.2e9, 1.4e9), reason=_CLOCKS_STAY
    ),
    "gpsimd_clock_hz": Row(unit="Hz", published=(1.4e9, 1.2e9, 1.2e9), source=GUIDES),
    "sync_clock_hz": Row(
        unit="Hz",
        published=(1.4e9, 1.2e9, 1.2e9),
        source=f"the NeuronCore base clock of {EXPLORER}, taken for the Sync Engine's sequencer",
        klass="assumed",
    ),
    "tensor_sustained_clock_factor": Row(
        unit="of the printed clock",
        published=(0.857, 1.0, 1.0),
        source=f"{LATENCY_FIT}: v2 sustains 2.4 of 2.8 GHz, v3 reaches 98.5 % of its peak; v4 not measured",
        klass=DERIVED_THEN_ASSUMED,
        bands={2: (0.83, 0.9), 3: (0.985, 1.0), 4: (0.985, 1.0)},
    ),
    "tensor_throttle_rate_factor": Row(
        unit="of the sustained clock", published=(None, 0.5, 0.5), source=f"{EXPLORER}: throttled to about 50 %"
    ),
    "tensor_throttle_window_seconds": Row(
        unit="s", published=(None, 3e-6, 3e-6), source=f"{EXPLORER}: ramps, and looks back, over about 3 µs"
    ),
    "tensor_throttle_utilisation": Row(
        unit="of the window", published=(None, 0.5, 0.5), source=f"{EXPLORER}: throttled below 50 % utilisation"
    ),
}

WIDTHS: Final[dict[str, Row]] = {
    "vector_elements_per_cycle": Row(
        unit="element/cycle per partition",
        published=(1, 1, 1),
        source=f"{ISA_COSTS}: N cycles for N elements outside the performance modes",
        klass=DDA,
        projected=(1, 1, _TRN4_HIGH_WIDTH),
        reason="assumed: no growth per core / none / 1.5x in all, part of it by the clock",
    ),
    "scalar_elements_per_cycle": Row(
        unit="element/cycle per partition",
        published=(1, 1, 1),
        source=f"{ISA_COSTS}: N cycles for N elements",
        klass=DDA,
        projected=(1, 1, _TRN4_HIGH_WIDTH),
        reason="assumed: no growth per core / none / 1.5x in all, part of it by the clock",
    ),
    "vector_width_two_byte_elements": Row(unit="element/cycle", published=(128, 512, 512), source=GUIDES),
    "vector_width_other_elements": Row(unit="element/cycle", published=(128, 256, 256), source=GUIDES),
    "scalar_width_two_byte_elements": Row(unit="element/cycle", published=(128, 128, 256), source=GUIDES),
    "scalar_width_other_elements": Row(unit="element/cycle", published=(128, 128, 128), source=GUIDES),
    "gpsimd_width_elements": Row(unit="element/cycle", published=(128, 128, 128), source=GUIDES),
    "gpsimd_rsqrt_cycles_per_element": Row(
        unit="cycle/element per partition",
        published=(4, 4, 4),
        source=f"{ISA}, engine selection: rsqrt at a quarter of the Scalar Engine's rate, at the same clock",
    ),
    "vector_reciprocal_cycles_per_element": Row(
        unit="cycle/element per partition",
        published=(2.25, 8, 8),
        source=f"{ISA_COSTS}: 8; v2: {ACTIVE_TIMES} of SiLU, SwiGLU and AdamW, 2.1 to 2.5, and no time for 8",
        klass=("derived", "documented", "assumed"),
        bands={2: (2, 2.5), 3: (2, 8), 4: (2, 8)},
        conflicts={2: ((8.0, ISA_COSTS),)},
    ),
    "vector_contiguous_two_byte_speedup": Row(
        unit="x", published=(1, 4, 4), source=f"{GUIDES}: copy and tensor-scalar, SBUF to SBUF, contiguous"
    ),
    "vector_two_byte_speedup": Row(
        unit="x", published=(1, 2, 2), source=f"{GUIDES}: strided, or one side in PSUM, or tensor-tensor in SBUF"
    ),
    "scalar_two_byte_speedup": Row(unit="x", published=(1, 1, 2), source=f"{GUIDES}: copy and tensor-scalar"),
    "vector_exponential_speedup": Row(
        unit="x the Scalar Engine's exp", published=(None, None, 4), source=f"{GUIDES}: fast exponential"
    ),
    "sbuf_full_rate_stride_bytes": Row(
        unit="B", published=(16, 16, 16), source=f"{PERFORMANCE_GUIDE}: strides from 16 B on lose rate", klass=DAA
    ),
    "sbuf_strided_rate_factor": Row(
        unit="of the full rate", published=(0.5, 0.5, 0.5), source=PERFORMANCE_GUIDE, klass=DAA
    ),
}

OVERHEADS: Final[dict[str, Row]] = {
    "minimum_initiation_interval_cycles": Row(unit="cycle", published=(64, 64, 64), source=ISA_COSTS, klass=DDA),
    "run_time_address_interval_cycles": Row(
        unit="cycle",
        published=(600, 600, 600),
        source=f"{ISA_COSTS}: tensor_copy_dynamic_src and tensor_copy_dynamic_dst",
        klass=DDA,
    ),
    "tensor_start_cycles": Row(unit="cycle", published=(64, 64, 64), source=GUIDES, klass=DAA),
    "tensor_fill_and_drain_cycles": Row(
        unit="cycle",
        published=(256, 256, 256),
        source="assumed: a cycle for each of the array's 128 rows and 128 columns; AWS publishes none",
        klass="assumed",
    ),
    "access_latency_cycles": Row(
        unit="cycle",
        published=(60, 60, 60),
        source=f"{GUIDES}: start-up of an SBUF or PSUM access, printed for v2",
        klass=DAA,
        projected=(60, 60, 60 * _AT_HIGH_VECTOR_CLOCK),
        reason=_NANOSECONDS_STAY,
    ),
    "vector_static_cycles": Row(
        unit="cycle",
        published=(100, 50, 50),
        source=f"{PERFORMANCE_GUIDE}: about 100; {LATENCY_FIT}: 107 and 112 from two active-time counters on v2, 46 "
        "from one on v3, where the NKI Library's attention figures agree",
        klass=("documented", "derived", "assumed"),
        bands={2: (60, 200), 3: (25, 100), 4: (25, 200)},
        projected=(50, 50, 50 * _AT_HIGH_VECTOR_CLOCK),
        reason=_NANOSECONDS_STAY,
    ),
    "scalar_dependent_latency_cycles": Row(
        unit="cycle",
        published=(264, 350, 350),
        source=f"{PERFORMANCE_GUIDE}: 189 ns per dependent activation on v2; {DMA_OVERVIEW}: N + 350 on v3",
        klass=("documented", "derived", "assumed"),
        projected=(350, 350, 350 * _AT_HIGH_VECTOR_CLOCK),
        reason=_NANOSECONDS_STAY,
    ),
    "gpsimd_start_cycles": Row(unit="cycle", published=(150, 150, 150), source=ISA_COSTS, klass=DDA),
    "reduce_readout_cycles": Row(unit="cycle", published=(64, 64, 64), source=ISA_COSTS, klass=DDA),
    "activation_table_load_seconds": Row(
        unit="s", published=(1.28e-6, 1.28e-6, 1.28e-6), source=f"read off {DMA_OVERVIEW}", klass=ADA
    ),
    "semaphore_latency_ns": Row(
        unit="ns",
        published=(35, 35, 35),
        source=f"read off {DMA_OVERVIEW}",
        klass=ADA,
        projected=(35, 35, 0.75 * 35),
        reason="assumed: unchanged; the high case 25 % shorter",
    ),
    "execution_overhead_seconds": Row(
        unit="s",
        published=(40e-6, 10e-6, 10e-6),
        source="start and end of an execution; v2: what AWS's shortest scan tutorial takes beyond its Vector time; "
        "v3: fit to 19 regression figures of the NKI Library, of 52 µs to 2 ms",
        klass=("derived", "derived", "assumed"),
        bands={2: (20e-6, 50e-6), 3: (5e-6, 50e-6), 4: (5e-6, 50e-6)},
    ),
}

MEMORY: Final[dict[str, Row]] = {
    "hbm_bytes_per_second_per_chip": Row(
        unit="B/s",
        published=(820e9, 2.9e12, 4.9e12),
        source=f"{CHIP_PAGES}; the UltraServer totals agree",
        projected=_TRN4_HBM,
        projected_klass=("assumed", "derived", "derived"),
        reason=f"{KEYNOTE}: 4x, of 4.7 TB/s less 5 % (low) or of 4.9 TB/s (central, high)",
        conflicts={
            2: ((820.0 * GIB, f"{CHIP_PAGES}: newer editions print 820 GiB/s"),),
            3: ((3.0e12, "AWS NKI Trainium2 architecture guide"),),
            4: ((4.7e12, "AWS NKI Trainium3 architecture guide"),),
        },
    ),
    "link_bytes_per_second_per_chip": Row(
        unit="B/s",
        published=(384e9, 1.28e12, 2.56e12),
        source=f"{CHIP_PAGES}; both directions summed, as far as the pages say",
        projected=(2.56e12, 3.6e12, 3.6e12),
        reason="assumed: NeuronLink-v4 kept / NVLink 6 through NVLink Fusion (press)",
        conflicts={
            2: ((768e9, f"{ULTRASERVER_PAGES}: trn1n"),),
            4: (
                (2048.0 * GIB, f"{ULTRASERVER_PAGES}: UltraServer table"),
                (704e9, f"{ULTRASERVER_PAGES}: sum of the PCIe links listed per chip, 256 + 320 + 128 GB/s"),
            ),
        },
    ),
}

DMA: Final[dict[str, Row]] = {
    "dma_engines": Row(unit="engine per core", published=(16, 16, 16), source=DMA_GUIDE),
    "dma_queues_per_engine": Row(unit="queue", published=(16, 16, 16), source=GUIDES),
    "dma_partitions_per_engine": Row(unit="partition", published=(8, 8, 8), source=DMA_OVERVIEW),
    "dma_bytes_per_second_per_engine": Row(
        unit="B/s",
        published=(17e9, 23e9, 33e9),
        # A profiled kernel on Trainium1 (NKIBench, SiLU) moved 294 GB/s, 8 % more than 16 engines at 17 B/ns.
        bands={2: (15.3e9, 18.7e9), 3: (20.7e9, 25.3e9), 4: (29.7e9, 36.3e9)},
        source=f"{DMA_GUIDE}, effective; the band of 10 % either way is assumed",
        projected=_TRN4_DMA,
        reason="assumed: today's 0.86 of the HBM share / twice Trainium3 per core / all of the HBM share",
    ),
    "dma_theoretical_bytes_per_second_per_engine": Row(
        unit="B/s",
        published=(27.2e9, 27.2e9, 38.4e9),
        source=f"{DMA_GUIDE}, theoretical",
        projected=(38.4 / 33 * _TRN4_DMA[0], 38.4 / 33 * _TRN4_DMA[1], 38.4 / 33 * _TRN4_DMA[2]),
        reason="assumed: Trainium3's ratio of theoretical to effective rate",
        conflicts={
            2: ((1e12 / 32, f"{CHIP_PAGES}: 1 TB/s over 32 engines"),),
            3: ((3.5e12 / 128, f"{CHIP_PAGES}: 3.5 TB/s over 128 engines"),),
            4: ((4.9e12 / 128, f"{CHIP_PAGES}: 4.9 TB/s over 128 engines"),),
        },
    ),
    "dma_minimum_descriptor_ns": Row(
        unit="ns",
        published=(35, 16, 11),
        source=f"v2: {LATENCY_FIT}; v3: what the other numbers give a descriptor of 256 B, for which a profile in "
        f"{DMA_OVERVIEW} shows 12; nothing published below; v4 alike",
        klass=DERIVED_THEN_ASSUMED,
        bands={2: (20, 60), 3: (10, 35), 4: (7, 35)},
    ),
    "dma_sustained_efficiency_floor": Row(
        unit="of the effective rate",
        published=(0.42, 1.0, 1.0),
        source=f"v2: {DMA_OVERVIEW}, the throughput curve at 1 KiB per partition, and {LATENCY_FIT}; "
        f"v3: {PACKET_TIMES} leave a descriptor no such loss",
        klass=DERIVED_THEN_ASSUMED,
        bands={2: (0.36, 0.5)},
    ),
    "dma_descriptor_overhead_ns": Row(
        unit="ns per descriptor",
        published=(0, 5, 5 * _SAME_SHARE),
        source=f"v3: {PACKET_TIMES}: 5.6 and 3.9 beyond the bytes at the effective rate; v2: in the efficiency floor; "
        "v4: assumed, the same share of the time for bytes",
        klass=ADA,
        bands={3: (3.9, 5.6), 4: (0, 10)},
    ),
    "dma_transfer_overhead_ns": Row(
        unit="ns per transfer on the DMA engines with most of it",
        published=(0, 90, 90 * _SAME_SHARE),
        source=f"v3: {PACKET_TIMES}, less than 16 engines' active time by 112 and 88 for each transfer on each, be it "
        "that these spend it or that they start one after another; v2: in the efficiency floor; v4: assumed, the same "
        "share of the time for bytes",
        klass=ADA,
        bands={3: (20, 115), 4: (0, 115)},
    ),
    "dma_start_latency_ns": Row(
        unit="ns",
        published=(1300, 1300, 1300),
        source=f"{DMA_GUIDE}: about 1,300 ns from semaphore to start",
        projected=(1300, 1300, 0.75 * 1300),
        reason="assumed: unchanged; the high case 25 % shorter",
    ),
    "dma_completion_latency_ns": Row(
        unit="ns", published=(300, 300, 300), source=f"read off {DMA_OVERVIEW}", klass=ADA
    ),
    "dma_hardware_descriptor_ns": Row(
        unit="ns per triggering instruction",
        published=(None, 600, 600),
        source=DGE_GUIDE,
        klass=DDA,
    ),
    "dma_dynamic_start_ns": Row(
        unit="ns per transfer",
        published=(None, 485, 485),
        source=f"{SMALL_TRANSFERS}: 486 a transfer of one row, 587 and 613 one of 128; {OPTIMIZATION_TUTORIAL}: 604",
        klass=ADA,
        bands={3: (400, 520), 4: (300, 520)},
    ),
    "dma_dynamic_descriptor_ns": Row(
        unit="ns per descriptor",
        published=(None, 0.9, 0.9),
        source=f"{SMALL_TRANSFERS}, as above; {OPTIMIZATION_TUTORIAL}",
        klass=ADA,
        bands={3: (0.7, 1.0), 4: (0.5, 1.0)},
    ),
    "dma_accumulate_rate_factor": Row(
        unit="of the copy rate", published=(0.5, 0.5, 1.0), source=f"{GUIDES}: SBUF read-add-write"
    ),
    "dma_transpose_hbm_rate_factor": Row(
        unit="of the copy rate", published=(None, 0.9, 0.9), source=f"{GUIDES}: HBM to SBUF, at best", klass=DDA
    ),
    "dma_transpose_sbuf_rate_factor": Row(
        unit="of the copy rate", published=(None, 0.5, 0.5), source=f"{GUIDES}: SBUF to SBUF, at best", klass=DDA
    ),
    "gpsimd_dma_bytes_per_second": Row(
        unit="B/s per direction", published=(None, 153e9, 153e9), source=GUIDES, klass=DDA
    ),
}

ROWS: Final[Mapping[str, Row]] = MappingProxyType(
    SIZES | CLOCKS | TENSOR_ARRAY | WIDTHS | OVERHEADS | LIMITS | MEMORY | DMA
)


def _peak_row(rate: str, conflicts: Mapping[int, Conflicts] | None = None) -> DerivedRow:
    return DerivedRow(
        unit="FLOP/s",
        formula=f"2 FLOP x array rows x array columns x {rate} MAC per cycle x Tensor Engine clock",
        inputs=("tensor_rows", "tensor_columns", f"tensor_{rate}_macs_per_cycle", "tensor_clock_hz"),
        compute=lambda rows, columns, macs, clock: 2 * rows * columns * macs * clock,
        conflicts=conflicts or {},
    )


def _chip_page(per_chip: float, cores: int) -> Conflicts:
    return ((per_chip / cores, f"{CHIP_PAGES}: {per_chip / 1e12:g} TFLOP/s per chip over {cores} cores"),)


DERIVED: Final[Mapping[str, DerivedRow]] = MappingProxyType(
    {
        "tensor_fp32_flops_per_second": _peak_row(
            "fp32", {2: _chip_page(47.5e12, 2), 3: _chip_page(181e12, 8), 4: _chip_page(183e12, 8)}
        ),
        "tensor_bf16_flops_per_second": _peak_row(
            "bf16", {2: _chip_page(190e12, 2), 3: _chip_page(667e12, 8), 4: _chip_page(671e12, 8)}
        ),
        "tensor_fp8_flops_per_second": _peak_row("fp8", {3: _chip_page(1299e12, 8)}),
        "tensor_mxfp8_flops_per_second": _peak_row("mxfp8"),
        "tensor_mxfp4_flops_per_second": _peak_row("mxfp4"),
        "tensor_sparse_flops_per_second": _peak_row("sparse"),
        "hbm_bytes_per_second_per_core": DerivedRow(
            unit="B/s",
            formula="HBM bandwidth per chip / cores per chip",
            inputs=("hbm_bytes_per_second_per_chip", "cores_per_chip"),
            compute=lambda total, cores: total / cores,
        ),
        "hbm_bytes_per_second_per_stack": DerivedRow(
            unit="B/s",
            formula="HBM bandwidth per chip / HBM stacks per chip",
            inputs=("hbm_bytes_per_second_per_chip", "hbm_stacks_per_chip"),
            compute=lambda total, stacks: total / stacks,
        ),
        "dma_bytes_per_second_per_core": DerivedRow(
            unit="B/s",
            formula="DMA engines per core x effective rate per engine",
            inputs=("dma_engines", "dma_bytes_per_second_per_engine"),
            compute=lambda engines, factor: engines * factor,
        ),
        "dma_engines_per_chip": DerivedRow(
            unit="engine",
            formula="DMA engines per core x cores per chip",
            inputs=("dma_engines", "cores_per_chip"),
            compute=lambda engines, factor: engines * factor,
        ),
    }
)

DMA_EFFICIENCY_CURVE: Final[tuple[tuple[int, float], ...]] = (
    (32, 0.012),
    (64, 0.024),
    (128, 0.050),
    (256, 0.103),
    (512, 0.206),
    (1024, 0.422),
    (2048, 0.813),
    (4096, 0.966),
    (8192, 0.983),
    (16384, 0.990),
    (32768, 1.0),
)
"""Bytes per partition and the fraction of the DMA plateau reached with 128 partitions, one queue.

Read off the throughput figure of AWS's NKI DMA overview (Trainium2); used for the other generations as assumed.
"""
