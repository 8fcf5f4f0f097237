"""The rules that every instruction shares, for each operand on each generation: memories, dtypes, numbers, engines."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature

import pytest

from tests.emulator.isa.limit_edges.calls import TARGETS, altered, broken_rules, call_of, judge
from tests.emulator.isa.limit_edges.examples import EXAMPLES
from tests.emulator.isa.limit_edges.operands import breaches_on, every_instruction, placed, retyped, tensors
from trnlab.emulator.dtypes import DTYPES, float4_e2m1fn
from trnlab.emulator.errors import (
    ArgumentError,
    BufferError,
    DtypeError,
    EngineError,
    GenerationError,
    PartitionError,
    ShapeError,
)
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.memory import ON_CHIP_REGIONS, MemoryRegion
from trnlab.emulator.nki import isa as nisa
from trnlab.emulator.target import Engine, get_target

# ---------------------------------------------------------------------------------------------------- generations

FIRST = {
    **dict.fromkeys(("range_select", "nonzero_with_count", "rand_set_state", "rand_get_state", "dma_transpose"), 3),
    **dict.fromkeys(("nc_matmul_mx", "exponential", "quantize_mx", "activate2", "rand2"), 4),
}
"""NKI reference: the generation from which on an instruction exists, where it is not the first."""


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", CATALOGUE)
def test_an_instruction_exists_from_its_first_generation_on(name, target):
    found, core = judge(EXAMPLES[name], target), get_target(target)
    if core.generation >= FIRST.get(name, 2):
        assert found.error is None
    else:
        assert type(found.error) is GenerationError
        assert found.error.violation.operand == ""
        assert found.error.violation.found == f"{name} on {core.generation.label}"


# --------------------------------------------------------------------------------------------- memories and dtypes

OUT_OF_REACH = {("rand_get_state", "trn2", "dst", MemoryRegion.psum)}
"""Memories of the instruction that no engine of the generation reaches."""


@every_instruction
def test_an_operand_lies_in_its_memories_alone(target, name):
    for operand, facts, _ in tensors(name):
        for region in sorted(set(MemoryRegion) - {MemoryRegion.register}):
            found = [judge(case, target) for case in placed(name, operand, region.value)]
            if region in facts.regions:
                errors = [each.error for each in found]
                is_taken = None in errors
                assert is_taken is ((name, target, operand, region) not in OUT_OF_REACH), (operand, region, errors[0])
                assert is_taken or {type(error) for error in errors} == {EngineError}
                continue
            assert type(found[0].error) is BufferError, (operand, region)
            assert found[0].error.violation.operand == operand
            assert found[0].error.violation.allowed == f"a tensor in {', '.join(sorted(facts.regions))}"


NARROWED = {
    *((name, "dst") for name in ("nc_matmul", "nc_matmul_mx")),
    *(("tensor_scalar", f"operand{stage}") for stage in (0, 1)),
    *(("dma_transpose", operand) for operand in ("dst", "src")),
}
"""Operands whose dtypes depend on the rest of the call: a limit of the instruction says which of them a call takes."""


@every_instruction
def test_an_operand_has_its_dtypes_alone(target, name):
    core = get_target(target)
    for operand, facts, tile in tensors(name):
        for dtype in DTYPES:
            if dtype == float4_e2m1fn:
                continue  # no tensor has it: see below
            cases = list(retyped(name, operand, dtype))
            first = judge(cases[0], target)
            assert first.call is not None
            unlisted = breaches_on(first.call, operand, DtypeError)
            missing = breaches_on(first.call, operand, GenerationError)
            if dtype not in facts.dtypes:
                assert type(first.error) is DtypeError, (operand, dtype)
                assert (unlisted[0].found, unlisted[0].allowed) == (
                    str(first.call[operand]),
                    ", ".join(sorted(facts.dtypes)),
                )
            elif not core.has_dtype(dtype):
                allowed = f"{dtype} from NeuronCore-v{dtype.format.first_generation} on"
                assert [breach.allowed for breach in missing] == [allowed], (operand, dtype)
                assert first.error is not None
            else:
                assert missing == []
                assert ", ".join(sorted(facts.dtypes)) not in [breach.allowed for breach in unlisted]
                if (name, operand) not in NARROWED:
                    assert any(judge(case, target).error is None for case in cases), (operand, dtype, first.error)
        assert tile.dtype in facts.dtypes


@every_instruction
def test_the_format_that_no_tensor_has_is_refused_where_an_operand_does_not_list_it(target, name):
    """As data: nl.ndarray refuses float4_e2m1fn, which exists packed alone."""
    call = call_of(EXAMPLES[name], target)
    for operand, facts, _ in tensors(name):
        found = broken_rules(altered(call, operand, dtype=float4_e2m1fn))
        refused = [b for b in found if b.operand == operand and b.error in (DtypeError, GenerationError)]
        listed = float4_e2m1fn in facts.dtypes and get_target(target).has_dtype(float4_e2m1fn)
        allowed = ", ".join(sorted(facts.dtypes))
        if float4_e2m1fn not in facts.dtypes:
            assert refused[0].allowed == allowed
        elif not listed:
            assert refused[0].allowed == "float4_e2m1fn from NeuronCore-v4 on"
        else:
            assert allowed not in [breach.allowed for breach in refused]


# ------------------------------------------------------------------------------------- tensors, numbers and nothing


@every_instruction
def test_a_number_or_nothing_is_taken_where_the_operand_may_be_one(target, name):
    for operand, facts, _ in tensors(name):
        if not facts.immediate:
            error = judge(EXAMPLES[name].having(**{operand: 1.5}), target).error
            assert type(error) is ArgumentError, (operand, error)
            assert error.violation.operand == operand
        if not facts.optional and name != "dma_compute":
            error = judge(EXAMPLES[name].having(**{operand: None}), target).error
            assert isinstance(error, ArgumentError), (operand, error)
            assert error.violation.operand == operand


@every_instruction
def test_an_operand_per_partition_has_one_element_in_each(target, name):
    for operand, facts, tile in tensors(name):
        if not facts.per_partition:
            continue
        assert tile.free == 1
        found = judge(EXAMPLES[name].having(**{operand: tile.with_free(2)}), target)
        assert type(found.error) is ShapeError
        assert found.error.violation.operand == operand
        assert found.error.violation.allowed == "shape (P, 1): one element per partition"
        assert len(found.broken) == 1


# ------------------------------------------------------------------------------------------ partitions, dimensions


@every_instruction
def test_at_most_128_partitions_on_chip(target, name):
    """As data: no tile of 129 partitions can be allocated."""
    call = call_of(EXAMPLES[name], target)
    for operand, _, tile in tensors(name):
        for count, region in ((128, "sbuf"), (129, "sbuf"), (129, "psum"), (129, "shared_hbm")):
            shape = (count, *tile.shape[1:])
            moved = altered(call, operand, shape=shape, region=MemoryRegion(region))
            found = breaches_on(moved, operand, PartitionError)
            is_past = count == 129 and region != "shared_hbm"
            assert [breach.allowed for breach in found] == (["at most 128 partitions"] if is_past else [])


@every_instruction
def test_at_most_five_dimensions_on_chip(target, name):
    for operand, facts, tile in tensors(name):
        if not facts.regions & ON_CHIP_REGIONS or len(tile.shape) < 2:
            continue
        region = "sbuf" if MemoryRegion.sbuf in facts.regions else "psum"
        broken = {}
        for dimensions in (5, 6):
            case = EXAMPLES[name].having(**{operand: tile.of(region=region).with_dimensions(dimensions)})
            found = judge(case, target)
            assert found.call is not None
            broken[dimensions] = [
                b for b in breaches_on(found.call, operand, ShapeError) if "four free ones" in b.allowed
            ]
            assert not broken[dimensions] or type(found.error) in (ShapeError, BufferError)
        assert broken[5] == []
        assert len(broken[6]) == (Engine.DMA not in CATALOGUE[name].engines)


# --------------------------------------------------------------------------------------------------------- engines


@every_instruction
def test_an_instruction_runs_on_its_engines_alone(target, name):
    spec, call = CATALOGUE[name], call_of(EXAMPLES[name], target)
    for engine in Engine:
        found = breaches_on(replace(call, engine=engine), "engine", EngineError)
        listed = ", ".join(each.value for each in spec.engines)
        assert (listed in [breach.allowed for breach in found[:1]]) is (engine not in spec.engines)
        if name == "device_print" or "engine" not in signature(getattr(nisa, name)).parameters or name == "dma_copy":
            continue
        given = judge(EXAMPLES[name].having(engine=nisa.engine[engine.value]), target)
        assert (type(given.error) is EngineError) or engine in spec.engines


@every_instruction
def test_gpsimd_cannot_reach_psum(target, name):
    spec = CATALOGUE[name]
    if Engine.GPSIMD not in spec.engines:
        return
    call = replace(call_of(EXAMPLES[name], target), engine=Engine.GPSIMD)
    for operand, _, _ in tensors(name):
        for region in (MemoryRegion.sbuf, MemoryRegion.psum):
            found = breaches_on(altered(call, operand, region=region), operand, EngineError)
            is_past = region is MemoryRegion.psum
            assert [b.allowed for b in found] == ["an operand in sbuf: GpSimd cannot reach PSUM"] * is_past
