"""Frozen records of each NeuronCore generation: sizes, widths, clocks, limits, rates and features.

`Target` holds plain numbers with the unit in the field name; `Target.provenance` holds the `Fact` behind each one.
v2 is Trainium1 and Inferentia2, v3 Trainium2, v4 Trainium3. v5 is a projection of Trainium4 in three variants:
low (conservative), central (as announced) and high (optimistic); no document about it exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Final

from trnlab.emulator.dtypes import DType, as_dtype
from trnlab.emulator.target.facts import ANNOUNCED_TRAINIUM4, VARIANTS, Band, Fact, FactClass, Variant, band_of
from trnlab.emulator.target.features import Engine, Feature, Generation, TargetError
from trnlab.emulator.target.policies import NumericsPolicy, Statement, checked_policy, hardware_policy, statements_of
from trnlab.emulator.target.rates import DERIVED, DMA_EFFICIENCY_CURVE, ROWS, DerivedRow

__all__ = [
    "ANNOUNCED_TRAINIUM4",
    "DMA_EFFICIENCY_CURVE",
    "MATMUL_RATES",
    "TARGETS",
    "Engine",
    "Fact",
    "FactClass",
    "Feature",
    "Generation",
    "Target",
    "TargetError",
    "Variant",
    "get_target",
    "matmul_rate",
]


MATMUL_RATES: Final = ("fp32", "bf16", "fp8", "mxfp8", "mxfp4", "sparse")
"""The classes of matmul throughput; every matmul dtype belongs to one of them."""

_RATE_OF_DTYPE: Final = {
    "float32": "fp32",
    "tfloat32": "bf16",
    "bfloat16": "bf16",
    "float16": "bf16",
    "float8_e3m4": "bf16",  # E3M4 runs at the 16-bit rate
    "float8_e4m3": "fp8",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
    "float8_e4m3fn_x4": "mxfp8",
    "float8_e5m2_x4": "mxfp8",
    "float4_e2m1fn_x4": "mxfp4",
}


def matmul_rate(name: str) -> str:
    """The matmul rate class of an NKI dtype ("bfloat16" -> "bf16"); a rate class stays itself.

    Raises:
        TargetError: neither a rate class nor a dtype that the Tensor Engine multiplies.
    """
    rate = _RATE_OF_DTYPE.get(name, name)
    if rate not in MATMUL_RATES:
        raise TargetError("matmul rate or dtype", str(name), (*MATMUL_RATES, *_RATE_OF_DTYPE))
    return rate


@dataclass(frozen=True, kw_only=True)
class Target:
    """One NeuronCore generation (and, for v5, one variant of the projection) as plain numbers.

    Units are in the field names; a field is None where the generation does not have the thing. Every number has
    exactly one `Fact` of equal value in `provenance`, which is checked at construction.

    Raises:
        TargetError: `provenance` does not match the numbers.
    """

    name: str
    generation: Generation
    variant: str
    features: frozenset[Feature]
    numerics: NumericsPolicy

    # Sizes
    partitions: int
    sbuf_bytes_per_partition: int
    psum_bytes_per_partition: int
    psum_banks: int
    psum_bank_bytes: int
    cores_per_chip: int
    collective_cores_per_chip: int
    gpsimd_processors: int
    registers_per_sequencer: int
    hbm_stacks_per_chip: int
    hbm_bytes_per_chip: int

    # Clocks
    tensor_clock_hz: float
    vector_clock_hz: float
    scalar_clock_hz: float
    gpsimd_clock_hz: float
    sync_clock_hz: float
    tensor_sustained_clock_factor: float
    tensor_throttle_rate_factor: float | None
    tensor_throttle_window_seconds: float | None
    tensor_throttle_utilisation: float | None

    # Tensor Engine: the array, multiply-accumulates per processing element and cycle, and peak rates per core
    tensor_rows: int
    tensor_columns: int
    tensor_tile_minimum: int
    tensor_fp32_macs_per_cycle: float
    tensor_bf16_macs_per_cycle: float
    tensor_fp8_macs_per_cycle: float
    tensor_mxfp8_macs_per_cycle: float | None
    tensor_mxfp4_macs_per_cycle: float | None
    tensor_sparse_macs_per_cycle: float | None
    tensor_fp32_flops_per_second: float
    tensor_bf16_flops_per_second: float
    tensor_fp8_flops_per_second: float
    tensor_mxfp8_flops_per_second: float | None
    tensor_mxfp4_flops_per_second: float | None
    tensor_sparse_flops_per_second: float | None
    tensor_fp32_exact_cycles_per_row: float
    tensor_fast_load_speedup: float

    # Data paths of the other engines: the plain rate, port widths, and the performance modes' factors
    vector_elements_per_cycle: float
    scalar_elements_per_cycle: float
    vector_width_two_byte_elements: int
    vector_width_other_elements: int
    scalar_width_two_byte_elements: int
    scalar_width_other_elements: int
    gpsimd_width_elements: int
    gpsimd_rsqrt_cycles_per_element: float
    vector_reciprocal_cycles_per_element: float
    vector_contiguous_two_byte_speedup: float
    vector_two_byte_speedup: float
    scalar_two_byte_speedup: float
    vector_exponential_speedup: float | None
    sbuf_full_rate_stride_bytes: int
    sbuf_strided_rate_factor: float

    # Overheads, in cycles of the engine that pays them
    minimum_initiation_interval_cycles: float
    run_time_address_interval_cycles: float
    tensor_start_cycles: float
    tensor_fill_and_drain_cycles: float
    access_latency_cycles: float
    vector_static_cycles: float
    scalar_dependent_latency_cycles: float
    gpsimd_start_cycles: float
    reduce_readout_cycles: float
    activation_table_load_seconds: float
    semaphore_latency_ns: float
    execution_overhead_seconds: float

    # Limits of instructions
    matmul_stationary_free_max: int
    matmul_moving_free_max_fp32: int
    matmul_moving_free_max_bf16: int | None
    bn_stats_free_max: int
    quadrant_partitions: int
    vector_transpose_block: int
    access_free_dimensions_max: int
    access_size_max: int
    access_stride_max: int
    access_sbuf_elements_max: int
    access_psum_elements_max: int

    # HBM and links
    hbm_bytes_per_second_per_chip: float
    hbm_bytes_per_second_per_core: float
    hbm_bytes_per_second_per_stack: float
    link_bytes_per_second_per_chip: float

    # DMA
    dma_engines: int
    dma_engines_per_chip: int
    dma_queues_per_engine: int
    dma_partitions_per_engine: int
    dma_bytes_per_second_per_engine: float
    dma_bytes_per_second_per_core: float
    dma_theoretical_bytes_per_second_per_engine: float
    dma_minimum_descriptor_ns: float
    dma_sustained_efficiency_floor: float
    dma_descriptor_overhead_ns: float
    dma_transfer_overhead_ns: float
    dma_start_latency_ns: float
    dma_completion_latency_ns: float
    dma_hardware_descriptor_ns: float | None
    dma_dynamic_start_ns: float | None
    dma_dynamic_descriptor_ns: float | None
    dma_accumulate_rate_factor: float
    dma_transpose_hbm_rate_factor: float | None
    dma_transpose_sbuf_rate_factor: float | None
    gpsimd_dma_bytes_per_second: float | None

    provenance: Mapping[str, Fact] = field(repr=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))
        numbers = self.numbers()
        wrong = {key for key in numbers.keys() & self.provenance.keys() if self.provenance[key].value != numbers[key]}
        wrong |= numbers.keys() ^ self.provenance.keys()
        if wrong:
            raise TargetError("provenance of every number", ", ".join(sorted(wrong)), ("one Fact of equal value",))

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy does not pickle, and targets travel to worker processes.
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return _restore, (values | {"provenance": dict(self.provenance)},)

    def __str__(self) -> str:
        return f"{self.name} ({self.variant})" if self.generation is Generation.V5 else self.name

    def numbers(self) -> dict[str, float]:
        """The numeric fields by name, without those that this generation does not have."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {
            key: value
            for key, value in values.items()
            if isinstance(value, (int, float)) and not isinstance(value, Generation)
        }

    @property
    def label(self) -> str:
        """Generation and, for the projection, variant: the name for messages."""
        variant = f", {self.variant}" if self.generation is Generation.V5 else ""
        return f"{self.generation.label}{variant}"

    def has(self, feature: Feature) -> bool:
        """Whether this target has the feature."""
        return feature in self.features

    def has_dtype(self, dtype: object) -> bool:
        """Whether this generation has the NKI dtype.

        Raises:
            TypeError: it is no NKI dtype.
        """
        return as_dtype(dtype).format.first_generation <= self.generation

    def clock_hz(self, engine: Engine) -> float:
        """The engine's clock.

        Raises:
            TargetError: DMA engines are priced in time; no clock of theirs is published.
        """
        if engine is Engine.DMA:
            clocked = tuple(item.value for item in Engine if item is not Engine.DMA)
            raise TargetError("engine with a clock", engine.value, clocked)
        return float(getattr(self, f"{Engine(engine).value}_clock_hz"))

    def matmul_flops_per_second(self, rate: str) -> float:
        """Dense peak of one core's Tensor Engine: 2 x rows x columns x MAC per cycle x clock.

        rate: a member of `MATMUL_RATES` or an NKI dtype (fp16 and tf32 run at the bf16 rate; "fp8" from v3 on is
        the double-row mode).

        Raises:
            TargetError: the rate or dtype does not exist, or not on this generation.
        """
        peak = getattr(self, f"tensor_{matmul_rate(rate)}_flops_per_second")
        if peak is None or (isinstance(rate, DType) and not self.has_dtype(rate)):
            raise TargetError(f"matmul rate on {self.label}", str(rate), self.matmul_rates())
        return float(peak)

    def matmul_rates(self) -> tuple[str, ...]:
        """The matmul rates this generation has."""
        return tuple(rate for rate in MATMUL_RATES if getattr(self, f"tensor_{rate}_flops_per_second") is not None)

    @property
    def numerics_provenance(self) -> Mapping[str, Statement]:
        """The origin of each choice of `numerics`: documented, assumed, or chosen by the user."""
        return statements_of(self.numerics, self.generation)

    def with_numerics(self, policy: NumericsPolicy) -> Target:
        """The same target, rounding results into their formats as the policy says.

        Raises:
            ArgumentError: something else than a `NumericsPolicy`.
        """
        return replace(self, numerics=checked_policy("Target.with_numerics", policy))

    def with_facts(self, variant: str, **facts: Fact) -> Target:
        """The same target with some numbers replaced, to ask "what if"; numbers computed from them follow.

        Raises:
            TargetError: a target has no such number, or it is computed from others, which are to be replaced instead.
        """
        wrong = sorted(facts.keys() - ROWS.keys())
        if wrong:
            inputs = DERIVED[wrong[0]].inputs if wrong[0] in DERIVED else tuple(ROWS)
            raise TargetError("number of a target that can be replaced", wrong[0], inputs)
        kept = {key: fact for key, fact in self.provenance.items() if key not in DERIVED}
        merged = _with_derived(self.generation, kept | facts)
        return replace(_target(self.name, self.generation, variant, self.features, merged), numerics=self.numerics)


def _restore(values: dict[str, Any]) -> Target:
    return Target(**values)


def _derived_fact(row: DerivedRow, generation: Generation, facts: Mapping[str, Fact]) -> Fact | None:
    """The Fact of a computed number: assumed when one of its inputs is; None when one of its inputs is absent."""
    if not facts.keys() >= set(row.inputs):
        return None
    klass: FactClass = "assumed" if any(facts[key].klass == "assumed" for key in row.inputs) else "derived"
    value = row.compute(*(facts[key].value for key in row.inputs))
    conflicts = row.conflicts.get(generation, ())
    return Fact(value=value, unit=row.unit, klass=klass, source=row.formula, conflicts=conflicts)


def _with_derived(generation: Generation, facts: Mapping[str, Fact]) -> dict[str, Fact]:
    derived = {key: _derived_fact(row, generation, facts) for key, row in DERIVED.items()}
    return {key: fact for key, fact in derived.items() if fact is not None} | dict(facts)


def _target(
    name: str, generation: Generation, variant: str, features: frozenset[Feature], facts: Mapping[str, Fact]
) -> Target:
    absent = dict.fromkeys((ROWS.keys() | DERIVED.keys()) - facts.keys())
    values: dict[str, Any] = absent | {key: fact.value for key, fact in facts.items()}
    values |= {"name": name, "generation": generation, "variant": variant, "features": features}
    return Target(numerics=hardware_policy(generation), provenance=facts, **values)


def _features(generation: Generation) -> frozenset[Feature]:
    return frozenset(feature for feature in Feature if feature.first_generation <= generation)


def _published(generation: Generation) -> Target:
    rows = {key: row.fact(generation) for key, row in ROWS.items()}
    facts = _with_derived(generation, {key: fact for key, fact in rows.items() if fact is not None})
    return _target(f"trn{generation - 1}", generation, "published", _features(generation), facts)


def _projected_facts(variant: Variant) -> dict[str, Fact]:
    rows = {key: row.projected_fact(variant) for key, row in ROWS.items()}
    return _with_derived(Generation.V5, {key: fact for key, fact in rows.items() if fact is not None})


def _projections() -> tuple[Target, ...]:
    """The three variants of Trainium4; a computed number's band spans its values in the three."""
    by_variant = {variant: _projected_facts(variant) for variant in VARIANTS}
    bands = {key: band_of(tuple(facts[key].value for facts in by_variant.values())) for key in DERIVED}
    return tuple(
        _target("trn4", Generation.V5, variant, _features(Generation.V5), facts | _banded(facts, bands))
        for variant, facts in by_variant.items()
    )


def _banded(facts: Mapping[str, Fact], bands: Mapping[str, Band]) -> dict[str, Fact]:
    return {key: replace(facts[key], low=low, high=high) for key, (low, high) in bands.items()}


TARGETS: Final[tuple[Target, ...]] = (
    *(_published(generation) for generation in (Generation.V2, Generation.V3, Generation.V4)),
    *_projections(),
)
"""Every target: v2, v3, v4 as published, then the low, central and high projections of Trainium4."""

_GENERATION_OF: Final[dict[str, Generation]] = {"inf2": Generation.V2} | {
    f"{prefix}{generation - offset}": generation
    for generation in Generation
    for prefix, offset in (("trn", 1), ("gen", 0), ("v", 0))
}


def get_target(name: str | Generation | Target, variant: str | None = None) -> Target:
    """The target of that name: trn1/inf2/gen2/v2, trn2/gen3/v3, trn3/gen4/v4, trn4/gen5/v5, in any case.

    variant: "low", "central" (the default) or "high" for trn4; "published" (the default) for the others.

    Raises:
        TargetError: no such target or variant; lists those that exist and the nearest name.
    """
    if isinstance(name, Target):
        if variant in (None, name.variant):
            return name
        name = name.generation
    if isinstance(name, Generation):
        generation = name
    elif isinstance(name, str) and name.lower() in _GENERATION_OF:
        generation = _GENERATION_OF[name.lower()]
    else:
        raise TargetError("target", name, tuple(sorted(_GENERATION_OF)))
    of_generation = {target.variant: target for target in TARGETS if target.generation is generation}
    wanted = variant or ("central" if generation is Generation.V5 else "published")
    if wanted not in of_generation:
        raise TargetError(f"variant of {generation.label}", wanted, tuple(of_generation))
    return of_generation[wanted]
