"""The table of formats, against ml_dtypes.finfo and NumPy."""

import math
import pickle

import ml_dtypes
import numpy as np
import pytest

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DTYPES, DType, as_dtype, element_of

FLOATS = [dtype for dtype in DTYPES if dtype.is_float and dtype != "tfloat32"]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_float_formats_agree_with_ml_dtypes(dtype: DType) -> None:
    info = ml_dtypes.finfo(dtype.storage)
    fmt = dtype.format
    assert fmt.bits == info.bits
    assert fmt.max == float(info.max)
    assert fmt.smallest_normal == float(info.smallest_normal)
    assert fmt.smallest_subnormal == float(info.smallest_subnormal)
    assert fmt.mantissa_bits == info.nmant
    assert fmt.exponent_bits == info.nexp


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_specials_are_those_of_the_storage_type(dtype: DType) -> None:
    with np.errstate(all="ignore"):
        beyond = np.array([np.inf, np.nan], np.float32).astype(dtype.storage).astype(np.float32)
    assert dtype.format.has_infinity == bool(np.isinf(beyond[0]))
    assert dtype.format.has_nan == bool(np.isnan(beyond[1]))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_relations_between_the_facts_of_a_float(dtype: DType) -> None:
    fmt = dtype.format
    assert fmt.bits == 1 + fmt.exponent_bits + fmt.mantissa_bits
    # All-ones exponents are special in IEEE formats; "fn" formats keep them for numbers (E4M3FN but for the all-ones
    # code).
    top = 2**fmt.exponent_bits - 1 - fmt.bias - (1 if fmt.has_infinity else 0)
    codes = 2**fmt.mantissa_bits
    last = codes - 1 - (1 if fmt.has_nan and not fmt.has_infinity else 0)
    assert fmt.max == 2.0**top * (1 + last / codes)


def test_tfloat32_is_float32_without_its_low_13_bits() -> None:
    tf32 = dtypes.tfloat32.format
    assert 1 + tf32.exponent_bits + tf32.mantissa_bits == 32 - 13
    assert tf32.storage == np.float32
    largest = np.float32(np.finfo(np.float32).max).view(np.uint32) & np.uint32(0xFFFFE000)
    assert tf32.max == float(largest.view(np.float32))


def test_e8m0_is_a_bare_exponent() -> None:
    scale = dtypes.float8_e8m0fnu
    codes = np.arange(256, dtype=np.uint8).view(scale.storage).astype(np.float64)
    assert codes[scale.format.bias] == 1.0
    assert np.nanmax(codes) == scale.format.max == 2.0 ** (254 - 127)
    assert np.isnan(codes[255])
    assert not scale.is_float
    assert not scale.is_integer


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype.is_integer and dtype != "bool"], ids=str)
def test_integers_agree_with_numpy(dtype: DType) -> None:
    info = np.iinfo(str(dtype))
    assert dtype.format.max == float(info.max)
    assert dtype.format.bits == info.bits == 8 * dtype.itemsize
    assert dtype.format.kind == ("int" if info.min else "uint")


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype.is_packed], ids=str)
def test_packed_words_hold_four_elements(dtype: DType) -> None:
    element = element_of(dtype)
    assert dtype == f"{element!s}_x4"
    assert 8 * dtype.itemsize == dtype.format.bits == 4 * element.format.bits
    assert dtype.format.max == element.format.max
    assert dtype.format.lanes == 4


def test_element_of_an_unpacked_dtype_is_itself() -> None:
    assert element_of(dtypes.bfloat16) is dtypes.bfloat16


def test_generations_follow_the_published_tables() -> None:
    newer = {str(dtype) for dtype in DTYPES if dtype.format.first_generation == 4}
    # NKI reference, "Supported Data Types": OCP FP8 E4M3FN, E8M0 and the x4 forms came with NeuronCore-v4.
    packed = {"float8_e5m2_x4", "float8_e4m3fn_x4", "float4_e2m1fn_x4"}
    assert newer == packed | {"float8_e4m3fn", "float4_e2m1fn", "float8_e8m0fnu"}
    assert {dtype.format.first_generation for dtype in DTYPES} == {2, 4}


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("bfloat16", "bfloat16"),
        (ml_dtypes.bfloat16, "bfloat16"),
        (np.dtype(ml_dtypes.float8_e4m3fn), "float8_e4m3fn"),
        (np.float32, "float32"),
        (np.bool_, "bool"),
        (bool, "bool"),
        ("float8e4", "float8_e4m3"),
        ("float8e5", "float8_e5m2"),
        ("float8e3", "float8_e3m4"),
        (np.dtype("<i4"), "int32"),
    ],
)
def test_spellings(spelling: object, name: str) -> None:
    assert as_dtype(spelling) is getattr(dtypes, "bool_" if name == "bool" else name)


@pytest.mark.parametrize("wrong", ["float64", np.float64, np.int64, complex, "float12", None, 3, object()])
def test_what_is_no_dtype_is_refused_with_the_list(wrong: object) -> None:
    with pytest.raises(TypeError, match=r"no NKI dtype corresponds.*bfloat16.*float4_e2m1fn_x4"):
        as_dtype(wrong)


def test_a_dtype_is_its_name() -> None:
    assert dtypes.bfloat16 == "bfloat16"
    assert hash(dtypes.bfloat16) == hash("bfloat16")
    assert dtypes.float8_e4m3 == "float8e4"  # older kernels compare with the old spelling
    assert dtypes.bfloat16 == ml_dtypes.bfloat16
    assert dtypes.bfloat16 != np.float32
    assert dtypes.float32 != dtypes.tfloat32
    assert (dtypes.float32 == 3) is False
    assert dtypes.bfloat16.__name__ == "bfloat16"
    assert repr(dtypes.bfloat16) == "nl.bfloat16"
    assert np.dtype(dtypes.float32) == np.float32


def test_dtypes_survive_pickling() -> None:
    for dtype in DTYPES:
        assert pickle.loads(pickle.dumps(dtype)) is dtype


def test_storage_of_every_format_has_its_item_size() -> None:
    for dtype in DTYPES:
        assert dtype.itemsize == dtype.storage.itemsize == dtype.format.itemsize
        if dtype.is_float:
            assert math.isfinite(dtype.format.max)


# ------------------------------------------------------------------------------------------- packed words in NumPy

PACKED = [dtype for dtype in DTYPES if dtype.is_packed]


@pytest.mark.parametrize("dtype", PACKED, ids=str)
def test_arrays_of_packed_words(dtype: DType) -> None:
    array = np.zeros((4, 6), dtype)
    assert array.dtype == dtype
    assert dtype == array.dtype
    assert array.dtype.itemsize == dtype.itemsize
    assert as_dtype(array.dtype) is dtype
    assert str(dtype) in str(array.dtype)
    others = [other for other in DTYPES if other != dtype and other not in ("tfloat32", "float4_e2m1fn")]
    assert not [other for other in others if array.dtype == other.storage or as_dtype(array.dtype) == other]
    words = np.arange(24, dtype=dtype.storage).reshape(4, 6)
    array[...] = words
    np.testing.assert_array_equal(array[str(dtype)], words)
    np.testing.assert_array_equal(array.view(dtype.storage), words)
    np.testing.assert_array_equal(words.view(dtype), array)


@pytest.mark.parametrize("dtype", PACKED, ids=str)
def test_arrays_of_packed_words_keep_their_dtype(dtype: DType) -> None:
    array = np.arange(24, dtype=dtype.storage).view(dtype).reshape(4, 6)
    made = [
        array[1:, ::2],
        array.T.copy(),
        np.concatenate([array, array]),
        np.ascontiguousarray(array[:, ::-1]),
        np.stack([array]),
        np.tile(array, 2),
        pickle.loads(pickle.dumps(array)),
    ]
    assert [as_dtype(item.dtype) for item in made] == [dtype] * len(made)


def test_packed_dtypes_of_other_packages_are_known_by_name() -> None:
    class Foreign:
        name = "float8_e4m3fn_x4"

    assert as_dtype(Foreign()) is dtypes.float8_e4m3fn_x4
    Foreign.name = "float32"  # a foreign float32 could be anything
    with pytest.raises(TypeError):
        as_dtype(Foreign())


def test_an_array_is_no_dtype() -> None:
    with pytest.raises(TypeError, match="no NKI dtype"):
        as_dtype(np.zeros(3, np.float32))
