"""What Python cannot do with a tensor, as named errors: its values exist only while the kernel runs on the device.

Equality stays identity, so that kernels may write `tensor == None`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NoReturn

from trnlab.emulator.errors import RuntimeValueError, UnknownNameError, UsageError
from trnlab.emulator.source import fail
from trnlab.emulator.tensor_base import TensorBase
from trnlab.emulator.usage import check_methods, nearest, refuse_conversions, refuse_operators

_INSTEAD: Final = (
    "compile-time values (shape, dtype, ...) in Python; `tensor is not None` asks whether there is one; nl.where or "
    "nisa.select_reduce choose by values, nisa.register_load and nl.while_loop loop by them"
)
_OTHER_LIBRARIES: Final = {
    "astype": "nl.copy(x, dtype=...) for a cast, NkiTensor.view(dtype) for the same bits",
    "T": "nl.transpose(x), or NkiTensor.permute in HBM",
    "transpose": "nl.transpose(x), or NkiTensor.permute in HBM",
    "broadcast_to": "nl.broadcast_to(x, shape), or NkiTensor.broadcast(dim, size)",
    "copy": "nl.copy(x)",
    "numpy": "numpy.asarray(x), in reference mode",
    "item": "nisa.register_load",
    "flatten": "NkiTensor.flatten_dims(start_dim, end_dim)",
    "squeeze": "NkiTensor.squeeze_dim(dim)",
    "unsqueeze": "NkiTensor.expand_dim(dim)",
}
"""Attributes of NumPy's and torch's arrays, and of tiles of older NKI releases, with what stands for each."""


def _refuse_value(tensor: TensorBase, use: str) -> NoReturn:
    fail(
        RuntimeValueError,
        "NkiTensor",
        operand=tensor.describe(),
        found=f"run-time values used as {use}",
        allowed=_INSTEAD,
        source="NKI language guide, tensor values",
    )


def _truth(tensor: TensorBase) -> bool:
    """True for a tensor in HBM: kernels of the NKI Library ask `if bias:` for whether they were given one.

    Raises:
        RuntimeValueError: what stands for its values: a tile, as in `if nl.equal(a, b):`, or one element picked out of
            a tensor in HBM, as in `if lengths[0]:`.
    """
    if tensor.on_chip or (tensor.size == 1 and tensor._allocation.buffer.nbytes > tensor.dtype.itemsize):
        _refuse_value(tensor, "a condition")
    return True


def _refuse_operator(tensor: TensorBase, symbol: str, function: str) -> NoReturn:
    found, allowed = f"the Python operator {symbol}", f"{function}, a function of nki.language"
    fail(UsageError, "NkiTensor", operand=tensor.describe(), found=found, allowed=allowed)


def _refuse_length(tensor: TensorBase) -> NoReturn:
    fail(UsageError, "NkiTensor", operand=tensor.describe(), found="len()", allowed="tensor.shape[0], or tensor.size")


def _refuse_membership(tensor: TensorBase, item: Any) -> NoReturn:
    _refuse_value(tensor, "a container (`in`)")


def _refuse_attribute(tensor: TensorBase, name: str) -> NoReturn:
    if name.startswith("_"):  # protocols of Python and NumPy ask for these
        raise AttributeError(f"{type(tensor).__name__!r} object has no attribute {name!r}")
    allowed = _OTHER_LIBRARIES.get(name) or f"the attributes of NkiTensor{nearest(name, _public(type(tensor)))}"
    fail(UnknownNameError, f"NkiTensor.{name}", found="an attribute that does not exist", allowed=allowed)


def _public(kind: type) -> Iterable[str]:
    return [name for name in dir(kind) if not name.startswith("_")]


def refuse_python(kind: type[TensorBase]) -> None:
    """Complete a tensor class: operators, conversions, unknown attributes and misspelt calls get named errors."""
    refuse_operators(kind, _refuse_operator)
    refuse_conversions(kind, _refuse_value, "int", "float", "index")
    for method, refusal in (
        ("__bool__", _truth),
        ("__len__", _refuse_length),
        ("__contains__", _refuse_membership),
        ("__getattr__", _refuse_attribute),
    ):
        setattr(kind, method, refusal)
    check_methods(kind, "NkiTensor")
