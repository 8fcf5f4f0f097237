"""Selection by a condition.

Source: NKI reference, nki.language.where; nisa.tensor_tensor.
"""

from __future__ import annotations

from typing import Any, Final

import trnlab.emulator.nki.isa as nisa
from trnlab.emulator.dtypes import as_dtype, int8, int16, int32
from trnlab.emulator.nki.language import operators as op
from trnlab.emulator.nki.language.tiles import common_shape, is_number, new_tile, promote, require_tile, spread
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
    element = as_dtype(dtype or like)
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
