"""Every documented limit of nc_matmul_mx: a call at the limit is taken, one past it is refused with its parts named."""

from __future__ import annotations

import pytest

from tests.emulator.isa.harness import accepted, psum, rejected, sbuf
from trnlab.emulator.errors import (
    ArgumentError,
    BufferError,
    DtypeError,
    GenerationError,
    PartitionError,
    ShapeError,
)
from trnlab.emulator.nki import isa as nisa, language as nl

FP8, FP4 = nl.float8_e4m3fn_x4, nl.float4_e2m1fn_x4


def scale(rows, columns, dtype=nl.uint8, start=0):
    """A scale tile of that many partitions, `start` partitions into a tile of full height."""
    return sbuf((128, columns), dtype)[start : start + rows]


def matmul(
    p=128, m=128, n=512, left=FP8, right=FP8, result=nl.float32, rows=None, starts=(0, 0), scales=nl.uint8, **options
):
    def build():
        height = rows or p
        nisa.nc_matmul_mx(
            psum((min(m, 128), min(n, 8192 if result == nl.bfloat16 else 4096)), result),
            sbuf((p, m), left),
            sbuf((p, n), right),
            scale(height - starts[0], m, scales, starts[0]),
            scale(height - starts[1], n, scales, starts[1]),
            **options,
        )

    return build


@pytest.mark.parametrize(
    ("build", "target"),
    [
        (matmul(), "trn3"),
        (matmul(n=4096), "trn3"),
        (matmul(n=8192, result=nl.bfloat16), "trn3"),
        (matmul(left=FP4, right=nl.float8_e5m2_x4, scales=nl.float8_e8m0fnu), "trn4"),
        (matmul(p=32, rows=4), "trn3"),
        (matmul(p=96, rows=68), "trn3"),
        (matmul(starts=(0, 4)), "trn3"),
        (matmul(starts=(8, 12)), "trn3"),
        (matmul(p=32, tile_position=(96, 0), tile_size=(32, 128)), "trn3"),
        (matmul(p=64, tile_position=(64, 0), tile_size=(64, 128)), "trn4"),
        (matmul(m=2, n=1), "trn3"),
    ],
)
def test_taken_at_the_limit(build, target):
    assert accepted(build, target).count_by_opcode()["nc_matmul_mx"] == 1


def with_scales(left, right):
    def build():
        nisa.nc_matmul_mx(psum((8, 16)), sbuf((64, 8), FP8), sbuf((64, 16), FP8), left(), right())

    return build


@pytest.mark.parametrize(
    ("error", "build", "operand", "found", "allowed", "target"),
    [
        (ShapeError, matmul(p=40), "stationary", "40 partitions", "a multiple of 32", "trn3"),
        (ShapeError, matmul(m=127), "stationary", "127 columns", "an even number", "trn3"),
        (ShapeError, matmul(m=130, p=64), "stationary", "130 columns", "at most 128", "trn3"),
        (ShapeError, matmul(n=4097), "moving", "4097 columns", "at most 4096 for a float32 dst", "trn3"),
        (DtypeError, matmul(result=nl.float16), "dst", "float16", "bfloat16 or float32", "trn3"),
        (DtypeError, matmul(left=nl.bfloat16), "stationary", "bfloat16", "float4_e2m1fn_x4", "trn3"),
        (DtypeError, matmul(scales=nl.int8), "stationary_scale", "int8", "float8_e8m0fnu, uint8", "trn3"),
        (
            ShapeError,
            with_scales(lambda: scale(35, 8), lambda: scale(64, 16)),
            "stationary_scale",
            "35 partitions of 8 elements",
            "at least 36 partitions of 8 elements",
            "trn3",
        ),
        (
            ShapeError,
            with_scales(lambda: scale(64, 8), lambda: scale(64, 15)),
            "moving_scale",
            "64 partitions of 15 elements",
            "at least 36 partitions of 16 elements",
            "trn3",
        ),
        (
            PartitionError,
            with_scales(lambda: scale(64, 8), lambda: scale(36, 16, start=2)),
            "moving_scale",
            "starting at partition 2",
            "start at 0, 64, each plus 0, 4, 8, 12",
            "trn3",
        ),
        (
            BufferError,
            with_scales(lambda: psum((64, 8), nl.uint8), lambda: scale(64, 16)),
            "stationary_scale",
            "in psum",
            "sbuf",
            "trn3",
        ),
        (
            ArgumentError,
            matmul(m=64, tile_position=(0, 64), tile_size=(128, 64)),
            "tile_size",
            "(0, 64)",
            "row tiles only",
            "trn3",
        ),
        (
            ShapeError,
            matmul(p=64, tile_position=(32, 0), tile_size=(32, 128)),
            "stationary",
            "contraction 64",
            "at most 32",
            "trn3",
        ),
    ],
)
def test_refused_past_the_limit(error, build, operand, found, allowed, target):
    rejected(error, build, instruction="nc_matmul_mx", operand=operand, found=found, allowed=allowed, target=target)


def test_the_instruction_begins_with_the_fourth_generation():
    # The packed dtypes do too, so it takes tensors of an older dtype to reach the instruction's own rule first.
    rejected(
        GenerationError,
        matmul(),
        instruction="nc_matmul_mx",
        operand="",
        found="nc_matmul_mx on NeuronCore-v3",
        allowed="exists from NeuronCore-v4 (trn3) on",
        target="trn2",
    )
