"""Storage elements as unsigned words and back: bodies that move or select elements do so on words.

XLA may compute selections and transposes of narrow floats through a wider type; on integers it converts nothing.
"""

from __future__ import annotations

import jax
import numpy as np
from jax import lax


def to_words(array: jax.Array) -> jax.Array:
    """The elements' bits as unsigned integers of the same width."""
    return lax.bitcast_convert_type(array, f"uint{8 * array.dtype.itemsize}")


def from_words(words: jax.Array, storage: np.dtype[np.generic]) -> jax.Array:
    """Words as elements of a storage dtype of the same width; undoes `to_words`."""
    return lax.bitcast_convert_type(words, storage)
