"""Values as unsigned words: how compiled programs carry every dtype without touching its bits.

XLA on the CPU carries bfloat16 through float32 even where it only moves it, which changes signalling NaNs. So a storage
is an array of words of its item size, of any shape, and elements appear only where an instruction computes with them.
float32 alone travels as it is: its bits are safe, and XLA writes in place only what no conversion lies in the way of.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from trnlab.emulator.backends.addressing import WORDS
from trnlab.emulator.dtypes import DType
from trnlab.emulator.memory import Buffer, uninitialised_bytes


def carrier(dtype: DType) -> np.dtype[Any]:
    """What elements of a dtype travel as: float32 as itself, which nothing converts, others as unsigned words."""
    return np.dtype(np.float32) if dtype.storage == np.float32 else WORDS[dtype.itemsize]


def bits_of(values: Array) -> Array:
    """Carried values as unsigned words."""
    words: Array = lax.bitcast_convert_type(values, WORDS[values.dtype.itemsize])
    return words


def run_time_zero(value: Array) -> Array:
    """A uint32 zero that no compiler derives: n (n + 1) (n + 2) mod 6, n the low byte of one carried value."""
    low = bits_of(value).astype(jnp.uint32) & 0xFF
    return low * (low + 1) * (low + 2) % 6


def to_words(array: Array, dtype: DType) -> Array:
    """Elements, or words of their size, as they travel."""
    wanted = carrier(dtype)
    return array if array.dtype == wanted else lax.bitcast_convert_type(array, wanted)


def to_elements(words: Array, dtype: DType) -> Array:
    """Carried values as elements of a dtype of their size; outside of compiled code a conversion would be a copy."""
    return words if words.dtype == dtype.storage else lax.bitcast_convert_type(words, dtype.storage)


def recast(words: Array, dtype: DType) -> Array:
    """Carried values as they travel for another dtype, in the same order of bytes; of another size, as a vector."""
    old, new = words.dtype, carrier(dtype)
    if old == new:
        return words
    if old.itemsize != new.itemsize:
        words = words.reshape(-1, new.itemsize // old.itemsize) if new.itemsize > old.itemsize else words.reshape(-1)
        return lax.bitcast_convert_type(bits_of(words), new).reshape(-1)
    return lax.bitcast_convert_type(words, new)


def fresh(buffer: Buffer, shape: tuple[int, ...], zero: Array) -> Array:
    """Memory that nothing wrote; the run-time zero hides what it is filled with."""
    pattern = uninitialised_bytes(buffer.dtype, buffer.dtype.itemsize).view(WORDS[buffer.dtype.itemsize])[0]
    return to_words(jnp.full(shape, pattern) ^ zero.astype(pattern.dtype), buffer.dtype)


def constant(buffer: Buffer, data: bytes, zero: Array) -> Array:
    """Embedded data, hidden in the same way."""
    words = jnp.asarray(np.frombuffer(data, WORDS[buffer.dtype.itemsize]))
    return to_words(words ^ zero.astype(words.dtype), buffer.dtype).reshape(buffer.shape)


def stored_word(value: Array) -> Array:
    """The first word of a storage."""
    word: Array = value[(0,) * value.ndim]
    return word
