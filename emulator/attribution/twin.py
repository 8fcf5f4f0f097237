"""The walk: the program executed as it is, and beside it, in float64, every world.

For each instruction, with `true` what it wrote, `wide(x)` its rule in float64 and `true_operands` what it read:

    local error     = true - wide(true_operands)
    inherited error = wide(true_operands) - wide(operands of the twin)

so that true - twin = local + inherited, element by element. The true results are those of the reference executor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trnlab.emulator.attribution.kinds import accumulates
from trnlab.emulator.attribution.memory import Memory, Window, windows, words_of
from trnlab.emulator.attribution.rules_moves import RULES
from trnlab.emulator.attribution.walk import walk
from trnlab.emulator.attribution.wide import Floats, Rule, WideCall
from trnlab.emulator.attribution.worlds import World
from trnlab.emulator.backends.reference import Reference
from trnlab.emulator.backends.semantics import Meaning, meaning_of
from trnlab.emulator.dtypes import DType
from trnlab.emulator.loops import Runner
from trnlab.emulator.nest import TOP, innermost_loops, live_ranges
from trnlab.emulator.program import Program, Signature
from trnlab.emulator.target import Target
from trnlab.emulator.testing.formats import decode, round_to


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One written operand of one executed instruction: the elements that it wrote, in its view's shape if all.

    true:   what the program wrote
    wide:   the rule's result from the program's own operands
    twin:   the rule's result from the twin's operands
    accumulates: whether the instruction computed with the old content of that place
    """

    dtype: DType
    true: Floats
    wide: Floats
    twin: Floats
    accumulates: bool


class Executed(NamedTuple):
    """One executed instruction: its float results by operand, and what the twin could not follow.

    line:      index into the program's source lines, -1 where unknown
    as_it_is:  whether it has no wide rule, so that the twin took over the program's results
    dropped:   whether that, or bits read as another dtype, dropped errors that its operands carried
    integers:  integer elements written that differ in the twin
    """

    number: int
    opcode: str
    line: int
    results: Mapping[str, Result]
    as_it_is: bool
    dropped: bool
    integers: int


class _Prepared(NamedTuple):
    signature: Signature
    run: Runner
    meaning: Meaning
    rule: Rule | None


Observer = Callable[[Executed], None]
_Inputs = Mapping[str, Floats]


class Twin:
    """A walk of a flat program on given inputs, with any number of worlds; the first one is the twin."""

    def __init__(self, program: Program, target: Target, inputs: Sequence[NDArray[Any]], worlds: list[World]) -> None:
        self.program, self.target, self.worlds = program.flat, target, worlds
        self.memory = Memory(self.program, inputs)
        self._reference = Reference(target, on_print=lambda prefix, values: None)
        self._prepared: dict[int, _Prepared] = {}

    def run(self, observe: Observer) -> None:
        """Execute every instruction; `observe` sees each one."""
        ending = deque(_ends(self.program))
        is_outside = (innermost_loops(self.program) == TOP).tolist()
        for number in walk(self.memory):
            self._step(number, observe)
            # Inside a loop nothing ends: its next iteration may use the same buffers.
            while is_outside[number] and ending and ending[0][0] <= number:
                self._free(ending.popleft()[1])

    def _free(self, buffer: int) -> None:
        self.memory.free(buffer)
        for world in self.worlds:
            world.free(buffer)

    def _prepare(self, number: int) -> _Prepared:
        which = int(self.program.signature_ids[number])
        if which not in self._prepared:
            signature = self.program.signatures[which]
            run, meaning = self._reference.prepare(signature), meaning_of(signature, self.target)
            self._prepared[which] = _Prepared(signature, run, meaning, RULES.get(signature.opcode))
        return self._prepared[which]

    def _step(self, number: int, observe: Observer) -> None:
        prepared = self._prepare(number)
        tensors, immediates = self.memory.tensors(number), self.program.immediate_row(number).tolist()
        places = windows(prepared.signature, tensors)
        operands = prepared.meaning.operands
        reads = {name: (places[name], shape) for name, access, _, shape in operands if access != "write"}
        writes = [name for name, access, _, _ in operands if access != "read"]
        true_in = {name: self._decoded(where).reshape(_laned(shape, where)) for name, (where, shape) in reads.items()}
        world_ins, dropped = self._read_worlds(reads)
        dropped |= self._make_room([places[name] for name in writes])
        prepared.run(tensors, immediates)
        real = {name: self._decoded(places[name]) for name in writes}
        named = dict(zip(prepared.signature.immediates, immediates, strict=True))
        make = partial(_call, prepared.meaning, places, named, real)
        wide, has_rule = _evaluate(prepared.rule, make(true_in), real)
        worlds = [
            wide if not has_rule or _same(true_in, found) else _evaluate(prepared.rule, make(found), real)[0]
            for found in world_ins
        ]
        line = int(self.program.location_ids[number])
        self._write_worlds(line, places, real, wide, worlds)
        as_it_is = bool(writes) and not has_rule
        dropped |= as_it_is and not _same(true_in, world_ins[0])
        results = _results(prepared.signature, places, real, wide, worlds[0])
        integers = sum(_differing(places[name], worlds[0][name], real[name]) for name in writes if name not in results)
        observe(Executed(number, prepared.signature.opcode, line, results, as_it_is, dropped, integers))

    def _decoded(self, where: Window) -> Floats:
        return decode(words_of(self.memory, where), where.dtype)

    def _read_worlds(self, reads: Mapping[str, tuple[Window, tuple[int, ...]]]) -> tuple[list[_Inputs], bool]:
        found: list[_Inputs] = []
        dropped = False
        for world in self.worlds:
            values: dict[str, Floats] = {}
            for name, (where, shape) in reads.items():
                read, was_dropped = world.read(self.memory, where)
                values[name], dropped = read.reshape(_laned(shape, where)), dropped or was_dropped
            found.append(values)
        return found, dropped

    def _make_room(self, places: Sequence[Window]) -> bool:
        """Shadows for results, before the program writes; returns whether errors beside them had to be dropped."""
        lost = [world.prepare(self.memory, where) for world in self.worlds for where in places]
        return any(lost)

    def _write_worlds(
        self, line: int, places: Mapping[str, Window], real: _Inputs, wide: _Inputs, worlds: Sequence[_Inputs]
    ) -> None:
        for world, values in zip(self.worlds, worlds, strict=True):
            for name, found in values.items():
                world.write(places[name], _added(real[name], wide[name], found) if world.errs(line) else found)


def _evaluate(rule: Rule | None, call: WideCall, real: _Inputs) -> tuple[_Inputs, bool]:
    """Results by name in the shapes of their views, and whether they are those of a wide rule."""
    with np.errstate(all="ignore"):  # infinities and NaNs are results like others here
        results = None if rule is None else rule(call)
    if results is None:
        return real, False
    found = {}
    for (name, true), values in zip(real.items(), results, strict=True):
        shaped = np.broadcast_to(values, call.shapes[name]).reshape(true.shape)
        found[name] = round_to(shaped, call.dtypes[name]) if call.dtypes[name].is_integer else shaped
    return found, True


def _results(
    signature: Signature, places: Mapping[str, Window], real: _Inputs, wide: _Inputs, twin: _Inputs
) -> dict[str, Result]:
    """The results that are not integers."""
    return {
        name: Result(
            dtype=places[name].dtype,
            true=places[name].written(real[name]),
            wide=places[name].written(wide[name]),
            twin=places[name].written(twin[name]),
            accumulates=accumulates(signature, places, name),
        )
        for name in real
        if not places[name].dtype.is_integer
    }


def _ends(program: Program) -> list[tuple[int, int]]:
    """(last instruction to use it, buffer), in order; buffers that are kept beyond the walk left out."""
    kept = {*program.inputs, *program.outputs}
    last = live_ranges(program).last.tolist()
    return sorted((end, buffer) for buffer, end in enumerate(last) if end >= 0 and buffer not in kept)


def _differing(where: Window, twin: Floats, real: Floats) -> int:
    return int(np.sum(where.written(twin) != where.written(real)))


def _laned(shape: tuple[int, ...], where: Window) -> tuple[int, ...]:
    return (*shape, 4) if where.dtype.is_packed else shape


def _call(
    meaning: Meaning, places: Mapping[str, Window], immediates: Mapping[str, float], real: _Inputs, values: _Inputs
) -> WideCall:
    shapes = {name: _laned(shape, places[name]) for name, access, _, shape in meaning.operands if access != "read"}
    return WideCall(
        opcode=meaning.opcode,
        values=values,
        shapes=shapes,
        dtypes={name: dtype for name, _, dtype, _ in meaning.operands},
        attributes=dict(meaning.attributes),
        immediates=immediates,
        math=meaning.math,
        real={name: array.reshape(shapes[name]) for name, array in real.items()},
    )


def _same(one: _Inputs, other: _Inputs) -> bool:
    return all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)


def _added(true: Floats, wide: Floats, values: Floats) -> Floats:
    """The wide result of a world plus the error that the program made; the program's own value where that is none."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(true) & np.isfinite(wide), values + (true - wide), true)
