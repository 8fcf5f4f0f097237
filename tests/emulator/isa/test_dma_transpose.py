"""dma_transpose: values of every permutation, and every documented limit."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.emulator.isa.harness import accepted, hbm, load, psum, random_bits, rejected, run, sbuf, store, words
from trnlab.emulator.errors import (
    ArgumentError,
    BufferError,
    DtypeError,
    GenerationError,
    ShapeError,
)
from trnlab.emulator.nki import isa as nisa, language as nl

BF16 = ml_dtypes.bfloat16
MODE = nisa.dge_mode


@pytest.mark.parametrize(
    ("shape", "axes"), [((24, 40), (1, 0)), ((6, 5, 40), (2, 1, 0)), ((6, 5, 3, 40), (3, 1, 2, 0))]
)
@pytest.mark.parametrize("dtype", [BF16, np.float32])
def test_transposes_permute_bits(shape, axes, dtype):
    data = random_bits(shape, dtype, 5)

    def kernel(x, axes):
        tile = sbuf(tuple(shape[axis] for axis in (axes or default)), x.dtype)
        nisa.dma_transpose(tile, x, axes)
        return store(tile)

    default = axes
    for given in (axes, None):
        assert (words(run(kernel, data, given, target="trn2")) == words(data).transpose(axes)).all()


def test_a_tile_in_sbuf_is_transposed_too():
    data = random_bits((48, 32), np.uint16, 6)

    def kernel(x):
        tile = sbuf((32, 48), x.dtype)
        nisa.dma_transpose(tile, load(x))
        return store(tile)

    assert (run(kernel, data) == data.T).all()


def test_a_transpose_at_a_run_time_offset():
    data = random_bits((12, 8), np.uint16, 7)

    def kernel(x):
        tile, row = sbuf((8, 4), x.dtype), nisa.register_alloc(5)
        nisa.dma_transpose(tile, x[nl.ds(row, 4)])
        return store(tile)

    assert (run(kernel, data) == data[5:9].T).all()


def transpose(shape=(16, 128), dtype=nl.bfloat16, dst=None, source=hbm, **options):
    order = {2: (1, 0), 3: (2, 1, 0), 4: (3, 1, 2, 0)}.get(len(shape), (1, 0))

    def build():
        tile = dst() if dst else sbuf(tuple(shape[axis] for axis in order), dtype)
        nisa.dma_transpose(tile, source(shape, dtype), **options)

    return build


HARDWARE = {"dge_mode": MODE.hwdge}


@pytest.mark.parametrize(
    ("build", "target"),
    [
        (transpose((512, 128)), "trn2"),
        (transpose((512, 64), nl.int32, dge_mode=MODE.none), "trn2"),
        (transpose((128, 128), source=sbuf), "trn3"),
        (transpose(priority=1), "trn3"),
        (transpose(**HARDWARE), "trn2"),
        (transpose((2, 8, 128), **HARDWARE), "trn2"),
        (transpose((1, 4, 16, 128), **HARDWARE), "trn3"),
        (transpose((16, 3, 7, 100), **HARDWARE), "trn4"),
    ],
)
def test_transpose_taken_at_the_limit(build, target):
    assert accepted(build, target).count_by_opcode()["dma_transpose"] == 1


@pytest.mark.parametrize(
    ("error", "build", "operand", "found", "allowed", "target"),
    [
        (
            GenerationError,
            transpose(),
            "",
            "dma_transpose on NeuronCore-v2",
            "exists from NeuronCore-v3 (trn2) on",
            "trn1",
        ),
        (
            ShapeError,
            transpose((128,), dst=lambda: sbuf((128, 1), nl.bfloat16)),
            "src",
            "1 dimensions",
            "2, 3 or 4",
            "trn2",
        ),
        (
            ShapeError,
            transpose((2, 2, 2, 2, 8), dst=lambda: sbuf((8, 16), nl.bfloat16)),
            "src",
            "5 dimensions",
            "2, 3 or 4",
            "trn2",
        ),
        (
            ArgumentError,
            transpose(axes=(0, 1)),
            "axes",
            "(0, 1) for src bfloat16[16, 128]",
            "(1, 0), (2, 1, 0), (3, 1, 2, 0)",
            "trn2",
        ),
        (DtypeError, transpose(dst=lambda: sbuf((128, 16))), "src", "dtype bfloat16", "dtype float32, as dst", "trn2"),
        (DtypeError, transpose(dtype=nl.uint8), "src", "uint8[16, 128]", "2 or 4 bytes", "trn2"),
        (ShapeError, transpose(dst=lambda: sbuf((128, 8), nl.bfloat16)), "dst", "[128, 8]", "shape (128, 16)", "trn2"),
        (BufferError, transpose(dst=lambda: hbm((128, 16), nl.bfloat16)), "dst", "in shared_hbm", "sbuf", "trn2"),
        (BufferError, transpose(source=psum), "src", "in psum", "sbuf", "trn2"),
        (ArgumentError, transpose(dge_mode=MODE.swdge), "dge_mode", "swdge", "unknown, none or hwdge", "trn2"),
        (DtypeError, transpose(dtype=nl.float32, **HARDWARE), "src", "float32[16, 128]", "2 bytes with hwdge", "trn2"),
        (ShapeError, transpose((32, 128), **HARDWARE), "src", "[32, 128]", "16 rows in 2-D", "trn2"),
        (ShapeError, transpose((3, 16, 128), **HARDWARE), "src", "[3, 16, 128]", "1, 2, 4, 8 or 16", "trn2"),
        (ShapeError, transpose((2, 7, 128), **HARDWARE), "src", "[2, 7, 128]", "a multiple of 16", "trn3"),
        (
            ShapeError,
            transpose((16, 129), dst=lambda: sbuf((64, 16), nl.bfloat16), **HARDWARE),
            "dst",
            "[64, 16]",
            "shape (129, 16)",
            "trn2",
        ),
        (
            ArgumentError,
            transpose(oob_mode=nisa.oob_mode.skip),
            "oob_mode",
            "oob_mode.skip",
            "a run-time index",
            "trn2",
        ),
        (GenerationError, transpose(priority=1), "", "a DMA priority", "DMA classes of service", "trn2"),
    ],
)
def test_transpose_refused_past_the_limit(error, build, operand, found, allowed, target):
    rejected(error, build, instruction="dma_transpose", operand=operand, found=found, allowed=allowed, target=target)
