"""The loop nest, live ranges and what is local to an iteration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator.nest import TOP, Block, covers, innermost_loops, live_ranges, nest
from trnlab.emulator.program import Loop, Program
from trnlab.emulator.target import get_target
from trnlab.emulator.trace import Trace


def record(body: Any) -> Program:
    with Trace("test", get_target("trn3")).opened() as trace:
        body()
        return trace.program([], [])


def tile(name: str) -> Any:
    return nl.ndarray((128, 8), dtype=nl.float32, name=name)


def ranges_by_name(program: Program) -> dict[str, tuple[int, int, bool]]:
    ranges = live_ranges(program)
    return {
        buffer.name: (int(ranges.first[n]), int(ranges.last[n]), bool(ranges.local[n]))
        for n, buffer in enumerate(program.buffers)
    }


def looped(*loops: tuple[int, int], instructions: int) -> Program:
    """A program of that many instructions with loops over begin..end, given in the order in which they close."""

    def body() -> None:
        x = tile("x")
        for _ in range(instructions):
            nisa.memset(x, 0.0)
        nl.device_print("r", x)

    program = record(body)
    return program.replace(loops=tuple(Loop(kind="for", begin=b, end=e, register=0) for b, e in loops))


def shape_of(block: Block) -> Any:
    return [shape_of(item) if isinstance(item, Block) else (item.start, item.stop) for item in block.items]


@pytest.mark.parametrize(
    ("loops", "expected"),
    [
        ((), [(0, 9)]),
        (((2, 5),), [(0, 2), [(2, 5)], (5, 9)]),
        (((2, 3), (1, 4)), [(0, 1), [(1, 2), [(2, 3)], (3, 4)], (4, 9)]),
        (((0, 2), (2, 4), (0, 4), (4, 9)), [[[(0, 2)], [(2, 4)]], [(4, 9)]]),
        (((1, 3), (1, 3)), [(0, 1), [[(1, 3)]], (3, 9)]),
        (((3, 3), (2, 4)), [(0, 2), [(2, 4)], (4, 9)]),  # a loop without instructions does nothing
    ],
)
def test_the_nest_of_loops(loops: Any, expected: Any) -> None:
    assert shape_of(nest(looped(*loops, instructions=8))) == expected


def test_the_outer_of_two_loops_over_the_same_instructions_closes_last() -> None:
    program = looped((1, 3), (1, 3), instructions=8)
    outer = nest(program).items[1]
    assert isinstance(outer, Block)
    assert outer.loop is program.loops[1]
    assert innermost_loops(program).tolist() == [TOP, 0, 0, TOP, TOP, TOP, TOP, TOP, TOP]


def test_straight_line_ranges_run_from_first_to_last_use() -> None:
    def body() -> None:
        a, b, unused = tile("a"), tile("b"), tile("unused")
        nisa.memset(a, 0.0)  # 0
        nisa.memset(b, 0.0)  # 1
        nisa.tensor_copy(b, a)  # 2
        nisa.memset(b, 1.0)  # 3
        del unused

    ranges = ranges_by_name(record(body))
    assert ranges["a"] == (0, 2, True)
    assert ranges["b"] == (1, 3, True)
    assert ranges["unused"] == (-1, -1, False)


def test_a_loop_widens_what_its_iterations_hand_on() -> None:
    def body() -> None:
        outside, kept, fresh = tile("outside"), tile("kept"), tile("fresh")
        nisa.memset(outside, 0.0)  # 0

        def inner(_: Any) -> None:
            nisa.memset(fresh, 0.0)  # 1: whole, so nothing of an earlier iteration is left
            nisa.tensor_copy(kept[:, 0:4], fresh[:, 0:4])  # 2: in part
            nisa.tensor_tensor(outside, outside, kept, nl.add)  # 3

        nl.fori_loop(0, 5, inner)
        nisa.memset(tile("after"), 0.0)  # 4

    ranges = ranges_by_name(record(body))
    assert ranges["outside"] == (0, 3, True)
    assert ranges["fresh"] == (1, 2, True)
    assert ranges["kept"] == (1, 3, False)
    assert ranges["after"] == (4, 4, True)


def test_a_first_write_in_an_inner_loop_may_not_happen() -> None:
    def body() -> None:
        only_inner, used_after = tile("only_inner"), tile("used_after")

        def outer(_: Any) -> None:
            nisa.memset(tile("pad"), 0.0)  # 0

            def inner(_: Any) -> None:
                nisa.memset(only_inner, 0.0)  # 1
                nisa.memset(used_after, 0.0)  # 2
                nisa.tensor_copy(only_inner, used_after)  # 3

            nl.fori_loop(0, 3, inner)
            nisa.tensor_copy(tile("pad2"), used_after)  # 4

        nl.fori_loop(0, 3, outer)

    ranges = ranges_by_name(record(body))
    assert ranges["only_inner"] == (1, 3, True)
    assert ranges["used_after"] == (0, 4, False)  # zero trips of the inner loop would show the last iteration's


def test_inner_loops_widen_buffers_that_are_local_to_an_outer_one() -> None:
    def body() -> None:
        def outer(_: Any) -> None:
            acc = tile("acc")
            nisa.memset(acc, 0.0)  # 0

            def inner(_: Any) -> None:
                nisa.memset(tile("pad"), 0.0)  # 1
                nisa.tensor_scalar(acc, acc, nl.add, 1.0)  # 2
                nisa.memset(tile("pad2"), 0.0)  # 3

            nl.fori_loop(0, 3, inner)

        nl.fori_loop(0, 3, outer)

    program = record(body)
    ranges = ranges_by_name(program)
    assert ranges["acc"] == (0, 3, True)
    acc = next(buffer.number for buffer in program.buffers if buffer.name == "acc")
    live = live_ranges(program)
    assert live.inside(acc, 0, 4)  # the outer loop carries nothing of it
    assert not live.inside(acc, 1, 4)  # the inner loop does


def test_registers_that_steer_a_loop_live_through_it() -> None:
    def body() -> None:
        bound = nisa.register_alloc(3)  # 0

        def inner(_: Any) -> None:
            nisa.memset(tile("x"), 0.0)  # 1

        nl.fori_loop(0, bound, inner)

    program = record(body)
    ranges = live_ranges(program)
    for number in (program.loops[0].register, program.loops[0].upper_register):
        assert number is not None
        assert ranges.last[number] == 1
        assert not ranges.inside(number, 1, 2)


def test_a_condition_overwritten_first_thing_is_still_read_before() -> None:
    def body() -> None:
        condition = nisa.register_alloc(3)  # 0

        def again(register: Any) -> Any:
            nisa.register_move(register, 0)  # 1
            return register

        nl.while_loop(condition, again)

    program = record(body)
    (loop,) = program.loops
    assert not live_ranges(program).inside(loop.register, loop.begin, loop.end)


@pytest.mark.parametrize(
    ("write", "whole"),
    [
        (lambda t: t, True),
        (lambda t: t.reshape((128, 2, 4)).permute((0, 2, 1)), True),
        (lambda t: t.view(nl.uint8), True),
        (lambda t: t[:, 1:], False),
        (lambda t: t[:, 0:4].expand_dim(1).broadcast(1, 2), False),
        (lambda t: t.ap([[8, 128], [0, 2], [1, 4]]), False),
    ],
)
def test_which_writes_cover_their_buffer(write: Any, whole: bool) -> None:
    program = record(lambda: nisa.memset(write(tile("x")), 0))
    assert covers(program.signatures[0].operands[0]) == whole


def test_live_ranges_of_a_hundred_thousand_instructions() -> None:
    def body() -> None:
        x, y = tile("x"), tile("y")
        nisa.memset(x, 0.0)
        nisa.tensor_copy(y, x)

    program = record(body)
    count = 50_000
    long = program.replace(
        signature_ids=np.tile(program.signature_ids, count),
        operands=np.tile(program.operands, (count, 1)),
        immediates=np.tile(program.immediates, count),
        location_ids=np.tile(program.location_ids, count),
    )
    ranges = live_ranges(long)
    assert ranges.first.tolist() == [0, 1]
    assert ranges.last.tolist() == [2 * count - 1, 2 * count - 1]
