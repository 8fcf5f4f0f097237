"""Windows on memory: where the elements of a view lie, run-time offsets included (NumPy side).

A window is a NumPy view for direct and scalar-indirect operands. A vector-indirect operand has no strides in its first
dimension, so its elements are named one by one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from trnlab.emulator.errors import BoundsError
from trnlab.emulator.signing import index_tensor
from trnlab.emulator.source import fail
from trnlab.emulator.tensor import NkiTensor

WORDS = {size: np.dtype(f"u{size}") for size in (1, 2, 4)}
"""Unsigned words by item size: elements move as these, so that NumPy copies memory and never converts."""

Array = np.ndarray[Any, Any]


class Place(NamedTuple):
    """The elements of one operand: flat element numbers in its buffer, and which rows are in bounds (None: all)."""

    elements: np.ndarray[Any, np.dtype[np.int64]]
    valid: np.ndarray[Any, np.dtype[np.bool_]] | None


def words_of(tensor: NkiTensor) -> Array:
    """A NumPy window on the view's elements as unsigned words."""
    return tensor.numpy_view().view(WORDS[tensor.dtype.itemsize])


def flat_words(tensor: NkiTensor) -> Array:
    """The tensor's whole buffer as a vector of words of the view's item size."""
    data = tensor._allocation.data
    assert data is not None
    return data.view(WORDS[tensor.dtype.itemsize])


def element_grid(shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """sum(i_d * stride_d) for every index of the shape."""
    grid = np.zeros((1,) * len(shape), np.int64)
    for dim, (count, stride) in enumerate(zip(shape, strides, strict=True)):
        axis = np.arange(count, dtype=np.int64) * stride
        grid = grid + axis.reshape((-1,) + (1,) * (len(shape) - dim - 1))
    return grid


def _values_and_grid(tensor: NkiTensor, kind: str, group: int) -> tuple[Array, Array]:
    """The index values of an indirect view, and what its pattern adds to where they lead."""
    index = index_tensor(tensor)
    assert index is not None
    # Indices walk column by column, index.T.flatten(): as the DMA gather documents, and groups of tensor indirection.
    values = index.numpy_view().reshape(index.shape[0], -1)[: group or None].T.reshape(-1).astype(np.int64)
    if kind == "scalar":
        return values[:1], element_grid(tensor.shape, tensor.strides)
    if kind == "columns":
        return values[: tensor.shape[1]], element_grid((tensor.shape[0], 1), (tensor.strides[0], 0))
    return values[: tensor.shape[0]], element_grid((1, *tensor.shape[1:]), (0, *tensor.strides[1:]))


def place(tensor: NkiTensor, skip_out_of_bounds: bool, subject: str, group: int = 0) -> Place:
    """Where the elements of an indirect view are, with the index values of now.

    group: of tensor indirection, the rows of the index that its offsets run over

    Raises:
        BoundsError: an index out of bounds, unless those are to be skipped.
    """
    indirection = tensor.indirection
    assert indirection is not None
    values, grid = _values_and_grid(tensor, indirection.kind, group)
    inside = (values >= 0) & (values < indirection.extent)
    if not inside.all() and not skip_out_of_bounds:
        worst = int(values[~inside][0])
        fail(
            BoundsError,
            subject,
            operand=tensor.describe(),
            found=f"run-time index {worst}",
            allowed=f"0 to {indirection.extent - 1}, or oob_mode.skip",
        )
    safe = np.where(inside, values, 0) * indirection.stride
    across = (1, -1) if indirection.kind == "columns" else (-1,) + (1,) * (len(tensor.shape) - 1)
    elements = tensor.offset + grid + safe.reshape(across)
    size = flat_words(tensor).size
    if elements.min() < 0 or elements.max() >= size:
        fail(
            BoundsError,
            subject,
            operand=tensor.describe(),
            found=f"elements {int(elements.min())} to {int(elements.max())}",
            allowed=f"0 to {size - 1}, the buffer's elements",
        )
    return Place(elements, None if inside.all() else np.broadcast_to(inside, (elements.shape[0],)))
