"""The row form of `target`'s tables, and the tables of sizes, tensor array and limits.

A row holds the published values of NeuronCore-v2, v3 and v4 and, where the Trainium4 projection differs from
keeping the v4 value, its low, central and high assumption. Clocks and rates are in `target_rates`.

Classes: "documented" (AWS prints the number, or for Trainium4 its announcement does), "derived" (arithmetic on, or a
fit to, published figures), "assumed" (nobody published it; the reason is in the source text).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

FactClass = Literal["documented", "derived", "assumed"]
Variant = Literal["low", "central", "high"]
Conflicts = tuple[tuple[float, str], ...]
Band = tuple[float, float] | tuple[None, None]

KIB: Final = 1024
GIB: Final = 1024**3

GUIDES = "AWS NKI architecture guides for Trainium/Inferentia2, Trainium2 and Trainium3"
CHIP_PAGES = "AWS Neuron hardware pages, Trainium, Trainium2 and Trainium3"
ULTRASERVER_PAGES = "AWS Neuron hardware pages, Trn2 and Trn3 instances and UltraServers"
ISA = "AWS NKI reference 2.32, nki.isa"
ISA_COSTS = "AWS NKI reference 2.26, nki.isa, estimated instruction cost (written for v2 and v3)"
PERFORMANCE_GUIDE = "AWS NKI performance guide"
DMA_GUIDE = "AWS NKI DMA bandwidth guide"
DMA_OVERVIEW = "AWS NKI DMA overview, profile figures (Trainium2)"
DGE_GUIDE = "AWS NKI descriptor generation engine guide"
EXPLORER = "AWS Neuron Explorer, profile schema reference"
LATENCY_FIT = "fit to the latencies printed in AWS's NKI tutorials"
ACTIVE_TIMES = "active times of engines in the profiles of NKIBench (GitHub zhang677/AccelOpt)"
OPTIMIZATION_TUTORIAL = "AWS's kernel optimization tutorial, profile of version 2"
PACKET_TIMES = "DMA packet times in the profiles of AWS's kernel optimization tutorial, versions 2 and 3"
SMALL_TRANSFERS = "vector additions timed on Trainium2 (GitHub xaviergonzalez/asst4-trainium2)"
KEYNOTE = "AWS re:Invent keynote, 2 December 2025 (press reports)"
KEPT = "not announced; Trainium3's value kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One number with its origin: value, unit, class and source; a band low..high; conflicting official values."""

    value: float
    unit: str
    klass: FactClass
    source: str
    low: float | None = None
    high: float | None = None
    conflicts: Conflicts = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One quantity across generations. A `None` value means that the generation does not have the thing.

    published: values of v2, v3, v4. klass: one class for all three, or one each.
    projected: low, central, high of the Trainium4 projection; absent means Trainium3's value is kept.
    bands and conflicts: by generation number.
    """

    unit: str
    published: tuple[float | None, float | None, float | None]
    source: str
    klass: FactClass | tuple[FactClass, FactClass, FactClass] = "documented"
    projected: tuple[float, float, float] | None = None
    projected_klass: FactClass | tuple[FactClass, FactClass, FactClass] = "assumed"
    reason: str = KEPT
    bands: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    conflicts: Mapping[int, Conflicts] = field(default_factory=dict)

    def fact(self, generation: int) -> Fact | None:
        """The Fact of v2, v3 or v4, or None where the generation lacks the thing."""
        value = self.published[generation - 2]
        if value is None:
            return None
        klass = _column(self.klass, generation - 2)
        low, high = self.bands.get(generation, (None, None))
        conflicts = self.conflicts.get(generation, ())
        return Fact(
            value=value, unit=self.unit, klass=klass, source=self.source, low=low, high=high, conflicts=conflicts
        )

    def projected_fact(self, variant: Variant) -> Fact | None:
        """The Trainium4 Fact; its band spans the three variants where they differ."""
        kept = self.published[2]
        if self.projected is None:
            if kept is None:
                return None
            low, high = self.bands.get(4, (None, None))
            return Fact(value=kept, unit=self.unit, klass="assumed", source=self.reason, low=low, high=high)
        column = VARIANTS.index(variant)
        value, klass = self.projected[column], _column(self.projected_klass, column)
        low, high = band_of(self.projected)
        return Fact(value=value, unit=self.unit, klass=klass, source=self.reason, low=low, high=high)


def _column(klass: FactClass | tuple[FactClass, FactClass, FactClass], index: int) -> FactClass:
    return klass if isinstance(klass, str) else klass[index]


VARIANTS: Final[tuple[Variant, ...]] = ("low", "central", "high")


def band_of(values: tuple[float, ...]) -> Band:
    """(min, max) of the values, or (None, None) when they are all equal."""
    return (min(values), max(values)) if min(values) != max(values) else (None, None)


ANNOUNCED_TRAINIUM4: Final[Mapping[str, Fact]] = MappingProxyType(
    {
        "fp4_speedup": Fact(value=6.0, unit="x Trainium3", klass="documented", source=f"{KEYNOTE}: at least 6x FP4"),
        "fp8_speedup": Fact(value=3.0, unit="x Trainium3", klass="documented", source=f"{KEYNOTE}: 3x FP8"),
        "memory_bandwidth_ratio": Fact(
            value=4.0, unit="x Trainium3", klass="documented", source=f"{KEYNOTE}: 4x memory bandwidth"
        ),
        "memory_capacity_ratio": Fact(
            value=2.0, unit="x Trainium3", klass="documented", source=f"{KEYNOTE}: 2x memory capacity"
        ),
    }
)
"""What has been announced about Trainium4, per chip and relative to Trainium3. All else about it is assumed."""

FP4_SPEEDUP = ANNOUNCED_TRAINIUM4["fp4_speedup"].value
FP8_SPEEDUP = ANNOUNCED_TRAINIUM4["fp8_speedup"].value
MEMORY_SPEEDUP = ANNOUNCED_TRAINIUM4["memory_bandwidth_ratio"].value
_TRN4_CORES = (8, 16, 16)
_TRN4_MXFP8_MACS = (4 * 0.9 * FP8_SPEEDUP, 4 * FP8_SPEEDUP * 8 / 16, 4 * FP8_SPEEDUP * 8 / 16)
_MORE_CORES = "assumed: 8 cores with wider arrays, or 16 cores"
# Classes of the v2, v3 and v4 columns, for rows whose source covers only the older generations.
DDA: Final[tuple[FactClass, FactClass, FactClass]] = ("documented", "documented", "assumed")
DAA: Final[tuple[FactClass, FactClass, FactClass]] = ("documented", "assumed", "assumed")
ADA: Final[tuple[FactClass, FactClass, FactClass]] = ("assumed", "derived", "assumed")
DERIVED_THEN_ASSUMED: Final[tuple[FactClass, FactClass, FactClass]] = ("derived", "derived", "assumed")

SIZES: Final[dict[str, Row]] = {
    "partitions": Row(unit="partition", published=(128, 128, 128), source=GUIDES),
    "sbuf_bytes_per_partition": Row(
        unit="B",
        published=(192 * KIB, 224 * KIB, 256 * KIB),
        source=GUIDES,
        projected=(256 * KIB, 288 * KIB, 512 * KIB),
        reason="assumed: no growth / 4 MiB more per core as in each generation so far / twice",
    ),
    "psum_bytes_per_partition": Row(
        unit="B",
        published=(16 * KIB, 16 * KIB, 16 * KIB),
        source=GUIDES,
        projected=(16 * KIB, 16 * KIB, 32 * KIB),
        reason="assumed: unchanged in three generations; the high case doubles it",
    ),
    "psum_banks": Row(
        unit="bank",
        published=(8, 8, 8),
        source=GUIDES,
        projected=(8, 8, 16),
        reason="assumed: banks keep their size, so a doubled PSUM has twice as many",
    ),
    "psum_bank_bytes": Row(unit="B", published=(2 * KIB, 2 * KIB, 2 * KIB), source=GUIDES),
    "cores_per_chip": Row(
        unit="core", published=(2, 8, 8), source=CHIP_PAGES, projected=_TRN4_CORES, reason=_MORE_CORES
    ),
    "collective_cores_per_chip": Row(
        unit="CC-core",
        published=(6, 20, 20),
        source=GUIDES,
        conflicts={3: ((16, CHIP_PAGES),), 4: ((16, CHIP_PAGES),)},
    ),
    "gpsimd_processors": Row(unit="processor", published=(8, 8, 8), source=GUIDES),
    "registers_per_sequencer": Row(unit="32-bit register", published=(64, 64, 64), source=ISA),
    "hbm_stacks_per_chip": Row(
        unit="stack",
        published=(2, 4, 4),
        source=GUIDES,
        projected=(4, 8, 8),
        reason="assumed: four times the bandwidth needs about eight HBM4 stacks",
    ),
    "hbm_bytes_per_chip": Row(
        unit="B",
        published=(32 * GIB, 96 * GIB, 144 * GIB),
        source=CHIP_PAGES,
        projected=(288 * GIB, 288 * GIB, 288 * GIB),
        projected_klass="derived",
        reason=f"{KEYNOTE}: 2x",
    ),
}

TENSOR_ARRAY: Final[dict[str, Row]] = {
    "tensor_rows": Row(unit="processing element", published=(128, 128, 128), source=GUIDES),
    "tensor_columns": Row(unit="processing element", published=(128, 128, 128), source=GUIDES),
    "tensor_fp32_macs_per_cycle": Row(
        unit="MAC/cycle per processing element",
        published=(0.25, 0.25, 0.25),
        source=f"{GUIDES}: 23, 20 and 20 TFLOP/s, a quarter of the bf16 rate",
    ),
    "tensor_bf16_macs_per_cycle": Row(
        unit="MAC/cycle per processing element",
        published=(1, 1, 1),
        source=f"{GUIDES}: 2 x 128 inputs per cycle",
        projected=(1, 1, 3 * 8 * 2.4 / (16 * 2.8)),
        reason="assumed: BF16 per chip x1 / x2 (more cores) / x3 (in step with FP8)",
    ),
    "tensor_fp8_macs_per_cycle": Row(
        unit="MAC/cycle per processing element",
        published=(1, 2, 2),
        source=f"{ISA}, nc_matmul double_row from v3 on",
        conflicts={4: ((1, "AWS NKI Trainium3 architecture guide: 2 x 128 for all dense non-MX inputs"),)},
    ),
    "tensor_mxfp8_macs_per_cycle": Row(
        unit="MAC/cycle per processing element",
        published=(None, None, 4),
        source=f"{GUIDES}: 8 x 128 inputs per cycle",
        projected=_TRN4_MXFP8_MACS,
        reason="assumed split over cores of the announced 3x FP8 (low: 10 % less)",
    ),
    "tensor_mxfp4_macs_per_cycle": Row(
        unit="MAC/cycle per processing element",
        published=(None, None, 4),
        source=f"{GUIDES}: MXFP4 runs at the MXFP8 rate",
        projected=(
            0.9 * FP4_SPEEDUP / FP8_SPEEDUP * _TRN4_MXFP8_MACS[0],
            FP4_SPEEDUP / FP8_SPEEDUP * _TRN4_MXFP8_MACS[1],
            FP4_SPEEDUP / FP8_SPEEDUP * _TRN4_MXFP8_MACS[2],
        ),
        reason="assumed split over cores of the announced 6x FP4, a native path (low: 0.9 of twice FP8)",
    ),
    "tensor_sparse_macs_per_cycle": Row(
        unit="dense-equivalent MAC/cycle per processing element",
        published=(None, 4, 4),
        source=f"{GUIDES}: up to 4x with structured sparsity",
    ),
    "tensor_fp32_exact_cycles_per_row": Row(
        unit="cycle/row",
        published=(4, 2, 2),
        source=f"{GUIDES}: transpose mode, 2x from v3 on; {ISA}, nc_matmul: up to 2x for an operand of zeros and ones, "
        "of which v2 shows nothing: two NKIBench profiles of one matmul differ by 768 transposes and 216 ns for each",
        klass=("derived", "documented", "documented"),
    ),
    "tensor_fast_load_speedup": Row(
        unit="x", published=(4, 4, 4), source=f"{PERFORMANCE_GUIDE}: loading weights is up to 4 times faster"
    ),
    "tensor_tile_minimum": Row(unit="row or column", published=(64, 32, 32), source=GUIDES),
}

LIMITS: Final[dict[str, Row]] = {
    "matmul_stationary_free_max": Row(unit="element", published=(128, 128, 128), source=f"{ISA}, nc_matmul"),
    "matmul_moving_free_max_fp32": Row(unit="element", published=(512, 512, 4096), source=f"{ISA}, nc_matmul"),
    "matmul_moving_free_max_bf16": Row(
        unit="element", published=(None, None, 8192), source=f"{ISA}, nc_matmul: bf16 results from v4 on"
    ),
    "bn_stats_free_max": Row(unit="element", published=(512, 512, 512), source=f"{ISA}, bn_stats"),
    "quadrant_partitions": Row(unit="partition", published=(32, 32, 32), source=GUIDES),
    "vector_transpose_block": Row(unit="element", published=(32, 32, 32), source=f"{ISA}, nc_transpose"),
    "access_free_dimensions_max": Row(unit="dimension", published=(4, 4, 4), source=GUIDES),
    "access_size_max": Row(unit="element", published=(65535, 65535, 65535), source=f"{GUIDES}: 16-bit unsigned sizes"),
    "access_stride_max": Row(unit="element", published=(32767, 32767, 32767), source=f"{GUIDES}: 16-bit strides"),
    "access_sbuf_elements_max": Row(unit="element", published=(64 * KIB, 64 * KIB, 64 * KIB), source=GUIDES),
    "access_psum_elements_max": Row(unit="element", published=(4 * KIB, 4 * KIB, 4 * KIB), source=GUIDES),
}
