"""Every documented limit of nc_matmul: a call at the limit is taken, one past it is refused with its parts named."""

from __future__ import annotations

import pytest

from tests.emulator.isa.harness import accepted, hbm, psum, rejected, sbuf
from trnlab.emulator import dtypes
from trnlab.emulator.errors import (
    ArgumentError,
    BufferError,
    DtypeError,
    GenerationError,
    PartitionError,
    ShapeError,
)
from trnlab.emulator.nki import isa as nisa, language as nl

DOUBLE = nisa.matmul_perf_mode.double_row


def matmul(m=128, n=512, k=128, stationary=nl.bfloat16, moving=nl.bfloat16, result=nl.float32, **options):
    def build():
        nisa.nc_matmul(psum((min(m, 128), n), result), sbuf((k, m), stationary), sbuf((k, n), moving), **options)

    return build


def paired(m=128, n=512, k=128, stationary=nl.float8_e4m3, moving=nl.float8_e5m2, rows=2, **options):
    def build():
        nisa.nc_matmul(
            psum((min(m, 128), n)),
            sbuf((k, rows, m), stationary),
            sbuf((k, rows, n), moving),
            perf_mode=DOUBLE,
            **options,
        )

    return build


@pytest.mark.parametrize(
    ("build", "target"),
    [
        (matmul(), "trn1"),
        (matmul(), "trn2"),
        (matmul(n=4096), "trn3"),
        (matmul(n=8192, result=nl.bfloat16), "trn3"),
        (matmul(n=4096), "trn4"),
        (matmul(m=1, n=1, k=1), "trn1"),
        (matmul(stationary=nl.float32, moving=nl.tfloat32), "trn1"),
        (matmul(stationary=dtypes.float8_e3m4, moving=nl.float16), "trn2"),
        (matmul(stationary=nl.float8_e4m3fn, moving=nl.float8_e5m2), "trn3"),
        (matmul(64, 512, 64, tile_position=(64, 64), tile_size=(64, 64)), "trn1"),
        (matmul(32, 512, 32, tile_position=(96, 32), tile_size=(32, 32)), "trn2"),
        (matmul(128, 512, 32, tile_position=[32, 0], tile_size=[32, 128]), "trn3"),
        (paired(), "trn2"),
        (paired(stationary=nl.float8_e4m3fn), "trn3"),
        (paired(k=64, tile_position=(64, 0), tile_size=(64, 128)), "trn2"),
        (matmul(128, 128, is_transpose=True, result=nl.bfloat16), "trn2"),
        (matmul(128, 128, is_transpose=True), "trn1"),
    ],
)
def test_taken_at_the_limit(build, target):
    assert accepted(build, target).count_by_opcode()["nc_matmul"] == 1


@pytest.mark.parametrize(
    ("error", "build", "operand", "found", "allowed", "target"),
    [
        # K, M, N
        (ShapeError, matmul(n=513), "moving", "513 columns", "at most 512 for a float32 dst", "trn1"),
        (ShapeError, matmul(n=513), "moving", "513 columns", "at most 512 for a float32 dst", "trn2"),
        (ShapeError, matmul(k=64, m=129), "stationary", "129 columns", "at most 128 (the tile's columns)", "trn2"),
        (
            ShapeError,
            lambda: nisa.nc_matmul(psum((8, 8)), sbuf((32, 8)), sbuf((64, 8))),
            "moving",
            "contraction 64",
            "32, as the stationary has",
            "trn2",
        ),
        (
            ShapeError,
            lambda: nisa.nc_matmul(psum((8, 9)), sbuf((32, 8)), sbuf((32, 8))),
            "dst",
            "8 partitions of 9 elements",
            "8 partitions of 8 elements",
            "trn2",
        ),
        (
            ShapeError,
            lambda: nisa.nc_matmul(psum((9, 8)), sbuf((32, 8)), sbuf((32, 8))),
            "dst",
            "9 partitions of 8 elements",
            "8 partitions of 8 elements",
            "trn3",
        ),
        # dtypes
        (
            DtypeError,
            matmul(stationary=nl.float32),
            "moving",
            "float32 with bfloat16",
            "with float32 or tfloat32",
            "trn2",
        ),
        (
            DtypeError,
            matmul(moving=nl.tfloat32),
            "moving",
            "bfloat16 with tfloat32",
            "with float32 or tfloat32",
            "trn1",
        ),
        (
            DtypeError,
            matmul(stationary=nl.float8_e4m3, moving=nl.float8_e4m3fn),
            "moving",
            "float8_e4m3 with float8_e4m3fn",
            "with another dtype than float8_e4m3fn",
            "trn3",
        ),
        (DtypeError, matmul(stationary=nl.int32), "stationary", "int32[128, 128] in sbuf", "bfloat16", "trn3"),
        (DtypeError, matmul(result=nl.bfloat16), "dst", "bfloat16[128, 512] in psum", "float32", "trn2"),
        (DtypeError, matmul(result=nl.float16), "dst", "float16[128, 512] in psum", "bfloat16 or float32", "trn3"),
        (GenerationError, matmul(moving=nl.float8_e4m3fn), "moving", "float8_e4m3fn", "from NeuronCore-v4 on", "trn2"),
        # memories
        (
            BufferError,
            lambda: nisa.nc_matmul(sbuf((8, 8)), sbuf((8, 8)), sbuf((8, 8))),
            "dst",
            "in sbuf",
            "psum",
            "trn2",
        ),
        (
            BufferError,
            lambda: nisa.nc_matmul(psum((8, 8)), psum((8, 8)), sbuf((8, 8))),
            "stationary",
            "in psum",
            "sbuf",
            "trn2",
        ),
        (
            BufferError,
            lambda: nisa.nc_matmul(psum((8, 8)), sbuf((8, 8)), hbm((8, 8))),
            "moving",
            "in shared_hbm",
            "sbuf",
            "trn3",
        ),
        (
            PartitionError,
            lambda: nisa.nc_matmul(psum((8, 8)), sbuf((64, 8))[16:48], sbuf((32, 8))),
            "stationary",
            "starting at partition 16",
            "start at 0, 32, 64, 96",
            "trn2",
        ),
        # tiles of the array
        (
            ArgumentError,
            matmul(32, tile_position=(0, 0), tile_size=(128, 32)),
            "tile_size",
            "(128, 32)",
            "128, 64",
            "trn1",
        ),
        (
            ArgumentError,
            matmul(tile_position=(0, 0), tile_size=(128, 96)),
            "tile_size",
            "(128, 96)",
            "128, 64, 32",
            "trn2",
        ),
        (
            ArgumentError,
            matmul(64, 512, 64, tile_position=(32, 0), tile_size=(64, 64)),
            "tile_position",
            "(32, 0) with tile_size (64, 64)",
            "multiples of tile_size",
            "trn2",
        ),
        (
            ArgumentError,
            matmul(64, 512, 64, tile_position=(0, 128), tile_size=(64, 64)),
            "tile_position",
            "(0, 128) with tile_size (64, 64)",
            "inside the array",
            "trn2",
        ),
        (
            ShapeError,
            matmul(m=64, k=65, tile_position=(0, 0), tile_size=(64, 64)),
            "stationary",
            "contraction 65",
            "at most 64 (the tile's rows)",
            "trn2",
        ),
        (
            ShapeError,
            matmul(m=33, k=64, tile_position=(64, 32), tile_size=(64, 32)),
            "stationary",
            "33 columns",
            "at most 32 (the tile's columns)",
            "trn3",
        ),
        # double rows
        (GenerationError, paired(), "", "perf_mode double_row", "two rows per cycle", "trn1"),
        (DtypeError, paired(moving=nl.bfloat16), "perf_mode", "moving bfloat16", "float8_e5m2 in double_row", "trn2"),
        (
            DtypeError,
            paired(stationary=dtypes.float8_e3m4),
            "perf_mode",
            "stationary float8_e3m4",
            "double_row",
            "trn2",
        ),
        (
            ShapeError,
            paired(rows=4),
            "perf_mode",
            "stationary float8_e4m3[128, 4, 128]",
            "shape (K, 2, columns)",
            "trn2",
        ),
        (ShapeError, paired(n=513), "moving", "513 columns", "at most 512", "trn2"),
        (ShapeError, paired(m=129, k=32), "stationary", "129 columns", "at most 128", "trn3"),
        (
            ArgumentError,
            paired(m=64, tile_position=(0, 0), tile_size=(128, 64)),
            "perf_mode",
            "tile_size (128, 64) with double_row",
            "without column tiling",
            "trn2",
        ),
        (ArgumentError, paired(is_transpose=True), "perf_mode", "is_transpose=True", "without transpose mode", "trn3"),
        # transpose mode
        (DtypeError, matmul(128, 128, is_transpose=True), "dst", "float32[128, 128]", "bfloat16", "trn2"),
        (
            DtypeError,
            matmul(128, 128, is_transpose=True, result=nl.bfloat16),
            "dst",
            "bfloat16[128, 128]",
            "float32",
            "trn1",
        ),
        (
            ShapeError,
            matmul(32, 32, stationary=nl.float8_e5m2, result=nl.float8_e5m2, is_transpose=True),
            "dst",
            "step 1",
            "a step of 2",
            "trn2",
        ),
    ],
)
def test_refused_past_the_limit(error, build, operand, found, allowed, target):
    rejected(error, build, instruction="nc_matmul", operand=operand, found=found, allowed=allowed, target=target)


@pytest.mark.parametrize(
    ("options", "operand", "found"),
    [
        ({"tile_position": (0, 0)}, "tile_position", "tile_position without tile_size"),
        ({"tile_size": (64, 128)}, "tile_size", "tile_size without tile_position"),
        ({"tile_position": (0, 0, 0), "tile_size": (64, 64)}, "tile_position", "(0, 0, 0)"),
        ({"tile_position": (0.5, 0), "tile_size": (64, 64)}, "tile_position", "0.5"),
        ({"perf_mode": "double_column"}, "perf_mode", "double_column"),
        ({"perf_mode": nisa.dge_mode.none}, "perf_mode", "dge_mode.none"),
    ],
)
def test_arguments_of_another_form_are_refused(options, operand, found):
    with pytest.raises(ArgumentError) as caught:
        accepted(matmul(**options))
    assert caught.value.violation.operand == operand
    assert found in caught.value.violation.found


def test_adding_to_a_transpose_is_refused_where_the_transpose_moves_bits():
    def build():
        result, tile = psum((32, 32)), sbuf((32, 32))
        nisa.nc_matmul(result, tile, tile, is_transpose=True)
        nisa.nc_matmul(result, tile, tile, is_transpose=True, accumulate=True)

    rejected(
        ArgumentError,
        build,
        instruction="nc_matmul",
        operand="accumulate",
        found="accumulate=True with is_transpose=True",
        allowed="moves bits and adds nothing",
        target="trn2",
    )
    accepted(build, "trn1")


def test_a_result_of_the_older_generations_stays_in_one_bank():
    def build():
        result = psum((32, 1024))
        nisa.nc_matmul(result[:, 256:768], sbuf((32, 32)), sbuf((32, 512)))

    rejected(
        ShapeError,
        build,
        instruction="nc_matmul",
        operand="dst",
        found="bytes 1024 to 3071",
        allowed="one PSUM bank of 2048 bytes",
        target="trn2",
    )
    accepted(build, "trn3")
