"""Selection by a condition, and by indices.

Source: NKI reference, nki.language (where, gather_flattened); nisa.tensor_tensor, nisa.nc_n_gather.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any, Final

import trnlab.emulator.nki.isa as nisa
from trnlab.emulator.dtypes import int8, int16, int32
from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.memory import as_element
from trnlab.emulator.nki.language import operators as op
from trnlab.emulator.nki.language.tiles import common_shape, given, is_number, new_tile, promote, require_tile, spread
from trnlab.emulator.source import fail
from trnlab.emulator.tensor import NkiTensor

_MASKS: Final = {1: int8, 2: int16, 4: int32}


def where(condition: Any, x: Any, y: Any, dtype: Any = None) -> NkiTensor:
    """x where the condition is not zero, else y, element by element and bit for bit; x and y: tiles or numbers.

    Composition: the condition as a mask of ones or zeros (not_equal 0, times -1, as integer); y ^ ((x ^ y) & mask) on
    the bits of copies of x and y. The result's dtype is that of the tiles x and y; of the condition when both are
    numbers.
    """
    subject = "nl.where"
    test = require_tile(subject, "condition", condition)
    tiles = [require_tile(subject, name, value) for name, value in (("x", x), ("y", y)) if not is_number(value)]
    shape = common_shape(subject, test, *tiles)
    like = promote(subject, tiles[0].dtype, tiles[-1].dtype) if tiles else test.dtype
    element = as_element(subject, given(dtype, like))
    word = _MASKS[element.itemsize]
    mask = new_tile(subject, test.shape, word)
    nisa.tensor_scalar(mask, test, op.not_equal, 0.0, op1=op.multiply, operand1=-1.0)
    result = _filled(y, shape, element)
    bits = result.view(word)
    toggle = new_tile(subject, shape, word)
    nisa.tensor_tensor(toggle, _filled(x, shape, element).view(word), bits, op.bitwise_xor)
    nisa.tensor_tensor(toggle, toggle, spread(mask, shape), op.bitwise_and)
    nisa.tensor_tensor(bits, bits, toggle, op.bitwise_xor)
    return result


def _filled(value: Any, shape: tuple[int, ...], dtype: Any) -> NkiTensor:
    """A new tile of that shape and dtype holding a number or a tile."""
    result = new_tile("nl.where", shape, dtype)
    if is_number(value):
        nisa.memset(result, value)
    else:
        nisa.tensor_copy(result, spread(value, shape))
    return result


def gather_flattened(data: NkiTensor, indices: NkiTensor, axis: Any = 0, dtype: Any = None) -> NkiTensor:
    """data[p, indices[p, ...]] in a new tile with the shape of indices, the free dimensions of data flattened.

    indices: uint32, as many partitions as data; both in SBUF
    axis:    0, the flattened free dimensions; the reference says of no other number what it would mean

    Composition: nisa.nc_n_gather, then a copy if dtype differs.

    Raises:
        ArgumentError: another axis.  ShapeError, DtypeError, BufferError: see nisa.nc_n_gather.
    """
    subject = "nl.gather_flattened"
    source, places = require_tile(subject, "data", data), require_tile(subject, "indices", indices)
    if not isinstance(axis, Integral) or axis != 0:
        fail(ArgumentError, subject, operand="axis", found=repr(axis), allowed="0, the flattened free dimensions")
    result = new_tile(subject, places.shape, source.dtype)
    nisa.nc_n_gather(result, source, places)
    if result.dtype == as_element(subject, given(dtype, source.dtype)):
        return result
    cast = new_tile(subject, places.shape, dtype)
    nisa.tensor_copy(cast, result)
    return cast
