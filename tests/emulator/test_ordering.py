"""`depends_on`: which orderings between instructions a kernel may ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import errors, trace

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
