"""Results on their way to memory: whoever looks sees the newest value, whichever view is used."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import run

P, F = 128, 64
X = np.arange(P * F, dtype=np.float32).reshape(P, F)


def _reference(kernel: Any, *arguments: Any) -> np.ndarray[Any, Any]:
    return np.asarray(run(kernel, *arguments, mode="reference").outputs)


def _tile(x: Any) -> Any:
    tile = nl.ndarray((P, F), dtype=x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=x)
    return tile


def _out(tile: Any) -> Any:
    result = nl.ndarray(tile.shape, dtype=tile.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(dst=result, src=tile)
    return result


def test_a_part_written_over_a_late_whole_keeps_the_rest_of_the_whole() -> None:
    def kernel(x: Any) -> Any:
        tile = _tile(x)
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.add, operand0=1.0)
        nisa.tensor_scalar(dst=tile[:, 3:7], data=tile[:, 3:7], op0=nl.multiply, operand0=2.0)
        nisa.tensor_scalar(dst=tile[32:64], data=tile[32:64], op0=nl.add, operand0=0.5)
        return _out(tile)

    expected = X + 1
    expected[:, 3:7] *= 2
    expected[32:64] += 0.5
    np.testing.assert_array_equal(_reference(kernel, X), expected)


def test_a_whole_written_over_a_late_part_leaves_nothing_of_the_part() -> None:
    def kernel(x: Any) -> Any:
        tile, twice = _tile(x), nl.ndarray((P, F), dtype=x.dtype, buffer=nl.sbuf)
        nisa.tensor_scalar(dst=twice[:, :8], data=tile[:, :8], op0=nl.multiply, operand0=3.0)
        nisa.tensor_scalar(dst=twice, data=tile, op0=nl.multiply, operand0=2.0)
        return _out(twice)

    np.testing.assert_array_equal(_reference(kernel, X), 2 * X)


def test_a_source_overwritten_at_once_was_read_before() -> None:
    """The arithmetic may still wait in the background when a copy replaces what it reads."""

    def kernel(x: Any, y: Any) -> Any:
        tile, result = _tile(x), nl.ndarray((P, F), dtype=x.dtype, buffer=nl.sbuf)
        for _ in range(20):
            nisa.dma_copy(dst=tile, src=x)
            nisa.activation(dst=result, op=nl.copy, data=tile)
            nisa.dma_copy(dst=tile, src=y)
        return _out(result)

    np.testing.assert_array_equal(_reference(kernel, X, -X), X)


def test_the_same_elements_under_another_dtype_are_seen_through_memory() -> None:
    """bfloat16 bits: the view as uint16 reads what arithmetic on bfloat16 wrote."""

    def kernel(x: Any) -> Any:
        tile = _tile(x)
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.add, operand0=1.0)
        bits = tile.view(nl.uint16)
        nisa.tensor_scalar(dst=bits, data=bits, op0=nl.bitwise_and, operand0=0x7FFF)
        return _out(tile)

    values = -X.astype(ml_dtypes.bfloat16)
    expected = np.abs((values.astype(np.float32) + 1).astype(ml_dtypes.bfloat16))
    np.testing.assert_array_equal(_reference(kernel, values).view(np.uint16), expected.view(np.uint16))


def test_values_that_a_kernel_looks_at_are_the_newest() -> None:
    seen: list[float] = []

    def kernel(x: Any) -> Any:
        tile = _tile(x)
        for _ in range(3):
            nisa.tensor_scalar(dst=tile, data=tile, op0=nl.add, operand0=1.0)
            seen.append(float(np.asarray(tile)[0, 0]))
        return _out(tile)

    _reference(kernel, X)
    assert seen == [1.0, 2.0, 3.0]
