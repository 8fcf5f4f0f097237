"""From the operands of a call to its signature, judged once against the instruction's facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Real
from typing import Any

import numpy as np

from trnlab.emulator.errors import ArgumentError, Violation
from trnlab.emulator.isa.registry import Breach, InstructionSpec, Operand
from trnlab.emulator.isa.tensor_indirection import COLUMNS, offset_group, start_breaches
from trnlab.emulator.isa.validate import breaches, call_of, needs_start_check, start_breach
from trnlab.emulator.program import Access, IndirectionSignature, OperandSignature, Signature
from trnlab.emulator.source import caller, fail, shown
from trnlab.emulator.target import Engine, Target
from trnlab.emulator.tensor import NkiTensor, VirtualRegister


def index_tensor(tensor: NkiTensor) -> NkiTensor | None:
    """The tensor that holds the run-time index of an indirect view; None for a direct view."""
    if tensor.indirection is None:
        return None
    index = tensor.indirection.index
    return index.tensor if isinstance(index, VirtualRegister) else index


def _operand_signatures(name: str, access: Access, tensor: NkiTensor) -> Iterator[OperandSignature]:
    """The operand, followed by the index of its indirection when it has one."""
    buffer, indirection = tensor._allocation.buffer, tensor.indirection
    how = None
    if indirection is not None:
        how = IndirectionSignature(indirection.kind, indirection.stride, indirection.extent)
    layout = (tensor.dtype, tensor.shape, tensor.strides)
    yield OperandSignature(name, access, buffer.region, buffer.shape, buffer.dtype, *layout, how)
    index = index_tensor(tensor)
    if index is not None:
        yield from _operand_signatures(f"{name}.index", "read", index)


def sign(
    spec: InstructionSpec, operands: Sequence[Any], attributes: tuple[Any, ...], engine: Engine | None, target: Target
) -> Signature:
    """The signature of a call; raises the error of the first rule that the call breaks on the target."""
    named = tuple(zip(spec.attributes, attributes, strict=True))
    records: list[OperandSignature] = []
    immediates: list[str] = []
    for facts, operand in zip(spec.operands, operands, strict=True):
        if isinstance(operand, (VirtualRegister, NkiTensor)):
            tensor = operand.tensor if isinstance(operand, VirtualRegister) else operand
            records += _operand_signatures(facts.name, facts.access_in(dict(named)), tensor)
        elif operand is not None:
            immediates.append(facts.name)
        elif not facts.optional:
            fail(
                ArgumentError,
                f"nisa.{spec.name}",
                operand=facts.name,
                found="None",
                allowed="a tensor or a number" if facts.immediate else "a tensor",
                source=spec.source,
            )
    first = engine or spec.engines[0]
    draft = Signature(spec.name, first, named, tuple(records), (*immediates, *spec.immediates))
    if engine is None:
        draft = draft._replace(engine=spec.choose_engine(call_of(draft, target)))
    draft = _with_groups(draft)
    for breach in breaches(spec, call_of(draft, target)):
        reject(spec, breach, target)
    return draft


def takes_columns(signature: Signature) -> bool:
    """Whether an operand is a view with tensor indirection."""
    return any(o.indirection is not None and o.indirection.kind == COLUMNS for o in signature.operands)


def _with_groups(signature: Signature) -> Signature:
    """The signature with the way its engine walks the offsets of tensor indirection."""
    if not takes_columns(signature):
        return signature
    group = offset_group(signature.engine)
    operands = [
        operand._replace(indirection=operand.indirection._replace(group=group))
        if operand.indirection is not None and operand.indirection.kind == COLUMNS
        else operand
        for operand in signature.operands
    ]
    return signature._replace(operands=tuple(operands))


def reject(spec: InstructionSpec, breach: Breach, target: Target) -> None:
    """Raise the breach as its error, at the user's line."""
    raise breach.error(
        Violation(
            subject=f"nisa.{spec.name}",
            operand=breach.operand,
            found=breach.found,
            allowed=breach.allowed,
            generation=target.generation.label,
            location=caller(),
            source=breach.source or spec.source,
        )
    )


def number(spec: InstructionSpec, facts: Operand, value: Any) -> float:
    """An immediate as the number the program stores; raises ArgumentError for anything else."""
    scalar = isinstance(value, (Real, np.generic)) or (isinstance(value, np.ndarray) and value.ndim == 0)
    if not (facts.immediate and scalar):
        fail(
            ArgumentError,
            f"nisa.{spec.name}",
            operand=facts.name,
            found=shown(value),
            allowed="a tensor of this kernel, or a compile-time number"
            if facts.immediate
            else "a tensor of this kernel",
            source=spec.source,
        )
    return float(value)


def starting_operands(signature: Signature) -> tuple[int, ...]:
    """Positions of the operands whose start partition is bound by rules; DMA and the sequencers reach any partition."""
    if signature.engine in (Engine.DMA, Engine.SYNC):
        return ()
    return tuple(position for position, operand in enumerate(signature.operands) if needs_start_check(operand))


def check_starts(
    spec: InstructionSpec, signature: Signature, positions: tuple[int, ...], starts: tuple[int, ...], target: Target
) -> None:
    """Raise PartitionError unless every operand starts where its partition count allows."""
    for position, start in zip(positions, starts, strict=True):
        breach = start_breach(spec, signature, signature.operands[position], start)
        if breach is not None:
            reject(spec, breach, target)


def check_columns(spec: InstructionSpec, signature: Signature, tensors: Sequence[NkiTensor], target: Target) -> None:
    """Raise PartitionError where an operand and an index of tensor indirection do not start as the rules ask.

    Judged are buffers placed by hand, and those of more than half of the partitions, which only fit at the first one.
    """
    placed = {
        operand.name: tensor.start_partition
        for operand, tensor in zip(signature.operands, tensors, strict=True)
        if tensor.on_chip and _is_placed(tensor, target)
    }
    regions = {operand.name: operand.region for operand in signature.operands}
    for breach in start_breaches(signature.opcode, regions, placed):
        reject(spec, breach, target)


def _is_placed(tensor: NkiTensor, target: Target) -> bool:
    buffer = tensor._allocation.buffer
    return buffer.address is not None or buffer.shape[0] > target.partitions // 2


def is_label(opcode: str, name: Any) -> bool:
    """Whether the instruction was given a name (None and "" are none); raises ArgumentError for what is no string."""
    if name is not None and not isinstance(name, str):
        fail(ArgumentError, f"nisa.{opcode}", operand="name", found=repr(name), allowed="a string")
    return bool(name)
