"""The array type of the vectorised models: every formula takes numbers or arrays and broadcasts."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]
Values: TypeAlias = "float | int | npt.NDArray[Any]"


def array(values: Values) -> Array:
    """The values as float64, a number as an array without axes."""
    return np.asarray(values, dtype=np.float64)
