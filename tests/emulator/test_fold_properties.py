"""Folding is exact on any program, and finds any nest of loops that advances by constant steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from hypothesis import given, settings, strategies as st

from tests.emulator.synthetic import WIDTHS, Recorder
from trnlab.emulator.fold import fold
from trnlab.emulator.program import Loop, Program

LETTERS = "abcde"


@dataclass(frozen=True)
class Operand:
    """`buffer` is "fixed", "fresh" (allocated with the instruction), "list" (by the counter) or "permuted"."""

    buffer: str
    offset: int
    steps: tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    opcode: str
    operands: tuple[Operand, ...]
    value: str | None
    peeled: bool


@dataclass(frozen=True)
class Range:
    """`trips`, and `slope` more with every iteration of one of the loops around."""

    trips: int
    body: tuple[Statement, ...]
    slope: int = 0
    by: int = 0

    def count(self, counters: tuple[int, ...]) -> int:
        return max(0, self.trips + self.slope * counters[self.by % len(counters)]) if counters else self.trips


@dataclass(frozen=True)
class When:
    """Statements that every `every`-th iteration of one of the loops around executes."""

    every: int
    by: int
    body: tuple[Statement, ...]

    def holds(self, counters: tuple[int, ...]) -> bool:
        return not counters or counters[self.by % len(counters)] % self.every == 0


Statement: TypeAlias = Operation | Range | When


class Interpreter:
    """Runs nests as a kernel's Python would, recording what they emit."""

    def __init__(self, width: int) -> None:
        self.recorder = Recorder()
        self.shared = [self.recorder.tile(width) for _ in range(40)]
        self.order = np.random.default_rng(len(self.shared)).permutation(40).tolist()
        self.lines: dict[tuple[int, ...], int] = {}

    def run(self, body: Sequence[Statement], counters: tuple[int, ...] = (), path: tuple[int, ...] = ()) -> None:
        for place, item in enumerate(body):
            if isinstance(item, Range):
                for counter in range(item.count(counters)):
                    self.run(item.body, (*counters, counter), (*path, place))
            elif isinstance(item, When):
                if item.holds(counters):
                    self.run(item.body, counters, (*path, place))
            else:
                self.emit(item, counters, self.lines.setdefault((*path, place), len(self.lines)))

    def emit(self, item: Operation, counters: tuple[int, ...], line: int) -> None:
        inner = counters[-1] if counters else 0
        rows = []
        for operand in item.operands:
            moved = sum(step * counter for step, counter in zip(operand.steps, counters, strict=False))
            rows.append((self.buffer(operand.buffer, inner), operand.offset + moved))
        values = {None: [], "constant": [0.1], "varies": [1 / (1 + sum(counters))]}[item.value]
        first = item.peeled and not any(counters)
        self.recorder.emit(item.opcode + "0" * first, *rows, values=values, line=line)

    def buffer(self, kind: str, counter: int) -> int:
        if kind == "fresh":
            return self.recorder.tile(WIDTHS[1])
        place = {"fixed": 0, "list": counter % 40, "permuted": self.order[counter % 40]}[kind]
        return self.shared[place]


def operations(kinds: Sequence[str], *, peels: bool) -> st.SearchStrategy[Operation]:
    steps = st.tuples(*[st.integers(-9, 99)] * 4)
    operand = st.builds(Operand, st.sampled_from(kinds), st.integers(-5, 5), steps)
    return st.builds(
        Operation,
        st.sampled_from(LETTERS),
        st.lists(operand, min_size=1, max_size=3).map(tuple),
        st.sampled_from([None, "constant", "varies"]),
        st.booleans() if peels else st.just(False),
    )


def nests(
    kinds: Sequence[str], *, peels: bool, trips: st.SearchStrategy[int]
) -> st.SearchStrategy[list[Operation | Range]]:
    return st.lists(
        st.recursive(
            operations(kinds, peels=peels),
            lambda inner: st.builds(Range, trips, st.lists(inner, min_size=1, max_size=3).map(tuple)),
            max_leaves=6,
        ),
        min_size=1,
        max_size=3,
    )


def irregular_nests() -> st.SearchStrategy[list[Statement]]:
    kinds = ["fixed", "fresh", "list", "permuted"]

    def around(inner: st.SearchStrategy[Statement]) -> st.SearchStrategy[Statement]:
        body = st.lists(inner, min_size=1, max_size=3).map(tuple)
        loops = st.builds(Range, st.integers(0, 6), body, st.integers(-1, 2), st.integers(0, 3))
        return loops | st.builds(When, st.integers(2, 3), st.integers(0, 3), body)

    # A loop of eight iterations around all, so that there is something that inner loops depend on.
    nest = st.recursive(operations(kinds, peels=True), around, max_leaves=8)
    return st.lists(nest, min_size=1, max_size=3).map(lambda body: [Range(8, tuple(body))])


def recorded(body: Sequence[Statement]) -> Program:
    interpreter = Interpreter(WIDTHS[0])
    interpreter.run(body)
    return interpreter.recorder.program()


def statements(body: Sequence[Statement]) -> int:
    return sum(1 if isinstance(item, Operation) else statements(item.body) for item in body)


def check(program: Program) -> Program:
    result = fold(program)
    assert result.flat == program
    assert Program.from_json(result.to_json()) == result
    assert Program.from_json(result.to_json()).flat == program
    return result


@given(nests(["fixed", "fresh", "list", "permuted"], peels=True, trips=st.integers(1, 5)))
def test_any_nest_flattens_to_itself(body: list[Operation | Range]) -> None:
    check(recorded(body))


@given(nests(["fixed", "fresh", "list"], peels=False, trips=st.integers(3, 6)))
def test_nests_with_constant_steps_fold_to_their_statements(body: list[Operation | Range]) -> None:
    assert len(check(recorded(body))) <= statements(body)


@given(irregular_nests())
def test_any_irregular_nest_flattens_to_itself(body: list[Statement]) -> None:
    program = recorded(body)
    if len(program) < 20_000:
        check(program)


@given(
    st.integers(6, 12),
    st.integers(1, 4),
    st.integers(1, 2),
    st.lists(operations(["fixed", "fresh", "list"], peels=False), min_size=3, max_size=3),
    st.booleans(),
)
def test_triangles_fold_to_their_statements(
    outer: int, trips: int, slope: int, items: list[Operation], falling: bool
) -> None:
    start, slope = (trips + slope * outer, -slope) if falling else (trips, slope)
    head, inner, tail = items
    body = [Range(outer, (head, Range(start, (inner,), slope), tail))]
    result = check(recorded(body))
    assert len(result) == 3


rows = st.tuples(st.integers(0, 5), st.integers(-3, 3))


@st.composite
def sequences(draw: st.DrawFn) -> Program:
    """Few opcodes, buffers and lines, so that much repeats by accident; with structured loops, names and edges."""
    recorder = Recorder()
    for width, kind in [(WIDTHS[0], "local"), (WIDTHS[0], "local"), (WIDTHS[1], "local"), (WIDTHS[0], "input")] * 2:
        recorder.tile(width, kind)  # type: ignore[arg-type]
    chunks = draw(st.lists(st.tuples(st.integers(0, 2), st.lists(rows, min_size=1, max_size=2)), max_size=12))
    for _ in range(draw(st.integers(1, 6))):
        for letter, operands in chunks[: draw(st.integers(0, 12))]:
            values = [draw(st.sampled_from([0.0, -0.0, float("nan"), float("inf"), 0.1]))] if letter == 2 else []
            recorder.emit(LETTERS[letter], *operands, values=values, line=draw(st.integers(0, 40)) // 40)
    count = len(recorder.ids)
    cuts = sorted(draw(st.lists(st.integers(0, count), min_size=4, max_size=4)))
    loops = [Loop(kind="for", begin=begin, end=end, register=0) for begin, end in (cuts[1:3], cuts[:1] + cuts[3:])]
    program = recorder.program(loops[: draw(st.integers(0, 2))])
    number = st.integers(0, max(count - 1, 0))
    names = draw(st.dictionaries(number, st.just("name"), max_size=2)) if count else {}
    edges = draw(st.lists(st.tuples(number, number), max_size=2)) if count else []
    return program.replace(names=names, edges=tuple(edges))


@given(sequences())
def test_any_sequence_flattens_to_itself(program: Program) -> None:
    result = check(program)
    for loop in result.loops:
        for repeat in result.repeats:
            inside = loop.begin <= repeat.begin and repeat.end <= loop.end
            assert inside or repeat.end <= loop.begin or loop.end <= repeat.begin


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_random_rows_flatten_to_themselves(opcodes: int, buffers: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    recorder = Recorder()
    tiles = [recorder.tile() for _ in range(buffers)]
    for letter in rng.integers(0, opcodes, 300).tolist():
        recorder.emit(LETTERS[letter], (tiles[int(rng.integers(buffers))], int(rng.integers(-2, 3))))
    check(recorder.program())
