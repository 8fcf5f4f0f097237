"""The table of conversions, against what the instructions accept and what casts do to every value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
from tests.emulator.isa.harness import accepted, sbuf
from trnlab.emulator.dtypes import DTYPES, DType, as_dtype
from trnlab.emulator.errors import DtypeError, GenerationError, KernelError
from trnlab.emulator.numerics.casts import narrow, widen
from trnlab.emulator.target import TARGETS, Generation, Target, get_target
from trnlab.emulator.target.conversions import HOST_ONLY, availability, conversion, conversions

GENERATIONS = [get_target(generation) for generation in Generation]
LISTED = [dtype for dtype in DTYPES if not dtype.is_packed and dtype.format.bits <= 16]


def accepts(build: Any, target: Target) -> bool:
    try:
        accepted(build, f"trn{target.generation - 1}")
    except KernelError:
        return False
    return True


@pytest.mark.parametrize("target", GENERATIONS, ids=str)
def test_tensor_copy_accepts_what_the_engines_convert(target: Target) -> None:
    by_engines = {(found.source, found.destination) for found in conversions(target) if "engines" in found.by}
    others = [as_dtype(name) for name in ("float32", "int8", "float8_e4m3fn", "float4_e2m1fn", "float8_e5m2_x4")]
    for source in DTYPES:
        for destination in others:
            if source == destination or {source, destination} & set(HOST_ONLY):
                continue
            found = accepts(lambda s=source, d=destination: nisa.tensor_copy(sbuf((4, 8), d), sbuf((4, 8), s)), target)
            assert found == ((source, destination) in by_engines), (source, destination)


@pytest.mark.parametrize("target", GENERATIONS, ids=str)
def test_quantize_mx_accepts_what_it_is_said_to_convert(target: Target) -> None:
    by_blocks = {(found.source, found.destination) for found in conversions(target) if "quantize_mx" in found.by}
    for source in ("float32", "bfloat16", "float16", "float8_e5m2"):
        for destination in (dtype for dtype in DTYPES if dtype.is_packed):

            def quantise(source: str = source, destination: DType = destination) -> None:
                nisa.quantize_mx(sbuf((32, 2), destination), sbuf((32, 8), source), sbuf((32, 2), "uint8"))

            assert accepts(quantise, target) == ((as_dtype(source), destination) in by_blocks), (source, destination)


@pytest.mark.slow
def test_exact_conversions_are_those_that_change_no_value() -> None:
    pairs = [found for found in conversions(get_target("trn3")) if found.source in LISTED]
    assert len(pairs) > 100
    for found in pairs:
        if found.destination.is_packed:
            assert not found.exact
            continue
        size = 2 if found.source == "bool" else 2**found.source.format.bits
        codes = np.arange(size).astype(f"u{found.source.itemsize}").view(found.source.storage)
        values = np.asarray(widen(codes, found.source))
        back = np.asarray(widen(narrow(values, found.destination), found.destination))
        same = (values == back) & (np.signbit(values) == np.signbit(back)) | np.isnan(values) & np.isnan(back)
        # float32 subnormals of the widest formats compare as NumPy compares them: exactly.
        assert found.exact == bool(same.all()), found


def test_integers_of_32_bits_pass_through_float32() -> None:
    for name in ("int32", "uint32"):
        found = [one for one in conversions(get_target("trn2")) if one.source == name]
        assert found
        assert not any(one.exact for one in found)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_formats_of_later_generations_take_no_part(target: Target) -> None:
    for found in conversions(target):
        assert target.has_dtype(found.source)
        assert target.has_dtype(found.destination)
        assert found.klass == "assumed" or target.generation is not Generation.V5
    late = [dtype for dtype in DTYPES if not target.has_dtype(dtype)]
    assert {availability(dtype).since for dtype in late} <= {Generation.V4}
    assert bool(late) == (target.generation < Generation.V4)


@pytest.mark.parametrize(
    ("source", "destination", "target", "error", "text"),
    [
        ("float32", "float8_e4m3fn", "trn2", GenerationError, "float8_e4m3fn from NeuronCore-v4"),
        ("float8_e5m2_x4", "float32", "trn2", GenerationError, "float8_e5m2_x4 from NeuronCore-v4"),
        ("float8_e5m2_x4", "float32", "trn3", DtypeError, "float8_e5m2_x4 is converted to nothing"),
        ("float32", "float8_e5m2_x4", "trn3", DtypeError, "float32 to tfloat32, bfloat16"),
        ("float32", "float4_e2m1fn", "trn3", DtypeError, "float32 to float4_e2m1fn"),
        ("bfloat16", "bfloat16", "trn3", DtypeError, "bfloat16 to bfloat16"),
    ],
)
def test_what_is_not_converted_is_refused_by_name(
    source: str, destination: str, target: str, error: type[KernelError], text: str
) -> None:
    with pytest.raises(error, match=text) as caught:
        conversion(source, destination, get_target(target))
    violation = caught.value.violation
    assert violation.subject == "conversion"
    assert violation.operand in ("source", "destination")
    assert violation.generation == get_target(target).generation.label


def test_64_bit_types_are_no_nki_dtypes() -> None:
    with pytest.raises(TypeError, match="no NKI dtype corresponds"):
        conversion(np.float64, "bfloat16", get_target("trn3"))


def test_a_conversion_says_how_it_is_made() -> None:
    found = conversion("bfloat16", np.float32, get_target("trn1"))
    assert found.exact
    assert found.klass == "documented"
    assert not conversion("float32", "bfloat16", get_target("trn1")).exact
    assert conversion("bfloat16", "float8_e5m2_x4", get_target("trn3")).by.startswith("quantize_mx")
