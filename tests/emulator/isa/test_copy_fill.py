"""tensor_copy and memset: every dtype bit for bit, casts, engines, limits."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.emulator.isa.values import F, P, instructions, like, random, same
from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DTYPES
from trnlab.emulator.errors import (
    ArgumentError,
    BufferError,
    DtypeError,
    EngineError,
    PartitionError,
    ShapeError,
    TraceError,
)
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.nki.isa import engine
from trnlab.emulator.target import Engine

DEVICE_DTYPES = [dtype for dtype in DTYPES if dtype != "float4_e2m1fn"]

# --------------------------------------------------------------------------------------------------- tensor_copy


@pytest.mark.parametrize("where", ["unknown", "vector", "scalar", "gpsimd"])
@pytest.mark.parametrize("dtype", DEVICE_DTYPES, ids=str)
def test_tensor_copy_of_equal_dtypes_keeps_every_bit(run, dtype, where):
    words = random(f"u{dtype.itemsize}")  # NaN payloads, subnormals and infinities among them

    def body(tile):
        destination = like(tile)
        nisa.tensor_copy(destination.view(dtype), tile.view(dtype), engine=engine[where])
        return destination

    same(run(body, words).outputs[0], words)


def saturated(values, dtype):
    """Nearest even, then clipped to the integer range: the documented conversion."""
    limits = np.iinfo(dtype)
    return np.clip(np.rint(np.asarray(values, np.float64)), limits.min, limits.max).astype(dtype)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32])
def test_tensor_copy_casts_floats_to_integers_nearest_even_and_saturates(run, dtype):
    limits = np.iinfo(dtype)
    values = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 3e9, -3e9, 5e9, float(limits.max) / 2, 100.25], np.float32)
    tile = np.tile(values, (P, 1))

    def body(source):
        destination = like(source, dtype)
        nisa.tensor_copy(destination, source)
        return destination

    same(run(body, tile).outputs[0], saturated(tile, dtype))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e4m3", "float8_e5m2", "float8_e4m3fn", "float8_e3m4"])
def test_tensor_copy_casts_floats_once_to_nearest_even(run, dtype):
    values = random(np.float32, scale=3.0)

    def body(source):
        destination = like(source, dtype)
        nisa.tensor_copy(destination, source)
        return destination

    same(run(body, values).outputs[0], values.astype(getattr(ml_dtypes, dtype, np.float16)))


def test_tensor_copy_between_integers_goes_through_float32(run):
    values = np.full((P, F), 2**24 + 1, np.int32)  # the first integer that float32 lacks

    def body(source):
        same_dtype, other = like(source), like(source, nl.uint32)
        nisa.tensor_copy(same_dtype, source)
        nisa.tensor_copy(other, source)
        return same_dtype, other

    kept, cast = run(body, values).outputs
    assert (kept == 2**24 + 1).all()
    assert (cast == 2**24).all()


def test_tensor_copy_reorders_by_views_and_reaches_psum(run):
    values = random(np.float32, (P, 6, 4))

    def body(source):
        psum = like(source, shape=(P, 4, 6), buffer=nl.psum)
        nisa.tensor_copy(psum, source.permute((0, 2, 1)), engine=engine.scalar)
        flat = like(source, shape=(P, 24))
        nisa.tensor_copy(flat, psum)  # ranks may differ, elements per partition may not
        return flat

    same(run(body, values).outputs[0], values.transpose(0, 2, 1).reshape(P, 24))


def test_tensor_copy_chooses_vector_first(run):
    def body(source):
        destination = like(source)
        nisa.tensor_copy(destination, source)
        return destination

    (copied,) = instructions(run(body, random(np.float32)), "tensor_copy")
    assert copied.engine is Engine.VECTOR


def test_tensor_copy_scalar_engine_needs_neuroncore_v3(run, reject):
    def body(source):
        destination = like(source)
        nisa.tensor_copy(destination, source, engine=engine.scalar)
        return destination

    values = random(np.float32)
    for target in ("trn2", "trn3"):
        same(run(body, values, target=target).outputs[0], values)
    reject(EngineError, body, values, at="tensor_copy.engine", found="scalar", allowed="vector, gpsimd", target="trn1")


def test_tensor_copy_limits(reject):
    values = random(np.float32)

    def from_psum(source):
        psum = like(source, buffer=nl.psum)
        nisa.tensor_copy(psum, source)
        nisa.tensor_copy(source, psum, engine=engine.gpsimd)

    reject(EngineError, from_psum, values, at="tensor_copy.src", found="psum", allowed="sbuf")

    def fewer_partitions(source):
        nisa.tensor_copy(like(source, shape=(P // 2, F)), source)

    reject(ShapeError, fewer_partitions, values, at="tensor_copy.dst", found="32", allowed="64")

    def fewer_elements(source):
        nisa.tensor_copy(like(source, shape=(P, F - 1)), source)

    reject(ShapeError, fewer_elements, values, at="tensor_copy.dst", found="23", allowed="24")

    def wrong_engine(source):
        nisa.tensor_copy(like(source), source, engine=engine.tensor)

    reject(EngineError, wrong_engine, values, at="tensor_copy.engine", found="tensor", allowed="vector, scalar, gpsimd")

    def to_hbm(source):
        nisa.tensor_copy(like(source, buffer=nl.shared_hbm), source)

    reject(BufferError, to_hbm, values, at="tensor_copy.dst", found="shared_hbm", allowed="psum, sbuf")

    def unpacks(source):
        nisa.tensor_copy(like(source, nl.float32), source.view(nl.float8_e5m2_x4))

    reject(
        DtypeError,
        unpacks,
        random(np.uint32),
        at="tensor_copy.src",
        found="float8_e5m2_x4 to float32",
        allowed="equal dtypes",
    )

    def misplaced(source):
        nisa.tensor_copy(like(source, shape=(128, F))[16:48], source[0:32])

    reject(PartitionError, misplaced, values, at="tensor_copy.dst", found="partition 16", allowed="0, 32")


def test_instructions_are_refused_outside_kernels():
    with pytest.raises(TraceError, match=r"nisa\.reciprocal"):
        nisa.reciprocal(None, None)


# -------------------------------------------------------------------------------------------------------- memset


@pytest.mark.parametrize("where", [engine.unknown, engine.vector, engine.gpsimd])
def test_memset_integers_are_exact(run, where):
    wanted = {"int8": -128, "uint8": 255, "int16": -32768, "uint16": 65535, "int32": 2**31 - 1, "uint32": 2**32 - 1}

    def body():
        tiles = []
        for dtype, value in wanted.items():
            tiles.append(nl.ndarray((P, F), dtype=dtype))
            nisa.memset(tiles[-1], value, engine=where)
        return tuple(tiles)

    for found, (dtype, value) in zip(run(body).outputs, wanted.items(), strict=True):
        same(found, np.full((P, F), value, dtype))


def test_memset_floats_are_rounded_once(run):
    floats = [dtype for dtype in DEVICE_DTYPES if dtype.is_float and dtype != "tfloat32"]

    def body():
        tiles = [nl.ndarray((P, F), dtype=dtype) for dtype in floats]
        for tile in tiles:
            nisa.memset(tile, 1.3)
        return tuple(tiles)

    for found, dtype in zip(run(body).outputs, floats, strict=True):
        same(found, np.full((P, F), 1.3, np.float32).astype(dtype.storage))


def test_memset_other_formats(run):
    def body():
        scale, zero_scale = nl.ndarray((P, F), dtype=nl.uint8), nl.ndarray((P, F), dtype=nl.uint8)
        truth, packed = nl.ndarray((P, F), dtype=nl.uint8), nl.ndarray((P, F), dtype=nl.uint32)
        tfloat, infinite = nl.ndarray((P, F), dtype=nl.float32), nl.ndarray((P, F), dtype=nl.float32)
        nisa.memset(scale.view(nl.float8_e8m0fnu), 0.25)
        nisa.memset(zero_scale.view(nl.float8_e8m0fnu), 0)
        nisa.memset(truth.view(nl.bool_), True)
        nisa.memset(packed.view(nl.float8_e4m3fn_x4), 0)
        nisa.memset(tfloat.view(dtypes.tfloat32), 1 + 2.0**-11)
        nisa.memset(infinite, -np.inf)
        return scale, zero_scale, truth, packed, tfloat, infinite

    scale, zero_scale, truth, packed, tfloat, infinite = run(body).outputs
    assert (scale == 125).all()  # 2**(125 - 127)
    assert (zero_scale == 0).all()
    assert (truth == 1).all()
    assert (packed == 0).all()
    assert (tfloat == 1).all()  # 10 mantissa bits, a tie to even
    assert (infinite == -np.inf).all()


@pytest.mark.parametrize(
    ("dtype", "value", "allowed"),
    [
        ("int32", 2.0, "an integer from -2147483648 to 2147483647"),
        ("uint8", 256, "0 to 255"),
        ("uint32", -1, "0 to 4294967295"),
        ("int16", np.float32(1), "-32768 to 32767"),
        ("float8_e5m2_x4", 1, "0 for a packed dtype"),
        ("float32", "one", "a compile-time number"),
    ],
)
def test_memset_value_suits_the_dtype(reject, dtype, value, allowed):
    def body():
        nisa.memset(nl.ndarray((P, F), dtype=dtype), value)

    reject(ArgumentError, body, at="memset.value", found=repr(value), allowed=allowed, everywhere=True)


def test_memset_takes_zero_of_either_kind_for_integers(run):
    def body():
        tile = nl.ndarray((P, F), dtype=nl.uint8)
        nisa.memset(tile, 0.0)
        return tile

    assert (run(body).outputs[0] == 0).all()


def test_memset_engines(reject):
    def on_scalar():
        nisa.memset(nl.ndarray((P, F), dtype=nl.float32), 0, engine=engine.scalar)

    reject(EngineError, on_scalar, at="memset.engine", found="scalar", allowed="vector, gpsimd")

    def psum_on_gpsimd():
        nisa.memset(nl.ndarray((P, F), dtype=nl.float32, buffer=nl.psum), 0, engine=engine.gpsimd)

    reject(EngineError, psum_on_gpsimd, at="memset.dst", found="psum", allowed="sbuf")

    def not_an_engine():
        nisa.memset(nl.ndarray((P, F), dtype=nl.float32), 0, engine="vector")

    reject(ArgumentError, not_an_engine, at="memset.engine", found="'vector'", everywhere=True)
