"""How a fingerprint reads each type of value: containers, arrays, dtypes, callables, instances.

A reader appends to `walk.parts` what tells the value from others of its type, and hands every value inside to
`walk.note`. Types outside the table are read as instances, by all their state, or refused when some of it is hidden.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import types
from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import jax
import numpy as np

from trnlab.emulator.dtypes import DType
from trnlab.emulator.fingerprint_parts import Reader, Same, Walk, float_bits, members, read_items, read_pairs
from trnlab.emulator.instance_state import attributes_of, layout_of, slot_value
from trnlab.emulator.provenance import Home, home_of_class, home_of_name, is_impure, is_published
from trnlab.emulator.tensor import NkiTensor

_SMALL_ARRAY_BYTES: Final = 1024


# -- containers --------------------------------------------------------------------------------------------------------


def _sequence(walk: Walk, value: Iterable[Any]) -> None:
    """In the order of iteration, for sets too: a kernel that iterates sees that order."""
    walk.parts.append(type(value))
    read_items(walk, value)


def _mapping(walk: Walk, value: Mapping[Any, Any]) -> None:
    walk.parts.append(type(value))
    read_pairs(walk, value.items())


def _with_default(walk: Walk, value: defaultdict[Any, Any]) -> None:
    _mapping(walk, value)
    walk.note(value.default_factory)


def _bounded(walk: Walk, value: deque[Any]) -> None:
    _sequence(walk, value)
    walk.note(value.maxlen)


# -- numbers, arrays, dtypes -------------------------------------------------------------------------------------------


def _complex(walk: Walk, value: complex) -> None:
    walk.parts += (complex, float_bits(value.real), float_bits(value.imag))


def _nki_dtype(walk: Walk, value: DType) -> None:
    walk.parts += (DType, str.__str__(value))


def _array(walk: Walk, value: np.ndarray[Any, Any]) -> None:
    walk.parts += (np.ndarray, value.shape, value.strides, value.flags.writeable)
    walk.note(value.dtype)
    content = value.tobytes()
    small = len(content) <= _SMALL_ARRAY_BYTES
    walk.parts.append(content if small else hashlib.blake2b(content, digest_size=32).digest())


def _numpy_dtype(walk: Walk, value: np.dtype[Any]) -> None:
    if value.hasobject or value.fields or value.subdtype or value.metadata:
        walk.refuse(f"a NumPy dtype with fields, objects or metadata ({value!r})")
    walk.parts += (np.dtype, value.str)
    walk.note(value.type)


def _numpy_scalar(walk: Walk, value: np.generic) -> None:
    walk.parts.append(np.generic)
    walk.note(value.dtype)
    walk.parts.append(value.tobytes())


# -- functions and methods of Python's own -----------------------------------------------------------------------------


def _builtin(walk: Walk, value: types.BuiltinFunctionType) -> None:
    owner = value.__self__
    if owner is not None and not isinstance(owner, types.ModuleType):
        walk.parts += (types.BuiltinMethodType, value.__name__)
        walk.note(owner)
        return
    if is_impure(value) or home_of_name(value.__module__) is not Home.PURE:
        walk.refuse(f"the function `{value.__module__}.{value.__name__}`, which may depend on more than its arguments")
    walk.parts += ("pure", value)


def _descriptor(walk: Walk, value: Any) -> None:
    """`str.join`, `object.__init__`: the class it belongs to says whether it can be trusted."""
    walk.parts.append(Same(value))
    walk.note(value.__objclass__)


def _partial(walk: Walk, value: functools.partial[Any]) -> None:
    members("func", "args", "keywords")(walk, value)
    read_pairs(walk, attributes_of(value).items())


def _tuple_field(walk: Walk, value: Any) -> None:
    walk.parts.append(type(value))
    walk.note(value.__reduce__()[1])


def _identity(walk: Walk, value: Any) -> None:
    walk.parts.append(Same(value))


def _tensor(walk: Walk, value: Any) -> None:
    walk.refuse(f"a {type(value).__name__}, which belongs to one kernel call or transformation")


_TUPLE_FIELD: Final = type(vars(namedtuple("_Sample", "field"))["field"])

READERS: Final[dict[type, Reader]] = {
    tuple: _sequence,
    list: _sequence,
    set: _sequence,
    frozenset: _sequence,
    deque: _bounded,
    dict: _mapping,
    OrderedDict: _mapping,
    defaultdict: _with_default,
    types.MappingProxyType: _mapping,
    range: members("start", "stop", "step"),
    slice: members("start", "stop", "step"),
    complex: _complex,
    DType: _nki_dtype,
    np.ndarray: _array,
    types.BuiltinFunctionType: _builtin,
    types.MethodType: members("__func__", "__self__"),
    types.MethodWrapperType: members("__name__", "__self__"),
    types.WrapperDescriptorType: _descriptor,
    types.MethodDescriptorType: _descriptor,
    types.ClassMethodDescriptorType: _descriptor,
    types.MemberDescriptorType: members("__name__", "__objclass__"),
    types.GenericAlias: members("__origin__", "__args__"),
    types.UnionType: members("__args__"),
    property: members("fget", "fset", "fdel"),
    staticmethod: members("__func__"),
    classmethod: members("__func__"),
    functools.partial: _partial,
    functools.cached_property: members("func", "attrname"),  # its lock is no state of the kernel's
    _TUPLE_FIELD: _tuple_field,
}
"""Readers of values of exactly these types."""

_FAMILIES: Final[tuple[tuple[type, Reader], ...]] = (
    (NkiTensor, _tensor),
    (jax.core.Tracer, _tensor),
    (jax.Array, _identity),  # immutable
    (np.generic, _numpy_scalar),
    (np.dtype, _numpy_dtype),
)

# What a builtin base holds, by its own methods: a subclass may have overridden them.
_CONTENTS: Final[dict[type, Callable[[Walk, Any], None]]] = {
    object: lambda walk, value: None,
    int: lambda walk, value: walk.note(int.__int__(value)),
    float: lambda walk, value: walk.note(float.__float__(value)),
    complex: lambda walk, value: walk.note(complex.__complex__(value)),
    str: lambda walk, value: walk.note(str.__str__(value)),
    bytes: lambda walk, value: walk.note(bytes.__bytes__(value)),
    tuple: lambda walk, value: read_items(walk, tuple.__iter__(value)),
    list: lambda walk, value: read_items(walk, list.__iter__(value)),
    set: lambda walk, value: read_items(walk, set.__iter__(value)),
    frozenset: lambda walk, value: read_items(walk, frozenset.__iter__(value)),
    dict: lambda walk, value: read_pairs(walk, dict.items(value)),
}


def read_instance(walk: Walk, value: Any) -> None:
    """An object of any other type: its class, and all of its state."""
    kind = type(value)
    for family, reader in _FAMILIES:
        if issubclass(kind, family):
            reader(walk, value)
            return
    home = home_of_class(kind)
    if home is Home.PURE and (issubclass(kind, enum.Enum) or (is_published(value) and not is_impure(value))):
        walk.parts.append(Same(value))
        return
    layout = layout_of(kind)
    if layout.hidden:
        walk.refuse(f"an object of type {kind.__module__}.{kind.__qualname__}, whose state cannot be read")
    walk.parts.append("instance")
    walk.note(kind)
    _CONTENTS[layout.base](walk, value)
    read_pairs(walk, attributes_of(value).items())
    for slot in layout.slots:
        walk.note(slot_value(slot, value))
