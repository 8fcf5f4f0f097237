"""The table of element formats: bits, bias, specials, largest value, storage type, packed x4 forms.

An NKI dtype is a string in the published API (`DType = str`), so `DType` is one: it hashes and compares as
its name, is accepted by `numpy.dtype` where NumPy knows the name, and carries its `Format` record.

Sources: NKI reference, "Supported Data Types" (nki.api.shared); OCP MX v1.0, section 5.3; ml_dtypes.finfo, which
a test compares with this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import ml_dtypes
import numpy as np

Kind = Literal["float", "int", "uint", "bool", "scale", "packed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One element format.

    Relations that always hold for floats: `bits == 1 + exponent_bits + mantissa_bits` (scales have no sign),
    `smallest_normal == 2**(1 - bias)`, `smallest_subnormal == smallest_normal * 2**-mantissa_bits`.
    `itemsize` is the bytes of one element in device memory; a packed format holds `lanes` elements of `element`.
    """

    kind: Kind
    bits: int
    storage: np.dtype[Any]
    exponent_bits: int = 0
    mantissa_bits: int = 0
    bias: int = 0
    max: float = 0.0
    has_infinity: bool = False
    has_nan: bool = False
    element: str = ""
    lanes: int = 1
    first_generation: int = 2

    @property
    def itemsize(self) -> int:
        """Bytes of one element in device memory."""
        return self.storage.itemsize

    @property
    def smallest_normal(self) -> float:
        """The smallest positive number with a full significand."""
        return float(2.0 ** (1 - self.bias))

    @property
    def smallest_subnormal(self) -> float:
        """The smallest positive number."""
        return self.smallest_normal * 2.0**-self.mantissa_bits


class DType(str):
    """An NKI dtype: its published name as a string, with its `Format` and NumPy storage type attached."""

    format: Format  # type: ignore[assignment]  # nobody formats text with a dtype
    storage: np.dtype[Any]
    itemsize: int
    is_float: bool
    is_integer: bool
    is_packed: bool

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return str.__eq__(self, _ALIASES.get(other, other))
        if isinstance(other, (np.dtype, type)):
            found = _lookup(other)
            return found is not None and str.__eq__(self, found)
        return NotImplemented

    def __ne__(self, other: object) -> bool:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    @property
    def __name__(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"nl.{self!s}"

    def __reduce__(self) -> tuple[Any, ...]:
        return as_dtype, (str(self),)


_DTYPES: dict[str, DType] = {}


def _add(name: str, **facts: Any) -> DType:
    format_ = Format(**facts)
    dtype = DType(name)
    dtype.format = format_
    dtype.storage = format_.storage
    dtype.itemsize = format_.itemsize
    dtype.is_float = format_.kind == "float"
    dtype.is_integer = format_.kind in ("int", "uint", "bool")
    dtype.is_packed = format_.kind == "packed"
    _DTYPES[name] = dtype
    return dtype


def _float(
    name: str, exponent: int, mantissa: int, bias: int, largest: float, inf: bool, nan: bool, **more: Any
) -> DType:
    storage = more.pop("storage", None) or np.dtype(getattr(ml_dtypes, name, name))
    bits = more.pop("bits", 1 + exponent + mantissa)
    return _add(
        name,
        kind="float",
        bits=bits,
        storage=storage,
        exponent_bits=exponent,
        mantissa_bits=mantissa,
        bias=bias,
        max=largest,
        has_infinity=inf,
        has_nan=nan,
        **more,
    )


float32 = _float("float32", 8, 23, 127, float(np.finfo(np.float32).max), True, True)
# tfloat32 is stored in 32 bits with the low 13 mantissa bits zero: 19 bits carry information.
tfloat32 = _float("tfloat32", 8, 10, 127, (2 - 2.0**-10) * 2.0**127, True, True, storage=np.dtype(np.float32))
bfloat16 = _float("bfloat16", 8, 7, 127, (2 - 2.0**-7) * 2.0**127, True, True)
float16 = _float("float16", 5, 10, 15, 65504.0, True, True)
float8_e5m2 = _float("float8_e5m2", 5, 2, 15, 57344.0, True, True)
float8_e4m3 = _float("float8_e4m3", 4, 3, 7, 240.0, True, True)
float8_e3m4 = _float("float8_e3m4", 3, 4, 3, 15.5, True, True)
float8_e4m3fn = _float("float8_e4m3fn", 4, 3, 7, 448.0, False, True, first_generation=4)
# One E2M1 element has no tensor form of its own in NKI: it exists as a host format and inside float4_e2m1fn_x4.
float4_e2m1fn = _float("float4_e2m1fn", 2, 1, 1, 6.0, False, False, first_generation=4)
float8_e8m0fnu = _add(
    "float8_e8m0fnu",
    kind="scale",
    bits=8,
    storage=np.dtype(ml_dtypes.float8_e8m0fnu),
    exponent_bits=8,
    bias=127,
    max=2.0**127,
    has_nan=True,
    first_generation=4,
)


def _integer(name: str) -> DType:
    storage = np.dtype(name)
    kind: Kind = "int" if storage.kind == "i" else "uint"
    return _add(name, kind=kind, bits=8 * storage.itemsize, storage=storage, max=float(np.iinfo(storage).max))


int8, int16, int32 = (_integer(f"int{bits}") for bits in (8, 16, 32))
uint8, uint16, uint32 = (_integer(f"uint{bits}") for bits in (8, 16, 32))
bool_ = _add("bool", kind="bool", bits=8, storage=np.dtype(np.uint8), max=1.0)


def _packed(element: DType) -> DType:
    storage = np.dtype(np.uint32 if element.format.bits == 8 else np.uint16)
    return _add(
        f"{element!s}_x4",
        kind="packed",
        bits=4 * element.format.bits,
        storage=storage,
        max=element.format.max,
        element=str(element),
        lanes=4,
        first_generation=4,
    )


float8_e5m2_x4 = _packed(float8_e5m2)
float8_e4m3fn_x4 = _packed(float8_e4m3fn)
float4_e2m1fn_x4 = _packed(float4_e2m1fn)


def _array_dtype(packed: DType) -> np.dtype[Any]:
    """The NumPy dtype of arrays of packed words: a structure of one word, whose field has the packed dtype's name.

    NumPy then tells such arrays from arrays of plain integers, through copies, views, concatenation and files;
    `array[name]` is the words. Registered under the packed name, as ml_dtypes registers its types, so that
    `np.zeros(shape, nl.float8_e4m3fn_x4)` works; a package that registered the name before keeps it.
    """
    array = np.dtype([(str(packed), packed.storage)])
    np.sctypeDict.setdefault(str(packed), array)  # type: ignore[arg-type]  # takes dtypes, as the C code that reads it
    return array


DTYPES: Final[tuple[DType, ...]] = tuple(_DTYPES.values())
"""Every format trnlab knows, widest float first."""

# Older NKI spellings that AWS's kernels still compare `str(dtype)` with (nki_surface survey), and NumPy's bool.
_ALIASES: Final = {"float8e4": "float8_e4m3", "float8e5": "float8_e5m2", "float8e3": "float8_e3m4", "bool_": "bool"}
_NUMPY: Final[dict[np.dtype[Any], DType]] = {
    **{dtype.storage: dtype for dtype in DTYPES if not dtype.is_packed and dtype not in ("tfloat32", "bool")},
    **{_array_dtype(dtype): dtype for dtype in DTYPES if dtype.is_packed},
    np.dtype(np.bool_): bool_,
}


def _lookup(value: Any) -> DType | None:
    if isinstance(value, DType):
        return value
    if isinstance(value, str):
        return _DTYPES.get(_ALIASES.get(value, value))
    if isinstance(value, np.ndarray):
        return None
    try:
        return _NUMPY.get(np.dtype(value)) or _packed_by_name(value)
    except (TypeError, ValueError):  # a ValueError: an object with a `dtype` that is no NumPy one
        return _packed_by_name(value)


def _packed_by_name(value: Any) -> DType | None:
    """The packed dtype of that name, for the dtype objects of other packages that NumPy does not know."""
    name = getattr(value, "name", None)
    found = _DTYPES.get(name) if isinstance(name, str) else None
    return found if found is not None and found.is_packed else None


def as_dtype(value: Any) -> DType:
    """The NKI dtype named by a `DType`, a name or alias, a NumPy/ml_dtypes/JAX dtype or scalar type.

    Packed dtypes are also found by the `name` of another package's dtype object.

    Raises:
        TypeError: no NKI dtype corresponds (NKI has no 64-bit types); the text lists those that exist.
    """
    found = _lookup(value)
    if found is None:
        raise TypeError(f"no NKI dtype corresponds to {value!r}; NKI has {', '.join(str(d) for d in DTYPES)}")
    return found


def element_of(dtype: DType) -> DType:
    """The element format inside a packed dtype; the dtype itself when it is not packed."""
    return _DTYPES[dtype.format.element] if dtype.is_packed else dtype
