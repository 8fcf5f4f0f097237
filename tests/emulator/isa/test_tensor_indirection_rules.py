"""The documented rules of tensor indirection: what can be indirect, on which engines, from which partitions on."""

from __future__ import annotations

import pytest

from tests.emulator.isa.harness import accepted, hbm, psum, rejected, sbuf
from trnlab.emulator.errors import (
    ArgumentError,
    BufferError,
    DtypeError,
    EngineError,
    GenerationError,
    PartitionError,
    ShapeError,
    TraceError,
)
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.isa.tensor_indirection import USES, offset_group
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.target import Engine

SCALAR, GPSIMD = nisa.engine.scalar, nisa.engine.gpsimd
P = 64


# ----------------------------------------------------------------------------------------------------- what a view is


def test_what_cannot_be_indirect():
    def of(tensor=lambda: sbuf((P, 4, 6)), index=lambda: sbuf((P, 2), nl.uint16), **options):
        return lambda: tensor().indirect(index(), **options)

    refused = [
        (of(lambda: hbm((P, 6))), BufferError, "a tensor in HBM"),
        (of(index=lambda: hbm((P, 2), nl.uint16)), BufferError, "in shared_hbm"),
        (of(index=lambda: psum((P, 2), nl.uint16)), BufferError, "in psum"),
        (of(index=lambda: 3), ArgumentError, "index 3"),
        (of(index=lambda: sbuf((P, 2))), ArgumentError, "float32"),
        (of(index=lambda: sbuf((P, 2), nl.bool_)), ArgumentError, "bool"),
        (of(index=lambda: sbuf((32, 2), nl.uint16)), ShapeError, r"an index of shape \(64, K\)"),
        (of(index=lambda: sbuf((P, 2, 2), nl.uint16)), ShapeError, r"an index of shape \(64, K\)"),
        (of(num_elem=0), ArgumentError, "num_elem=0"),
        (of(num_elem=1.5), ArgumentError, r"num_elem=1\.5"),
        (of(lambda: sbuf((P, 4, 6))[:, :, :3]), ShapeError, "flatten without a copy"),
        (of(lambda: sbuf((P, 6))[:, nl.ds(nisa.register_alloc(1), 2)]), TraceError, "an indirect view"),
    ]
    for build, error, match in refused:
        with pytest.raises(error, match=match):
            accepted(build)


@pytest.mark.parametrize(
    "change",
    [
        lambda view: view[:32],
        lambda view: view[:, :3],
        lambda view: view.reshape((P, 2, 4)),
        lambda view: view.ap([[6, P], [1, 4]]),
        lambda view: view.expand_dim(1),
        lambda view: view.view(nl.int32),
        lambda view: view.indirect(sbuf((P, 2), nl.uint16)),
    ],
)
def test_indirection_is_the_last_step_of_a_view(change):
    with pytest.raises(TraceError):
        accepted(lambda: change(sbuf((P, 6)).indirect(sbuf((P, 2), nl.uint16), 8)))


# ----------------------------------------------------------------------------------------------------------- rules


def test_the_table_names_instructions_and_their_operands():
    for opcode, use in USES.items():
        assert opcode in CATALOGUE
        assert set(use.operands) <= {operand.name for operand in CATALOGUE[opcode].operands}
        assert set(use.engines) <= set(CATALOGUE[opcode].engines)
    assert {offset_group(engine) for engine in (Engine.VECTOR, Engine.SCALAR, Engine.GPSIMD)} == {16}
    assert offset_group(Engine.TENSOR) == 32


def ti(tensor, count=8, places=2, partitions=None):
    """The tensor with tensor indirection by a fresh index."""
    return tensor.indirect(sbuf((tensor.shape[0], places), nl.uint16), count)


def direct(dtype=nl.float32, make=sbuf, shape=(P, 8)):
    return make(shape, dtype)


@pytest.mark.parametrize(
    ("instruction", "error", "build", "operand", "found", "allowed", "target"),
    [
        (
            "tensor_copy",
            GenerationError,
            lambda: nisa.tensor_copy(direct(), ti(direct())),
            "",
            ".indirect()",
            "indirect addressing in compute instructions",
            "trn2",
        ),
        (
            "tensor_copy",
            EngineError,
            lambda: nisa.tensor_copy(direct(), ti(direct()), engine=GPSIMD),
            "engine",
            "gpsimd",
            "vector, scalar with tensor indirection",
            "trn3",
        ),
        (
            "tensor_copy",
            BufferError,
            lambda: nisa.tensor_copy(ti(direct(make=psum)), direct(), engine=SCALAR),
            "dst",
            "scattered on the scalar engine",
            "a scattered dst in sbuf",
            "trn3",
        ),
        (
            "activation",
            BufferError,
            lambda: nisa.activation(ti(direct(make=psum)), nl.exp, direct()),
            "dst",
            "scattered on the scalar engine",
            "a scattered dst in sbuf",
            "trn3",
        ),
        (
            "tensor_tensor",
            ArgumentError,
            lambda: nisa.tensor_tensor(direct(), direct(), ti(direct()), nl.add),
            "data2",
            "with tensor indirection",
            ".indirect() for dst, data1",
            "trn3",
        ),
        (
            "tensor_scalar",
            ArgumentError,
            lambda: nisa.tensor_scalar(direct(), direct(), nl.add, ti(direct(shape=(P, 3)), 1)),
            "operand0",
            "with tensor indirection",
            ".indirect() for dst, data",
            "trn3",
        ),
        (
            "tensor_scalar",
            DtypeError,
            lambda: nisa.tensor_scalar(direct(nl.int32), ti(direct(nl.int32)), nl.add, 1.0),
            "data",
            "add on int32",
            "bitvec operators where data and dst are int32 or uint32",
            "trn3",
        ),
        (
            "dma_copy",
            ArgumentError,
            lambda: nisa.dma_copy(direct(), ti(direct())),
            "src",
            "with tensor indirection",
            "no .indirect() view",
            "trn3",
        ),
        (
            "iota",
            ArgumentError,
            lambda: nisa.iota(ti(direct(nl.int32)), [[1, 8]]),
            "dst",
            "with tensor indirection",
            "no .indirect() view",
            "trn3",
        ),
        (
            "tensor_copy",
            ShapeError,
            lambda: nisa.tensor_copy(direct(shape=(P, 33)), ti(direct(), 33)),
            "src",
            "33 offsets from index uint16[64, 2] in sbuf",
            "at most 32: offset i is index[i % 16, i // 16] on the vector engine",
            "trn3",
        ),
        (
            "tensor_copy",
            ShapeError,
            lambda: nisa.tensor_copy(direct(shape=(8, 9)), ti(direct(shape=(8, 8)), 9)),
            "src",
            "9 offsets",
            "at most 8",
            "trn3",
        ),
        (
            "nc_matmul",
            ShapeError,
            lambda: nisa.nc_matmul(direct(make=psum, shape=(8, 65)), direct(nl.bfloat16), ti(direct(nl.bfloat16), 65)),
            "moving",
            "65 offsets",
            "at most 64: offset i is index[i % 32, i // 32] on the tensor engine",
            "trn3",
        ),
        (
            "nc_matmul",
            DtypeError,
            lambda: nisa.nc_matmul(direct(make=psum, shape=(8, 8)), direct(), ti(direct())),
            "",
            "moving float32",
            "bfloat16, float16, float8_e4m3, float8_e4m3fn, float8_e5m2",
            "trn3",
        ),
        (
            "nc_matmul",
            ArgumentError,
            lambda: nisa.nc_matmul(
                direct(nl.bfloat16, psum, (8, 8)), direct(nl.bfloat16), ti(direct(nl.bfloat16)), is_transpose=True
            ),
            "moving",
            "bfloat16[64, 8]",
            "a direct view with is_transpose",
            "trn3",
        ),
        (
            "nc_matmul",
            ArgumentError,
            lambda: nisa.nc_matmul(
                direct(make=psum, shape=(8, 8)),
                direct(nl.bfloat16),
                ti(direct(nl.bfloat16)),
                tile_position=(0, 0),
                tile_size=(64, 64),
            ),
            "tile_position",
            "(0, 0), tile_size (64, 64)",
            "(0, 0), or unset",
            "trn3",
        ),
    ],
)
def test_refused(instruction, error, build, operand, found, allowed, target):
    rejected(error, build, instruction=instruction, operand=operand, found=found, allowed=allowed, target=target)


def test_the_compiler_chooses_an_engine_that_takes_indirection():
    program = accepted(lambda: nisa.tensor_tensor(direct(), ti(direct()), direct(), nl.add))
    assert next(s.engine for s in program.signatures if s.opcode == "tensor_tensor") is Engine.VECTOR


def test_bit_patterns_of_integers_may_be_indirect():
    accepted(lambda: nisa.tensor_scalar(direct(nl.int32), ti(direct(nl.int32)), nl.bitwise_and, 7))
    accepted(lambda: nisa.tensor_scalar(direct(), ti(direct(nl.int32)), nl.add, 1.0))


def mx(data=None, scale=None):
    def build():
        tile, factors = sbuf((32, 8), nl.float8_e4m3fn_x4), sbuf((32, 8), nl.uint8)
        index, other = sbuf((32, 1), nl.uint16), sbuf((32, 1), nl.uint16)
        stationary = tile.indirect(index, 8) if data else tile
        scales = factors.indirect(index if scale == "same" else other, 8) if scale else factors
        nisa.nc_matmul_mx(psum((8, 8)), stationary, tile, scales, factors)

    return build


def test_data_and_scales_are_indirect_together():
    accepted(mx())
    accepted(mx(data=True, scale="same"))
    allowed = "stationary and stationary_scale both indirect, or neither"
    for build in (mx(data=True), mx(scale="same")):
        rejected(
            ArgumentError,
            build,
            instruction="nc_matmul_mx",
            operand="stationary_scale",
            found="beside stationary",
            allowed=allowed,
        )
    with pytest.raises(ArgumentError, match=r"nc_matmul_mx: stationary_scale: .*index of its own; allowed: the index"):
        accepted(mx(data=True, scale="other"))


def placed(shape, start, dtype=nl.float32, buffer=nl.sbuf, byte=0):
    return nl.ndarray(shape, dtype=dtype, buffer=buffer, address=(start, byte))


def copy_at(source, source_index=None, dst=0, dst_index=None, region=nl.sbuf):
    """A copy of 32 partitions that start where these numbers say."""

    def build():
        src, result = placed((32, 8), source, buffer=region), placed((32, 8), dst, byte=1024)
        if source_index is not None:
            src = src.indirect(placed((32, 1), source_index, nl.uint16, byte=2048), 8)
        if dst_index is not None:
            result = result.indirect(placed((32, 1), dst_index, nl.uint16, byte=4096), 8)
        nisa.tensor_copy(result, src)

    return build


@pytest.mark.parametrize(
    "build",
    [
        copy_at(32, 32, 96),
        copy_at(64, dst=0, dst_index=64),
        copy_at(64, 64, dst=0, dst_index=64),
        copy_at(64, 64, dst=0, dst_index=64, region=nl.psum),
        copy_at(64, dst=0, dst_index=32, region=nl.psum),  # a direct source in PSUM binds nothing
    ],
)
def test_indices_that_start_where_the_rules_ask(build):
    accepted(build)


@pytest.mark.parametrize(
    ("build", "operand", "found", "allowed"),
    [
        (copy_at(32, 64), "src", "src.index at partition 64, src at 32", "the same start partition"),
        (copy_at(64, dst=0, dst_index=32), "dst", "dst.index at partition 32, src at 64", "dst.index and src"),
        (
            copy_at(64, 64, dst=0, dst_index=32, region=nl.psum),
            "dst",
            "dst.index at partition 32, src.index at 64",
            "dst.index and src.index",
        ),
    ],
)
def test_indices_that_start_elsewhere(build, operand, found, allowed):
    rejected(PartitionError, build, instruction="tensor_copy", operand=operand, found=found, allowed=allowed)


def test_a_part_of_a_tile_that_fills_the_partitions_starts_where_it_starts():
    """More than half of the partitions fit at partition 0 only: no address is needed to know."""

    def build():
        index, tile = sbuf((128, 1), nl.uint16), sbuf((128, 8))
        nisa.tensor_copy(sbuf((32, 8)), tile[64:96].indirect(index[32:64], 8))

    rejected(
        PartitionError,
        build,
        instruction="tensor_copy",
        operand="src",
        found="src.index at partition 32, src at 64",
        allowed="the same start partition",
    )


def test_an_index_starts_on_a_quadrant():
    def build():
        index = placed((16, 1), 16, nl.uint16)
        nisa.tensor_copy(sbuf((16, 8)), sbuf((16, 8)).indirect(index, 8))

    rejected(
        PartitionError,
        build,
        instruction="tensor_copy",
        operand="src",
        found="uint16[16, 1] in sbuf starting at partition 16",
        allowed="16 partitions start at 0, 32, 64, 96",
    )
