"""Programs to and from JSON-ready values."""

from __future__ import annotations

import base64
from operator import index
from typing import Any

import numpy as np

from trnlab.emulator.dtypes import DType, as_dtype
from trnlab.emulator.memory import Buffer, MemoryRegion
from trnlab.emulator.program import IndirectionSignature, Loop, OperandSignature, Program, Signature
from trnlab.emulator.repeats import ImmediateTable, Repeat, StepTable, check_repeats
from trnlab.emulator.target import Engine

FORMAT = "trnlab-program-2"


def encode(program: Program) -> dict[str, Any]:
    """The program as dictionaries, lists, numbers and strings."""
    return {
        "format": FORMAT,
        "kernel": program.kernel,
        "target": program.target_name,
        "buffers": [_encode_buffer(buffer) for buffer in program.buffers],
        "signatures": [_encode_signature(signature) for signature in program.signatures],
        "signature_ids": program.signature_ids.tolist(),
        "operands": program.operands.reshape(-1).tolist(),
        "immediates": [_encode_float(value) for value in program.immediates.tolist()],
        "locations": [list(location) for location in program.locations],
        "location_ids": program.location_ids.tolist(),
        "loops": [{name: getattr(loop, name) for name in Loop.__slots__} for loop in program.loops],
        "repeats": [_encode_repeat(repeat) for repeat in program.repeats],
        "inputs": list(program.inputs),
        "outputs": list(program.outputs),
        "names": {str(number): name for number, name in program.names.items()},
        "edges": [list(edge) for edge in program.edges],
        "constants": {str(n): base64.b64encode(data).decode() for n, data in program.constants.items()},
    }


def decode(data: Any) -> Program:
    """The program that `encode` described; raises ValueError when the data is something else.

    Whether its repeats fit together is checked too: whoever reads them may rely on it.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise ValueError(f"not a trnlab program: format {found!r}, expected {FORMAT!r}")
    try:
        program = _decode_program(data)
    except OverflowError as error:
        raise ValueError(f"a damaged trnlab program: {error}") from error
    for name, values, starts in (
        ("operands", program.operands, program.operand_starts),
        ("immediates", program.immediates, program.immediate_starts),
    ):
        if len(values) != starts[-1]:
            raise ValueError(f"a damaged trnlab program: {len(values)} {name}, its instructions have {starts[-1]}")
    check_repeats(program.repeats, program.operand_starts, program.immediate_starts)
    return program


def _decode_program(data: dict[str, Any]) -> Program:
    return Program(
        kernel=data["kernel"],
        target_name=data["target"],
        buffers=tuple(_decode_buffer(item) for item in data["buffers"]),
        signatures=tuple(_decode_signature(item) for item in data["signatures"]),
        signature_ids=np.asarray(data["signature_ids"], np.int32),
        operands=np.asarray(data["operands"], np.int64).reshape(-1, 2),
        immediates=np.asarray([float(value) for value in data["immediates"]], np.float64),
        locations=tuple((file, line, function) for file, line, function in data["locations"]),
        location_ids=np.asarray(data["location_ids"], np.int32),
        loops=tuple(Loop(**item) for item in data["loops"]),
        repeats=tuple(_decode_repeat(item) for item in data["repeats"]),
        inputs=tuple(data["inputs"]),
        outputs=tuple(data["outputs"]),
        names={int(number): name for number, name in data["names"].items()},
        edges=tuple((producer, consumer) for producer, consumer in data["edges"]),
        constants={int(number): base64.b64decode(text) for number, text in data["constants"].items()},
    )


def _encode_float(value: float) -> float | str:
    """JSON has no NaN or infinity: those travel as Python's spelling."""
    return value if np.isfinite(value) else repr(value)


def _encode_repeat(repeat: Repeat) -> dict[str, Any]:
    table = repeat.trip_table
    return {
        "begin": repeat.begin,
        "end": repeat.end,
        "trips": repeat.trips,
        "trip_table": None if table is None else [list(table.shape), table.reshape(-1).tolist()],
        "steps": repeat.steps.reshape(-1).tolist(),
        "tables": [
            [table.row, table.column, list(table.values.shape), table.values.reshape(-1).tolist()]
            for table in repeat.tables
        ],
        "immediates": [
            [
                table.number,
                list(table.values.shape),
                [_encode_float(value) for value in table.values.reshape(-1).tolist()],
            ]
            for table in repeat.immediates
        ],
    }


def _decode_repeat(item: dict[str, Any]) -> Repeat:
    trip_table = item["trip_table"]
    return Repeat(
        begin=index(item["begin"]),
        end=index(item["end"]),
        trips=index(item["trips"]),
        trip_table=None if trip_table is None else np.asarray(trip_table[1], np.int64).reshape(trip_table[0]),
        steps=np.asarray(item["steps"], np.int64).reshape(-1, 2),
        tables=tuple(
            StepTable(index(row), index(column), np.asarray(values, np.int64).reshape(shape))
            for row, column, shape, values in item["tables"]
        ),
        immediates=tuple(
            ImmediateTable(index(number), np.asarray([float(value) for value in values], np.float64).reshape(shape))
            for number, shape, values in item["immediates"]
        ),
    )


def _encode_buffer(buffer: Buffer) -> dict[str, Any]:
    return {
        "region": buffer.region.value,
        "shape": list(buffer.shape),
        "dtype": str(buffer.dtype),
        "name": buffer.name,
        "kind": buffer.kind,
        "address": None if buffer.address is None else list(buffer.address),
        "location": buffer.location,
        "number": buffer.number,
    }


def _decode_buffer(item: dict[str, Any]) -> Buffer:
    address = item["address"]
    return Buffer(
        number=item["number"],
        region=MemoryRegion(item["region"]),
        shape=tuple(item["shape"]),
        dtype=as_dtype(item["dtype"]),
        name=item["name"],
        kind=item["kind"],
        address=None if address is None else (address[0], address[1]),
        location=item["location"],
    )


def _encode_value(value: Any) -> Any:
    """Attribute values are None, booleans, numbers, strings, dtypes and tuples of those."""
    if isinstance(value, DType):
        return {"dtype": str(value)}
    if isinstance(value, tuple):
        return {"tuple": [_encode_value(item) for item in value]}
    if isinstance(value, float) and not np.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"attribute value {value!r} has no JSON form")


def _decode_value(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dtype":
        return as_dtype(content)
    return float(content) if kind == "float" else tuple(_decode_value(item) for item in content)


def _encode_signature(signature: Signature) -> dict[str, Any]:
    return {
        "opcode": signature.opcode,
        "engine": signature.engine.value,
        "attributes": [[name, _encode_value(value)] for name, value in signature.attributes],
        "operands": [_encode_operand(operand) for operand in signature.operands],
        "immediates": list(signature.immediates),
    }


def _encode_operand(operand: OperandSignature) -> list[Any]:
    return [
        operand.name,
        operand.access,
        operand.region.value,
        list(operand.buffer_shape),
        str(operand.buffer_dtype),
        str(operand.dtype),
        list(operand.shape),
        list(operand.strides),
        None if operand.indirection is None else list(operand.indirection),
    ]


def _decode_signature(item: dict[str, Any]) -> Signature:
    return Signature(
        opcode=item["opcode"],
        engine=Engine(item["engine"]),
        attributes=tuple((name, _decode_value(value)) for name, value in item["attributes"]),
        operands=tuple(_decode_operand(operand) for operand in item["operands"]),
        immediates=tuple(item["immediates"]),
    )


def _decode_operand(item: list[Any]) -> OperandSignature:
    name, access, region, buffer_shape, buffer_dtype, dtype, shape, strides, indirection = item
    return OperandSignature(
        name,
        access,
        MemoryRegion(region),
        tuple(buffer_shape),
        as_dtype(buffer_dtype),
        as_dtype(dtype),
        tuple(shape),
        tuple(strides),
        None if indirection is None else IndirectionSignature(*indirection),
    )
