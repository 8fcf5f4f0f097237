"""What a tensor knows about itself, the rules its views keep, run-time indices, and values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import pytest

from trnlab.emulator import errors
from trnlab.emulator.backends.reference import Reference
from trnlab.emulator.target import get_target
from trnlab.emulator.tensor import DynamicSlice, NkiTensor
from trnlab.emulator.trace import Trace

TARGET = get_target("trn3")


@contextmanager
def kernel() -> Iterator[Trace]:
    with Trace("test", TARGET, Reference(TARGET, lambda *_: None)).opened() as trace:
        yield trace


def numbered(
    trace: Trace, shape: tuple[int, ...], region: str = "sbuf", dtype: str = "int32"
) -> tuple[NkiTensor, np.ndarray]:
    tensor = trace.allocate(shape, dtype, region)
    tensor.numpy_view()[...] = np.arange(prod(shape)).reshape(shape)
    return (tensor, np.arange(prod(shape), dtype=dtype).reshape(shape))


# -- facts about a view ------------------------------------------------------------------------------------------------


def test_what_a_view_knows_about_itself() -> None:
    with kernel() as trace:
        tensor = trace.allocate((64, 4, 8), "bfloat16", "sbuf", name="weights")
        view = tensor[32:64, 1:3, ::2]
        assert (view.name, view.ndim, view.size, view.on_chip) == ("weights", 3, 32 * 2 * 4, True)
        assert view.get_pattern() == [[32, 32], [8, 2], [2, 4]]
        assert view.start_partition == 32
        assert not view.is_contiguous()
        assert tensor[0:2].is_contiguous()
        assert tensor[:, 1:2].is_contiguous()  # on chip each partition stands for itself
        assert not view.is_indirect()
        assert view.describe() == "weights: bfloat16[32, 2, 4] in sbuf"


def test_contiguity_in_hbm_counts_dimension_0() -> None:
    with kernel() as trace:
        tensor = trace.allocate((4, 8), "float32", "shared_hbm")
        assert tensor.is_contiguous()
        assert not tensor[:, :4].is_contiguous()
        assert tensor[:1, :4].is_contiguous()


def test_the_start_partition_counts_where_the_buffer_was_placed() -> None:
    with kernel() as trace:
        placed = trace.allocate((32, 8), "float32", "sbuf", address=(64, 0))
        assert placed.start_partition == 64
        assert placed[16:, 3:].start_partition == 80
        assert placed.view("uint8")[8:].start_partition == 72


# -- rules -------------------------------------------------------------------------------------------------------------


def _rejections() -> list[Any]:
    """(what is asked of a [4, 2, 6] SBUF tensor, error, parts of the message)."""
    return [
        (lambda t: t[4], errors.BoundsError, ["index 4 on dimension 0", "-4 to 3"]),
        (lambda t: t[-5], errors.BoundsError, ["index -5"]),
        (lambda t: t[:, 0:3], errors.BoundsError, ["slice 0:3:None on dimension 1 of size 2", "stop <= 2"]),
        (lambda t: t[:, 1:1], errors.BoundsError, ["slice 1:1"]),
        (lambda t: t[:, :, ::-1], errors.BoundsError, ["::-1", "step >= 1"]),
        (lambda t: t[0, 0, 0, 0], errors.BoundsError, ["4 indices", "at most 3"]),
        (lambda t: t[..., 0, ...], errors.ArgumentError, ["two ellipses"]),
        (lambda t: t[0.5], errors.ArgumentError, ["float 0.5 on dimension 0", "nl.ds"]),
        (lambda t: t[np.ones(4, bool)], errors.ArgumentError, ["ndarray", "on dimension 0", "nl.ds"]),
        (lambda t: t.ap([[1, 4]], vector_offset=3), errors.ArgumentError, ["vector_offset 3", "a tensor of indices"]),
        (lambda t: t.vector_select(0, None), errors.ArgumentError, ["vector_offset None", "a tensor of indices"]),
        (lambda t: t[:, "a":], errors.TraceError, ["slice bound 'a'", "compile-time integers"]),
        (lambda t: t[:, DynamicSlice(1, 2)], errors.BoundsError, ["1:3"]),
        (lambda t: t.slice(1, 0, 2, 0), errors.BoundsError, ["step >= 1"]),
        (lambda t: t.slice(3, 0, 1), errors.BoundsError, ["dim=3", "-3 <= dim < 3"]),
        (lambda t: t.permute((1, 0, 2)), errors.ShapeError, ["dim=0", "the partition dimension"]),
        (lambda t: t.permute((0, 1)), errors.ArgumentError, ["dims=(0, 1)", "a permutation of 0..2"]),
        (lambda t: t.broadcast(0, 2), errors.ShapeError, ["the partition dimension"]),
        (lambda t: t.broadcast(1, 2), errors.ShapeError, ["dimension 1 of size 2", "size 1"]),
        (lambda t: t[:, 0:1].broadcast(1, 0), errors.ArgumentError, ["size=0"]),
        (lambda t: t.expand_dim(0), errors.ShapeError, ["the partition dimension"]),
        (lambda t: t[0:1].squeeze_dim(0), errors.ShapeError, ["the partition dimension"]),
        (lambda t: t.squeeze_dim(1), errors.ShapeError, ["size 2"]),
        (lambda t: t.reshape_dim(0, (2, 2)), errors.ShapeError, ["the partition dimension"]),
        (lambda t: t.reshape_dim(2, (4, -1)), errors.ShapeError, ["(4, -1)", "product is 6"]),
        (lambda t: t.flatten_dims(0, 1), errors.ShapeError, ["the partition dimension"]),
        (lambda t: t.flatten_dims(2, 1), errors.ArgumentError, ["2..1"]),
        (lambda t: t.reshape((2, 24)), errors.ShapeError, ["shape (2, 24)", "shape[0] == 4"]),
        (lambda t: t.permute((0, 2, 1)).reshape((4, 12)), errors.ShapeError, ["no copy"]),
        (lambda t: t.rearrange(("a", "b"), ("b", "a")), errors.ArgumentError, ["3 dimensions"]),
        (lambda t: t.rearrange(("a", "b", "c"), ("b", "a", "c")), errors.ShapeError, ["the partition dimension"]),
        (lambda t: t.view("float64"), TypeError, ["no NKI dtype"]),
        (lambda t: t[:, :, ::2].view("uint8"), errors.ShapeError, ["contiguous in memory"]),
        (lambda t: t[:, :, :3].view("uint8").view("int32")[:, :, 3], errors.BoundsError, ["index 3"]),
        (lambda t: t.view("uint8")[:, :, 1:3].view("int32"), errors.ShapeError, ["multiple of 4"]),
        (lambda t: t.ap([]), errors.ShapeError, ["one pair or more"]),
        (lambda t: t.ap([[1, 0]]), errors.ShapeError, ["every count at least 1"]),
        (lambda t: t.ap([[1, "n"]]), errors.ShapeError, ["compile-time integers"]),
        (lambda t: t.ap([[1, 49]]).numpy_view(), errors.BoundsError, ["elements 0 to 48", "0 to 47"]),
        (lambda t: t.view("uint8")[:, :, 1:].ap([[1, 1]], dtype="int32"), errors.ShapeError, ["multiple of 4 bytes"]),
        (lambda t: t.indirect(t), errors.ShapeError, ["index tile", "shape (4, K)"]),
    ]


@pytest.mark.parametrize(("ask", "error", "parts"), _rejections())
def test_what_is_rejected_and_how(ask: Any, error: type[Exception], parts: list[str]) -> None:
    with kernel() as trace:
        tensor = trace.allocate((4, 2, 6), "int32", "sbuf", name="tile")
        with pytest.raises(error) as caught:
            ask(tensor)
    for part in parts:
        assert part in str(caught.value)
    if isinstance(caught.value, errors.KernelError):
        violation = caught.value.violation
        assert violation.subject.startswith("NkiTensor.")
        assert violation.location is not None
        assert violation.location.file == __file__


def test_on_chip_tensors_keep_two_dimensions() -> None:
    with kernel() as trace:
        tensor = trace.allocate((4, 6), "int32", "sbuf")
        assert tensor[3].shape == (1, 6)
        assert tensor[3, 2].shape == (1, 1)
        assert tensor[:, 2].shape == (4, 1)
        assert trace.allocate((4, 6), "int32", "shared_hbm")[3, 2].shape == (1,)


# -- run-time indices --------------------------------------------------------------------------------------------------


def test_a_register_as_index_removes_its_dimension_and_ds_keeps_it() -> None:
    with kernel() as trace:
        register = trace.register("i")
        tensor = trace.allocate((4, 10, 6), "int32", "shared_hbm")
        view = tensor[:, register]
        assert view.shape == (4, 6)
        assert view.indirection is not None
        assert (view.indirection.kind, view.indirection.stride, view.indirection.extent) == ("scalar", 6, 10)
        ranged = tensor[1:, DynamicSlice(register, 4)]
        assert (ranged.shape, ranged.offset) == ((3, 4, 6), 60)
        assert ranged.indirection is not None
        assert ranged.indirection.extent == 10 - 4 + 1  # the last start that leaves 4 elements


def test_vector_select_takes_a_row_per_index() -> None:
    with kernel() as trace:
        rows = trace.allocate((5, 1), "int32", "sbuf")
        table = trace.allocate((100, 4, 3), "float32", "private_hbm")
        view = table.vector_select(0, rows)
        assert view.shape == (5, 4, 3)
        assert view.indirection is not None
        assert (view.indirection.kind, view.indirection.stride, view.indirection.extent) == ("vector", 12, 100)
        assert view[:, 1].shape == (5, 3)


@pytest.mark.parametrize(
    ("ask", "error", "part"),
    [
        (lambda t, r, v: t[:, r][:, r], errors.TraceError, "one run-time index"),
        (lambda t, r, v: t[:, DynamicSlice(r, 11)], errors.BoundsError, "nl.ds of size 11"),
        (lambda t, r, v: t[:, DynamicSlice(r, 0)], errors.BoundsError, "size 0"),
        (lambda t, r, v: t[:, r].view("uint8"), errors.TraceError, "run-time offset"),
        (lambda t, r, v: t[:, DynamicSlice(r, 4)][:, 1:2], errors.TraceError, "takes no part"),
        (lambda t, r, v: t.select(1, v), errors.ArgumentError, "one integer"),
        (lambda t, r, v: t.vector_select(1, v), errors.ArgumentError, "dim=0"),
        (lambda t, r, v: t.vector_select(0, v)[2], errors.TraceError, "takes no part"),
        (lambda t, r, v: t.vector_select(0, v).permute((1, 0, 2)), errors.ShapeError, "vector_select"),
        (lambda t, r, v: t.vector_select(0, v).reshape((10, 6, 4)), errors.ShapeError, "shape[0] == 4"),
        (lambda t, r, v: t.ap([[1, 4]], scalar_offset=r, vector_offset=v), errors.ArgumentError, "one of them"),
        (lambda t, r, v: t.ap([[60, 5], [1, 6]], vector_offset=v), errors.ArgumentError, "at least 5 integers"),
        (
            lambda t, r, v: t.ap([[60, 4], [1, 6]], vector_offset=v, indirect_dim=1),
            errors.ArgumentError,
            "indirect_dim=0",
        ),
        (lambda t, r, v: t.vector_select(0, v).ap([[60, 3], [1, 6]]), errors.ShapeError, "4 rows"),
        (lambda t, r, v: v.vector_select(0, v), errors.BufferError, "HBM"),
        (lambda t, r, v: np.asarray(t[:, r]), errors.TraceError, "run-time offset"),
    ],
)
def test_run_time_indices_that_are_rejected(ask: Any, error: type[Exception], part: str) -> None:
    with kernel() as trace:
        register = trace.register("i")
        rows = trace.allocate((4, 1), "int32", "sbuf")
        tensor = trace.allocate((4, 10, 6), "int32", "shared_hbm")
        with pytest.raises(error, match=part.replace("[", r"\[").replace("]", r"\]")):
            ask(tensor, register, rows)


@pytest.mark.parametrize("use", [bool, int, lambda r: [1, 2][r], range, lambda r: 1 if r else 2])
def test_a_registers_value_is_unknown_while_tracing(use: Any) -> None:
    with kernel() as trace, pytest.raises(errors.TraceError, match="run-time value"):
        use(trace.register("i"))


def test_an_index_cannot_have_a_run_time_address_of_its_own() -> None:
    with kernel() as trace:
        register = trace.register("i")
        table = trace.allocate((8, 1), "int32", "shared_hbm")
        data = trace.allocate((8, 4), "float32", "shared_hbm")
        with pytest.raises(errors.ArgumentError, match="one integer"):
            data.select(0, table[register])


# -- values ------------------------------------------------------------------------------------------------------------


def test_values_are_there_while_the_kernel_executes() -> None:
    with kernel() as trace:
        tensor, array = numbered(trace, (4, 6))
        np.testing.assert_array_equal(np.asarray(tensor[:, ::2]), array[:, ::2])
        copy = np.asarray(tensor)
        copy[...] = 0  # a copy: the tensor keeps its values
        np.testing.assert_array_equal(tensor.numpy_view(), array)
        assert np.asarray(tensor, np.float32).dtype == np.float32
        assert "[ 0  1  2  3  4  5]" in repr(tensor)


def test_a_tensor_of_an_ended_kernel_says_so() -> None:
    with kernel() as trace:
        tensor = trace.allocate((4, 6), "int32", "sbuf", name="tile")
    with pytest.raises(errors.TensorLifetimeError, match=r"tile.*after its kernel ended"):
        np.asarray(tensor)
    assert repr(tensor) == "NkiTensor(tile: int32[4, 6] in sbuf, its kernel has ended)"


def test_a_traced_tensor_has_no_values() -> None:
    with Trace("test", TARGET).opened() as trace:
        tensor = trace.allocate((4, 6), "int32", "sbuf")
        with pytest.raises(errors.TraceError, match="reference"):
            np.asarray(tensor)
        assert repr(tensor) == "NkiTensor(t0: int32[4, 6] in sbuf)"
