"""A stand-in for AWS's binary package `neuron_dtypes`: casts by name, and words of four narrow floats.

It covers what the NKI Library's tests do with the package, but for NumPy dtypes that print as "float8_e4m3fn_x4" and
hash like a string: those need C code.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np

NARROW = ("bfloat16", "float8_e4m3", "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn")
OTHER_NAMES = {"float8e4": "float8_e4m3", "float8e5": "float8_e5m2", "tfloat32": "float32", "float32r": "float32"}


@dataclass(frozen=True, eq=False)
class PackedType:
    """Four elements of a narrow float in one unsigned word; equal to whatever prints as its name."""

    name: str
    element: str
    word: Any

    @property
    def itemsize(self) -> int:
        return int(np.dtype(self.word).itemsize)

    @property
    def dtype(self) -> Any:
        """What NumPy makes arrays of: a record of one word, which the emulator knows by its field's name."""
        return np.dtype([(self.name, self.word)])

    @property
    def is_half_byte(self) -> bool:
        return self.itemsize == 2

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return str(other) == self.name

    def __hash__(self) -> int:
        return hash(self.name)


PACKED = {
    kind.name: kind
    for kind in (
        PackedType("float8_e4m3fn_x4", "float8_e4m3fn", np.uint32),
        PackedType("float8_e5m2_x4", "float8_e5m2", np.uint32),
        PackedType("float4_e2m1fn_x4", "float4_e2m1fn", np.uint16),
    )
}


class PackedArray(np.ndarray):
    """Unsigned words whose `dtype` prints the packed type's name; any `view` gives the plain words."""

    packed: PackedType | None = None

    def __array_finalize__(self, source: Any) -> None:
        self.packed = getattr(source, "packed", None)

    @property
    def dtype(self) -> Any:
        return self.packed or np.ndarray.dtype.__get__(self)

    def view(self, *args: Any, **kwargs: Any) -> Any:
        plain = np.ndarray.view(self, type=np.ndarray)
        return plain.view(*args, **kwargs) if args or kwargs else plain


def words(values: Any, kind: PackedType) -> np.ndarray[Any, Any]:
    """The words of consecutive fours along the last axis; the first element is in the lowest bits."""
    codes = np.asarray(values, np.float32).astype(getattr(ml_dtypes, kind.element)).view(np.uint8)
    fours = np.ascontiguousarray(codes.reshape(*codes.shape[:-1], -1, 4))
    if not kind.is_half_byte:
        return fours.view(np.uint32)[..., 0]
    nibbles = (fours & 0xF).astype(np.uint16)
    joined: np.ndarray[Any, Any] = np.bitwise_or.reduce(nibbles << np.arange(0, 16, 4, dtype=np.uint16), axis=-1)
    return joined


def pack(values: Any, kind: PackedType) -> PackedArray:
    """The words as an array that names its packed type."""
    packed = np.ndarray.view(words(values, kind), PackedArray)
    packed.packed = kind
    return packed


def unpack(packed: PackedArray) -> np.ndarray[Any, Any]:
    """The elements of the words as float32."""
    kind, plain = packed.packed, np.ascontiguousarray(packed.view(np.ndarray))
    assert kind is not None
    element = np.dtype(getattr(ml_dtypes, kind.element))
    if kind.is_half_byte:
        codes = (plain[..., None] >> np.arange(0, 16, 4, dtype=np.uint16) & 0xF).astype(np.uint8)
    else:
        codes = plain[..., None].view(np.uint8)
    values: np.ndarray[Any, Any] = codes.view(element).astype(np.float32)
    return values.reshape(*plain.shape[:-1], -1)


def as_type(dtype: Any) -> Any:
    """The NumPy dtype or packed type of a dtype in any spelling."""
    spelled = getattr(dtype, "name", None) or (dtype if isinstance(dtype, str) else None)
    name = (spelled or getattr(dtype, "__name__", None) or str(dtype)).split(".")[-1]
    if name in PACKED:
        return PACKED[name]
    name = OTHER_NAMES.get(name, name)
    if hasattr(ml_dtypes, name):
        return np.dtype(getattr(ml_dtypes, name))
    return np.dtype(name if isinstance(dtype, str) else dtype)


def static_cast(array: Any, dtype: Any) -> Any:
    """The array in that dtype."""
    wanted, packed = as_type(dtype), getattr(array, "packed", None)
    if packed is not None and packed == wanted:
        return array
    values = np.asarray(array) if packed is None else unpack(array)
    return pack(values, wanted) if isinstance(wanted, PackedType) else values.astype(wanted)


def is_float_type(dtype: Any) -> bool:
    """Whether the dtype, packed or not, is of floats."""
    wanted = as_type(dtype)
    if isinstance(wanted, PackedType) or wanted.kind == "f":
        return True
    return hasattr(ml_dtypes, wanted.name) and "int" not in wanted.name


def finfo(dtype: Any) -> Any:
    """The limits of a float type."""
    wanted = as_type(dtype)
    return SimpleNamespace(dtype=wanted) if isinstance(wanted, PackedType) else ml_dtypes.finfo(wanted)  # type: ignore[no-untyped-call]


def neuron_dtypes() -> ModuleType:
    """The stand-in as a module."""
    module = ModuleType("neuron_dtypes")
    vars(module).update(PACKED, static_cast=static_cast, is_float_type=is_float_type, finfo=finfo)
    vars(module).update({name: np.dtype(getattr(ml_dtypes, name)) for name in NARROW})
    vars(module)["sizeinbytes"] = lambda dtype: as_type(dtype).itemsize
    return module
