"""Results against references: as the NKI Library compares them, or element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.conformance.outcome import MismatchError


def as_float64(array: Any) -> np.ndarray[Any, Any]:
    """The array's values as float64."""
    return np.asarray(array).astype(np.float64)


def check_reference(name: str, want: Any) -> None:
    """Raises ValueError for a reference that no result could miss."""
    values = as_float64(want)
    if values.size and not np.isfinite(values).any():
        raise ValueError(f"reference of {name} has no finite element")


def compare(name: str, got: Any, want: Any, rtol: float, atol: float, *, elementwise: bool = False) -> float:
    """max |got - want|, which has to be at most atol + rtol × max |want| (elementwise: × |want|).

    Elements have to be finite on both sides or on neither; a result of another shape with as many elements is reshaped,
    as the library's own checker does.

    Raises MismatchError.
    """
    found, expected = as_float64(got), as_float64(want)
    if found.size != expected.size:
        raise MismatchError(f"{name}: shape {found.shape}, expected {expected.shape}")
    found = found.reshape(expected.shape)
    finite = np.isfinite(expected)
    one_sided = int((np.isfinite(found) != finite).sum())
    if one_sided:
        raise MismatchError(f"{name}: {one_sided} of {found.size} elements finite on one side only")
    if not finite.any():
        return 0.0
    difference, magnitude = np.abs(found[finite] - expected[finite]), np.abs(expected[finite])
    over = difference > atol + rtol * (magnitude if elementwise else magnitude.max())
    if over.any():
        relative = difference.max() / (magnitude.max() or 1.0)
        raise MismatchError(
            f"{name}: {int(over.sum())} of {over.size} elements off, largest difference {difference.max():.4g}"
            f" ({relative:.3g} of the largest value)"
        )
    return float(difference.max())
