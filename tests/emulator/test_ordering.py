"""`depends_on`: which orderings between instructions a kernel may ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import errors, jit, run, trace

X = np.ones((4, 8), np.float32)


def recorded(body: Callable[[Any], Any]) -> Any:
    """The program of a kernel with a loaded tile (instruction 0) that the body is given."""

    def kernel(x: Any) -> Any:
        out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        tile = nl.load(x)
        body(tile)
        nl.store(out, tile)
        return out

    return trace(kernel, X)


def step(tile: Any) -> Any:
    return nisa.tensor_scalar(tile, tile, nl.add, 1.0)


def test_edges_and_chains() -> None:
    def body(tile: Any) -> None:
        first, second, third = step(tile), step(tile), step(tile)
        assert third.depends_on(second, first) is third
        assert second.depends_on() is second
        assert repr(first) == "NkiInstruction(1 of kernel kernel)"

    assert recorded(body).edges == ((2, 3), (1, 3))


def test_a_consumer_in_a_loop_may_wait_for_what_comes_before_it() -> None:
    def body(tile: Any) -> None:
        before = step(tile)
        nl.fori_loop(0, 3, lambda i: step(tile).depends_on(before) and None)

    assert recorded(body).edges == ((1, 2),)


@pytest.mark.parametrize("producer", [None, 3, "step"])
def test_producers_that_are_no_instructions(producer: Any) -> None:
    with pytest.raises(errors.ArgumentError, match="producers: found"):
        recorded(lambda tile: step(tile).depends_on(producer))


def test_the_producer_comes_first() -> None:
    def body(tile: Any) -> None:
        first, second = step(tile), step(tile)
        first.depends_on(second)

    with pytest.raises(errors.ArgumentError, match="recorded after its consumer"):
        recorded(body)


def test_producers_of_another_kernel() -> None:
    kept: list[Any] = []
    recorded(lambda tile: kept.append(step(tile)))
    with pytest.raises(errors.ArgumentError, match="this kernel call"):
        recorded(lambda tile: step(tile).depends_on(kept[0]))


def test_out_of_a_loop() -> None:
    def body(tile: Any) -> None:
        inside: list[Any] = []
        nl.fori_loop(0, 3, lambda i: inside.append(step(tile)))
        step(tile).depends_on(inside[0])

    with pytest.raises(errors.TraceError, match="a loop that the consumer is not in"):
        recorded(body)


def named_kernel(x: Any) -> Any:
    out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x)
    results = [nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf) for _ in range(3)]
    for name, result in zip(("first", "second", "third"), results, strict=True):
        nisa.tensor_scalar(result, tile, nl.add, 1.0, name=name)
    nl.store(out, results[2])
    return out


@pytest.mark.parametrize(
    ("schedule", "edges"),
    [
        ([], ()),
        ([("second", "first")], ((1, 2),)),
        ([("third", ["first", "second"])], ((1, 3), (2, 3))),
        ((pair for pair in [("third", "second"), ("second", ("first",))]), ((2, 3), (1, 2))),
    ],
)
def test_schedules_order_instructions_by_name(schedule: Any, edges: Any) -> None:
    kernel = jit(named_kernel).with_schedule(schedule)
    assert trace(kernel, X).edges == edges
    for mode in ("reference", "compiled"):
        assert (run(kernel, X, mode=mode).outputs == X + 1).all()


def test_a_schedule_leaves_the_kernel_itself_as_it_is() -> None:
    kernel = jit(platform_target="trn2")(named_kernel)
    more = kernel[1].with_schedule([("second", "first")])
    assert trace(kernel, X).edges == ()
    assert (more.options, more.cores, more.__name__) == ({"platform_target": "trn2"}, 1, "named_kernel")


@pytest.mark.parametrize(
    "schedule", [["first"], [("first",)], [("first", 1)], [("first", ["second", 1])], [(1, "first")]]
)
def test_schedules_are_pairs_of_names(schedule: Any) -> None:
    with pytest.raises(errors.ArgumentError, match="with_schedule: schedule: found"):
        jit(named_kernel).with_schedule(schedule)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("fourth", "first"), "found 'fourth', the name of 0 instructions"),
        (("second", "frist"), "did you mean first"),
        (("first", "second"), "found a producer recorded after its consumer"),
    ],
)
def test_schedules_that_do_not_fit_the_kernel(pair: tuple[str, str], message: str) -> None:
    with pytest.raises(errors.ArgumentError, match=message):
        trace(jit(named_kernel).with_schedule([pair]), X)


def test_a_name_that_several_instructions_have() -> None:
    def twice(x: Any) -> Any:
        return named_kernel(x), named_kernel(x)

    with pytest.raises(errors.ArgumentError, match="found 'second', the name of 2 instructions"):
        trace(jit(twice).with_schedule([("second", "first")]), X)
