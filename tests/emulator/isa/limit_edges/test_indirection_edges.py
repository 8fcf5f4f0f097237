"""Tensor indirection on every operand of every instruction: where it is taken, and what refuses it elsewhere."""

from __future__ import annotations

import pytest

from tests.emulator.isa.limit_edges.calls import Example, Tile, judge
from tests.emulator.isa.limit_edges.examples import EXAMPLES
from tests.emulator.isa.limit_edges.indirection_rules import indirect, through, through_one
from tests.emulator.isa.limit_edges.operands import every_instruction, tensors
from trnlab.emulator.errors import ArgumentError, BufferError, EngineError, GenerationError, ShapeError
from trnlab.emulator.memory import ON_CHIP_REGIONS
from trnlab.emulator.nki import isa as nisa
from trnlab.emulator.target import get_target

TAKES = {
    "tensor_copy": ("dst", "src"),
    "tensor_copy_predicated": ("dst", "predicate"),
    "tensor_tensor": ("dst", "data1"),
    "tensor_scalar": ("dst", "data"),
    "tensor_scalar_reduce": ("dst", "data"),
    "tensor_scalar_cumulative": ("dst", "src"),
    "tensor_reduce": ("dst", "data"),
    "exponential": ("dst", "src"),
    "activation": ("dst", "data"),
    "activation_reduce": ("dst", "data"),
    "activate2": ("dst", "data"),
    "nc_matmul": ("dst", "stationary", "moving"),
    "nc_matmul_mx": ("dst", "stationary", "moving", "stationary_scale", "moving_scale"),
}
"""NKI reference 2.32, "Tensor indirection" on the pages of the instructions."""


def narrow(example: Example) -> Example:
    """A matmul whose result has as many columns as partitions: an index of 8 partitions holds 8 offsets."""
    columns = ("dst", "moving", "moving_scale")
    return example.having(**{name: tile.with_free(8) for name, tile in example.tiles.items() if name in columns})


@every_instruction
def test_an_operand_is_indirect_only_where_its_page_says_so(target, name):
    has_feature = get_target(target).generation >= 4
    for operand, facts, tile in tensors(name):
        if not facts.regions & ON_CHIP_REGIONS:
            continue
        region = "psum" if tile.region == "psum" else "sbuf"
        placed = EXAMPLES[name].having(**{operand: tile.of(region=region)})
        if name.startswith("nc_matmul"):
            placed = narrow(placed).having(accumulate=False)  # which a scattered dst has to say
        is_scale_pair = name == "nc_matmul_mx" and operand != "dst"
        data = operand.removesuffix("_scale")
        found = judge(through_one(placed, data) if is_scale_pair else through(placed, operand), target)
        if operand not in TAKES.get(name, ()):
            assert type(found.error) is ArgumentError, (operand, found.error)
            assert found.error.violation.operand == operand
            assert ".indirect()" in found.error.violation.allowed
        elif has_feature:
            assert found.error is None, (operand, found.error)
        else:
            assert type(found.error) is GenerationError, (operand, found.error)
            assert found.error.violation.found == ".indirect()"


ENGINES = {
    "tensor_copy": {"vector": True, "scalar": True, "gpsimd": False},
    "tensor_tensor": {"vector": True, "gpsimd": True},
}


@pytest.mark.parametrize("target", ["trn3", "trn4"])
@pytest.mark.parametrize("name", ENGINES)
def test_it_runs_on_the_engines_of_its_page(target, name):
    for engine, is_able in ENGINES[name].items():
        example = EXAMPLES[name].having(engine=nisa.engine[engine])
        assert judge(example, target).error is None
        for operand in TAKES[name]:
            error = judge(through(example, operand), target).error
            assert type(error) is (type(None) if is_able else EngineError), (engine, operand)


@pytest.mark.parametrize("target", ["trn3", "trn4"])
@pytest.mark.parametrize("name", ["activation", "activation_reduce", "activate2", "tensor_copy", "tensor_scalar"])
def test_the_scalar_engine_scatters_to_sbuf_alone(target, name):
    example = EXAMPLES[name]
    if name.startswith("tensor_"):
        example = example.having(engine=nisa.engine.scalar)
    dst = indirect(example.tile("dst"))
    assert judge(example.having(dst=dst), target).error is None
    found = judge(example.having(dst=dst.of(region="psum")), target)
    assert type(found.error) is BufferError
    assert found.error.violation.allowed == "a scattered dst in sbuf on the scalar engine"
    assert len(found.broken) == 1
    gathered = through(example.having(dst=example.tile("dst").of(region="psum")), TAKES[name][1])
    assert judge(gathered, target).error is None


@pytest.mark.parametrize("target", ["trn3", "trn4"])
@pytest.mark.parametrize("name", ["tensor_copy", "tensor_scalar", "tensor_tensor", "exponential"])
def test_the_vector_engine_scatters_to_psum_too(target, name):
    dst = indirect(EXAMPLES[name].tile("dst")).of(region="psum")
    assert judge(EXAMPLES[name].having(dst=dst), target).error is None


@pytest.mark.parametrize("target", ["trn3", "trn4"])
@pytest.mark.parametrize(
    ("partitions", "columns", "held"),
    [(8, 1, 8), (8, 2, 8), (16, 1, 16), (16, 2, 32), (17, 2, 32), (128, 3, 48)],
)
def test_an_index_holds_an_offset_for_each_column(target, partitions, columns, held):
    """Offset i is index[i % 16, i // 16] on the Vector Engine: fewer than 16 partitions hold one column of it."""
    for count in (held, held + 1):
        data = Tile((partitions, count), columns=Tile((partitions, columns), "uint16"))
        if count > partitions * columns:
            continue  # the view itself is refused: there is no such element
        found = judge(EXAMPLES["tensor_copy"].having(dst=Tile((partitions, count)), src=data), target)
        assert type(found.error) is (type(None) if count == held else ShapeError), (count, found.error)
        assert len(found.broken) == (count > held)


@pytest.mark.parametrize("target", ["trn3", "trn4"])
@pytest.mark.parametrize(("partitions", "columns", "held"), [(31, 2, 31), (32, 2, 64), (33, 1, 32), (128, 2, 64)])
def test_the_tensor_engine_walks_an_index_by_32_partitions(target, partitions, columns, held):
    base = EXAMPLES["nc_matmul"]
    for count in (held, held + 1):
        if count > partitions * columns:
            continue  # the view itself is refused: there is no such element
        moving = Tile((partitions, count), "bfloat16", columns=Tile((partitions, columns), "uint16"))
        stationary = base.tile("stationary").with_partitions(partitions)
        found = judge(base.having(dst=Tile((8, count), region="psum"), stationary=stationary, moving=moving), target)
        assert type(found.error) is (type(None) if count == held else ShapeError), (count, found.error)
        assert len(found.broken) == (count > held)
