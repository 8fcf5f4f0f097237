"""Judge one call against the facts of its instruction: the rules every instruction shares, then its own limits."""

from __future__ import annotations

from collections.abc import Iterator

from trnlab.emulator.errors import (
    BufferError,
    DtypeError,
    EngineError,
    GenerationError,
    PartitionError,
    ShapeError,
)
from trnlab.emulator.isa import tensor_indirection
from trnlab.emulator.isa.registry import Breach, Call, InstructionSpec, LimitText, Operand, OperandView
from trnlab.emulator.memory import ON_CHIP_REGIONS, MemoryRegion
from trnlab.emulator.program import OperandSignature, Signature
from trnlab.emulator.target import Engine, Target

_QUADRANT = 32  # partitions; A-v2, "start partition" rules of the SBUF/PSUM access patterns
_START_RULE = "NKI architecture guide, SBUF and PSUM access: start partition by partition count"
_STARTS = ((2 * _QUADRANT, (0,)), (_QUADRANT, (0, 64)), (0, (0, 32, 64, 96)))  # of more than so many partitions
_MAX_DIMS = 5  # a partition and four free dimensions; A-v2, access patterns
_ACCESS = "NKI architecture guide, access patterns"
_GPSIMD = "NKI architecture guide, GpSimd Engine"


def view_of(operand: OperandSignature) -> OperandView:
    """What limits see of an operand."""
    return OperandView(
        operand.name,
        operand.access,
        operand.region,
        operand.dtype,
        operand.shape,
        operand.strides,
        operand.indirection.kind if operand.indirection else "",
    )


def call_of(signature: Signature, target: Target) -> Call:
    """The call a signature stands for, on a target (which need not be the one it was traced for)."""
    return Call(
        signature.opcode,
        {operand.name: view_of(operand) for operand in signature.operands},
        dict(signature.attributes),
        target,
        signature.engine,
        signature.immediates,
    )


def breaches(spec: InstructionSpec, call: Call) -> Iterator[Breach]:
    """Every rule the call breaks, most basic first."""
    yield from _generation(spec, call)
    for operand in spec.operands:
        if operand.name in call:
            yield from _operand(operand, call[operand.name], call)
    yield from _engine(spec, call)
    yield from tensor_indirection.breaches(call)
    for limit in spec.limits:
        breach = limit.check(call)
        if breach is not None:
            yield breach


def _generation(spec: InstructionSpec, call: Call) -> Iterator[Breach]:
    target = call.target
    missing = spec.feature is not None and not target.has(spec.feature)
    if target.generation < spec.since or missing:
        yield Breach(
            error=GenerationError,
            found=f"{spec.name} on {target.generation.label}",
            allowed=f"{spec.name} exists from {spec.since.label} on",
            source=spec.source,
        )


def _operand(operand: Operand, view: OperandView, call: Call) -> Iterator[Breach]:
    if view.region not in operand.regions:
        names = ", ".join(sorted(region.value for region in operand.regions))
        yield Breach(error=BufferError, operand=operand.name, found=str(view), allowed=f"a tensor in {names}")
    if view.dtype not in operand.dtypes:
        names = ", ".join(sorted(operand.dtypes))
        yield Breach(error=DtypeError, operand=operand.name, found=str(view), allowed=names)
    elif view.dtype.format.first_generation > call.target.generation:
        first = view.dtype.format.first_generation
        yield Breach(
            error=GenerationError,
            operand=operand.name,
            found=str(view),
            allowed=f"{view.dtype} from NeuronCore-v{first} on",
        )
    if view.region not in ON_CHIP_REGIONS:
        return
    if view.partitions > call.target.partitions:
        yield Breach(
            error=PartitionError,
            operand=operand.name,
            found=f"{view}, {view.partitions} partitions",
            allowed=f"at most {call.target.partitions} partitions",
        )
    if len(view.shape) > _MAX_DIMS and Engine.DMA not in (call.engine,):
        yield Breach(
            error=ShapeError,
            operand=operand.name,
            found=f"{view}, {len(view.shape)} dimensions",
            allowed=f"at most {_MAX_DIMS} dimensions: the partition and four free ones",
            source=_ACCESS,
        )
    if operand.per_partition and view.free_elements != 1:
        yield Breach(
            error=ShapeError,
            operand=operand.name,
            found=f"{view}, {view.free_elements} elements per partition",
            allowed="shape (P, 1): one element per partition",
        )


def _engine(spec: InstructionSpec, call: Call) -> Iterator[Breach]:
    if call.engine not in spec.engines:
        yield Breach(
            error=EngineError,
            operand="engine",
            found=str(call.engine.value if call.engine else None),
            allowed=", ".join(engine.value for engine in spec.engines),
            source=spec.source,
        )
    elif call.engine is Engine.GPSIMD:
        for view in call.operands.values():
            if view.region is MemoryRegion.psum:
                yield Breach(
                    error=EngineError,
                    operand=view.name,
                    found=f"{view} on the gpsimd engine",
                    allowed="an operand in sbuf: GpSimd cannot reach PSUM",
                    source=_GPSIMD,
                )


def needs_start_check(operand: OperandSignature) -> bool:
    """Whether the operand's start partition is bound by the quadrant rules."""
    return operand.region in ON_CHIP_REGIONS


def start_breach(spec: InstructionSpec, signature: Signature, operand: OperandSignature, start: int) -> Breach | None:
    """The start-partition rule: P > 64 starts at 0; P > 32 at 0 or 64; fewer at 0, 32, 64 or 96."""
    facts = spec.operand(operand.name.partition(".")[0])
    bound_by = (operand.name, *facts.starts_with)
    count = max(other.shape[0] for other in signature.operands if other.name in bound_by)
    starts = next(starts for fewer, starts in _STARTS if count > fewer)
    allowed = facts.quadrant_offsets
    if start in starts or (start % _QUADRANT in allowed and start - start % _QUADRANT in starts):
        return None
    extra = "" if allowed == (0,) else f", each plus {', '.join(map(str, allowed))}"
    return Breach(
        error=PartitionError,
        operand=facts.name,
        found=f"{view_of(operand)} starting at partition {start}",
        allowed=f"{count} partitions start at {', '.join(map(str, starts))}{extra}",
        source=_START_RULE,
    )


def shared_limits(spec: InstructionSpec, target: Target) -> tuple[LimitText, ...]:
    """The rules above in words, as far as they bind the instruction: those that are not facts of one operand."""
    names = tuple(operand.name for operand in spec.operands if operand.regions & ON_CHIP_REGIONS)
    if not names:
        return ()
    starts = "; ".join(
        f"of {f'more than {fewer}' if fewer else 'fewer'} at {', '.join(map(str, at))}" for fewer, at in _STARTS
    )
    found = [
        LimitText(names, f"at most {target.partitions} partitions", target.provenance["partitions"].source),
        LimitText(names, f"first partition of views: {starts}", _START_RULE),
    ]
    if set(spec.engines) != {Engine.DMA}:
        found.append(LimitText(names, f"at most {_MAX_DIMS} dimensions: the partition and four free ones", _ACCESS))
    if Engine.GPSIMD in spec.engines:
        found.append(LimitText(names, "in sbuf on the gpsimd engine, which cannot reach PSUM", _GPSIMD))
    return tuple(found)
