"""The kernel's arguments and results: NumPy, JAX and torch arrays in, the same kind out.

A tensor argument may stand anywhere in the positional and keyword arguments, inside tuples, lists, dicts, dataclasses
and `nl.NKIObject` records; every other value passes through untouched. Results mirror what the kernel returned, with
arrays in place of tensors.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from trnlab.emulator.dtypes import DType, as_dtype
from trnlab.emulator.errors import ArgumentError, BackendError, DtypeError, TraceError, UsageError
from trnlab.emulator.source import fail
from trnlab.emulator.tensor import NKIObject, NkiTensor, VirtualRegister
from trnlab.emulator.usage import nearest

Kind = Literal["numpy", "jax", "torch"]
Array = np.ndarray[Any, Any]

Bound = inspect.BoundArguments
Change = Callable[[str, Any], Any]

# torch has no NumPy bridge for these: they cross as words of the same width.
_TORCH_NARROW = {
    "torch.bfloat16": ("int16", ml_dtypes.bfloat16),
    "torch.float8_e4m3fn": ("int8", ml_dtypes.float8_e4m3fn),
    "torch.float8_e5m2": ("int8", ml_dtypes.float8_e5m2),
    "torch.float8_e8m0fnu": ("int8", ml_dtypes.float8_e8m0fnu),
}


@dataclass(frozen=True, slots=True)
class TensorArgument:
    """One tensor argument: where it stands ("x", "weights[0]"), its kind, the object, and its NKI dtype and shape.

    JAX's tracers and `jax.ShapeDtypeStruct` are of kind "jax", without values.
    """

    name: str
    kind: Kind
    value: Any
    dtype: DType
    shape: tuple[int, ...]

    @property
    def abstract(self) -> bool:
        """Whether it is a JAX tracer, which gets its values later."""
        return isinstance(self.value, jax.core.Tracer)

    @property
    def shape_only(self) -> bool:
        """Whether it only says a shape and a dtype."""
        return isinstance(self.value, jax.ShapeDtypeStruct)

    def as_numpy(self) -> Array:
        """The argument's elements as a NumPy array of the dtype's storage type."""
        array = _torch_to_numpy(self.name, self.value) if self.kind == "torch" else np.asarray(self.value)
        return array if array.dtype == self.dtype.storage else array.view(self.dtype.storage)


def _torch() -> Any:
    return sys.modules.get("torch")


def kind_of(value: Any) -> Kind | None:
    """Which framework's array the value is; None when it is no array."""
    if isinstance(value, np.ndarray):
        return "numpy"
    if isinstance(value, (jax.Array, jax.ShapeDtypeStruct)):
        return "jax"
    torch = _torch()
    return "torch" if torch is not None and isinstance(value, torch.Tensor) else None


def records_gradients(tensor: Any) -> bool:
    """Whether torch would refuse, or record, a change of this torch tensor in place."""
    return bool(tensor.requires_grad and _torch().is_grad_enabled())


def without_derivative(kernel: str, result: Any, sources: list[Any]) -> Any:
    """The torch result as one of `sources`, which record gradients: a backward pass through it raises BackendError.

    Integers and booleans, which have no derivative anywhere, come back as they are.
    """
    if not result.dtype.is_floating_point:
        return result
    torch = _torch()

    def forward(context: Any, *tensors: Any) -> Any:
        return tensors[0].view_as(tensors[0])

    def backward(context: Any, *gradients: Any) -> Any:
        raise BackendError(
            f"kernel {kernel} has no derivative: give it one with a torch.autograd.Function around the call, "
            "or call it under torch.no_grad()"
        )

    methods = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    function: Any = type("KernelWithoutDerivative", (torch.autograd.Function,), methods)
    return function.apply(result, *sources)


def describe(name: str, value: Any) -> TensorArgument | None:
    """The value as a tensor argument; None when it is no array.

    Raises:
        DtypeError: an array of a dtype NKI does not have (64-bit types, complex numbers).
        ArgumentError: a zero-dimensional array, which NKI has no tensor for.
        TraceError: a number under a JAX transformation: kernels need numbers when they are traced.
    """
    kind = kind_of(value)
    if kind is None:
        return None
    dtype = _argument_dtype(name, value, kind)
    shape = tuple(int(n) for n in value.shape)
    if not shape and isinstance(value, jax.core.Tracer):
        fail(
            TraceError,
            "kernel argument",
            operand=name,
            found="a number that JAX traces, whose value exists only when the program runs",
            allowed="a number known when the kernel is traced (static_argnums of jax.jit), or an array with dimensions",
        )
    if not shape or 0 in shape:
        fail(
            ArgumentError,
            "kernel argument",
            operand=name,
            found=f"an array of shape {shape}",
            allowed="a Python number, or an array with one dimension or more, none of them empty",
        )
    return TensorArgument(name, kind, value, dtype, shape)


def _argument_dtype(name: str, value: Any, kind: Kind) -> DType:
    found = str(value.dtype).removeprefix("torch.") if kind == "torch" else value.dtype
    try:
        return as_dtype(found)
    except TypeError as error:
        fail(
            DtypeError,
            "kernel argument",
            operand=name,
            found=f"an array of {value.dtype}",
            allowed=str(error).partition("; NKI has ")[2],
        )


def _torch_to_numpy(name: str, tensor: Any) -> Array:
    word, dtype = _TORCH_NARROW.get(str(tensor.dtype), (None, None))
    try:
        plain = tensor.detach().cpu().contiguous()
        words: Array = (plain if word is None else plain.view(getattr(_torch(), word))).numpy()
    except (RuntimeError, NotImplementedError) as error:
        fail(
            ArgumentError,
            "kernel argument",
            operand=name,
            found=f"a torch tensor without values of its own ({str(error).partition(chr(10))[0]})",
            allowed="a tensor with values; torch.vmap, torch.func.grad, torch.compile and device meta have none",
        )
    return words if dtype is None else words.view(dtype)


def _to_torch(array: Array) -> Any:
    torch = _torch()
    for name, (word, dtype) in _TORCH_NARROW.items():
        if array.dtype == np.dtype(dtype):
            words = torch.from_numpy(np.ascontiguousarray(array).view(word))
            return words.view(getattr(torch, name.removeprefix("torch.")))
    return torch.from_numpy(np.ascontiguousarray(array))


def to_kind(array: Any, dtype: DType, kind: Kind) -> Any:
    """A result as an array of the asked kind; `nl.bool_` results become booleans.

    Raises:
        DtypeError: torch has no dtype for it.
    """
    if kind == "jax":
        result = jnp.asarray(array)
        return result.astype(jnp.bool_) if dtype == "bool" else result
    plain = np.asarray(array)
    if dtype == "bool":
        plain = plain.astype(np.bool_)
    elif not plain.flags.writeable:  # a window on a JAX array; the caller's results are the caller's to change
        plain = plain.copy()
    if kind == "numpy":
        return plain
    try:
        return _to_torch(plain)
    except TypeError:
        fail(DtypeError, "kernel result", found=f"{dtype} as a torch tensor", allowed="a dtype that torch has")


def common_kind(arguments: list[TensorArgument]) -> Kind:
    """The kind results take: torch or JAX if any argument is of it, NumPy otherwise."""
    kinds = {argument.kind for argument in arguments}
    return "torch" if "torch" in kinds else "jax" if "jax" in kinds else "numpy"


def bind(kernel: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Bound:
    """The arguments by the kernel's parameter names, defaults included.

    Raises:
        UsageError: a missing or unknown argument, or too many; the text shows what the kernel takes.
    """
    signature = inspect.signature(function)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        unknown = next((name for name in kwargs if name not in signature.parameters), None)
        meant = "" if unknown is None else nearest(unknown, signature.parameters)
        fail(UsageError, f"kernel {kernel}", found=str(error), allowed=f"{kernel}{signature}{meant}")
    bound.apply_defaults()
    return bound


def map_arguments(bound: Bound, change: Change) -> Bound:
    """The arguments with `change(name, leaf)` applied to everything in them; names start with the parameter's."""
    changed: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            changed[name] = {key: map_tensors(item, key, change) for key, item in value.items()}
        else:
            changed[name] = map_tensors(value, name, change)
    return inspect.BoundArguments(bound.signature, changed)


def map_tensors(value: Any, name: str, change: Change, inside: tuple[Any, ...] = ()) -> Any:
    """The value with `change(name, leaf)` applied to everything inside its tuples, lists, dicts and records.

    Records are instances of dataclasses and of `nl.NKIObject`. What holds nothing that changed comes back itself, what
    does is copied; a record that holds itself is left alone there.
    """
    parts = _parts(value, name)
    if parts is None:
        return change(name, value)
    if any(value is outer for outer in inside):
        return value
    changed = {key: map_tensors(part, label, change, (*inside, value)) for key, (label, part) in parts.items()}
    if all(changed[key] is part for key, (_, part) in parts.items()):
        return value
    return _rebuilt(value, changed)


def returned_whole(returned: Any) -> set[int]:
    """The numbers of the buffers of which what the kernel returned holds a tensor as large as the buffer."""
    whole: set[int] = set()

    def note(name: str, value: Any) -> Any:
        if isinstance(value, NkiTensor) and value.size * value.dtype.itemsize == value._allocation.buffer.nbytes:
            whole.add(value._allocation.buffer.number)
        return value

    map_tensors(returned, "result", note)
    return whole


def _parts(value: Any, name: str) -> dict[Any, tuple[str, Any]] | None:
    """What a container or record holds, by key: the name in messages and the part; None for anything else."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {field: (f"{name}.{field}", getattr(value, field)) for field in value._fields}
    if isinstance(value, (tuple, list)):
        return {position: (f"{name}[{position}]", item) for position, item in enumerate(value)}
    if isinstance(value, dict):
        return {key: (f"{name}[{key!r}]", item) for key, item in value.items()}
    if not _is_record(value):
        return None
    fields = [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
    names = dict.fromkeys([*fields, *getattr(value, "__dict__", ())])
    return {field: (f"{name}.{field}", getattr(value, field)) for field in names if hasattr(value, field)}


def _is_record(value: Any) -> bool:
    """Whether the value is an instance with fields that kernels take apart; tensors and registers are whole."""
    if isinstance(value, (type, Enum, NkiTensor, VirtualRegister)):
        return False
    return dataclasses.is_dataclass(value) or isinstance(value, NKIObject)


def _rebuilt(value: Any, parts: Mapping[Any, Any]) -> Any:
    """A copy of the container or record with those parts."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(**parts)
    if isinstance(value, (tuple, list)):
        return type(value)(parts.values())
    if isinstance(value, dict):
        return dict(parts)
    record = copy.copy(value)
    for field, part in parts.items():
        object.__setattr__(record, field, part)  # frozen dataclasses refuse plain assignment
    return record
