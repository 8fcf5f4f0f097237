"""Repeats written by hand: what flattening makes of them, and which ones are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.emulator.synthetic import WIDTHS, Recorder
from trnlab.emulator.fold_flatten import execution_order, flatten
from trnlab.emulator.program import Program
from trnlab.emulator.repeats import (
    BUFFER,
    OFFSET,
    ImmediateTable,
    Repeat,
    StepTable,
    check_repeats,
    classes_of,
    outermost_first,
    repeats_around,
)


def triangle() -> Program:
    """for i in range(4): head; for j in range(i): body on a fresh tile; tail, stored as three instructions."""
    recorder = Recorder()
    t = recorder.tile()
    tiles = [recorder.tile(WIDTHS[1]) for _ in range(6)]
    recorder.emit("head", (t, 0))
    recorder.emit("body", (tiles[0], 0), (t, 1), values=(0.5,))
    recorder.emit("tail", (t, 0))
    inner = Repeat(
        begin=1,
        end=2,
        trips=3,
        trip_table=np.arange(4),
        steps=np.asarray([[1, 1], [0, 0]]),
        immediates=(ImmediateTable(0, np.asarray([[0.0], [0.5], [0.25], [0.125]])),),
    )
    outer = Repeat(
        begin=0,
        end=3,
        trips=4,
        steps=np.asarray([[0, 10], [0, 0], [0, 0], [0, 20]]),
        tables=(StepTable(1, BUFFER, np.asarray([0, 0, 1, 3])), StepTable(2, OFFSET, np.asarray([0, 0, 3, 8]))),
    )
    return recorder.program().replace(repeats=(inner, outer))


def test_a_triangle_is_flattened_iteration_by_iteration() -> None:
    program = triangle()
    assert execution_order(program).tolist() == [0, 2, 0, 1, 2, 0, 1, 1, 2, 0, 1, 1, 1, 2]
    expected: list[list[int]] = []
    values = []
    tile = 1  # the first fresh one; t is number 0
    for i in range(4):
        expected.append([0, 10 * i])
        for j in range(i):
            expected += [[tile, j], [0, i * i]]
            values.append(0.5**i)
            tile += 1
        expected.append([0, 20 * i])
    assert program.flat.operands.tolist() == expected
    assert program.flat.immediates.tolist() == values
    assert program.flat.repeats == ()


def test_a_table_over_several_loops_adds_up_with_steps() -> None:
    recorder = Recorder()
    recorder.emit("a", (recorder.tile(), 5))
    table = np.asarray([[[0], [1], [2]], [[7], [70], [700]]])
    body = {"begin": 0, "end": 1, "steps": np.asarray([[0, 0]])}
    inner = Repeat(**{**body, "steps": np.asarray([[0, 1000]])}, trips=2, tables=(StepTable(0, OFFSET, table),))
    program = recorder.program().replace(repeats=(inner, Repeat(**body, trips=3), Repeat(**body, trips=2)))
    check_repeats(program.repeats, program.operand_starts, program.immediate_starts)
    offsets = [5 + table[i, j, 0] + 1000 * k for i in range(2) for j in range(3) for k in range(2)]
    assert program.flat.operands[:, OFFSET].tolist() == offsets
    assert [len(around) for around in repeats_around(outermost_first(program.repeats))] == [0, 1, 2]


def test_conditions_leave_out_what_does_not_hold() -> None:
    recorder = Recorder()
    t = recorder.tile()
    recorder.emit("a", (t, 0))
    recorder.emit("b", (t, 1))
    condition = Repeat(
        begin=1, end=2, trips=1, trip_table=np.asarray([0, 1, 1, 0, 1]), steps=np.zeros((1, 2), np.int64)
    )
    outer = Repeat(begin=0, end=2, trips=5, steps=np.asarray([[0, 1], [0, 0]]))
    flat = recorder.program().replace(repeats=(condition, outer)).flat
    assert [item.opcode for item in flat] == ["a", "a", "b", "a", "b", "a", "a", "b"]


def test_json_keeps_trip_tables() -> None:
    program = triangle()
    again = Program.from_json(program.to_json())
    assert again == program
    assert again.flat == program.flat
    inner, _ = again.repeats
    assert inner.trip_table is not None
    assert inner.trip_table.tolist() == [0, 1, 2, 3]
    assert program.replace(repeats=(replace(program.repeats[0], trip_table=np.asarray([0, 1, 3, 2])),)) != program


def faulty(**changes: Any) -> list[Repeat]:
    inner, outer = triangle().repeats
    return [replace(inner, **changes), outer]


ROW = StepTable(1, BUFFER, np.zeros(3, np.int64))


@pytest.mark.parametrize(
    ("repeats", "message"),
    [
        (faulty(begin=2), "its ends must lie inside"),
        (faulty(end=4), "its ends must lie inside"),
        (faulty(begin=-1), "its ends must lie inside"),
        (faulty(trips=0), "trips is 0, at least 1"),
        (faulty(steps=np.zeros((3, 2), np.int64)), r"steps has shape \(3, 2\), its body has 2 operand rows"),
        (faulty(trip_table=np.arange(5)), r"a trip table of shape \(5,\) inside 1 repeats of \(4,\) trips"),
        (faulty(trip_table=np.arange(4)[None]), r"a trip table of shape \(1, 4\)"),
        (faulty(trip_table=np.asarray([-1, 1, 2, 3])), "a trip table of shape"),
        (faulty(trip_table=np.asarray([0, 1, 2, 2])), "trips is 3, the largest entry of its trip table is 2"),
        (faulty(tables=(ROW._replace(row=0),)), "a step table for row 0"),
        (faulty(tables=(ROW._replace(column=2),)), "a step table for row 1, column 2"),
        (
            faulty(tables=(ROW._replace(values=np.zeros(4, np.int64)),)),
            r"a step table for row 1, column 0 of shape \(4",
        ),
        (
            faulty(tables=(ROW._replace(values=np.zeros((3, 3), np.int64)),)),
            r"a step table for row 1, column 0 of shape \(3, 3",
        ),
        (faulty(immediates=(ImmediateTable(1, np.zeros((4, 1))),)), "a table for immediate 1"),
        (faulty(immediates=(ImmediateTable(0, np.zeros(4)),)), r"a table for immediate 0 of shape \(4,\)"),
        ([replace(triangle().repeats[1], trip_table=np.asarray(4))], "a trip table of shape"),
    ],
)
def test_repeats_that_do_not_fit_are_refused(repeats: list[Repeat], message: str) -> None:
    program = triangle()
    with pytest.raises(ValueError, match=rf"the repeat of instructions -?\d+\.\.\d+: {message}"):
        check_repeats(repeats, program.operand_starts, program.immediate_starts)
    damaged = program.replace(repeats=tuple(repeats)).to_json()
    with pytest.raises(ValueError, match="the repeat of instructions"):
        Program.from_json(damaged)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("repeats", 0, "trips"), 2.5),
        (("repeats", 0, "begin"), "1"),
        (("repeats", 0, "trip_table"), [[3], [0, 1, 2, 3]]),
        (("repeats", 0, "trip_table"), [[4], [0, 1, 2, 10**30]]),
        (("repeats", 0, "trip_table"), 4),
        (("repeats", 0, "steps"), [1, 2, 3]),
        (("repeats", 1, "tables"), [[1, 0, [4], [0, 0, 1]]]),
        (("repeats", 1), None),
        (("operands",), [0, 0]),
        (("immediates",), []),
        (("signature_ids",), [0, 1, 7]),
    ],
)
def test_damaged_json_is_a_value_error(path: tuple[Any, ...], value: Any) -> None:
    data = json.loads(triangle().to_json())
    place = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ValueError, match=r".+"):
        Program.from_json(json.dumps(data))


def test_a_repeat_that_leaves_its_class_is_refused() -> None:
    inner, outer = triangle().repeats
    beyond = replace(inner, steps=np.asarray([[2, 1], [0, 0]]))  # six tiles, and the last one would be the eighth
    with pytest.raises(IndexError, match="steps out of its class"):
        flatten(triangle().replace(repeats=(beyond, outer)))


def test_classes_are_of_equal_region_shape_dtype_and_kind() -> None:
    recorder = Recorder()
    for width, kind in ((64, "local"), (128, "local"), (64, "local"), (64, "input"), (128, "local"), (64, "local")):
        recorder.tile(width, kind)  # type: ignore[arg-type]
    classes = classes_of(recorder.buffers)
    assert classes.class_of.tolist() == [0, 1, 0, 2, 1, 0]
    assert classes.index_of.tolist() == [0, 0, 1, 0, 1, 2]
    assert classes.advanced(np.asarray([0, 1, 5]), np.asarray([2, 1, -1])).tolist() == [5, 4, 2]
