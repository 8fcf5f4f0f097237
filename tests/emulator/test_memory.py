"""Buffers, fresh memory, and the geometry of the on-chip memories."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from trnlab.emulator import errors
from trnlab.emulator.dtypes import DTYPES, DType, as_dtype, element_of
from trnlab.emulator.memory import (
    INTEGER_SENTINEL,
    Buffer,
    MemoryRegion,
    as_region,
    check_on_chip,
    to_bytes,
    uninitialised_bytes,
)
from trnlab.emulator.target import TARGETS, Target, get_target
from trnlab.emulator.trace import Trace

TRN3 = get_target("trn3")


def buffer(shape: tuple[int, ...], region: str = "sbuf", dtype: str = "float32", **how: Any) -> Buffer:
    return Buffer(0, MemoryRegion(region), shape, as_dtype(dtype), "x", **how)


def test_sizes_of_a_buffer() -> None:
    found = buffer((128, 4, 6), dtype="bfloat16")
    assert (found.size, found.nbytes, found.bytes_per_partition, found.on_chip) == (3072, 6144, 48, True)
    assert not buffer((8,), "shared_hbm").on_chip


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if not dtype.is_packed], ids=str)
def test_fresh_memory_shows_its_use(dtype: DType) -> None:
    values = uninitialised_bytes(dtype, 6 * dtype.itemsize).view(dtype.storage)
    if dtype.is_integer:
        assert (values == INTEGER_SENTINEL).all()
    elif dtype.format.has_nan:
        assert np.isnan(values.astype(np.float32)).all()
    else:
        assert (values.view(np.uint8) == 0x77).all()


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype.is_packed], ids=str)
def test_fresh_packed_words_are_four_telling_elements(dtype: DType) -> None:
    data = uninitialised_bytes(dtype, 3 * dtype.itemsize)
    if dtype == "float4_e2m1fn_x4":
        low, high = data & 0xF, data >> 4
        elements = np.concatenate([low, high]).astype(np.uint8).view(ml_dtypes.float4_e2m1fn)
        assert (elements.astype(np.float32) == element_of(dtype).format.max).all()
    else:
        assert np.isnan(data.view(element_of(dtype).storage).astype(np.float32)).all()


def test_the_sentinel_is_the_one_awss_simulator_documents() -> None:
    assert INTEGER_SENTINEL == 4


def test_bytes_of_any_layout_are_row_major() -> None:
    array = np.arange(12, dtype=np.int16).reshape(3, 4).T
    data = to_bytes(array)
    np.testing.assert_array_equal(data.view(np.int16), [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11])
    data[...] = 0
    assert array[2, 1] == 6  # a copy


@pytest.mark.parametrize(
    ("name", "region"),
    [("hbm", "private_hbm"), ("sbuf", "sbuf"), ("shared_hbm", "shared_hbm"), (MemoryRegion.psum, "psum")],
)
def test_regions_by_name(name: Any, region: str) -> None:
    assert as_region(name) is MemoryRegion(region)
    assert str(as_region(name)) == region == as_region(name)


def test_an_unknown_region_names_those_there_are() -> None:
    with pytest.raises(errors.ArgumentError, match=r"'dram'.*hbm, sbuf, psum, private_hbm, shared_hbm"):
        as_region("dram")


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("region", ["sbuf", "psum"])
def test_a_whole_memory_fits_and_one_element_more_does_not(target: Target, region: str) -> None:
    capacity = target.psum_bytes_per_partition if region == "psum" else target.sbuf_bytes_per_partition
    check_on_chip("nl.ndarray", buffer((target.partitions, capacity // 4), region), target)
    with pytest.raises(errors.CapacityError, match=f"{capacity + 4} bytes per partition at byte 0.*{capacity} bytes"):
        check_on_chip("nl.ndarray", buffer((1, capacity // 4 + 1), region), target)


@pytest.mark.parametrize(
    ("found", "error", "parts"),
    [
        (buffer((128,)), errors.ShapeError, ["float32[128] in sbuf", "at least 2 dimensions"]),
        (buffer((129, 4)), errors.PartitionError, ["partitions 0 to 128", "at most 128 partitions"]),
        (buffer((64, 4), address=(96, 0)), errors.PartitionError, ["partitions 96 to 159"]),
        (buffer((32, 4), address=(-32, 0)), errors.PartitionError, ["partitions -32 to -1"]),
        (buffer((64, 4), address=(0, 2)), errors.ArgumentError, ["address", "byte 2", "a multiple of 4"]),
        (buffer((64, 4), address=(0, -4)), errors.ArgumentError, ["address", "byte -4"]),
        (buffer((64, 4), address=(0, 262144)), errors.CapacityError, ["16 bytes per partition at byte 262144"]),
    ],
)
def test_geometry_that_is_refused(found: Buffer, error: type[errors.KernelError], parts: list[str]) -> None:
    with pytest.raises(error) as caught:
        check_on_chip("nl.ndarray", found, TRN3)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "dtype", "error", "part"),
    [
        ((), "float32", errors.ShapeError, "positive integers"),
        ((128, 0), "float32", errors.ShapeError, "(128, 0)"),
        ((128, -1), "float32", errors.ShapeError, "(128, -1)"),
        ((128, 4.0), "float32", errors.ShapeError, "(128, 4.0)"),
        ("ab", "float32", errors.ShapeError, "'ab'"),
        ((128, 4), "float64", errors.DtypeError, "'float64'"),
        ((128, 4), "float4_e2m1fn", errors.DtypeError, "float4_e2m1fn_x4"),
    ],
)
def test_allocations_that_are_refused(shape: Any, dtype: Any, error: type[errors.KernelError], part: str) -> None:
    with Trace("test", TRN3).opened() as trace, pytest.raises(error) as caught:
        trace.allocate(shape, dtype)
    assert part in str(caught.value)
    assert caught.value.violation.subject == "nl.ndarray"


def test_buffers_are_numbered_and_named_in_order() -> None:
    with Trace("test", TRN3).opened() as trace:
        tensors = [trace.allocate((4, 4), "float32"), trace.allocate((np.int64(4), 4), "int8", "psum", name="acc")]
        numbers = [(t._allocation.buffer.number, t.name) for t in tensors]
        assert numbers == [(0, "t0"), (1, "acc")]
        assert tensors[0]._allocation.class_id != tensors[1]._allocation.class_id
        assert trace.allocate((4, 4), "float32")._allocation.class_id == tensors[0]._allocation.class_id


def test_tensors_beyond_the_chips_hbm_are_refused() -> None:
    gibibyte = 2**30
    trace = Trace("kernel", get_target("trn2"))  # 96 GiB, AWS Trainium2 page
    with trace.opened():
        trace.allocate((95, gibibyte), "uint8", "hbm")
        with pytest.raises(
            errors.CapacityError, match=rf"(?s)uint8.*{97 * gibibyte} with.*{96 * gibibyte} bytes of HBM"
        ):
            trace.allocate((2, gibibyte), "uint8", "shared_hbm", subject="nl.ndarray")
