"""Folding takes time in proportion to the length of the program, whatever the program.

Limits in seconds of processor time are ten times what folding takes on one core of a machine of 2023, so that a slow
or busy machine passes and anything that is not linear does not.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.emulator.synthetic import word
from trnlab.emulator.fold import fold
from trnlab.emulator.program import Program

SIZE = 1 << 16
LOOPS, ANYTHING = 60e-6, 150e-6  # seconds for an instruction; ten times 6 and 15 microseconds


def loopy(size: int) -> Program:
    """Four loops inside each other: trips so many, 8, 5 and 4, two instructions before each inner loop, one behind."""
    opcodes, offsets = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for depth, trips in enumerate((4, 5, 8)):
        one = np.concatenate([[3 * depth, 3 * depth + 1], opcodes, [3 * depth + 2]])
        moved = np.concatenate([[0, 1], offsets, [2]])
        opcodes = np.tile(one, trips)
        offsets = (moved + 7 * (depth + 1) * np.arange(trips)[:, None]).reshape(-1)
    trips = size // len(opcodes)
    rows = np.stack([np.zeros(trips * len(opcodes)), (offsets + 64 * np.arange(trips)[:, None]).reshape(-1)], axis=-1)
    return word(np.tile(opcodes, trips), np.repeat(rows[:, None], 3, axis=1))


def thue_morse(size: int) -> np.ndarray:
    return np.asarray([number.bit_count() % 2 for number in range(size)])


def fibonacci(size: int) -> np.ndarray:
    longer, shorter = "01", "0"
    while len(longer) < size:
        longer, shorter = longer + shorter, longer
    return np.asarray(list(longer[:size]), np.int64)


def squares(size: int) -> np.ndarray:
    result = np.zeros(size, np.int64)
    result[np.arange(int(size**0.5)) ** 2] = 1
    return result


WORDS = {
    "random over 2": lambda size: np.random.default_rng(2).integers(0, 2, size),
    "random over 5": lambda size: np.random.default_rng(5).integers(0, 5, size),
    "random over 1000": lambda size: np.random.default_rng(7).integers(0, 1000, size),
    "Thue-Morse": thue_morse,
    "Fibonacci": fibonacci,
    "ruler": lambda size: np.asarray([(number & -number).bit_length() for number in range(1, size + 1)]),
    "squares": squares,
}
ROWS = {
    "equal": lambda size: np.zeros((size, 1, 2)),
    "random": lambda size: np.random.default_rng(3).integers(0, 50, (size, 1, 2)),
}


def seconds(program: Program) -> float:
    """Processor time of folding, which also compares the result with the program."""
    begin = time.process_time()
    fold(program)
    return time.process_time() - begin


def test_loops_are_found_in_linear_time() -> None:
    program = loopy(SIZE)
    assert seconds(program) < LOOPS * len(program)
    assert len(fold(program)) == 3 * 3


@pytest.mark.parametrize(
    ("name", "rows"), [*((name, "random") for name in WORDS), *((name, "equal") for name in list(WORDS)[:3])]
)
def test_words_without_loops_take_linear_time(name: str, rows: str) -> None:
    program = word(WORDS[name](SIZE), ROWS[rows](SIZE))
    assert seconds(program) < ANYTHING * SIZE


def test_long_triangles_take_linear_time() -> None:
    counts = np.arange(400)  # 80,200 instructions
    opcodes = np.concatenate([[0, *[1] * count, 2] for count in counts.tolist()])
    offsets = np.concatenate([[count, *range(count), -count] for count in counts.tolist()])
    program = word(opcodes, np.stack([np.zeros(len(offsets)), offsets], axis=-1)[:, None])
    assert seconds(program) < LOOPS * len(program)
    assert len(fold(program)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", WORDS)
def test_a_million_instructions(name: str) -> None:
    size = 1_000_000
    assert seconds(word(WORDS[name](size), ROWS["equal"](size))) < ANYTHING * size / 2


@pytest.mark.slow
def test_a_million_instructions_in_loops() -> None:
    program = loopy(1_000_000)
    assert seconds(program) < LOOPS * len(program) / 2
