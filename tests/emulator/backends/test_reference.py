"""The reference back end: instructions act on memory one by one, exactly where their views say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import launch
from trnlab.emulator.backends.reference import Reference
from trnlab.emulator.target import get_target
from trnlab.emulator.trace import Trace

TRN3 = get_target("trn3")


@contextmanager
def kernel(heard: list[Any] | None = None) -> Iterator[Trace]:
    def note(prefix: str, values: np.ndarray) -> None:
        if heard is not None:
            heard.append((prefix, values))

    with Trace("test", TRN3, Reference(TRN3, note)).opened() as trace:
        yield trace


def tile(shape: tuple[int, ...] = (4, 6), dtype: Any = "float32", values: Any = None, region: Any = None) -> Any:
    made = nl.ndarray(shape, dtype=dtype, buffer=nl.sbuf if region is None else region)
    if values is not None:
        made.numpy_view()[...] = values
    return made


def test_writes_change_their_elements_and_no_other() -> None:
    with kernel():
        x = tile(values=np.arange(24).reshape(4, 6))
        nisa.memset(x[:, 1:6:2], -1.0)
        expected = np.arange(24.0).reshape(4, 6)
        expected[:, 1::2] = -1
        np.testing.assert_array_equal(x, expected)


def test_moves_between_equal_dtypes_keep_every_bit() -> None:
    words = np.arange(2**16, dtype=np.uint16).reshape(128, 512)
    with kernel():
        x, y = tile((128, 512), "bfloat16", words.view(ml_dtypes.bfloat16)), tile((128, 512), "bfloat16")
        nisa.tensor_copy(y, x)
        np.testing.assert_array_equal(y.numpy_view().view(np.uint16), words)


def test_moves_cast_between_dtypes_once() -> None:
    values = np.float32([1 + 2.0**-8, 1 + 3 * 2.0**-8, -0.0, 3e38, np.inf, 1e-40])
    with kernel():
        x, y = tile((1, 6), "float32", values), tile((1, 6), "bfloat16")
        nisa.tensor_copy(y, x)
        np.testing.assert_array_equal(y.numpy_view()[0], values.astype(ml_dtypes.bfloat16))


def test_shapes_of_source_and_destination_may_differ() -> None:
    with kernel():
        x, y = tile((4, 6), values=np.arange(24).reshape(4, 6)), tile((2, 12), region=nl.shared_hbm)
        nisa.dma_copy(y, x)
        np.testing.assert_array_equal(y, np.arange(24).reshape(2, 12))


def test_operands_may_overlap_in_memory() -> None:
    with kernel():
        x = tile((1, 8), values=np.arange(8))
        nisa.tensor_copy(x[:, 1:], x[:, :-1])  # all is read before any is written
        np.testing.assert_array_equal(x.numpy_view()[0], [0, 0, 1, 2, 3, 4, 5, 6])
        nisa.tensor_tensor(x[:, 0:7], x[:, 0:7], x[:, 1:8], nl.add)
        np.testing.assert_array_equal(x.numpy_view()[0], [0, 1, 3, 5, 7, 9, 11, 6])


@pytest.mark.parametrize("cast", [False, True])
def test_the_last_of_several_writes_to_one_element_stays(cast: bool) -> None:
    with kernel():
        x = tile((2, 12), "bfloat16" if cast else "float32", np.arange(24).reshape(2, 12))
        y = tile((2, 4), values=0)
        nisa.tensor_copy(y.expand_dim(1).broadcast(1, 3), x.reshape((2, 3, 4)))
        np.testing.assert_array_equal(y, [[8, 9, 10, 11], [20, 21, 22, 23]])


def test_every_result_is_computed_before_the_first_is_written() -> None:
    """range_select writes a tile and a maximum; here both lie in the tile that is read."""
    with kernel():
        x, bound = tile((1, 4), values=[9, 5, 6, 7]), tile((1, 1), values=4)
        maximum = x[:, 3:4]
        nisa.range_select(x[:, 0:3].ap([[4, 1], [1, 4]]), x, nl.less, nl.less, bound, bound, reduce_res=maximum)
        np.testing.assert_array_equal(x.numpy_view()[0], [9, 5, 6, 9])


def test_prints_receive_values_of_their_own() -> None:
    heard: list[Any] = []
    with kernel(heard):
        x = tile((1, 4), "bfloat16", np.arange(4))
        nl.device_print("x", x)
        nisa.memset(x, 0.0)
        ((prefix, values),) = heard
        assert prefix == "x"
        assert values.dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(values, [[0, 1, 2, 3]])


def test_prints_follow_run_time_addresses() -> None:
    heard: list[Any] = []
    with kernel(heard) as trace:
        table = trace.allocate((8, 4), "float32", "shared_hbm")
        table.numpy_view()[...] = np.arange(32).reshape(8, 4)
        nl.device_print("row", table[nisa.register_alloc(5)])
    np.testing.assert_array_equal(heard[0][1], [20, 21, 22, 23])


def test_arguments_are_not_touched_until_the_kernel_has_ended() -> None:
    x = np.zeros((128, 8), np.float32)

    def failing(x):
        nisa.dma_copy(x, nl.ndarray((128, 8), dtype=nl.float32, buffer=nl.private_hbm))
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        launch.run(failing, x)
    assert (x == 0).all()


def test_one_signature_is_compiled_once() -> None:
    with kernel() as trace:
        x, y = tile((128, 64), values=1), tile((128, 64))
        for start in range(4):
            nisa.tensor_scalar(y[:, start : start + 8], x[:, start : start + 8], nl.multiply, 0.5 * start)
        assert len(trace._known) == 1
        np.testing.assert_array_equal(y.numpy_view()[:, :11], np.repeat([[0, 0.5, 1] + [1.5] * 8], 128, 0))
