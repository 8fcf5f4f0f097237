"""Arguments as short Python expressions, for the line that reproduces a failure."""

from __future__ import annotations

import base64
import hashlib
import zlib
from itertools import groupby
from typing import Any, Final

import numpy as np

from trnlab.emulator.arguments import kind_of
from trnlab.emulator.dtypes import as_dtype
from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.source import fail
from trnlab.emulator.testing.formats import Array, as_array, decode, dtype_of

READABLE: Final = 16
"""Arrays of up to as many elements are written as numbers."""

LONGEST: Final = 2000
"""Characters of one array's text, beyond which only its digest is shown."""


def from_codes(dtype: Any, shape: tuple[int, ...], text: str) -> Array:
    """The array that `codes_of` described: hexadecimal codes, row-major, "code*n" for n equal ones in a row.

    Text that starts with "z" is the zlib-compressed bytes in base 85.

    Raises:
        ArgumentError: text that does not give as many elements as the shape has.
    """
    element = as_dtype(dtype)
    if text.startswith("z"):
        data = zlib.decompress(base64.b85decode(text[1:]))
    else:
        runs = [part.partition("*") for part in text.split()]
        codes = [int(code, 16) for code, _, times in runs for _ in range(int(times or 1))]
        data = np.array(codes, f"u{element.itemsize}").tobytes()
    if len(data) != int(np.prod(shape)) * element.itemsize:
        found, allowed = f"{len(data)} bytes", f"{list(shape)} elements of {element.itemsize} bytes"
        fail(ArgumentError, "testing.from_codes", operand="text", found=found, allowed=allowed)
    array = np.frombuffer(bytearray(data), element.storage).reshape(shape)
    return array.view(np.dtype([(str(element), element.storage)])) if element.is_packed else array


def codes_of(array: Any) -> str:
    """The elements' codes as the shorter of the two texts that `from_codes` reads."""
    words = np.ascontiguousarray(as_array(array))
    codes = words.view(f"u{words.dtype.itemsize}").reshape(-1).tolist()
    runs = [(code, len(list(group))) for code, group in groupby(codes)]
    plain = " ".join(f"{code:x}" if count == 1 else f"{code:x}*{count}" for code, count in runs)
    packed = "z" + base64.b85encode(zlib.compress(words.tobytes(), 9)).decode()
    return min(plain, packed, key=len)


def expression(value: Any) -> str:
    """A Python expression for an argument; of an array too long to write, its shape, dtype and SHA-256."""
    if kind_of(value) is None:
        return repr(value)
    stored = as_array(value)
    dtype = dtype_of(stored if kind_of(value) == "torch" else value)
    if not dtype.is_packed and stored.size <= READABLE and np.isfinite(decode(stored, dtype)).all():
        return f"encode({decode(stored, dtype).tolist()}, {str(dtype)!r})"
    text = codes_of(stored)
    if len(text) <= LONGEST:
        return f"from_codes({str(dtype)!r}, {tuple(stored.shape)}, {text!r})"
    digest = hashlib.sha256(np.ascontiguousarray(stored).tobytes()).hexdigest()[:16]
    return f"<{dtype!s}{list(stored.shape)} with SHA-256 {digest}...>"


def name_of(function: Any) -> str:
    """How a function is called in an expression."""
    name = getattr(function, "__name__", type(function).__name__)
    return "oracle" if name == "<lambda>" else str(name)
