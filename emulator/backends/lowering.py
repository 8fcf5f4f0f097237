"""Direct views as XLA operations: reading an operand out of its buffer's flat value, writing a result back into it.

A buffer's value is a vector of unsigned words of its item size, and elements move as words of the view's item size:
XLA on the CPU carries bfloat16 through float32 even where it only moves it, which changes signalling NaNs. Boxes are
read with slice, transpose and broadcast, and written as a whole replacement or an update slice; any other pattern is a
gather or a scatter.
"""

from __future__ import annotations

from math import prod

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from trnlab.emulator.backends import boxes
from trnlab.emulator.backends.addressing import WORDS
from trnlab.emulator.backends.boxes import INDEX_MAX, Box
from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import BackendError
from trnlab.emulator.memory import Buffer, uninitialised_bytes
from trnlab.emulator.program import OperandSignature
from trnlab.emulator.view_algebra import Shape, reaches_twice, row_major


def opaque(value: Array) -> Array:
    """The value, as one that XLA cannot look through."""
    result: Array = lax.optimization_barrier(value)  # type: ignore[no-untyped-call]
    return result


def run_time_zero(word: Array) -> Array:
    """A uint32 zero whose value no compiler derives: n (n + 1) (n + 2) mod 6, n the low byte of an input's word."""
    low = word.astype(jnp.uint32) & 0xFF
    return low * (low + 1) * (low + 2) % 6


def to_words(array: Array) -> Array:
    """The bits of every element; words stay what they are."""
    return lax.bitcast_convert_type(array, WORDS[array.dtype.itemsize])


def to_elements(words: Array, dtype: DType) -> Array:
    """Words as elements of a dtype of their size."""
    return lax.bitcast_convert_type(words, dtype.storage)


def resized(words: Array, itemsize: int) -> Array:
    """A vector of words as one of wider or narrower words, in the same order of bytes."""
    old = words.dtype.itemsize
    if old == itemsize:
        return words
    if itemsize > old:
        words = words.reshape(-1, itemsize // old)
    return lax.bitcast_convert_type(words, WORDS[itemsize]).reshape(-1)


def fresh(buffer: Buffer) -> Array:
    """The value of memory that nothing wrote."""
    words = WORDS[buffer.dtype.itemsize]
    pattern = uninitialised_bytes(buffer.dtype, words.itemsize).view(words)[0]
    return jnp.full(buffer.size, pattern, words)


def constant(buffer: Buffer, data: bytes) -> Array:
    """The value of embedded data."""
    return jnp.asarray(np.frombuffer(data, WORDS[buffer.dtype.itemsize]))


def geometry(operand: OperandSignature) -> tuple[int, Shape]:
    """Elements of the view's dtype in its buffer, and the buffer's strides in them where they are whole."""
    item, own = operand.dtype.itemsize, operand.buffer_dtype.itemsize
    size = prod(operand.buffer_shape) * own // item
    dense = [stride * own for stride in row_major(operand.buffer_shape)]
    return size, tuple(stride // item for stride in dense if stride % item == 0 and 0 < stride // item < size)


def box_of(operand: OperandSignature, offset: int) -> Box | None:
    """The box that the operand's view is at an offset, run-time index aside."""
    return boxes.find_box(*geometry(operand), operand.shape, operand.strides, offset)


def check_numbers(operand: OperandSignature) -> None:
    """Raise BackendError where element numbers would not fit their 32 bits."""
    size = geometry(operand)[0]
    if size > INDEX_MAX:
        raise BackendError(f"{operand.name}: only slices of a buffer of {size} elements can be compiled")


def read(value: Array, operand: OperandSignature, offset: int) -> Array:
    """The words of a direct view.

    The compiler may not look through a transposition, a broadcast or a gather: it would choose other arithmetic than
    for the instruction alone.
    """
    words = resized(value, operand.dtype.itemsize)
    box = box_of(operand, offset)
    if box is None:
        check_numbers(operand)
        return opaque(boxes.gather(words, boxes.grid(operand.shape, operand.strides, offset)))
    taken = boxes.read_box(words, box, box.start(offset), operand.shape)
    order = boxes.to_axes(box)
    is_plain = order == sorted(order) and boxes.core(box) == operand.shape
    return taken if is_plain else opaque(taken)


def replaced(operand: OperandSignature, offset: int, new: Array) -> Array | None:
    """The buffer's value after a view that covers all of it was written; None when the view does not."""
    box = box_of(operand, offset)
    if box is None or box.counts != box.extents:
        return None
    return resized(boxes.as_slice(box, new).reshape(-1), operand.buffer_dtype.itemsize)


def overwrite(value: Array, operand: OperandSignature, offset: int, new: Array, *, apart: bool = False) -> Array:
    """The buffer's value after a direct view of it was written.

    apart: write by element numbers, which XLA does not fuse with what computes `new`
    """
    words = resized(value, operand.dtype.itemsize)
    box = box_of(operand, offset)
    if box is not None and box.has_unit_steps and not apart:
        result = boxes.write_box(words, box, box.start(offset), new)
    else:
        check_numbers(operand)
        numbers = boxes.grid(operand.shape, operand.strides, offset)
        result = boxes.scatter(words, numbers, new, distinct=not reaches_twice(operand.shape, operand.strides))
    return resized(result, operand.buffer_dtype.itemsize)
