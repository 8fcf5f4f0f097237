"""dma_copy: values of copies, casts, gathers and scatters, and every documented limit."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.emulator.isa.harness import (
    accepted,
    hbm,
    load,
    psum,
    random_bits,
    rejected,
    run,
    run_both,
    sbuf,
    store,
    words,
)
from trnlab.emulator import launch
from trnlab.emulator.errors import (
    ArgumentError,
    BoundsError,
    BufferError,
    DtypeError,
    GenerationError,
    ShapeError,
)
from trnlab.emulator.nki import isa as nisa, language as nl

BF16 = ml_dtypes.bfloat16
MODE = nisa.dge_mode


# -------------------------------------------------------------------------------------------------- dma_copy: values


@pytest.mark.parametrize("dtype", [np.float32, BF16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e8m0fnu, np.int32])
def test_equal_dtypes_move_bits_through_sbuf_and_back(dtype):
    data = random_bits((48, 40), dtype, 1)
    assert (words(run(lambda x: store(load(x)), data)) == words(data)).all()


def test_packed_words_move_bits():
    data = random_bits((32, 16), np.uint16, 2)

    def kernel(x):
        tile = sbuf((32, 16), nl.float4_e2m1fn_x4)
        nisa.dma_copy(tile, x.view(nl.float4_e2m1fn_x4))
        return store(tile.view(nl.uint16))

    assert (run(kernel, data) == data).all()


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (np.float32, BF16),
        (BF16, np.float32),
        (np.float32, ml_dtypes.float8_e5m2),
        (np.int32, np.float32),
        (np.float32, np.int8),
    ],
)
def test_a_cast_goes_through_float32(source, target):
    data = (np.random.default_rng(3).standard_normal((32, 24)) * 100).astype(np.float32).astype(source)
    if source == np.int32:
        data[0, 0] = 2**24 + 1  # rounds to 2**24 on its way through float32

    def kernel(x):
        result = hbm(x.shape, target)
        nisa.dma_copy(result, load(x))
        return result

    middle = data.astype(np.float32)
    expected = np.clip(np.rint(middle), -128, 127).astype(np.int8) if target == np.int8 else middle.astype(target)
    assert (words(run(kernel, data)) == words(expected)).all()


def test_element_order_is_kept_between_shapes():
    data = np.arange(8 * 6, dtype=np.int32).reshape(8, 6)

    def kernel(x):
        result = hbm((4, 3, 4), nl.int32)
        nisa.dma_copy(result, x[:, 0:6:1])
        return result

    assert (run(kernel, data) == data.reshape(4, 3, 4)).all()


def test_gather_and_scatter_by_a_vector_of_rows():
    data = np.random.default_rng(4).standard_normal((10, 7)).astype(np.float32)
    rows = np.array([[3], [0], [9], [3]], np.uint32)

    def kernel(x, rows):
        index, tile, result = load(rows), sbuf((4, 7)), hbm((10, 7))
        nisa.dma_copy(tile, x.ap([[7, 4], [1, 7]], vector_offset=index), dge_mode=MODE.swdge)
        nisa.dma_copy(result, x)
        nisa.dma_copy(result.ap([[7, 4], [1, 7]], vector_offset=index), load(x)[0:4])
        return store(tile), result

    gathered, scattered = run(kernel, data, rows)
    assert (gathered == data[rows[:, 0]]).all()
    expected = data.copy()
    for source, row in enumerate(rows[:, 0]):
        expected[row] = data[source]
    assert (scattered == expected).all()


def test_rows_out_of_bounds_are_an_error_or_skipped():
    data = np.ones((4, 3), np.float32)
    rows = np.array([[1], [4]], np.uint32)

    def kernel(x, rows, mode):
        tile = sbuf((2, 3))
        nisa.memset(tile, 7.0)
        nisa.dma_copy(tile, x.ap([[3, 2], [1, 3]], vector_offset=load(rows)), oob_mode=mode)
        return store(tile)

    assert (run_both(kernel, data, rows, nisa.oob_mode.skip) == [[1, 1, 1], [7, 7, 7]]).all()
    with pytest.raises(BoundsError, match="run-time index 4; allowed: 0 to 3"):
        run(kernel, data, rows, nisa.oob_mode.error)


def test_a_scalar_offset_moves_the_whole_window():
    data = np.arange(24, dtype=np.float32).reshape(6, 4)

    def kernel(x):
        tile, row = sbuf((2, 4)), nisa.register_alloc(3)
        nisa.dma_copy(tile, x[nl.ds(row, 2)], dge_mode=MODE.hwdge, engine=nisa.engine.scalar)
        return store(tile)

    assert (run(kernel, data, target="trn2") == data[3:5]).all()


def test_the_queue_mode_and_priority_are_recorded():
    def kernel(x):
        tile = sbuf(x.shape)
        nisa.dma_copy(tile, x, priority=2, dge_mode=MODE.hwdge, engine=nisa.engine.sync, name="weights")
        return store(tile)

    first = launch.trace(kernel, np.ones((2, 2), np.float32))[0]
    assert first.name == "weights"
    assert dict(first.signature.attributes) == {
        "priority": 2,
        "oob_mode": "error",
        "dge_mode": "hwdge",
        "queue": "sync",
    }


# -------------------------------------------------------------------------------------------------- dma_copy: limits


def copy(dst=lambda: sbuf((8, 8)), src=lambda: hbm((8, 8)), **options):
    return lambda: nisa.dma_copy(dst(), src(), **options)


def by_vector(**options):
    def build():
        source = hbm((16, 8)).ap([[8, 8], [1, 8]], vector_offset=sbuf((8, 1), nl.uint32))
        nisa.dma_copy(sbuf((8, 8)), source, **options)

    return build


def by_scalar(**options):
    return lambda: nisa.dma_copy(sbuf((8, 8)), hbm((16, 8))[nl.ds(nisa.register_alloc(1), 8)], **options)


@pytest.mark.parametrize(
    ("build", "target"),
    [
        (copy(), "trn1"),
        (copy(src=lambda: sbuf((8, 8))), "trn1"),
        (copy(lambda: hbm((2, 2, 2, 2, 2, 2)), lambda: hbm((64,))), "trn2"),
        (copy(priority=3), "trn3"),
        (copy(dge_mode=MODE.hwdge), "trn2"),
        (copy(dge_mode=MODE.hwdge, engine=nisa.engine.sync), "trn2"),
        (copy(dge_mode=3), "trn1"),  # AWS's kernels also write dge_mode.none as its value
        (by_vector(), "trn1"),
        (by_vector(dge_mode=MODE.swdge), "trn2"),
        (by_scalar(dge_mode=MODE.hwdge), "trn2"),
        (by_scalar(dge_mode=MODE.swdge), "trn1"),
    ],
)
def test_copy_taken_at_the_limit(build, target):
    assert accepted(build, target).count_by_opcode()["dma_copy"] == 2


@pytest.mark.parametrize(
    ("error", "build", "operand", "found", "allowed", "target"),
    [
        (BufferError, copy(src=lambda: psum((8, 8))), "src", "in psum", "private_hbm, sbuf, shared_hbm", "trn2"),
        (BufferError, copy(dst=lambda: psum((8, 8))), "dst", "in psum", "private_hbm, sbuf, shared_hbm", "trn3"),
        (ShapeError, copy(src=lambda: hbm((8, 9))), "src", "number of elements 72", "number of elements 64", "trn1"),
        (
            DtypeError,
            copy(dst=lambda: sbuf((8, 8), nl.float8_e5m2_x4)),
            "src",
            "float32 to float8_e5m2_x4",
            "packed x4 elements are not cast",
            "trn3",
        ),
        (GenerationError, copy(priority=0), "", "a DMA priority", "DMA classes of service", "trn2"),
        (ArgumentError, copy(priority=4), "priority", "4", "0, 1, 2, 3", "trn3"),
        (GenerationError, copy(dge_mode=MODE.hwdge), "", "dge_mode.hwdge", "descriptors generated in hardware", "trn1"),
        (
            ArgumentError,
            by_vector(dge_mode=MODE.hwdge),
            "dge_mode",
            "hwdge with a vector offset in src",
            "swdge or unknown",
            "trn2",
        ),
        (
            ArgumentError,
            by_vector(dge_mode=MODE.none),
            "dge_mode",
            "none with a vector offset in src",
            "swdge or unknown",
            "trn2",
        ),
        (
            ArgumentError,
            by_scalar(dge_mode=MODE.none),
            "dge_mode",
            "none with a scalar offset in src",
            "or hwdge",
            "trn2",
        ),
        (
            DtypeError,
            copy(lambda: sbuf((8, 8), nl.bfloat16), dge_mode=MODE.hwdge),
            "src",
            "float32 to bfloat16 with hwdge",
            "equal dtypes with hwdge",
            "trn2",
        ),
        (
            ArgumentError,
            copy(engine=nisa.engine.sync),
            "engine",
            "sync with dge_mode unknown",
            "with dge_mode.hwdge",
            "trn2",
        ),
        (
            ArgumentError,
            copy(dge_mode=MODE.hwdge, engine=nisa.engine.vector),
            "engine",
            "vector with dge_mode hwdge",
            "sync or scalar",
            "trn2",
        ),
    ],
)
def test_copy_refused_past_the_limit(error, build, operand, found, allowed, target):
    rejected(error, build, instruction="dma_copy", operand=operand, found=found, allowed=allowed, target=target)


def test_modes_of_another_enum_are_refused():
    with pytest.raises(ArgumentError, match=r"oob_mode: found .*dge_mode.*allowed: nisa\.oob_mode\.error"):
        accepted(copy(oob_mode=MODE.none))
