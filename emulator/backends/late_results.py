"""Results of the reference back end on their way to memory: kept as JAX arrays until somebody asks for the bytes.

JAX computes in the background. An instruction that reads exactly the view that another wrote takes its result as it
is, without waiting for it and without a way through NumPy; every other access stores it first (`Allocation.data`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from trnlab.emulator.backends.addressing import words_of
from trnlab.emulator.tensor import NkiTensor


class LateResult(NamedTuple):
    """The newest value of one view of an allocation."""

    tensor: NkiTensor
    value: jax.Array

    def store(self) -> None:
        """Write the value into the allocation's bytes, once it is computed."""
        window = words_of(self.tensor)
        window[...] = np.asarray(self.value).view(window.dtype).reshape(window.shape)

    def is_of(self, tensor: NkiTensor) -> bool:
        """Whether the tensor is that very view of the allocation."""
        mine = self.tensor
        return mine is tensor or (
            mine.offset == tensor.offset
            and mine.strides == tensor.strides
            and mine.shape == tensor.shape
            and mine.dtype == tensor.dtype
        )


def take(tensor: NkiTensor, shape: tuple[int, ...]) -> Any:
    """The view's elements in that shape.

    JAX reads NumPy memory in place and late, so what comes from there is a copy that nobody writes.
    """
    late = tensor._allocation.late
    if isinstance(late, LateResult) and late.is_of(tensor) and late.value.shape == shape:
        return late.value
    return tensor.numpy_view().copy().reshape(shape)


def put(tensor: NkiTensor, value: jax.Array) -> None:
    """Make `value` the view's content: every element of the view once, in the view's storage dtype."""
    allocation = tensor._allocation
    late = allocation.late
    if isinstance(late, LateResult) and not late.is_of(tensor):
        allocation.late = None
        late.store()
    allocation.late = LateResult(tensor, value)
