"""Limits of the random number instructions: taken at the limit, refused just past it."""

from __future__ import annotations

import pytest

from tests.emulator.isa.harness import accepted, hbm, psum, rejected, sbuf
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, EngineError, GenerationError, ShapeError
from trnlab.emulator.nki import isa as nisa, language as nl

VECTOR, GPSIMD = nisa.engine.vector, nisa.engine.gpsimd


def draw(dtype=nl.uint32, make=sbuf, **options):
    return lambda: nisa.rng(make((8, 8), dtype), **options)


def get_state(shape=(8, 6), dtype=nl.uint32, make=sbuf, **options):
    return lambda: nisa.rand_get_state(make(shape, dtype), **options)


def set_state(shape=(8, 6), dtype=nl.uint32, make=sbuf, **options):
    return lambda: nisa.rand_set_state(make(shape, dtype), **options)


def drop(data=nl.float32, prob=0.5, dst=None):
    return lambda: nisa.dropout(
        sbuf((8, 8), dst or data), sbuf((8, 8), data), prob if isinstance(prob, float) else sbuf((8, 1), prob)
    )


@pytest.mark.parametrize(
    ("build", "target"),
    [
        (draw(), "trn1"),
        (draw(make=psum), "trn1"),
        (draw(engine=GPSIMD), "trn2"),
        (draw(nl.int8, engine=GPSIMD), "trn3"),
        (get_state(), "trn2"),
        (get_state((128, 6)), "trn2"),
        (get_state((8, 24), engine=VECTOR), "trn3"),
        (get_state((8, 24), make=psum, engine=VECTOR), "trn3"),
        (set_state(), "trn2"),
        (set_state((8, 24), engine=VECTOR), "trn3"),
        (lambda: nisa.set_rng_seed(psum((1, 1), nl.int32)), "trn1"),
        (lambda: nisa.rand2(psum((8, 8)), 0, 1), "trn3"),
        (drop(), "trn1"),
        (drop(nl.int32, nl.float32), "trn1"),
        (drop(nl.float8_e5m2, nl.float16), "trn2"),
        (drop(prob=1.0), "trn3"),
    ],
)
def test_taken_at_the_limit(build, target):
    assert len(accepted(build, target)) == 2


@pytest.mark.parametrize(
    ("instruction", "error", "build", "operand", "found", "allowed", "target"),
    [
        ("rng", EngineError, draw(engine=GPSIMD), "engine", "gpsimd", "vector (gpsimd from NeuronCore-v3", "trn1"),
        ("rng", EngineError, draw(make=psum, engine=GPSIMD), "dst", "in psum", "cannot reach PSUM", "trn2"),
        ("rng", DtypeError, draw(nl.float32), "dst", "float32", "int16, int32, int8, uint16", "trn2"),
        ("rng", BufferError, draw(make=hbm), "dst", "shared_hbm", "psum, sbuf", "trn3"),
        ("rand_get_state", GenerationError, get_state(), "", "on NeuronCore-v2", "from NeuronCore-v3", "trn1"),
        ("rand_set_state", GenerationError, set_state(), "", "on NeuronCore-v2", "from NeuronCore-v3", "trn1"),
        (
            "rand_get_state",
            EngineError,
            get_state((8, 24), engine=VECTOR),
            "engine",
            "vector",
            "gpsimd (vector from NeuronCore-v4 on)",
            "trn2",
        ),
        (
            "rand_set_state",
            EngineError,
            set_state((8, 24), engine=VECTOR),
            "engine",
            "vector",
            "gpsimd (vector from NeuronCore-v4 on)",
            "trn2",
        ),
        ("rand_get_state", ShapeError, get_state((8, 24)), "dst", "24 elements", "6 elements per partition", "trn3"),
        ("rand_get_state", ShapeError, get_state((8, 5)), "dst", "5 elements", "6 elements per partition", "trn3"),
        (
            "rand_set_state",
            ShapeError,
            set_state(engine=VECTOR),
            "src_seeds",
            "6 elements",
            "24 elements per partition",
            "trn3",
        ),
        ("rand_set_state", ShapeError, set_state((8, 2, 3)), "src_seeds", "dimensions 3", "at most 2", "trn3"),
        ("rand_get_state", DtypeError, get_state(dtype=nl.int32), "dst", "int32", "uint32", "trn3"),
        ("rand_set_state", DtypeError, set_state(dtype=nl.float32), "src_seeds", "float32", "uint32", "trn3"),
        (
            "rand_set_state",
            BufferError,
            set_state((8, 24), make=psum, engine=VECTOR),
            "src_seeds",
            "in psum",
            "a tensor in sbuf",
            "trn3",
        ),
        ("rand_get_state", EngineError, get_state(make=psum), "dst", "in psum", "cannot reach PSUM", "trn3"),
        (
            "set_rng_seed",
            ShapeError,
            lambda: nisa.set_rng_seed(sbuf((1, 2), nl.uint32)),
            "src_seeds",
            "[1, 2]",
            "shape (1, 1)",
            "trn1",
        ),
        (
            "set_rng_seed",
            ShapeError,
            lambda: nisa.set_rng_seed(sbuf((2, 1), nl.uint32)),
            "src_seeds",
            "[2, 1]",
            "shape (1, 1)",
            "trn1",
        ),
        (
            "set_rng_seed",
            DtypeError,
            lambda: nisa.set_rng_seed(sbuf((1, 1), nl.uint16)),
            "src_seeds",
            "uint16",
            "uint32",
            "trn1",
        ),
        (
            "set_rng_seed",
            BufferError,
            lambda: nisa.set_rng_seed(hbm((1, 1), nl.uint32)),
            "src_seeds",
            "shared_hbm",
            "psum, sbuf",
            "trn1",
        ),
        (
            "rand2",
            GenerationError,
            lambda: nisa.rand2(sbuf((8, 8)), 0, 1),
            "",
            "rand2 on NeuronCore-v3",
            "from NeuronCore-v4",
            "trn2",
        ),
        (
            "rand2",
            DtypeError,
            lambda: nisa.rand2(sbuf((8, 8), nl.float8_e4m3fn), 0, 1),
            "dst",
            "float8_e4m3fn",
            "bfloat16",
            "trn3",
        ),
        (
            "rand2",
            DtypeError,
            lambda: nisa.rand2(sbuf((8, 8)), sbuf((8, 1), nl.bfloat16), 1.0),
            "min",
            "bfloat16",
            "float32",
            "trn3",
        ),
        (
            "rand2",
            ShapeError,
            lambda: nisa.rand2(sbuf((8, 8)), 0.0, sbuf((8, 2))),
            "max",
            "2 elements",
            "(P, 1)",
            "trn3",
        ),
        ("dropout", DtypeError, drop(nl.int16, nl.bfloat16), "prob", "bfloat16", "float32 for integer data", "trn2"),
        ("dropout", DtypeError, drop(nl.float32, nl.int32), "prob", "int32", "float32", "trn2"),
        ("dropout", DtypeError, drop(dst=nl.bfloat16), "dst", "dtype bfloat16", "dtype float32, as data", "trn2"),
        (
            "dropout",
            ShapeError,
            lambda: nisa.dropout(sbuf((8, 8)), sbuf((8, 9)), 0.5),
            "dst",
            "free size 8",
            "free size 9",
            "trn1",
        ),
        (
            "dropout",
            ShapeError,
            lambda: nisa.dropout(sbuf((8, 8)), sbuf((8, 8)), sbuf((4, 1))),
            "prob",
            "partition count 4",
            "partition count 8",
            "trn1",
        ),
    ],
)
def test_refused_past_the_limit(instruction, error, build, operand, found, allowed, target):
    rejected(error, build, instruction=instruction, operand=operand, found=found, allowed=allowed, target=target)


@pytest.mark.parametrize(
    ("error", "build", "match"),
    [
        (EngineError, draw(engine=nisa.engine.scalar), r"nisa\.rng: engine: found scalar; allowed: vector or gpsimd"),
        (EngineError, draw(engine=nisa.engine.unknown), r"nisa\.rng: engine: found unknown; allowed: vector or gpsimd"),
        (ArgumentError, draw(engine="vector"), r"nisa\.rng: engine: .*a member of nisa\.engine"),
        (ArgumentError, lambda: nisa.rand2(sbuf((8, 8)), 1.0, 1.0), r"nisa\.rand2: max: found 1\.0 with min 1\.0"),
        (ArgumentError, lambda: nisa.rand2(sbuf((8, 8)), -3e38, 3e38), r"nisa\.rand2: max: .*largest float32"),
        (ArgumentError, lambda: nisa.rand2(sbuf((8, 8)), float("nan"), 1.0), r"nisa\.rand2: max: .*min nan"),
        (ArgumentError, drop(prob=1.5), r"nisa\.dropout: prob: found 1\.5; allowed: a probability, 0 to 1"),
        (ArgumentError, drop(prob=-0.1), r"nisa\.dropout: prob: found -0\.1"),
    ],
)
def test_arguments_refused_on_every_generation(error, build, match):
    with pytest.raises(error, match=match):
        accepted(build)
