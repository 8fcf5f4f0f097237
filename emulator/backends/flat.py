"""The flat lowering: a program as one pure JAX function, each instruction where it stands.

A value per buffer, one evaluator call per instruction, one `lax.while_loop` per structured loop. The arithmetic is the
evaluators', which the reference runs one by one, so that the two can differ only in what XLA does across instructions.
Three things stop that: sealed results (`numerics.seal`), opaque operands (`lowering.opaque`), and constants that are
joined with a zero computed from an input, because no barrier hides a constant from LLVM, which has special cases for
the numbers it knows. A write makes a new value; memory is given back by XLA after the last use.

Compiled code cannot raise. A bad run-time index (out of bounds, without `oob_mode.skip`) is recorded in the *fault*;
the first one stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import or_
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from trnlab.emulator.backends import indirection, lowering
from trnlab.emulator.backends.indirection import Rows
from trnlab.emulator.backends.reference import Print
from trnlab.emulator.backends.semantics import Meaning, immediate, jitted, meaning_of
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.nest import Block, live_ranges, nest
from trnlab.emulator.program import Loop, Program, Signature
from trnlab.emulator.target import Target

Lowered = Callable[[Sequence[Array]], tuple[dict[int, Array], Array | None]]

FAULT = -1
"""The fault's place among the carried values of a loop."""

_NO_FAULT = (-1, 0, 0)  # instruction, operand position, index value


@dataclass
class Memory:
    """What every buffer holds at one point of the program, and what flowed into it.

    words: flat vectors of words by buffer number (see `lowering`); the fault is among them, under `FAULT`
    zero:  a uint32 zero that is computed at run time
    flows: per buffer the set of buffers, as bits, from which its content was computed
    same:  per buffer the set of buffers whose very memory its value may still be, because nothing but moves lay between
    """

    words: dict[int, Array]
    zero: Array
    flows: dict[int, int] = field(default_factory=dict)
    same: dict[int, int] = field(default_factory=dict)

    def sources(self, buffers: Sequence[int]) -> int:
        """The buffers that flow into what is computed from these."""
        return reduce(or_, (1 << number | self.flows.get(number, 0) for number in buffers), 0)

    def replace(self, number: int, value: Array, sources: int, *, moved: bool) -> None:
        """A write that covers the buffer."""
        self.words[number] = value
        self.flows[number], self.same[number] = sources, sources if moved else 0

    def update(self, number: int, value: Array, sources: int) -> None:
        """A write to a part of the buffer."""
        self.words[number] = value
        self.flows[number], self.same[number] = self.flows.get(number, 0) | sources, 0

    def depends_on_itself(self, number: int, sources: int) -> bool:
        """Whether what is computed from the sources may read the memory that a write to the buffer changes.

        XLA on the CPU fuses such a read into the update slice that writes, in place, and loses track of the order when
        the two reshape the buffer differently; writes by element number are not fused.
        """
        return bool((1 << number | self.same.get(number, 0)) & sources)


def lower(program: Program, target: Target, on_print: Print) -> Lowered:
    """The program as a pure JAX function of its inputs, in `program.inputs` order.

    It returns the outputs and the inputs written, by buffer number, in their buffers' shapes; and the fault, three
    integers (instruction or -1, operand position, index), or None when the program has no run-time address.
    """
    return _Lowering(program.flat, target, on_print)


class _Lowering:
    def __init__(self, program: Program, target: Target, on_print: Print) -> None:
        self.__name__ = program.kernel  # what JAX calls the function in profiles
        self.program = program
        self.target = target
        self.on_print = on_print
        self.block = nest(program)
        self.ranges = live_ranges(program)
        self.kept = frozenset(results_of(program))
        self.can_fault = any(o.indirection for s in program.signatures for o in s.operands)

    def __call__(self, inputs: Sequence[Array]) -> tuple[dict[int, Array], Array | None]:
        memory = Memory({FAULT: jnp.asarray(_NO_FAULT, jnp.int32)} if self.can_fault else {}, jnp.uint32(0))
        for number, array in zip(self.program.inputs, inputs, strict=True):
            stored = array.astype(jnp.uint8) if array.dtype == jnp.bool_ else jnp.asarray(array)
            memory.words[number] = lowering.to_words(stored).reshape(-1)
            memory.zero = lowering.run_time_zero(memory.words[number][0])
        self.run(self.block, memory)
        return {number: self.result(number, memory) for number in self.kept}, memory.words.get(FAULT)

    def result(self, number: int, memory: Memory) -> Array:
        buffer = self.program.buffers[number]
        return lowering.to_elements(self.value(number, memory), buffer.dtype).reshape(buffer.shape)

    # -- memory -----------------------------------------------------------------------------------------------------

    def value(self, number: int, memory: Memory) -> Array:
        """The buffer's value; constants and fresh memory come into being when first asked for."""
        if number not in memory.words:
            data = self.program.constants.get(number)
            buffer = self.program.buffers[number]
            words = lowering.fresh(buffer) if data is None else lowering.constant(buffer, data)
            memory.words[number] = words ^ memory.zero.astype(words.dtype)
        return memory.words[number]

    # -- blocks -----------------------------------------------------------------------------------------------------

    def run(self, block: Block, memory: Memory) -> None:
        """Execute a block's instructions and loops, updating the memory."""
        for item in block.items:
            if isinstance(item, Block):
                self.loop(item, memory)
                continue
            for number in item:
                self.instruction(number, memory)

    def loop(self, block: Block, memory: Memory) -> None:
        """One structured loop; it carries what its body writes and leaves to the next iteration or to what follows."""
        loop = block.loop
        assert loop is not None
        carried = self.carried(block, loop)
        state = [self.value(number, memory) for number in carried]
        body = partial(self.iteration, block, carried, memory)
        if loop.kind == "while":
            position = carried.index(loop.register)
            state = lax.while_loop(lambda state: state[position][0] != 0, lambda state: body(None, state), state)
        else:
            lower = self.bound(loop.lower, loop.lower_register, memory)
            trips = trip_count(lower, self.bound(loop.upper, loop.upper_register, memory), loop.step)
            _, state = lax.while_loop(
                lambda counted: counted[0] < trips,
                lambda counted: (counted[0] + 1, body(lower + counted[0].astype(jnp.int32) * loop.step, counted[1])),
                (jnp.uint32(0), state),
            )
        for number, value in zip(carried, state, strict=True):
            memory.replace(number, value, 0, moved=False)

    def bound(self, number: int, register: int | None, memory: Memory) -> Array:
        words = jnp.uint32(number & 0xFFFFFFFF) ^ memory.zero if register is None else self.value(register, memory)[0]
        return words.astype(jnp.int32)

    def carried(self, block: Block, loop: Loop) -> list[int]:
        """The buffers written in the body whose content outlives an iteration, register and fault included."""
        written = {loop.register}
        for number in range(block.begin, block.end):
            operands = self.program.signature_of(number).operands
            row = self.program.row(number)[:, 0].tolist()
            written.update(buffer for buffer, operand in zip(row, operands, strict=True) if operand.writes)
        kept = [n for n in sorted(written) if not self.ranges.inside(n, block.begin, block.end)]
        return [*kept, FAULT] if self.can_fault else kept

    def iteration(
        self, block: Block, carried: list[int], outer: Memory, counter: Array | None, state: list[Array]
    ) -> list[Array]:
        # What enters a loop's body is memory of its own: nothing flowed into it inside the body yet.
        memory = Memory(outer.words | dict(zip(carried, state, strict=True)), outer.zero)
        if counter is not None and block.loop is not None:
            memory.words[block.loop.register] = lowering.to_words(counter.reshape(1))
        self.run(block, memory)
        return [memory.words[number] for number in carried]

    # -- instructions -----------------------------------------------------------------------------------------------

    def instruction(self, number: int, memory: Memory) -> None:
        """Read the operands, evaluate, write the results."""
        signature = self.program.signature_of(number)
        places = [(buffer, offset) for buffer, offset in self.program.row(number).tolist()]
        rows = self.addresses(number, signature, places, memory)
        if signature.opcode == "device_print":
            show = partial(_show, self.on_print, signature.attribute("prefix"))
            jax.debug.callback(show, self.read(signature, 0, places, rows, memory), ordered=True)
            return
        positions = [p for p, operand in enumerate(signature.operands) if not operand.name.endswith(".index")]
        arrays = [self.read(signature, p, places, rows, memory) for p in positions if signature.operands[p].reads]
        meaning = meaning_of(signature, self.target)
        results = evaluate(meaning, arrays, self.program.immediate_row(number).tolist(), memory.zero)
        skips = signature.attribute("oob_mode") == "skip"
        keep = [found.inside for found in rows.values()] if skips else []
        read = [buffer for (buffer, _), operand in zip(places, signature.operands, strict=True) if operand.reads]
        sources = memory.sources(read)
        written = [p for p in positions if signature.operands[p].writes]
        for position, result in zip(written, results, strict=True):
            operand, (buffer, offset) = signature.operands[position], places[position]
            new = lowering.to_words(result.reshape(operand.shape))
            whole = None if keep or position in rows else lowering.replaced(operand, offset, new)
            if whole is not None:
                memory.replace(buffer, whole, sources, moved=meaning.math == "raw")
                continue
            apart = memory.depends_on_itself(buffer, sources)
            old = self.value(buffer, memory)
            value = indirection.write(old, operand, offset, rows.get(position), new, keep, apart=apart)
            memory.update(buffer, value, sources)

    def read(
        self, signature: Signature, position: int, places: list[tuple[int, int]], rows: dict[int, Rows], memory: Memory
    ) -> Array:
        operand, (buffer, offset) = signature.operands[position], places[position]
        value = self.value(buffer, memory)
        if position in rows:
            words = indirection.read(value, operand, offset, rows[position])
        else:
            words = lowering.read(value, operand, offset)
        return lowering.to_elements(words, operand.dtype)

    def addresses(
        self, number: int, signature: Signature, places: list[tuple[int, int]], memory: Memory
    ) -> dict[int, Rows]:
        """The run-time addresses of the indirect operands, by position; bad ones are entered as the fault."""
        skips = signature.attribute("oob_mode") == "skip"
        found: dict[int, Rows] = {}
        for position, operand in enumerate(signature.operands):
            if operand.indirection is not None and not operand.name.endswith(".index"):
                index = self.read(signature, position + 1, places, {}, memory)
                rows = found[position] = indirection.resolve(operand, places[position][1], index)
                wrong = rows.leaves if skips else rows.leaves | ~rows.inside
                here = jnp.stack([jnp.int32(number), jnp.int32(position), rows.values[jnp.argmax(wrong)]])
                fault = memory.words[FAULT]
                memory.words[FAULT] = jnp.where(wrong.any() & (fault[0] < 0), here, fault)
        return found


def evaluate(meaning: Meaning, arrays: list[Array], immediates: list[float], zero: Array) -> Sequence[Array]:
    """The results of one instruction; `zero` hides its immediates from the compiler.

    The reference gets immediates at run time: as constants they would invite other arithmetic.
    """
    raw = meaning.math == "raw"
    if CATALOGUE[meaning.opcode].moves and raw:
        return arrays
    scalars = [immediate(value, raw) for value in immediates]
    hidden = [lax.bitcast_convert_type(zero ^ scalar.view(np.uint32), scalar.dtype) for scalar in scalars]
    results = jitted(meaning)(arrays, hidden)
    return results if arrays or hidden else [lowering.opaque(result) for result in results]


def _show(on_print: Print, prefix: str, values: Any) -> None:
    on_print(prefix, np.array(values))


def results_of(program: Program) -> tuple[int, ...]:
    """The buffers whose values a run hands back: outputs and inputs written, each once."""
    return tuple(dict.fromkeys((*program.outputs, *program.mutated_inputs)))


def trip_count(lower: Array, upper: Array, step: int) -> Array:
    """len(range(lower, upper, step)) for int32 bounds, as uint32: no difference of bounds overflows."""
    low, high = (lower, upper) if step > 0 else (upper, lower)
    distance = jnp.where(low < high, high.astype(jnp.uint32) - low.astype(jnp.uint32), jnp.uint32(0))
    size = np.uint32(abs(step))
    return distance // size + (distance % size != 0)
