"""Instruction pages: facts that AWS's reference states, words that agree with what calls are judged by, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from trnlab.emulator import dtypes
from trnlab.emulator.errors import GenerationError
from trnlab.emulator.instruction_pages import (
    ALL_TARGETS,
    InstructionNameError,
    InstructionPage,
    as_json,
    page_of,
    pages,
)
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.isa.limits import AttributeIn, MaxFree, NotAllIn, Rule, SameFree, _Measured
from trnlab.emulator.isa.operators import DtypesWhen, OperatorExists, RunsHere, RunsOn
from trnlab.emulator.isa.registry import Call, Limit, OperandView
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.target import Engine, Target, get_target
from trnlab.emulator.timing.cost import RULES

TRN1, TRN2, TRN3, TRN4 = ALL_TARGETS


def words(page: InstructionPage, operand: str) -> list[str]:
    """What the limits on one operand allow, on a page of one target."""
    return [limit.allowed[0].text for limit in page.limits if operand in limit.operands]


def view(name: str, shape: tuple[int, ...], dtype: dtypes.DType = dtypes.float32) -> OperandView:
    return OperandView(name, "read", MemoryRegion.sbuf, dtype, shape, (1,) * len(shape))


def limits_of(kind: type) -> Iterator[tuple[str, Limit]]:
    found = [(name, limit) for name, spec in CATALOGUE.items() for limit in spec.limits if isinstance(limit, kind)]
    assert found, f"the catalogue has no {kind.__name__}"
    yield from found


# ------------------------------------------------------------------------------ facts of the NKI reference, nki.isa


def test_instructions_by_generation_are_those_of_the_reference() -> None:
    everywhere = {page.name for page in pages([TRN3])}
    assert everywhere == set(CATALOGUE)
    # "Available only on NeuronCore-v4 and newer" on these pages; rand2: "NeuronCore-v4+".
    newest = {"nc_matmul_mx", "quantize_mx", "activate2", "exponential", "rand2"}
    assert everywhere - {page.name for page in pages([TRN2])} == newest
    # "NeuronCore-v3 and newer", or "NeuronCore-v3+"; DMA transposes are new in the Trainium2 guide.
    newer = {"range_select", "nonzero_with_count", "rand_set_state", "rand_get_state", "dma_transpose"}
    assert everywhere - {page.name for page in pages([TRN1])} == newest | newer


@pytest.mark.parametrize(
    ("name", "target", "engines"),
    [
        ("rng", TRN1, ("vector",)),  # "NeuronCore-v2: Vector. NeuronCore-v3+: GpSimd, Vector"
        ("rng", TRN2, ("vector", "gpsimd")),
        ("rand_set_state", TRN2, ("gpsimd",)),  # "NeuronCore-v3: GpSimd. NeuronCore-v4+: GpSimd, Vector"
        ("rand_get_state", TRN3, ("gpsimd", "vector")),
        ("exponential", TRN3, ("vector",)),
        ("nc_transpose", TRN1, ("tensor", "vector")),
        ("topk", TRN1, ("gpsimd",)),
    ],
)
def test_engines_are_those_of_the_generation(name: str, target: Target, engines: tuple[str, ...]) -> None:
    assert page_of(name, [target]).engines == engines


def test_nc_matmul_has_the_numbers_of_each_generation() -> None:
    """nisa.nc_matmul: memory types, data types, tiling mode, performance mode, tile size."""
    page = page_of("nc_matmul")
    spaces = {operand.name: operand.regions for operand in page.operands}
    assert spaces == {"dst": ("psum",), "stationary": ("sbuf",), "moving": ("sbuf",)}
    moving = next(operand for operand in page.operands if operand.name == "moving")
    assert moving.dtypes["float8_e4m3fn"] == "trn3"
    assert moving.dtypes["float8_e4m3"] == "trn1"
    assert moving.indirect == ("trn3", "trn4")
    assert not any(name.startswith("int") for name in moving.dtypes)
    old, middle, new = (page_of("nc_matmul", [target]) for target in (TRN1, TRN2, TRN3))
    assert "at most 512 columns" in words(old, "moving")
    assert "at most 512 columns" in words(middle, "moving")
    assert "at most 4096 columns for a 4-byte dst, 8192 for a 2-byte one" in words(new, "moving")
    assert words(old, "tile_size") == ["(rows, columns), each one of 128, 64"]
    assert words(middle, "tile_size") == ["(rows, columns), each one of 128, 64, 32"]
    assert "float32" in words(old, "dst")
    assert any(text.startswith("bfloat16 or float32") for text in words(new, "dst"))
    assert "float8_e4m3 or float8_e5m2 in double_row mode" in words(middle, "perf_mode")
    assert "float8_e4m3 or float8_e4m3fn or float8_e5m2 in double_row mode" in words(new, "perf_mode")
    assert any("no perf_mode double_row" in wording.text for limit in old.limits for wording in limit.allowed)


def test_other_pages_say_what_the_reference_says() -> None:
    assert "free size at most 512" in words(page_of("bn_stats", [TRN2]), "data")  # nl.tile_size.bn_stats_fmax
    assert "free size exactly 6" in words(page_of("bn_stats", [TRN2]), "dst")
    topk = page_of("topk", [TRN2])
    assert topk.cost.formula == "4 n + K"
    assert words(topk, "n") == ["8 <= n < 65536"]
    assert {"partition count a multiple of 16", "free size at least ceil(n / 16)"} <= set(words(topk, "src"))
    dtypes_of = {operand.name: set(operand.dtypes) for operand in page_of("rng").operands}
    assert dtypes_of["dst"] == {"int8", "int16", "int32", "uint8", "uint16", "uint32"}


# ----------------------------------------------------------------------------------- one page holds all that is known


@pytest.mark.parametrize("target", ALL_TARGETS, ids=str)
def test_pages_are_whole_on_every_generation(target: Target) -> None:
    for page in pages([target]):
        spec = CATALOGUE[page.name]
        assert page.formula.endswith(".")
        assert page.targets == (target.name,)
        assert [operand.name for operand in page.operands] == [operand.name for operand in spec.operands]
        assert all(operand.dtypes for operand in page.operands), page.name
        assert len(page.limits) >= len(spec.limits)
        assert all(limit.source and wording.text for limit in page.limits for wording in limit.allowed)
        assert all(" at 0x" not in wording.text for limit in page.limits for wording in limit.allowed)
        assert page.cost.formula == RULES[page.name].formula
        covered = target.generation in RULES[page.name].documented
        assert page.cost.classes == {target.name: "documented" if covered else "assumed"}
        assert {number.value for number in page.numbers} <= set(target.numbers().values())
        assert page.numbers
        assert page.assumptions == spec.assumptions


def test_a_page_of_all_targets_keeps_what_each_of_them_says() -> None:
    for page in pages():
        for name in page.targets:
            alone = page_of(page.name, [get_target(name)])
            together = [w.text for limit in page.limits for w in limit.allowed if name in w.targets]
            assert together == [limit.allowed[0].text for limit in alone.limits]


def test_elements_without_a_tensor_form_are_in_no_operand() -> None:
    named = {name for page in pages() for operand in page.operands for name in operand.dtypes}
    assert named == {str(dtype) for dtype in dtypes.DTYPES} - {"float4_e2m1fn"}


# --------------------------------------------------------------------- words are those that calls are refused with

SHAPES = ((1, 1), (3, 7), (129, 40_000), (5, 3, 2), (1, 1, 1, 1, 1, 1, 1))


def test_bounds_in_words_are_those_of_the_refusal() -> None:
    for name, limit in limits_of(_Measured):
        for target in ALL_TARGETS:
            calls = [Call(name, {limit.operand: view(limit.operand, shape)}, {}, target) for shape in SHAPES]
            breaches = [breach for breach in map(limit.check, calls) if breach is not None]
            assert breaches, f"no shape breaks {limit}"
            assert {breach.allowed for breach in breaches} == {limit.describe(target).allowed}
            assert {(breach.operand,) for breach in breaches} == {limit.describe(target).operands}


def test_values_and_dtypes_in_words_are_those_of_the_refusal() -> None:
    for name, limit in limits_of(AttributeIn):
        breach = limit.check(Call(name, {}, {limit.attribute: "nothing"}, TRN3))
        assert breach is not None
        assert (breach.allowed, (breach.operand,)) == (limit.describe(TRN3).allowed, limit.describe(TRN3).operands)
    for name, limit in limits_of(DtypesWhen):
        refused = next(dtype for dtype in dtypes.DTYPES if dtype not in limit.dtypes)
        operand = view(limit.operands[0], (4, 4), refused)
        for op in ("add", "bitwise_and"):
            breach = limit.check(Call(name, {operand.name: operand}, {"op": op, "op0": op, "op1": None}, TRN3))
            assert breach is None or breach.allowed == limit.describe(TRN3).allowed


def test_engines_in_words_are_those_of_the_refusal() -> None:
    for name, limit in limits_of(RunsHere):
        for target in ALL_TARGETS:
            breach = limit.check(Call(name, {}, {}, target, Engine.SYNC))
            assert breach is not None
            assert breach.allowed == limit.describe(target).allowed


@pytest.mark.parametrize(
    ("name", "ops", "engines", "said"),
    [
        ("tensor_tensor", {"op": "power"}, "gpsimd", "gpsimd alone for op=power"),
        ("tensor_tensor", {"op": "bitwise_or"}, "vector", "vector alone for a bitvec operator"),
        ("tensor_tensor", {"op": "add"}, "vector gpsimd", "vector or gpsimd"),
        ("tensor_scalar", {"op0": "rsqrt", "op1": None}, "gpsimd", "gpsimd alone for rsqrt"),
        ("tensor_scalar", {"op0": "left_shift", "op1": None}, "vector", "vector alone for bitvec operators"),
        ("tensor_scalar", {"op0": "multiply", "op1": "add"}, "vector scalar", "vector, or scalar"),
    ],
)
def test_engines_by_operator_are_in_the_words(name: str, ops: dict[str, str | None], engines: str, said: str) -> None:
    (limit,) = (limit for found, limit in limits_of(RunsOn) if found == name)
    for target in ALL_TARGETS:
        able = [engine for engine in Engine if limit.check(Call(name, {}, ops, target, engine)) is None]
        assert {engine.value for engine in able} == set(engines.split())
        assert said in limit.describe(target).allowed


def test_the_scalar_engine_takes_more_operators_from_v4_on() -> None:
    (limit,) = (limit for found, limit in limits_of(RunsOn) if found == "tensor_scalar")
    for target in ALL_TARGETS:
        takes = limit.check(Call("tensor_scalar", {}, {"op0": "add", "op1": "add"}, target, Engine.SCALAR)) is None
        assert takes is ("scalar for multiply and add" not in limit.describe(target).allowed)


def test_operators_in_words_are_those_that_are_refused() -> None:
    limit = OperatorExists(("op",))
    for target in ALL_TARGETS:
        names = ("add", "square", "relu", "abs_max")
        refused = [name for name in names if limit.check(Call("tensor_tensor", {}, {"op": name}, target)) is not None]
        described = limit.describe(target).allowed.partition("not ")[2].split(", ")
        assert [name for name in names if name in described] == refused
    assert "relu" in limit.describe(TRN2).allowed
    assert "relu" not in limit.describe(TRN3).allowed


def test_the_widest_moving_tile_in_words_is_that_of_the_refusal() -> None:
    for target in ALL_TARGETS:
        text = " ".join(words(page_of("nc_matmul", [target]), "moving"))
        for dtype in (dtypes.float32, dtypes.bfloat16):
            operands = {"dst": view("dst", (8, 8), dtype), "moving": view("moving", (8, 10_000))}
            call = Call("nc_matmul", operands, {"perf_mode": "none"}, target)
            limits = [limit for limit in CATALOGUE["nc_matmul"].limits if getattr(limit, "operand", "") == "moving"]
            (bound,) = (
                limit for limit in limits if isinstance(limit, Rule) and "columns" in limit.describe(TRN1).allowed
            )
            breach = bound.check(call)
            assert breach is not None
            assert breach.allowed.split()[2] in text.split()  # "at most N for a ... dst"


def test_relations_and_rules_have_words() -> None:
    assert SameFree("a", "b").describe(TRN2) == (("a", "b"), "the same free size", "")
    both = NotAllIn(MemoryRegion.psum, ("a", "b"), "somewhere").describe(TRN2)
    assert both == (("a", "b"), "at most one of a and b in psum", "somewhere")
    assert MaxFree("a", lambda target: target.partitions).describe(TRN2).allowed == "free size at most 128"
    with pytest.raises(TypeError, match="rule on a needs words"):
        Rule(lambda call: None, lambda call: "it depends", operand="a")


# ------------------------------------------------------------------------------------------------ errors and JSON


def test_json_is_the_pages_and_nothing_else() -> None:
    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

    for targets in (ALL_TARGETS, [TRN2]):
        found = pages(targets)
        assert json.loads(as_json(found)) == [plain(asdict(page)) for page in found]
    one = json.loads(as_json(page_of("dma_copy", [TRN4])))
    assert one["name"] == "dma_copy"
    assert one["cost"]["classes"] == {"trn4": "assumed"}


def test_names_are_published_names() -> None:
    assert page_of("nisa.dma_copy") == page_of("dma_copy")
    with pytest.raises(InstructionNameError, match="did you mean nc_matmul") as raised:
        page_of("nc_matmull")
    assert raised.value.nearest[0] == "nc_matmul"
    assert raised.value.found == "nc_matmull"
    with pytest.raises(InstructionNameError, match=f"{len(CATALOGUE)} instructions exist"):
        page_of("zzz")


def test_an_instruction_of_a_later_generation_is_refused() -> None:
    with pytest.raises(GenerationError, match="rand2") as raised:
        page_of("rand2", [TRN1, TRN2])
    assert raised.value.violation.allowed == "from NeuronCore-v4 (trn3) on"
    assert "trn1" in raised.value.violation.found
    assert page_of("rand2").targets == ("trn3", "trn4")
