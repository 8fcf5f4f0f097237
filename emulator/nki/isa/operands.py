"""What several instructions ask of their arguments: operators, scalar operands, fill values, accumulator registers."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Final

import numpy as np

from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa.operators import is_bitvec, is_unary
from trnlab.emulator.nki.isa.convert import op_name
from trnlab.emulator.signing import index_tensor
from trnlab.emulator.source import fail
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import Trace


@dataclass(frozen=True, slots=True)
class DefaultOperator:
    """The default of an `op` argument: stands for `nl.<op_name>`, whose module imports this package."""

    op_name: str

    def __repr__(self) -> str:
        return f"nl.{self.op_name}"


MAXIMUM: Final = DefaultOperator("maximum")

_REDUCTION_NAMES: Final = {"max": "maximum", "min": "minimum"}  # the reference also writes nl.max and nl.min


def operator(subject: str, argument: str, value: Any) -> str:
    """The name of an operator that must be given.

    Raises:
        ArgumentError: None, or no operator of nki.language.
    """
    name = op_name(subject, argument, value)
    if name is None:
        fail(ArgumentError, subject, operand=argument, found="None", allowed="an operator of nki.language, as nl.add")
    return name


def reduction(subject: str, argument: str, value: Any) -> str:
    """The name of a reduction operator, with nl.max and nl.min as the operators they stand for.

    Raises:
        ArgumentError: None, or no operator of nki.language.
    """
    name = operator(subject, argument, value)
    return _REDUCTION_NAMES.get(name, name)


def as_number(value: Any) -> int | float | None:
    """A compile-time number (Python's, NumPy's, ml_dtypes') as int or float; None for anything else."""
    number = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if isinstance(number, Integral):
        return int(number)
    return float(number) if isinstance(number, (Real, np.generic)) else None


def scalar_operand(subject: str, argument: str, op: str | None, value: Any) -> Any:
    """The operand of an operator: 0 stands for none with a unary one; with a bitvec one a number is an integer.

    Raises:
        ArgumentError: a number for a bitvec operator that is no 32-bit integer.
    """
    number = as_number(value)
    if op is None or number is None:
        return value
    if is_unary(op) and number == 0:
        return None
    if is_bitvec(op) and not (float(number).is_integer() and -(2**31) <= number < 2**32):
        fail(ArgumentError, subject, operand=argument, found=repr(value), allowed=f"a 32-bit integer for op {op}")
    return value


def fill_value(subject: str, dst: Any, value: Any, argument: str = "value") -> float:
    """The number that memset and tensor_copy_predicated write, checked against the destination's dtype.

    Zero has the same bits in every format that has one, so an integer tensor takes 0.0 too (assumed; AWS's nki-library
    writes it), but no other float.

    Raises:
        ArgumentError: no number; a float or an integer out of range for an integer tensor; not 0 for a packed one.
    """
    number = as_number(value)
    if number is None:
        fail(ArgumentError, subject, operand=argument, found=repr(value), allowed="a compile-time number")
    if not isinstance(dst, NkiTensor):
        return float(number)
    found = f"{value!r} for {dst.describe()}"
    source = "NKI reference, nisa.memset; NKI 0.3.0 migration, strict type matching"
    if dst.dtype.is_packed and number != 0:
        fail(ArgumentError, subject, operand=argument, found=found, allowed="0 for a packed dtype", source=source)
    if dst.dtype.format.kind in ("int", "uint"):
        limits = np.iinfo(dst.dtype.storage)
        is_exact = isinstance(number, int) and limits.min <= number <= limits.max
        if not is_exact and number != 0:
            allowed = f"an integer from {limits.min} to {limits.max} for {dst.dtype}"
            fail(ArgumentError, subject, operand=argument, found=found, allowed=allowed, source=source)
    return float(number)


def registers(trace: Trace, engine: str, data: Any, is_used: bool) -> NkiTensor | None:
    """The accumulator registers of the lanes that read `data`, or None when the call does not use them.

    Data that is not on chip gets None: the instruction refuses it by its own rules.
    """
    if not is_used or not isinstance(data, NkiTensor) or not data.on_chip:
        return None
    first = data.start_partition
    return trace.engine_state(f"{engine}_accumulator")[first : first + data.shape[0]]


def same_place(first: Any, second: Any) -> bool:
    """Whether two tensors are one view of one memory: the same elements in the same order, wherever indices lead."""
    if not (isinstance(first, NkiTensor) and isinstance(second, NkiTensor)):
        return False
    return _place(first) == _place(second)


def _place(tensor: NkiTensor) -> tuple[Any, ...]:
    how, index = tensor.indirection, index_tensor(tensor)
    address = None if how is None or index is None else (how.kind, how.stride, how.extent, _place(index))
    # Where a vector of indices places the rows, the pattern's own step between them is ignored.
    strides = tensor.strides[1:] if how is not None and how.kind == "vector" else tensor.strides
    return tensor._allocation.buffer.number, tensor.offset, tensor.dtype, tensor.shape, strides, address
