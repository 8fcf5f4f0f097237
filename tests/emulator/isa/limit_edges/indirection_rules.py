"""Conditional rules of tensor indirection, from NeuronCore-v4 on. NKI reference, tensor indirection."""

from __future__ import annotations

from collections.abc import Iterator

from tests.emulator.isa.limit_edges.calls import Example, Tile
from tests.emulator.isa.limit_edges.examples import EXAMPLES
from tests.emulator.isa.limit_edges.rules import Row
from trnlab.emulator.nki import language as nl
from trnlab.emulator.target import Target

MM, MX = "nc_matmul", "nc_matmul_mx"


def indirect(tile: Tile) -> Tile:
    """The tile through an index that holds an offset for each of its columns."""
    return tile.of(columns=Tile((tile.shape[0], max(2, tile.free)), "uint16"))


def through(example: Example, *operands: str) -> Example:
    """The example with some of its operands indirect."""
    return example.having(**{name: indirect(example.tile(name)) for name in operands})


def through_one(example: Example, data: str) -> Example:
    """The example with data and scale gathered by one index."""
    columns, scale = indirect(example.tile(data)), example.tile(f"{data}_scale")
    return example.having(**{data: columns, f"{data}_scale": columns.of(dtype=scale.dtype)})


def matmuls(target: Target) -> Iterator[Row]:
    """No tiles of the array, no indirect moving transpose, narrow floats."""
    if target.generation < 4:
        return
    plain, micro = EXAMPLES[MM], EXAMPLES[MX]
    tiled = {"tile_position": (0, 0), "tile_size": (64, 128)}
    left = through(plain, "stationary")
    yield Row(MM, "tile_position", "no tiles", (left,), (left.having(**tiled),))
    both = [through_one(micro, name) for name in ("stationary", "moving")]
    yield Row(MX, "tile_position", "no tiles", (*both,), tuple(example.having(**tiled) for example in both))
    transposed = {"is_transpose": True, "dst": Tile((8, 16), "bfloat16", "psum")}
    right = through(plain, "moving")
    yield Row(MM, "moving", "a direct view", (right, left.having(**transposed)), (right.having(**transposed),))
    narrow = ("float16", "bfloat16", "float8_e4m3", "float8_e5m2", "float8_e4m3fn")
    wide = ("float32", "tfloat32", "float8_e3m4")

    def of(dtype: str, operand: str) -> Example:
        tiles = {name: plain.tile(name).of(dtype=dtype) for name in ("stationary", "moving")}
        return through(plain.having(**tiles), operand)

    yield Row(
        MM,
        "",
        "bfloat16, float16",
        (
            *(of(dtype, name) for dtype in narrow for name in ("stationary", "moving")),
            through(plain.having(moving=plain.tile("moving").of(dtype="float8_e3m4")), "stationary"),
        ),
        tuple(of(dtype, name) for dtype in wide for name in ("stationary", "moving")),
    )
    for name, good in zip(("stationary", "moving"), both, strict=True):
        yield Row(
            MX, f"{name}_scale", "both indirect", (good, {}), (through(micro, name), through(micro, f"{name}_scale"))
        )


def addresses(target: Target) -> Iterator[Row]:
    """tensor_scalar on 32-bit integers is another instruction there, except for bitvec operators."""
    if target.generation < 4:
        return
    words = {name: Tile((8, 8), "int32") for name in ("dst", "data")}
    numbers = {"operand0": 1, "op1": None, "operand1": None}
    example = EXAMPLES["tensor_scalar"].having(**words, **numbers)
    good = through(example.having(op0=nl.bitwise_and), "data")
    floats = through(example.having(op0=nl.add, dst=Tile((8, 8))), "data")
    yield Row(
        "tensor_scalar",
        "data",
        "bitvec operators where data and dst",
        (good, floats),
        tuple(through(example.having(op0=nl.add), name) for name in ("data", "dst")),
    )


TABLES = (matmuls, addresses)
