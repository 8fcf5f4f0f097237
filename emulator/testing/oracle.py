"""What an oracle is given and what comes back: float64 arguments, and results in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from trnlab.emulator.arguments import kind_of, map_tensors
from trnlab.emulator.testing.formats import as_array, decode, dtype_of


def widened(value: Any) -> Any:
    """Arrays of floats as exact float64, integers, packed words and scales as NumPy arrays; anything else as it is.

    Containers and records are taken apart, as a kernel's arguments are.
    """
    return map_tensors(value, "argument", lambda _, leaf: leaf if kind_of(leaf) is None else _wide(leaf))


def _wide(array: Any) -> Any:
    stored = as_array(array)
    if stored.dtype == np.float64:
        return stored
    dtype = dtype_of(stored if kind_of(array) == "torch" else array)
    return decode(stored, dtype) if dtype.is_float else stored


def magnitudes(value: Any) -> Any:
    """The same with every float array replaced by its absolute values."""

    def change(_: str, leaf: Any) -> Any:
        return np.abs(leaf) if isinstance(leaf, np.ndarray) and leaf.dtype == np.float64 else leaf

    return map_tensors(value, "argument", change)


def arrays_in(value: Any, name: str = "result") -> list[tuple[str, Any]]:
    """The arrays inside a result, with their names, in order."""
    found: list[tuple[str, Any]] = []

    def note(where: str, leaf: Any) -> Any:
        if kind_of(leaf) is not None:
            found.append((where, leaf))
        return leaf

    map_tensors(value, name, note)
    return found


def ask(oracle: Callable[..., Any] | Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The oracle's results: of a function, called with widened arguments; else the oracle itself, widened."""
    if callable(oracle):
        return oracle(*widened(list(args)), **widened(kwargs))
    return widened(oracle)
