"""The lowering of a folded program: one pure JAX function, a repeat as a loop or as wider operations.

Storages are values (see `storage`, `words`), instructions are evaluator calls, structured loops and sequential repeats
are `lax.while_loop`s that carry what they write, and repeats with independent iterations become dimensions of the
instructions in them (see `merging`, `widening`). The arithmetic is the evaluators', which the reference runs one by
one, so that the two can differ only in what XLA does across instructions. Three things stop that: sealed results
(`numerics.seal`), opaque operands (`views.opaque`), and constants that are joined with a zero computed from an input,
because no barrier hides a constant from LLVM, which has special cases for the numbers it knows.

Compiled code cannot raise. A bad run-time index (out of bounds, without `oob_mode.skip`) is recorded in the *fault*;
the first one stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from trnlab.emulator.backends import words as word_math
from trnlab.emulator.backends.instructions import InstructionLowering
from trnlab.emulator.backends.layout import plan_layout
from trnlab.emulator.backends.memory_state import FAULT, Memory, value_of
from trnlab.emulator.backends.merging import written_families
from trnlab.emulator.backends.positions import Position, Scope, entry_of, storage_shape
from trnlab.emulator.backends.reference import Print
from trnlab.emulator.backends.stepping import Stepping
from trnlab.emulator.backends.storage import Family
from trnlab.emulator.backends.stretches import INLINE_INSTRUCTIONS, Stretch
from trnlab.emulator.backends.words import stored_word
from trnlab.emulator.nest import Block
from trnlab.emulator.program import Loop, Program
from trnlab.emulator.repeats import Repeat
from trnlab.emulator.target import Target

Lowered = Callable[[Sequence[Array]], tuple[dict[int, Array], Array | None]]

_NO_FAULT = (-1, 0, 0)  # instruction, operand position, index value


def lower(program: Program, target: Target, on_print: Print, inline: int = INLINE_INSTRUCTIONS) -> Lowered:
    """The program as a pure JAX function of its inputs, in `program.inputs` order.

    It returns the outputs and the inputs written, by buffer number, as words in their buffers' shapes (see `words`: on
    some CPUs LLVM converts what is only reinterpreted as bfloat16 where it is computed); and the fault, three
    integers (instruction or -1, operand position, index), or None when the program has no run-time address.

    inline: how many instructions are compiled one by one (see `stretches`)
    """
    return _Lowering(program, target, on_print, inline)


class _Lowering:
    def __init__(self, program: Program, target: Target, on_print: Print, inline: int) -> None:
        self.__name__ = program.kernel  # what JAX calls the function in profiles
        self.program = program
        self.plan = plan_layout(program)
        self.instructions = InstructionLowering(self.plan, target, on_print)
        self.storage = self.plan.storage
        self.counts = self.plan.counts
        self.kept = frozenset(results_of(program))
        self.can_fault = any(o.indirection for s in program.signatures for o in s.operands)
        self.by_owner: dict[Block, list[Family]] = {}
        for family in self.storage.families:
            self.by_owner.setdefault(family.owner, []).append(family)
        self.stepping = Stepping(self.plan, self.instructions, self.outside(), inline)

    def outside(self) -> set[int]:
        """The families that hold more than what instructions leave for one another."""
        program = self.program
        registers = {n for loop in program.loops for n in (loop.register, loop.lower_register, loop.upper_register)}
        numbers = {*program.inputs, *self.kept, *program.constants, *registers}
        return {
            family.number for family in self.storage.families if not numbers.isdisjoint(n for _, n in family.members)
        }

    def __call__(self, inputs: Sequence[Array]) -> tuple[dict[int, Array], Array | None]:
        arrays = {}
        memory = Memory({}, jnp.uint32(0))
        for number, array in zip(self.program.inputs, inputs, strict=True):
            stored = array.astype(jnp.uint8) if array.dtype == jnp.bool_ else jnp.asarray(array)
            arrays[number] = word_math.to_words(stored, self.program.buffers[number].dtype)
            # Every input takes part, so that under shard_map whatever starts from the zero varies wherever they do.
            memory.zero = memory.zero | word_math.run_time_zero(stored_word(arrays[number]))
        if self.can_fault:
            memory.words[FAULT] = jnp.asarray(_NO_FAULT, jnp.int32) ^ memory.zero.astype(jnp.int32)
        for family in self.by_owner.get(self.storage.top, ()):
            if any(number in arrays or number in self.program.constants for _, number in family.members):
                memory.words[family.number] = self.initial(family, arrays, memory)
        self.run(self.storage.top, {}, memory)
        return {number: self.result(number, memory) for number in self.kept}, memory.words.get(FAULT)

    # -- memory -----------------------------------------------------------------------------------------------------

    def initial(self, family: Family, arrays: dict[int, Array], memory: Memory) -> Array:
        """Arguments and embedded data, slot by slot."""
        parts: list[Array] = []
        by_slot = dict(family.members)
        for slot in range(family.slots):
            number = by_slot.get(slot, -1)
            if number in arrays:
                parts.append(arrays[number])
                continue
            data = self.program.constants.get(number)
            buffer = family.buffer
            if data is None:
                parts.append(word_math.fresh(buffer, buffer.shape, memory.zero))
            else:
                parts.append(word_math.constant(buffer, data, memory.zero))
        return parts[0] if len(parts) == 1 else jnp.concatenate([part.reshape(-1) for part in parts])

    def result(self, number: int, memory: Memory) -> Array:
        buffer = self.program.buffers[number]
        name, slot = self.storage.slot_of_buffer[number]
        value = value_of(self.plan, self.storage.families[name], {}, memory)
        if value.size != buffer.size:
            value = value.reshape(-1, buffer.size)[slot]
        return value.reshape(buffer.shape)

    # -- blocks -----------------------------------------------------------------------------------------------------

    def run(self, block: Block, scope: Scope, memory: Memory) -> None:
        """Execute a block's instructions and loops once, updating the memory."""
        for part in self.stepping.parts(block):
            steps = self.stepping.steps(part, scope, memory) if isinstance(part, Stretch) else None
            if steps is not None:
                self.stepping.run(steps, scope, memory)
                continue
            for item in part.items if isinstance(part, Stretch) else [part]:
                self.item(item, scope, memory)

    def item(self, item: range | Block, scope: Scope, memory: Memory) -> None:
        """One instruction after the other, or a loop."""
        if not isinstance(item, Block):
            for number in item:
                self.instructions.run(number, scope, memory)
        elif isinstance(item.loop, Repeat):
            self.repeat(item, item.loop, scope, memory)
        else:
            self.loop(item, scope, memory)

    def repeat(self, block: Block, repeat: Repeat, scope: Scope, memory: Memory) -> None:
        """All iterations: `count` at a time, the rounds in a loop, what is left over at the end."""
        if repeat.trip_table is not None:
            entry = entry_of(repeat.trip_table, scope, next(reversed(scope)))
            trips = entry if isinstance(entry, int) else entry.value(scope)
            self.rounds(block, trips, 1, scope, memory)
            return
        count = self.counts[block]
        rounds, rest = divmod(repeat.trips, count)
        if rounds == 1:
            self.once(block, {**scope, block: Position(0, count)}, memory)
        else:
            self.rounds(block, rounds, count, scope, memory)
        if rest:
            self.once(block, {**scope, block: Position(rounds * count, rest)}, memory)

    def once(self, block: Block, scope: Scope, memory: Memory) -> None:
        self.run(block, scope, memory)
        memory.forget(self.owned_inside(block))

    def rounds(self, block: Block, rounds: int | Array, count: int, scope: Scope, memory: Memory) -> None:
        assert isinstance(block.loop, Repeat)
        high = block.loop.trips // count - 1

        def body(number: Array, state: list[Array]) -> list[Array]:
            inner = self.entered(memory, carried, state)
            position = Position(0, count, number, count, high)
            self.run(block, {**scope, block: position}, inner)
            return self.packed(carried, scope, inner)

        carried = self.carried(block, scope, memory)
        state = lax.fori_loop(jnp.int32(0), jnp.asarray(rounds, jnp.int32), body, self.packed(carried, scope, memory))
        self.left(block, carried, state, memory)

    def loop(self, block: Block, scope: Scope, memory: Memory) -> None:
        """One structured loop; it carries what its body writes and leaves to the next iteration or to what follows."""
        loop = block.loop
        assert isinstance(loop, Loop)
        register = self.storage.family_of_buffer(loop.register)
        carried = self.carried(block, scope, memory)
        if register.number not in carried:
            value_of(self.plan, register, scope, memory)
            carried.append(register.number)

        def body(counter: Array | None, state: list[Array]) -> list[Array]:
            inner = self.entered(memory, carried, state)
            if counter is not None:
                inner.words[register.number] = word_math.to_words(counter.reshape(1), register.buffer.dtype)
            self.run(block, scope, inner)
            return self.packed(carried, scope, inner)

        state = self.packed(carried, scope, memory)
        if loop.kind == "while":
            position = carried.index(register.number)
            state = lax.while_loop(lambda state: stored_word(state[position]) != 0, partial(body, None), state)
        else:
            lower = self.bound(loop.lower, loop.lower_register, memory)
            trips = trip_count(lower, self.bound(loop.upper, loop.upper_register, memory), loop.step)
            _, state = lax.while_loop(
                lambda counted: counted[0] < trips,
                lambda counted: (counted[0] + 1, body(lower + counted[0].astype(jnp.int32) * loop.step, counted[1])),
                (jnp.uint32(0), state),
            )
        self.left(block, carried, state, memory)

    def bound(self, number: int, register: int | None, memory: Memory) -> Array:
        if register is None:
            known: Array = (jnp.uint32(number & 0xFFFFFFFF) ^ memory.zero).astype(jnp.int32)
            return known
        value = value_of(self.plan, self.storage.family_of_buffer(register), {}, memory)
        return word_math.bits_of(stored_word(value)).astype(jnp.int32)

    def carried(self, block: Block, scope: Scope, memory: Memory) -> list[int]:
        """The families that the body writes and that outlive an iteration, the fault included; all have values."""
        names = []
        for family in written_families(self.storage, block):
            value_of(self.plan, family, scope, memory)
            names.append(family.number)
        return [*names, FAULT] if self.can_fault else names

    def entered(self, outer: Memory, carried: list[int], state: list[Array]) -> Memory:
        """What an iteration starts with: memory of its own, into which nothing flowed inside the body yet."""
        return Memory(outer.words | dict(zip(carried, state, strict=True)), outer.zero)

    def packed(self, carried: list[int], scope: Scope, memory: Memory) -> list[Array]:
        """Values as a loop carries them: in the shape in which instructions take them whole.

        XLA writes in place only what no reshaping lies in the way of.
        """
        shapes = [storage_shape(self.plan, self.storage.families[n], scope) if n != FAULT else (3,) for n in carried]
        return [memory.words[name].reshape(shape) for name, shape in zip(carried, shapes, strict=True)]

    def left(self, block: Block, carried: list[int], state: Sequence[Array], memory: Memory) -> None:
        """What a loop leaves behind; whoever writes to what its body read has to wait for it."""
        rows = self.storage.rows(block)
        names = set(self.storage.family_of[rows.start : rows.stop].tolist()) - set(carried)
        for name, value in zip(carried, state, strict=True):
            memory.replace(name, value, 0, moved=False)
        if state:
            memory.note_reader(names & memory.words.keys(), lambda: stored_word(state[0]))

    def owned_inside(self, block: Block) -> list[int]:
        """Families that are new in every iteration of the block or of one inside it."""
        found = [family.number for family in self.by_owner.get(block, ())]
        for item in block.items:
            if isinstance(item, Block):
                found += self.owned_inside(item)
        return found


def results_of(program: Program) -> tuple[int, ...]:
    """The buffers whose values a run hands back: outputs and inputs written, each once."""
    return tuple(dict.fromkeys((*program.outputs, *program.mutated_inputs)))


def trip_count(lower: Array, upper: Array, step: int) -> Array:
    """len(range(lower, upper, step)) for int32 bounds, as uint32: no difference of bounds overflows."""
    low, high = (lower, upper) if step > 0 else (upper, lower)
    distance = jnp.where(low < high, high.astype(jnp.uint32) - low.astype(jnp.uint32), jnp.uint32(0))
    size = np.uint32(abs(step))
    return distance // size + (distance % size != 0)
