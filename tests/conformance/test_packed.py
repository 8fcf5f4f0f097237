"""Words of four narrow floats, and the stand-in for the package that has them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.conformance.packed import PACKED, neuron_dtypes, pack, unpack, words

VALUES = np.array([[0.0, 0.5, -1.0, 6.0, 1.5, -2.0, 3.0, 4.0]], np.float32)
FP4 = PACKED["float4_e2m1fn_x4"]
# float4_e2m1fn: sign, two exponent bits with bias 1, one mantissa bit.
CODES = {0.0: 0b0000, 0.5: 0b0001, -1.0: 0b1010, 6.0: 0b0111, 1.5: 0b0011, -2.0: 0b1100, 3.0: 0b0101, 4.0: 0b0110}


def test_the_first_element_is_in_the_lowest_bits() -> None:
    fours = [[CODES[float(value)] for value in VALUES[0, start : start + 4]] for start in (0, 4)]
    expected = [sum(code << 4 * place for place, code in enumerate(four)) for four in fours]
    assert words(VALUES, FP4).tolist() == [expected]
    assert words(VALUES, FP4).dtype == np.uint16
    # 1.0 is 0x3c in e5m2 (bias 15) and 0x38 in e4m3fn (bias 7).
    ones_and_zeros = np.array([1, 0, 0, 1], np.float32)
    assert words(ones_and_zeros, PACKED["float8_e5m2_x4"]).tolist() == [0x3C00003C]
    assert words(ones_and_zeros, PACKED["float8_e4m3fn_x4"]).tolist() == [0x38000038]


@pytest.mark.parametrize("kind", PACKED.values(), ids=str)
def test_unpacking_gives_the_values_back(kind: object) -> None:
    packed = pack(VALUES, kind)  # type: ignore[arg-type]
    assert (unpack(packed) == VALUES).all()
    assert packed.shape == (1, 2)
    assert str(packed.dtype) == str(kind)
    assert packed.view(np.ndarray).dtype.kind == "u"


def test_the_stand_in_casts_by_any_name() -> None:
    module = neuron_dtypes()
    packed = module.static_cast(VALUES, "float4_e2m1fn_x4")
    assert packed.dtype == module.float4_e2m1fn_x4
    assert module.static_cast(packed, module.float4_e2m1fn_x4) is packed
    assert (module.static_cast(packed, np.float32) == VALUES).all()
    assert module.static_cast(VALUES, "float8e5").dtype == ml_dtypes.float8_e5m2
    assert module.static_cast(VALUES, "nl.tfloat32").dtype == np.float32
    assert [module.sizeinbytes(name) for name in ("float4_e2m1fn_x4", "bfloat16", np.int32)] == [2, 2, 4]
    assert module.is_float_type("float8_e5m2_x4")
    assert module.is_float_type(np.dtype(ml_dtypes.bfloat16))
    assert not module.is_float_type(np.int8)
    assert not module.is_float_type(ml_dtypes.int4)
    assert module.finfo("float8_e4m3fn").max == 448


def test_numpy_makes_arrays_of_a_packed_type() -> None:
    zeros = np.zeros((2, 3), FP4)
    assert zeros.dtype.names == ("float4_e2m1fn_x4",)
    assert zeros.dtype.itemsize == 2
