"""Programs as data: rows and signatures, identity, JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import launch
from trnlab.emulator.dtypes import DTYPES
from trnlab.emulator.memory import Buffer, MemoryRegion
from trnlab.emulator.program import IndirectionSignature, Loop, OperandSignature, Program, Signature
from trnlab.emulator.target import Engine


def kernel(x: Any, rows: Any, *, factor: float = 1.5) -> Any:
    tile = nl.ndarray((64, 32), dtype=nl.float32, name="tile")
    index = nl.ndarray((64, 1), dtype=nl.int32, name="index")
    nisa.dma_copy(index, rows)  # 0
    nisa.dma_copy(tile, x.vector_select(0, index))  # 1
    for step in range(3):
        nisa.tensor_scalar(tile, tile, nl.multiply, factor + step, name=f"step {step}")  # 2, 3, 4

    def body(i: Any) -> None:
        nisa.tensor_tensor(tile, tile, tile, nl.add)  # 5

    nl.fori_loop(0, 4, body)
    out = nl.ndarray((64, 32), dtype=nl.bfloat16, buffer=nl.shared_hbm, name="out")
    nisa.dma_copy(out, tile).depends_on()  # 6
    nisa.dma_copy(x[0:64], tile)  # 7
    return out


def traced(**options: Any) -> Program:
    return launch.trace(kernel, np.zeros((100, 32), np.float32), np.zeros((64, 1), np.int32), **options)


PROGRAM = traced()


def test_rows_join_with_signatures() -> None:
    assert len(PROGRAM) == 8
    assert [item.opcode for item in PROGRAM] == ["dma_copy"] * 2 + ["tensor_scalar"] * 3 + ["tensor_tensor"] + [
        "dma_copy"
    ] * 2
    gather = PROGRAM[1]
    assert [operand.signature.name for operand in gather.operands] == ["dst", "src", "src.index"]
    assert [operand.buffer.name for operand in gather.operands] == ["tile", "x", "index"]
    assert gather.operands[1].signature.indirection == IndirectionSignature("vector", 32, 100)
    assert gather.engine is Engine.DMA
    assert PROGRAM[3].immediates == {"operand0": 2.5}
    assert PROGRAM[3].name == "step 1"
    assert PROGRAM[-1].operands[0].buffer.name == "x"
    with pytest.raises(IndexError, match="instruction 8 of a program of 8"):
        PROGRAM[8]


def test_repeated_instructions_share_a_signature() -> None:
    assert PROGRAM.signature_ids[2] == PROGRAM.signature_ids[3] == PROGRAM.signature_ids[4]
    assert len(PROGRAM.signatures) == len(set(PROGRAM.signatures)) == 6
    assert PROGRAM.count_by_opcode() == {"dma_copy": 4, "tensor_scalar": 3, "tensor_tensor": 1}


def test_inputs_carry_the_parameters_names_and_know_who_wrote_them() -> None:
    assert [PROGRAM.buffers[number].name for number in PROGRAM.inputs] == ["x", "rows"]
    assert [PROGRAM.buffers[number].name for number in PROGRAM.outputs] == ["out"]
    assert [PROGRAM.buffers[number].name for number in PROGRAM.mutated_inputs] == ["x"]


def test_signatures_answer_by_name() -> None:
    signature = PROGRAM.signature_of(0)
    assert signature.attribute("oob_mode") == "error"
    assert signature.attribute("no such", "default") == "default"
    assert signature.operand("src") is signature.operands[1]
    assert signature.operand("no such") is None


def test_source_lines() -> None:
    location = PROGRAM.location_of(0)
    assert location is not None
    assert location.file == __file__
    assert location.function == "kernel"
    assert location.line == kernel.__code__.co_firstlineno + 3


def test_json_round_trip_and_identity() -> None:
    again = Program.from_json(PROGRAM.to_json())
    assert again == PROGRAM
    assert hash(again) == hash(PROGRAM)
    assert again.digest == PROGRAM.digest
    assert again.to_json() == PROGRAM.to_json()
    assert traced() == PROGRAM  # tracing is deterministic
    assert traced(factor=2.0) != PROGRAM
    assert traced(target="trn2") != PROGRAM
    assert PROGRAM != "a program"
    assert json.loads(PROGRAM.to_json())["format"] == "trnlab-program-2"


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": "trnlab-program-0"}', "3"])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a trnlab program: format .*, expected 'trnlab-program-2'"):
        Program.from_json(text)


def test_programs_are_immutable() -> None:
    with pytest.raises(AttributeError):
        PROGRAM.kernel = "other"  # type: ignore[misc]
    assert PROGRAM.replace(kernel="other").kernel == "other"
    assert repr(PROGRAM) == "<Program kernel for trn3: 8 instructions, 1 loops>"
    assert "tensor_scalar" in str(PROGRAM)


# -- any program -----------------------------------------------------------------------------------------------------

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
sizes = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple)
dtypes = st.sampled_from(DTYPES)
regions = st.sampled_from(MemoryRegion)
numbers = st.floats(width=32) | st.integers(-(2**31), 2**31).map(float)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | names | dtypes,
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=4,
)


@st.composite
def operand_signatures(draw: st.DrawFn) -> OperandSignature:
    shape = draw(sizes)
    strides = tuple(draw(st.integers(-9, 99)) for _ in shape)
    kinds = st.sampled_from(["scalar", "vector"])
    how = draw(st.none() | st.builds(IndirectionSignature, kinds, st.integers(), st.integers(1, 99)))
    access = draw(st.sampled_from(["read", "write", "update"]))
    return OperandSignature(
        draw(names), access, draw(regions), draw(sizes), draw(dtypes), draw(dtypes), shape, strides, how
    )


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Data of the right form; what it would compute does not matter here."""
    signatures = tuple(
        Signature(
            draw(names),
            draw(st.sampled_from(Engine)),
            tuple((draw(names), draw(values)) for _ in range(draw(st.integers(0, 2)))),
            tuple(draw(st.lists(operand_signatures(), max_size=3))),
            tuple(draw(st.lists(names, max_size=2))),
        )
        for _ in range(draw(st.integers(1, 3)))
    )
    ids = draw(st.lists(st.integers(0, len(signatures) - 1), max_size=5))
    rows = [(draw(st.integers(0, 9)), draw(st.integers(0, 2**40))) for i in ids for _ in signatures[i].operands]
    immediates = [draw(numbers) for i in ids for _ in signatures[i].immediates]
    address = st.none() | st.tuples(st.integers(0, 127), st.integers(0, 2**17))
    kinds = st.sampled_from(["input", "local", "constant", "state"])
    buffers = [
        Buffer(number, draw(regions), draw(sizes), draw(dtypes), draw(names), draw(kinds), draw(address))
        for number in range(draw(st.integers(0, 3)))
    ]
    return Program(
        kernel=draw(names),
        target_name=draw(names),
        buffers=tuple(buffers),
        signatures=signatures,
        signature_ids=np.asarray(ids, np.int32),
        operands=np.asarray(rows, np.int64).reshape(-1, 2),
        immediates=np.asarray(immediates, np.float64),
        locations=((draw(names), draw(st.integers(1, 999)), draw(names)),),
        location_ids=np.zeros(len(ids), np.int32),
        loops=(Loop(kind="for", begin=0, end=len(ids), register=0, upper_register=draw(st.none() | st.just(1))),),
        names={0: draw(names)},
        edges=((0, 1),),
        constants={0: draw(st.binary(max_size=9))},
    )


@given(programs())
def test_any_program_survives_json(program: Program) -> None:
    again = Program.from_json(program.to_json())
    assert again == program
    assert again.buffers == program.buffers
    assert again.loops == program.loops
    assert again.constants == program.constants
    assert again.names == program.names
    assert repr(again.signatures) == repr(program.signatures)  # repr, because NaN attributes equal nothing
    np.testing.assert_array_equal(again.operands, program.operands)
    np.testing.assert_array_equal(again.immediates, program.immediates)
    np.testing.assert_array_equal(again.signature_ids, program.signature_ids)


@given(programs())
def test_rows_and_starts_agree(program: Program) -> None:
    for number in range(len(program)):
        signature = program.signature_of(number)
        assert len(program.row(number)) == len(signature.operands)
        assert len(program.immediate_row(number)) == len(signature.immediates)
    assert program.operand_starts[-1] == len(program.operands)
    assert program.immediate_starts[-1] == len(program.immediates)


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": "trnlab-program-2"}', "{", '{"format": "other"}'])
def test_what_is_no_program_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"trnlab program|Expecting"):
        Program.from_json(text)
