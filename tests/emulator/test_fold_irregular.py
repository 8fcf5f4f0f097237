"""Folding loops whose iterations differ in length: triangular ones, ragged ones, and those with conditions."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt

import ml_dtypes
import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.synthetic import WIDTHS, Recorder
from trnlab.emulator import launch
from trnlab.emulator.fold import fold
from trnlab.emulator.fold_flatten import execution_order
from trnlab.emulator.program import Program
from trnlab.emulator.repeats import BUFFER, OFFSET, Repeat, outermost_first
from trnlab.kernels.attention import flash_attention

P = 128


def folded(program: Program) -> tuple[Program, list[Repeat]]:
    """The folded program, which must flatten to the original and survive JSON, and its repeats, outermost first."""
    result = fold(program)
    assert result.flat == program
    assert Program.from_json(result.to_json()) == result
    assert Program.from_json(result.to_json()).flat == program
    return result, outermost_first(result.repeats)


def tables(repeat: Repeat) -> dict[tuple[int, int], list[int]]:
    return {(table.row, table.column): table.values.tolist() for table in repeat.tables}


def triangular(outer: int, trips: Callable[[int], int], head: int, body: int, tail: int) -> Program:
    """for i in range(outer): heads; for j in range(trips(i)): a fresh tile, on which the body works; tails"""
    recorder = Recorder()
    t = recorder.tile()
    for i in range(outer):
        for number in range(head):
            recorder.emit(f"head{number}", (t, 3 * i))
        for j in range(trips(i)):
            fresh = recorder.tile(WIDTHS[1])
            for number in range(body):
                recorder.emit(f"body{number}", (fresh, j), (t, i * i))
        for number in range(tail):
            recorder.emit(f"tail{number}", (t, -i))
    return recorder.program()


# -- trip counts that depend on the outer iteration ------------------------------------------------------------------


@pytest.mark.parametrize(("head", "body", "tail"), [(1, 1, 1), (1, 3, 0), (2, 2, 1), (10, 15, 8), (30, 5, 2)])
@pytest.mark.parametrize(
    "trips",
    [
        lambda i: i + 1,
        lambda i: i,
        lambda i: 16 - i,
        lambda i: 2 * i + 1,
        lambda i: i // 2 + 3,
        lambda i: (i * 7) % 5 + 1,
    ],
    ids=["i + 1", "i", "16 - i", "2i + 1", "i // 2 + 3", "7i % 5 + 1"],
)
def test_inner_loops_with_trip_tables(trips: Callable[[int], int], head: int, body: int, tail: int) -> None:
    result, repeats = folded(triangular(16, trips, head, body, tail))
    assert len(result) == head + body + tail
    outer, inner = repeats
    counts = [trips(i) for i in range(16)]
    assert (outer.trips, outer.trip_table) == (16, None)
    assert inner.trips == max(counts)
    assert inner.trip_table is not None
    assert inner.trip_table.tolist() == counts
    assert inner.end - inner.begin == body
    # Inside, a tile is one further in its class and one offset further with every j: constant steps.
    assert inner.steps.tolist() == [[1, 1], [0, 0]] * body
    assert not inner.tables
    # Outside, the tiles of all iterations before come first, and the offset of t is a square: tables. Both are counted
    # from the first iteration in which the body runs.
    begun = next(i for i in range(16) if counts[i])
    fresh = [sum(counts[begun:i]) if counts[i] else 0 for i in range(16)]
    squares = [i * i - begun * begun if counts[i] else 0 for i in range(16)]
    row = int(result.operand_starts[inner.begin])
    assert tables(outer)[row, BUFFER] == fresh
    assert tables(outer)[row + 1, OFFSET] == squares


@pytest.mark.parametrize("body", [1, 2, 3, 6])
@pytest.mark.parametrize("trips", [lambda i: i + 1, lambda i: 20 - i, lambda i: 2 * i + 1])
def test_nothing_but_the_inner_loop(trips: Callable[[int], int], body: int) -> None:
    result, (outer, inner) = folded(triangular(20, trips, 0, body, 0))
    assert len(result) == body
    assert (outer.begin, outer.end) == (inner.begin, inner.end) == (0, body)
    assert outer.trips == 20
    assert inner.trip_table is not None
    assert inner.trip_table.tolist() == [trips(i) for i in range(20)]


def test_stored_rows_are_those_of_the_first_execution() -> None:
    result, (outer, inner) = folded(triangular(5, lambda i: max(0, i - 1), 1, 1, 1))
    assert len(result) == 3
    assert inner.trip_table is not None
    assert inner.trip_table.tolist() == [0, 0, 1, 2, 3]
    # The body runs for the first time with i == 2: tile 1 (tile 0 is t), offsets 0 and 2 * 2.
    assert result.row(1).tolist() == [[1, 0], [0, 4]]
    assert tables(outer) == {(1, BUFFER): [0, 0, 0, 1, 3], (2, OFFSET): [0, 0, 0, 5, 12]}
    # What runs in every iteration keeps its constant steps.
    assert outer.steps.tolist() == [[0, 3], [0, 0], [0, 0], [0, -1]]
    assert execution_order(result).tolist() == [0, 2, 0, 2, 0, 1, 2, 0, 1, 1, 2, 0, 1, 1, 1, 2]


def test_triangles_in_triangles() -> None:
    recorder = Recorder()
    t = recorder.tile()
    for i in range(8):
        recorder.emit("first", (t, i))
        for j in range(i):
            recorder.emit("second", (t, j))
            for k in range(j):
                recorder.emit("third", (recorder.tile(WIDTHS[1]), k))
            recorder.emit("fourth", (t, i + j))
        recorder.emit("fifth", (t, -i))
    result, (outer, middle, inner) = folded(recorder.program())
    assert len(result) == 5
    assert outer.trips == 8
    assert middle.trip_table is not None
    assert middle.trip_table.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert inner.trip_table is not None
    assert inner.trip_table.tolist() == [[0, 1, 2, 3, 4, 5, 6]]  # whatever i is
    # Tiles before iteration (i, j): 0 + 0+1 + 0+1+2 + ... for the rows of triangles, and 0+1+...+j-1 in the own one.
    # The first execution is that of i == 2, j == 1.
    row = int(result.operand_starts[2])
    assert tables(outer)[row, BUFFER] == [0, 0, 0, 1, 4, 10, 20, 35]
    assert tables(middle)[row, BUFFER] == [0, 0, 1, 3, 6, 10, 15]


def test_a_triangle_in_a_loop_of_heads() -> None:
    recorder = Recorder()
    t = recorder.tile()
    for head in range(4):
        recorder.emit("head", (t, head))
        for i in range(9):
            recorder.emit("query", (t, i), (t, head))
            for j in range(i):
                recorder.emit("key", (recorder.tile(WIDTHS[1]), j), (t, i))
            recorder.emit("store", (t, i))
    result, (heads, queries, keys) = folded(recorder.program())
    assert len(result) == 4
    assert (heads.trips, queries.trips, keys.trips) == (4, 9, 8)
    assert keys.trip_table is not None
    assert keys.trip_table.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7, 8]]
    # Every head has 0 + 1 + ... + 8 tiles: a constant step.
    assert heads.steps[int(result.operand_starts[keys.begin]) - int(result.operand_starts[heads.begin]), 0] == 36


def test_ragged_batches_take_tables_over_two_loops() -> None:
    lengths = [5, 7, 7, 7, 4, 9]
    recorder = Recorder()
    t = recorder.tile()
    for batch, length in enumerate(lengths):
        recorder.emit("begin", (t, batch))
        for query in range(length):
            recorder.emit("query", (t, query))
            for key in range(length):
                recorder.emit("key", (recorder.tile(WIDTHS[1]), key))
            recorder.emit("store", (t, query))
    result, (batches, queries, keys) = folded(recorder.program())
    assert len(result) == 4
    assert batches.trips == 6
    assert queries.trip_table is not None
    assert queries.trip_table.tolist() == lengths
    assert keys.trip_table is not None
    assert keys.trip_table.tolist() == [[length] for length in lengths]
    # Tiles before (batch, query): the squares of the lengths before, and query times the own length, which is no sum of
    # a term for the batch and one for the query.
    (table,) = keys.tables
    assert (table.row, table.column) == (int(result.operand_starts[keys.begin]), BUFFER)
    assert table.values.shape == (6, 9, 1)
    for batch, length in enumerate(lengths):
        before = sum(other * other for other in lengths[:batch])
        expected = [before + query * length if query < length else 0 for query in range(9)]
        assert table.values[batch, :, 0].tolist() == expected


def test_immediates_of_a_triangle() -> None:
    recorder = Recorder()
    t = recorder.tile()
    for i in range(6):
        recorder.emit("head", (t, i), values=(i**0.5,))
        for j in range(i):
            recorder.emit("body", (t, j), values=(i / 7, 1 / (j + 1), i + 0.1 * j, 2.5))
        recorder.emit("tail", (t, i))
    result, (outer, inner) = folded(recorder.program())
    assert len(result) == 3
    (head,) = outer.immediates
    assert head.values.tolist() == [i**0.5 for i in range(6)]
    by_i, by_j, by_both = inner.immediates
    assert by_i.values.tolist() == [[0.0]] + [[i / 7] for i in range(1, 6)]  # 0 where the body never runs
    assert by_j.values.tolist() == [[1 / (j + 1) for j in range(5)]]
    assert by_both.values.tolist() == [[i + 0.1 * j if j < i else 0.0 for j in range(5)] for i in range(6)]


# -- conditions ------------------------------------------------------------------------------------------------------


def is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, isqrt(number) + 1))


def test_what_only_some_iterations_have_is_a_condition() -> None:
    holds = [1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 0, 1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0]
    recorder = Recorder()
    t = recorder.tile()
    for i, here in enumerate(holds):
        recorder.emit("load", (t, i))
        recorder.emit("scale", (t, 2 * i))
        if here:
            recorder.emit("mask", (recorder.tile(WIDTHS[1]), i))
            recorder.emit("apply", (t, i))
        recorder.emit("store", (t, i))
    result, (outer, condition) = folded(recorder.program())
    assert len(result) == 5
    assert outer.trips == len(holds)
    assert (condition.begin, condition.end, condition.trips) == (2, 4, 1)
    assert condition.trip_table is not None
    assert condition.trip_table.tolist() == holds
    assert not condition.steps.any()
    assert not condition.tables


def test_alternatives_share_what_they_have_in_common() -> None:
    recorder = Recorder()
    t = recorder.tile()
    kinds = [0, 1, 2, 1, 0, 0, 2, 1, 2, 2, 0, 1, 0, 2, 1, 1]
    for i, kind in enumerate(kinds):
        for number in range(4):
            recorder.emit(f"before{number}", (t, i))
        recorder.emit(f"width{kind}", (t, i))
        recorder.emit("shared", (t, i))
        recorder.emit(f"height{kind}", (t, i))
        for number in range(3):
            recorder.emit(f"after{number}", (t, i))
    result, repeats = folded(recorder.program())
    assert len(result) == 4 + 3 + 1 + 3 + 3
    assert repeats[0].trips == 16
    masks = [[int(kind == which) for kind in kinds] for which in range(3)]
    found = [repeat.trip_table.tolist() for repeat in repeats[1:] if repeat.trip_table is not None]
    assert sorted(found) == sorted(masks * 2)


def test_named_instructions_are_in_no_condition() -> None:
    recorder = Recorder()
    t = recorder.tile()
    for i in range(20):
        recorder.emit("load", (t, i))
        if is_prime(i):
            recorder.emit("extra", (t, i))
        recorder.emit("store", (t, i))
    program = recorder.program()
    program = program.replace(names={10: "here"}, edges=((12, 13),))
    result, repeats = folded(program)
    for number in (*result.names, *result.edges[0]):
        assert not any(repeat.begin <= number < repeat.end for repeat in repeats)


# -- kernels ---------------------------------------------------------------------------------------------------------


def test_a_triangular_kernel() -> None:
    def kernel(x):
        for i in nl.affine_range(8):
            total = nl.ndarray((P, 64), dtype=nl.float32)
            nisa.dma_copy(total, x[i * P : (i + 1) * P])
            for j in range(i + 1):
                t = nl.ndarray((P, 64), dtype=nl.float32)
                nisa.dma_copy(t, x[j * P : (j + 1) * P])
                nisa.tensor_tensor(total, total, t, nl.add)
            nisa.dma_copy(x[(16 + i) * P : (17 + i) * P], total)
        return x

    program = launch.trace(kernel, np.zeros((4096, 64), np.float32), target="trn3")
    result, (outer, inner) = folded(program)
    assert len(program) == 8 * 2 + 36 * 2
    assert len(result) == 4
    assert inner.trip_table is not None
    assert inner.trip_table.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    # Tiles before iteration i: one total and i' + 1 others in each of those before.
    assert tables(outer)[0, BUFFER] == [sum(2 + before for before in range(i)) for i in range(8)]


@pytest.mark.parametrize(("shape", "most"), [((1, 4096, 128), 100), ((4, 2048, 64), 100), ((1, 1024, 64), 100)])
def test_causal_attention(shape: tuple[int, int, int], most: int) -> None:
    q = np.zeros(shape, ml_dtypes.bfloat16)
    result, repeats = folded(launch.trace(flash_attention, q, q, q, causal=True))
    assert len(result) <= most
    tiles = shape[1] // 128  # of 128 queries; keys go by in blocks of 512
    counts = [
        repeat.trip_table.reshape(-1).tolist()
        for repeat in repeats
        if repeat.trip_table is not None and repeat.trips > 1
    ]
    # Unmasked blocks after the first one: the diagonal is in block i // 4, which is masked.
    middle = [max(0, i // 4 - 1) for i in range(tiles)]
    assert middle in counts or tiles <= 8
    # The last block has one, two, three or four tiles of keys, by i % 4: each a condition.
    conditions = [
        repeat.trip_table.reshape(-1).tolist()
        for repeat in repeats
        if repeat.trip_table is not None and repeat.trips == 1
    ]
    assert [int(i % 4 == 1) for i in range(tiles)] in conditions


def test_the_listing_shows_trip_tables() -> None:
    text = str(fold(triangular(20, lambda i: i % 7, 1, 1, 1)))
    assert "repeat 20 times (i):" in text
    assert "repeat table(i) [0 1 2 3 4 5 6 0 1 2 3 4 5 6 0 1 ...] times (j):" in text
    recorder = Recorder()
    t = recorder.tile()
    for i in range(14):
        recorder.emit("load", (t, i))
        recorder.emit("scale", (t, i))
        if is_prime(i):
            recorder.emit("extra", (t, 0))
        recorder.emit("store", (t, i))
    assert "if table(i) [0 0 1 1 0 1 0 1 0 0 0 1 0 1]:" in str(fold(recorder.program()))


# -- limits ----------------------------------------------------------------------------------------------------------


def test_trip_counts_that_would_be_mostly_padding_stay_unrolled() -> None:
    program = triangular(300, lambda i: 2000 if i == 150 else i % 2 + 3, 1, 1, 1)
    result, _ = folded(program)
    # One long inner loop among 300 short ones: a table of tiles with 300 * 2000 entries for 3,050 executions.
    stored = sum(table.values.size for repeat in result.repeats for table in repeat.tables)
    assert stored < 4 * len(program.operands)


def test_parts_in_no_order_are_not_merged() -> None:
    rng = np.random.default_rng(5)
    recorder = Recorder()
    t = recorder.tile()
    for letter in rng.integers(0, 40, 4000).tolist():
        recorder.emit(f"op{letter}", (t, 0))
    result, _ = folded(recorder.program())
    assert len(result) > 3800
