"""The lowering of one instruction: read its operands, evaluate it in all merged iterations, write its results."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from trnlab.emulator.backends import indirection, words as word_math
from trnlab.emulator.backends.immediates import immediates_of
from trnlab.emulator.backends.indirection import Rows
from trnlab.emulator.backends.layout import Plan
from trnlab.emulator.backends.memory_state import FAULT, Memory
from trnlab.emulator.backends.operands import Operands
from trnlab.emulator.backends.positions import Placed, Scope, place
from trnlab.emulator.backends.reference import Print
from trnlab.emulator.backends.semantics import jitted, meaning_of, row_flags
from trnlab.emulator.backends.views import opaque, replaced, write
from trnlab.emulator.backends.widening import Axes, aligned, widened
from trnlab.emulator.backends.words import stored_word
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.target import Engine, Target


class InstructionLowering:
    """Lowers the instructions of one plan, for one target."""

    def __init__(self, plan: Plan, target: Target, on_print: Print) -> None:
        self.plan = plan
        self.program = plan.storage.program
        self.target = target
        self.on_print = on_print

    def run(self, number: int, scope: Scope, memory: Memory) -> None:
        """Read the operands, evaluate, write the results."""
        storage = self.plan.storage
        signature = self.program.signature_of(number)
        first = int(self.program.operand_starts[number])
        placed = [place(self.plan, first + p, scope) for p in range(len(signature.operands))]
        families = [storage.families[n] for n in storage.family_of[first : first + len(placed)].tolist()]

        def inside(position: int) -> Placed:
            return place(self.plan, first + position, scope, inside_buffer=True)

        operands = Operands(self.plan, signature, placed, families, inside, scope, memory)
        rows = self.addresses(number, operands)
        if signature.opcode == "device_print":
            self.show(operands, rows)
            return
        raw = meaning_of(signature, self.target).math == "raw"
        results = self.evaluate(operands, rows, immediates_of(self.program, number, scope, raw=raw))
        self.store(operands, rows, results)

    def show(self, operands: Operands, rows: dict[int, Rows]) -> None:
        """Hand the first operand's elements to whoever listens, after all that was shown before."""
        show = partial(_show, self.on_print, operands.signature.attribute("prefix"))
        jax.debug.callback(show, operands.elements(0, rows), ordered=True)

    def evaluate(self, operands: Operands, rows: dict[int, Rows], scalars: Sequence[tuple[Array, Axes]]) -> list[Array]:
        """The words of every result, arranged as the operands that they are written to.

        rows:    the run-time addresses, by position
        scalars: the immediates, and what their axes stand for
        """
        signature, memory = operands.signature, operands.memory
        varied = {name for p in operands.positions(writes=True) for name in operands.axes(p).names}
        loops = [(block, at.iterations) for block, at in operands.scope.items() if block in varied]
        meaning = meaning_of(signature, self.target)
        reads = operands.positions(reads=True)
        writes = operands.positions(writes=True)
        results = [operands.axes(p) for p in writes]
        written = [signature.operands[p] for p in writes]
        raw = meaning.math == "raw"
        if CATALOGUE[meaning.opcode].moves and raw:
            moved = [operands.words(p, rows) for p in reads]

            def move(arrays: list[Array]) -> list[Array]:
                return [word_math.to_words(a.reshape(o.shape), o.dtype) for a, o in zip(arrays, written, strict=True)]

            return list(widened(move, loops, [[operands.axes(p) for p in reads]], results)(moved))
        hidden = [lax.bitcast_convert_type(memory.zero ^ word_math.bits_of(value), value.dtype) for value, _ in scalars]
        arrays = [operands.elements(p, rows) for p in reads]

        def compute(arrays: list[Array], immediates: list[Array]) -> list[Array]:
            found = jitted(meaning)(arrays, immediates)
            shaped = [word_math.to_words(f.reshape(o.shape), o.dtype) for f, o in zip(found, written, strict=True)]
            return shaped if arrays or immediates else [opaque(result) for result in shaped]

        read_axes = [operands.axes(p) for p in reads]
        # What is changed in place stays in its order, or XLA copies it. Dots are left alone: XLA may add up otherwise
        # where it sees a transposition.
        if signature.engine is not Engine.TENSOR:
            like = results[0]
            arrays = [aligned(array, own, like) for array, own in zip(arrays, read_axes, strict=True)]
            read_axes = [like if own.is_permuted(like) else own for own in read_axes]
        axes = [read_axes, [names for _, names in scalars]]
        return list(widened(compute, loops, axes, results)(arrays, hidden))

    def store(
        self, operands: Operands, rows: dict[int, Rows], results: Sequence[Array], *, isolated: bool = False
    ) -> None:
        """Write the results where they belong.

        isolated: they are known before anything is written, and XLA cannot fuse the two
        """
        signature, memory = operands.signature, operands.memory
        skips = signature.attribute("oob_mode") == "skip"
        keep = [row_flags(signature, found.inside) for found in rows.values()] if skips else []
        moved = CATALOGUE[signature.opcode].moves and meaning_of(signature, self.target).math == "raw"
        taken = sorted({operands.families[p].number for p in operands.positions(reads=True, index=True)})
        sources = memory.sources(taken)
        written = operands.positions(writes=True)
        for position, new in zip(written, results, strict=True):
            family, at = operands.families[position], operands.placed[position]
            whole = None if keep or position in rows else replaced(at.view, new)
            if whole is not None:
                value = word_math.recast(whole, family.buffer.dtype)
                memory.replace(family.number, value, sources, moved=moved)
                continue
            old = operands.storage(position)
            fitted = lax.bitcast_convert_type(new, old.dtype)
            apart = not isolated and memory.depends_on_itself(family.number, sources)
            tie = None if isolated else memory.tie(family.number)
            if position in rows or keep:
                value = indirection.write(
                    old, operands.target(position), rows.get(position), fitted, keep, tie=tie, apart=apart
                )
            else:
                value = write(old, at.view, fitted, at.moved, tie=tie, apart=apart)
            memory.update(family.number, word_math.recast(value, family.buffer.dtype), sources)
        if results:
            changed = {operands.families[p].number for p in written}
            memory.note_reader(set(taken) - changed, lambda: stored_word(results[0]))

    def addresses(self, number: int | Array, operands: Operands) -> dict[int, Rows]:
        """The run-time addresses of the indirect operands, by position; bad ones are entered as the fault.

        number: the instruction, for the fault
        """
        signature, memory = operands.signature, operands.memory
        skips = signature.attribute("oob_mode") == "skip"
        found: dict[int, Rows] = {}
        for position, operand in enumerate(signature.operands):
            if operand.indirection is not None and not operand.name.endswith(".index"):
                index = operands.elements(position + 1, {})
                rows = found[position] = indirection.resolve(operand, operands.inside(position), index)
                wrong = rows.leaves if skips else rows.leaves | ~rows.inside
                here = jnp.stack([jnp.asarray(number, jnp.int32), jnp.int32(position), rows.values[jnp.argmax(wrong)]])
                fault = memory.words[FAULT]
                memory.words[FAULT] = jnp.where(wrong.any() & (fault[0] < 0), here, fault)
        return found


def _show(on_print: Print, prefix: str, values: Any) -> None:
    on_print(prefix, np.array(values))
