"""The catalogue as a reference: `page_of(name, targets)` gathers what is known of one instruction, as plain data.

Nothing is written here a second time: operands, limits and assumptions are those that calls are judged by, costs are
those that programs are priced with, numbers are those of the targets. What differs between targets is listed by target.
"""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from trnlab.emulator.dtypes import DTYPES, DType
from trnlab.emulator.errors import GenerationError, TrnlabError, Violation
from trnlab.emulator.isa import registry
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.isa.operators import RunsHere
from trnlab.emulator.isa.registry import InstructionSpec, LimitText, Operand
from trnlab.emulator.isa.tensor_indirection import USES
from trnlab.emulator.isa.validate import shared_limits
from trnlab.emulator.target import Engine, FactClass, Feature, Generation, Target, get_target
from trnlab.emulator.timing.cost import rule_of

ALL_TARGETS: Final = tuple(get_target(generation) for generation in Generation)
"""One target for each generation; of the projection, the central variant."""

_DTYPE_SETS: Final = (
    ("any dtype", registry.ANY_DTYPE),
    ("any but packed x4", registry.UNPACKED_DTYPES),
    ("packed x4", registry.PACKED_DTYPES),
    ("integers", registry.INTEGER_DTYPES),
    ("floats", registry.FLOAT_DTYPES),
)
_OVERHEADS: Final = ("minimum_initiation_interval_cycles", "access_latency_cycles")
_ADDRESSED: Final = ("run_time_address_interval_cycles",)
_NUMBERS: Final[Mapping[Engine, tuple[str, ...]]] = {
    Engine.TENSOR: ("tensor_clock_hz", "tensor_sustained_clock_factor", "tensor_start_cycles", *_OVERHEADS),
    Engine.VECTOR: (
        "vector_clock_hz",
        "vector_elements_per_cycle",
        "vector_reciprocal_cycles_per_element",
        "vector_static_cycles",
        *_OVERHEADS,
        *_ADDRESSED,
    ),
    Engine.SCALAR: (
        "scalar_clock_hz",
        "scalar_elements_per_cycle",
        "scalar_dependent_latency_cycles",
        "minimum_initiation_interval_cycles",
        *_ADDRESSED,
    ),
    Engine.GPSIMD: (
        "gpsimd_clock_hz",
        "gpsimd_start_cycles",
        "gpsimd_rsqrt_cycles_per_element",
        "access_latency_cycles",
        *_ADDRESSED,
    ),
    Engine.SYNC: ("sync_clock_hz", "minimum_initiation_interval_cycles"),
    Engine.DMA: (
        "dma_engines",
        "dma_bytes_per_second_per_engine",
        "dma_minimum_descriptor_ns",
        "dma_descriptor_overhead_ns",
        "dma_transfer_overhead_ns",
        "dma_dynamic_start_ns",
        "dma_dynamic_descriptor_ns",
        "dma_start_latency_ns",
        "dma_completion_latency_ns",
    ),
}
"""The numbers of a target that decide what an instruction of the engine costs."""


class InstructionNameError(TrnlabError, LookupError):
    """A name that is no instruction of the catalogue; `found`, `allowed` and `nearest` are the data."""

    def __init__(self, found: str, allowed: Sequence[str]) -> None:
        self.found, self.allowed = found, tuple(allowed)
        self.nearest = tuple(difflib.get_close_matches(found.lower(), self.allowed, n=3, cutoff=0.5))
        hint = (
            f"; did you mean {', '.join(self.nearest)}?"
            if self.nearest
            else f"; {len(self.allowed)} instructions exist"
        )
        super().__init__(f"instruction: found {found!r}{hint}")


@dataclass(frozen=True, slots=True)
class Wording:
    """A text and the targets that it holds on."""

    targets: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperandPage:
    """One operand.

    access:     read, write or update; `access_rule` says where a written operand is read as well
    dtypes:     by name, each with the first target that has it; `dtypes_in_words` is the shorter text
    partitions: rules on its partitions beyond those that every operand shares
    indirect:   the targets on which it may be a view with tensor indirection
    """

    name: str
    access: str
    access_rule: str
    regions: tuple[str, ...]
    dtypes: Mapping[str, str]
    dtypes_in_words: str
    immediate: bool
    optional: bool
    partitions: tuple[str, ...]
    indirect: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitPage:
    """One limit: the operands or attributes that it binds (none: the whole call), what it allows, and its source."""

    operands: tuple[str, ...]
    allowed: tuple[Wording, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPage:
    """The cost rule; `classes` says by target whether its source covers the generation or the price is assumed.

    A call that goes beyond what the source covers has an assumed price whatever the class: see `Cost.assumed`.
    """

    formula: str
    source: str
    kind: str
    classes: Mapping[str, FactClass]


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One number of one target, with its unit, class and source."""

    target: str
    name: str
    value: float
    unit: str
    source_class: FactClass
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionPage:
    """What is known of one instruction on some targets.

    targets: those of the targets asked for that have it
    engines: those that run it on one of the targets
    since:   label of the first generation; feature: what that generation has for it, or ""
    math:    "float32", "raw" (bits move or meet unwidened), or "by call"
    """

    name: str
    formula: str
    targets: tuple[str, ...]
    engines: tuple[str, ...]
    since: str
    feature: str
    math: str
    operands: tuple[OperandPage, ...]
    attributes: tuple[str, ...]
    immediates: tuple[str, ...]
    limits: tuple[LimitPage, ...]
    cost: CostPage
    numbers: tuple[Number, ...]
    assumptions: tuple[str, ...]
    source: str


# ------------------------------------------------------------------------------------------------------ the readers


def page_of(name: str, targets: Sequence[Target] = ALL_TARGETS) -> InstructionPage:
    """The page of one instruction, by its published name (with or without "nisa."), on those targets that have it.

    Raises:
        InstructionNameError: no such instruction.
        GenerationError: none of the targets has it.
    """
    spec = CATALOGUE.get(name.rpartition(".")[2])
    if spec is None:
        raise InstructionNameError(name, sorted(CATALOGUE))
    having = [target for target in targets if _has(spec, target)]
    if not having:
        asked = ", ".join(target.label for target in targets)
        allowed = f"from {spec.since.label} on"
        raise GenerationError(Violation(subject=f"nisa.{spec.name}", found=asked, allowed=allowed, source=spec.source))
    return _page(spec, having)


def pages(targets: Sequence[Target] = ALL_TARGETS) -> tuple[InstructionPage, ...]:
    """The pages of all instructions that one of the targets has, by name."""
    having = {name: [target for target in targets if _has(spec, target)] for name, spec in sorted(CATALOGUE.items())}
    return tuple(_page(CATALOGUE[name], found) for name, found in having.items() if found)


def as_json(found: InstructionPage | Iterable[InstructionPage]) -> str:
    """A page as a JSON object, or several as an array; nothing but the fields of the dataclasses."""
    data = asdict(found) if isinstance(found, InstructionPage) else [asdict(page) for page in found]
    return json.dumps(data, indent=2, allow_nan=False)


# -------------------------------------------------------------------------------------------------------- the parts


def _has(spec: InstructionSpec, target: Target) -> bool:
    return target.generation >= spec.since and (spec.feature is None or target.has(spec.feature))


def _page(spec: InstructionSpec, targets: Sequence[Target]) -> InstructionPage:
    engines = [engine for engine in spec.engines if any(engine in _engines(spec, target) for target in targets)]
    return InstructionPage(
        name=spec.name,
        formula=spec.formula,
        targets=tuple(target.name for target in targets),
        engines=tuple(engine.value for engine in engines),
        since=spec.since.label,
        feature="" if spec.feature is None else spec.feature.description,
        math="by call" if callable(spec.math) else spec.math,
        operands=tuple(_operand(spec, operand, targets) for operand in spec.operands),
        attributes=spec.attributes,
        immediates=spec.immediates,
        limits=tuple(_limits(spec, targets)),
        cost=_cost(spec, targets),
        numbers=tuple(_numbers(engines, targets)),
        assumptions=spec.assumptions,
        source=spec.source,
    )


def _engines(spec: InstructionSpec, target: Target) -> tuple[Engine, ...]:
    rules = [limit.engines(target)[0] for limit in spec.limits if isinstance(limit, RunsHere)]
    return tuple(engine for engine in spec.engines if all(engine in able for able in rules))


def _operand(spec: InstructionSpec, operand: Operand, targets: Sequence[Target]) -> OperandPage:
    use = USES.get(spec.name)
    indirect = use is not None and operand.name in use.operands
    return OperandPage(
        name=operand.name,
        access=operand.access,
        access_rule=_access_rule(operand),
        regions=tuple(sorted(region.value for region in operand.regions)),
        dtypes=_dtypes(operand, targets),
        dtypes_in_words=_dtypes_in_words(operand, targets),
        immediate=operand.immediate,
        optional=operand.optional,
        partitions=tuple(_partitions(operand)),
        indirect=tuple(target.name for target in targets if indirect and target.has(Feature.TENSOR_INDIRECTION)),
    )


def _access_rule(operand: Operand) -> str:
    if not operand.update_if:
        return ""
    values = " or ".join(sorted(operand.update_values))
    where = f"{operand.update_if} is {values}" if values else f"{operand.update_if} holds"
    return f"read as well where {where}{', to keep what is not written' if operand.keeps else ''}"


def _dtypes(operand: Operand, targets: Sequence[Target]) -> dict[str, str]:
    """The dtypes that a tensor can have on one of the targets, in the order of the table, with their first target."""
    # Elements of less than a byte have no tensor form: they exist packed.
    found = [dtype for dtype in _in_order(operand) if dtype.format.bits >= 8]
    firsts = {dtype: next((target.name for target in targets if target.has_dtype(dtype)), "") for dtype in found}
    return {str(dtype): first for dtype, first in firsts.items() if first}


def _in_order(operand: Operand) -> list[DType]:
    """The operand's dtypes in the order of the dtype table."""
    return [dtype for dtype in DTYPES if dtype in operand.dtypes]


def _dtypes_in_words(operand: Operand, targets: Sequence[Target]) -> str:
    words = next((words for words, dtypes in _DTYPE_SETS if dtypes == operand.dtypes), "")
    return words or ", ".join(_dtypes(operand, targets))


def _partitions(operand: Operand) -> Iterator[str]:
    if operand.per_partition:
        yield "shape (P, 1): one element per partition, broadcast along the free dimension"
    if operand.quadrant_offsets != (0,):
        offsets = ", ".join(str(offset) for offset in operand.quadrant_offsets if offset)
        yield f"may also start {offsets} partitions after an allowed start"
    if operand.starts_with:
        yield f"the partitions of {', '.join(operand.starts_with)} count for its start as well"
    if operand.partitions_read is not None:
        yield f"partitions read: {(inspect.getdoc(operand.partitions_read) or '').partition(chr(10))[0]}"


def _limits(spec: InstructionSpec, targets: Sequence[Target]) -> Iterator[LimitPage]:
    """The limits of all instructions, then the instruction's own, then those of tensor indirection."""
    for shared in zip(*(shared_limits(spec, target) for target in targets), strict=True):
        yield _limit(spec, targets, shared)
    for limit in spec.limits:
        yield _limit(spec, targets, [limit.describe(target) for target in targets])
    with_indirection = [target for target in targets if target.has(Feature.TENSOR_INDIRECTION)]
    if spec.name in USES and with_indirection:
        for limit in USES[spec.name].limits:
            texts = [limit.describe(target) for target in with_indirection]
            yield _limit(
                spec, with_indirection, [text._replace(allowed=f"with .indirect(): {text.allowed}") for text in texts]
            )


def _limit(spec: InstructionSpec, targets: Sequence[Target], texts: Sequence[LimitText]) -> LimitPage:
    names: dict[str, list[str]] = {}
    for target, text in zip(targets, texts, strict=True):
        names.setdefault(text.allowed, []).append(target.name)
    return LimitPage(
        operands=texts[0].operands,
        allowed=tuple(Wording(tuple(where), text) for text, where in names.items()),
        source=texts[0].source or spec.source,
    )


def _cost(spec: InstructionSpec, targets: Sequence[Target]) -> CostPage:
    rule = rule_of(spec.name)
    classes: dict[str, FactClass] = {
        target.name: "assumed" if rule.assumed_on(target) else "documented" for target in targets
    }
    return CostPage(formula=rule.formula, source=rule.source, kind=rule.kind, classes=classes)


def _numbers(engines: Iterable[Engine], targets: Iterable[Target]) -> Iterator[Number]:
    names = dict.fromkeys(name for engine in engines for name in _NUMBERS[engine])
    for target in targets:
        for name in (name for name in names if name in target.provenance):  # not every generation has each
            fact = target.provenance[name]
            yield Number(
                target=target.name,
                name=name,
                value=fact.value,
                unit=fact.unit,
                source_class=fact.klass,
                source=fact.source,
            )
