"""Every documented limit of nc_transpose, on both engines and on every generation that differs."""

from __future__ import annotations

import pytest

from tests.emulator.isa.harness import accepted, psum, rejected, sbuf
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, EngineError, ShapeError
from trnlab.emulator.nki import isa as nisa, language as nl

TENSOR, VECTOR = nisa.engine.tensor, nisa.engine.vector


def transpose(rows, columns, engine=TENSOR, dtype=nl.bfloat16, result=None, source=sbuf, target=psum):
    def build():
        nisa.nc_transpose(target((columns, rows), result or dtype), source((rows, columns), dtype), engine=engine)

    return build


@pytest.mark.parametrize(
    ("build", "target"),
    [
        (transpose(128, 128), "trn1"),
        (transpose(128, 128, dtype=nl.float8_e5m2_x4), "trn3"),
        (transpose(128, 128, dtype=nl.int32), "trn2"),
        (transpose(128, 128, result=nl.float32), "trn1"),
        (transpose(32, 32, VECTOR, source=psum, target=sbuf), "trn1"),
        (transpose(32, 32, VECTOR, source=psum), "trn2"),
        (transpose(32, 32, VECTOR, dtype=nl.uint8), "trn2"),
        (transpose(32, 1, None, dtype=nl.uint8, target=sbuf), "trn3"),
        (lambda: nisa.nc_transpose(psum((32, 64, 2), nl.float8_e4m3)[:, :, 0], sbuf((64, 32), nl.float8_e4m3)), "trn2"),
        (transpose(64, 32, dtype=nl.float8_e4m3), "trn1"),
        (
            transpose(128, 1, dtype=nl.float8_e4m3, target=lambda shape, dtype: psum((1, 128, 2), dtype)[:, :, 0]),
            "trn2",
        ),
    ],
)
def test_taken_at_the_limit(build, target):
    assert accepted(build, target).count_by_opcode()["nc_transpose"] == 1


@pytest.mark.parametrize(
    ("error", "build", "operand", "found", "allowed", "target"),
    [
        (
            ShapeError,
            transpose(128, 129, target=lambda shape, dtype: psum((128, 128), dtype)),
            "data",
            "128 x 129",
            "128 x 128 on the tensor engine",
            "trn2",
        ),
        (ShapeError, transpose(33, 32, VECTOR), "data", "33 x 32", "at most 32 x 32 on the vector engine", "trn2"),
        (ShapeError, transpose(32, 33, VECTOR), "data", "32 x 33", "at most 32 x 32 on the vector engine", "trn3"),
        (BufferError, transpose(64, 64, target=sbuf), "dst", "to dst bfloat16[64, 64] in sbuf", "dst in psum", "trn2"),
        (BufferError, transpose(64, 64, source=psum), "dst", "data bfloat16[64, 64] in psum", "data in sbuf", "trn3"),
        (
            BufferError,
            transpose(33, 32, None, source=psum, target=sbuf),
            "dst",
            "in psum",
            "on the tensor engine",
            "trn2",
        ),
        (DtypeError, transpose(64, 64, result=nl.float32), "dst", "float32[64, 64]", "bfloat16", "trn2"),
        (DtypeError, transpose(64, 64, result=nl.float16), "dst", "float16[64, 64]", "bfloat16 or float32", "trn1"),
        (DtypeError, transpose(32, 32, VECTOR, result=nl.float32), "dst", "float32[32, 32]", "bfloat16", "trn1"),
        (ShapeError, transpose(64, 64, dtype=nl.float8_e5m2), "dst", "step 1", "a step of 2", "trn2"),
        (
            ShapeError,
            lambda: nisa.nc_transpose(psum((8, 8)), sbuf((8, 9))),
            "dst",
            "8 partitions of 8",
            "9 partitions of 8",
            "trn2",
        ),
        (EngineError, transpose(32, 32, nisa.engine.scalar), "engine", "scalar", "tensor, vector", "trn2"),
        (EngineError, transpose(32, 32, nisa.engine.gpsimd), "engine", "gpsimd", "tensor, vector", "trn3"),
    ],
)
def test_refused_past_the_limit(error, build, operand, found, allowed, target):
    rejected(error, build, instruction="nc_transpose", operand=operand, found=found, allowed=allowed, target=target)


def test_an_engine_of_another_kind_is_refused():
    with pytest.raises(ArgumentError, match=r"engine: found 'tensor'; allowed: a member of nisa\.engine"):
        accepted(transpose(32, 32, "tensor"))
