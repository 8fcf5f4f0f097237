"""Conditional rules of the Tensor Engine: nc_matmul, nc_matmul_mx and nc_transpose.

Sources: NKI reference, the pages of the instructions; NKI architecture guides, Tensor Engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.emulator.isa.limit_edges.calls import Altered, Case, Example, Tile
from tests.emulator.isa.limit_edges.examples import EXAMPLES
from tests.emulator.isa.limit_edges.rules import Row
from trnlab.emulator.isa.registry import Call
from trnlab.emulator.nki import isa as nisa
from trnlab.emulator.target import Target

SMALLEST_TILE = {2: 64, 3: 32, 4: 32, 5: 32}
MOVING = {
    2: {"float32": 512},
    3: {"float32": 512},
    4: {"float32": 4096, "bfloat16": 8192},
    5: {"float32": 4096, "bfloat16": 8192},
}
WIDE = ("float32", "tfloat32")
NARROW = ("bfloat16", "float16", "float8_e3m4", "float8_e4m3", "float8_e5m2")
MM, MX, TR = "nc_matmul", "nc_matmul_mx", "nc_transpose"
_ROW = 16 * 1024  # bytes in a partition of PSUM


def _dst(m: int, n: int, dtype: str, spread: int = 1) -> Tile:
    """The result, as far as PSUM can hold it."""
    return Tile((min(m, 128), min(n, _ROW // (2 if dtype == "bfloat16" else 4))), dtype, "psum", spread=spread)


def _matmul(
    k: int = 32, m: int = 8, n: int = 16, pair: tuple[str, str] = ("bfloat16", "bfloat16"), **arguments: Any
) -> Example:
    result, spread = arguments.pop("result", "float32"), arguments.pop("spread", 1)
    tiles = {"stationary": Tile((k, m), pair[0]), "moving": Tile((k, n), pair[1])}
    return EXAMPLES[MM].having(**{"dst": _dst(m, n, result, spread)} | tiles | arguments)


def _microscaled(p: int = 64, m: int = 8, n: int = 16, **arguments: Any) -> Example:
    data = {"stationary": Tile((p, m), "float8_e4m3fn_x4"), "moving": Tile((p, n), "float8_e4m3fn_x4")}
    scales = {f"{name}_scale": Tile((p - 28, tile.free), "uint8") for name, tile in data.items()}
    return EXAMPLES[MX].having(**{"dst": _dst(m, n, arguments.pop("result", "float32"))} | data | scales | arguments)


def _tile(rows: int, columns: int, at: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    return {"tile_position": at, "tile_size": (rows, columns)}


# ------------------------------------------------------------------------------------------------- tiles and sizes


def tiles(target: Target) -> Iterator[Row]:
    """Tiles of the array, which nc_matmul_mx has by rows alone."""
    small = SMALLEST_TILE[int(target.generation)]
    half, last = small // 2, 128 - small
    yield Row(
        MM,
        "tile_size",
        "each one of",
        (_matmul(**_tile(small, small)), _matmul(**_tile(128, 128))),
        (
            _matmul(half, **_tile(half, 128)),
            _matmul(m=half, **_tile(128, half)),
            _matmul(**_tile(96, 128)),
        ),
    )
    yield Row(
        MM,
        "tile_position",
        "multiples of tile_size",
        (_matmul(**_tile(small, small, (last, last))), _matmul(**_tile(64, 128, (64, 0)))),
        tuple(_matmul(**_tile(64, 64, at)) for at in ((32, 0), (0, 32), (128, 0), (0, 128), (-64, 0))),
    )
    yield Row(
        MX, "tile_size", "each one of", (_microscaled(32, **_tile(32, 128)),), (_microscaled(32, **_tile(48, 128)),)
    )
    yield Row(
        MX,
        "tile_position",
        "multiples of tile_size",
        (_microscaled(32, **_tile(32, 128, (96, 0))),),
        tuple(_microscaled(**_tile(64, 128, at)) for at in ((32, 0), (128, 0), (-64, 0))),
    )
    yield Row(
        MX,
        "tile_size",
        "row tiles only",
        (_microscaled(**_tile(64, 128, (64, 0))),),
        (_microscaled(**_tile(128, 64)), _microscaled(**_tile(64, 64, (0, 64)))),
    )


def _longer(name: str, count: int) -> dict[str, Tile]:
    return {name: EXAMPLES[MM].tile(name).with_partitions(count)}


def sizes(target: Target) -> Iterator[Row]:
    """K, M and N of both matmuls."""
    bounds = MOVING[int(target.generation)]
    off = {"moving": EXAMPLES[MX].tile("moving").with_partitions(96), "moving_scale": Tile((68, 16), "uint8")}
    yield Row(MM, "moving", "the contraction", ({},), (_longer("moving", 31), _longer("moving", 33)))
    yield Row(MX, "moving", "the contraction", ({},), (off,))
    yield Row(
        MM,
        "stationary",
        "the tile's rows",
        (_matmul(128), _matmul(64, **_tile(64, 128))),
        (_matmul(65, **_tile(64, 128)),),
    )
    yield Row(
        MX,
        "stationary",
        "the tile's rows",
        (_microscaled(128), _microscaled(64, **_tile(64, 128))),
        (_microscaled(96, **_tile(64, 128)),),
    )
    yield Row(
        MM,
        "stationary",
        "the tile's columns",
        (_matmul(m=128), _matmul(m=64, **_tile(128, 64))),
        (_matmul(m=65, **_tile(128, 64)),),
        (_matmul(m=129),),
    )
    yield Row(MX, "stationary", "the tile's columns", (_microscaled(m=128),), (), (_microscaled(m=130),))
    for name, build in ((MM, _matmul), (MX, _microscaled)):
        past = tuple(build(n=bound + 1, result=dtype) for dtype, bound in bounds.items())
        fits = 4 * (bounds["float32"] + 1) <= _ROW
        yield Row(
            name,
            "moving",
            "columns",
            tuple(build(n=bound, result=dtype) for dtype, bound in bounds.items()),
            past if fits else (),
            () if fits else past,
        )
        shapes = ((7, 16), (9, 16), (8, 15), (8, 17))
        yield Row(
            name, "dst", "a partition for each column", ({},), tuple({"dst": _dst(*s, "float32")} for s in shapes)
        )


# ---------------------------------------------------------------------------------------------------------- dtypes


def dtypes(target: Target) -> Iterator[Row]:
    """Pairs of inputs, and results."""
    generation = int(target.generation)
    newest = ("float8_e4m3fn",) if generation >= 4 else ()
    narrow = (*NARROW, *newest)
    alike = [(a, b) for group in (WIDE, narrow) for a in group for b in group]
    e4m3 = [pair for pair in alike if set(pair) == {"float8_e4m3", "float8_e4m3fn"}]
    mixed = [pair for a in WIDE for b in narrow for pair in ((a, b), (b, a))]
    taken = tuple(_matmul(pair=pair) for pair in alike if pair not in e4m3)
    yield Row(MM, "moving", "float32 or tfloat32 with", taken, tuple(_matmul(pair=pair) for pair in mixed))
    yield Row(MM, "moving", "float8_e4m3 with another", taken, tuple(_matmul(pair=pair) for pair in e4m3))
    results = ("float32", "bfloat16") if generation >= 4 else ("float32",)
    others = [dtype for dtype in ("float32", "bfloat16", "float16", "int32", "tfloat32") if dtype not in results]
    transposed = _matmul(is_transpose=True, result="bfloat16" if generation >= 3 else "float32")
    untransposed = _matmul(is_transpose=True, result="float32" if generation >= 3 else "bfloat16")
    yield Row(
        MM,
        "dst",
        "float32",
        (*(_matmul(result=dtype) for dtype in results), transposed),
        (*(_matmul(result=dtype) for dtype in others), untransposed),
    )
    yield Row(
        MX,
        "dst",
        "float32",
        tuple(_microscaled(result=dtype) for dtype in results),
        tuple(_microscaled(result=dtype) for dtype in others),
    )


# ------------------------------------------------------------------------------------------------------ double rows


def _paired(columns: tuple[int, ...] = (2, 8), rows: tuple[int, ...] = (2, 16), **arguments: Any) -> Example:
    first, second = arguments.pop("pair", ("float8_e5m2", "float8_e5m2"))
    inputs = {"stationary": Tile((32, *columns), first), "moving": Tile((32, *rows), second)}
    return EXAMPLES[MM].having(**inputs | {"perf_mode": nisa.matmul_perf_mode.double_row} | arguments)


def double_rows(target: Target) -> Iterator[Row]:
    """perf_mode double_row, from NeuronCore-v3 on; before, `Needs` says so."""
    if target.generation < 3:
        for words in ("in double_row mode", "shape (K, 2, columns)", "without column tiling"):
            yield Row(MM, "perf_mode", "float8_e4m3 or" if words.startswith("in") else words, ({},))
        return
    fp8 = ("float8_e4m3", "float8_e5m2", *(("float8_e4m3fn",) if target.generation >= 4 else ()))
    wrong = [dtype for dtype in NARROW if dtype not in fp8]
    yield Row(
        MM,
        "perf_mode",
        "float8_e4m3 or",
        tuple(_paired(pair=(dtype, dtype)) for dtype in fp8),
        tuple(_paired(pair=pair) for dtype in wrong for pair in ((dtype, "float8_e5m2"), ("float8_e5m2", dtype))),
    )
    yield Row(
        MM,
        "perf_mode",
        "shape (K, 2, columns)",
        (_paired(),),
        (_paired(columns=(4, 4)), _paired(columns=(16,)), _paired(rows=(32,)), _paired(rows=(4, 8))),
    )
    spread = Tile((8, 16), "float8_e5m2", "psum", spread=2)
    yield Row(
        MM,
        "perf_mode",
        "without column tiling",
        (_paired(**_tile(64, 128)),),
        (_paired(**_tile(128, 64)), _paired(is_transpose=True, dst=spread)),
    )


# --------------------------------------------------------------------------------------------------- transpose mode


def _adding(call: Call) -> Call:
    return replace(call, attributes={**call.attributes, "accumulate": True})


def transpose_mode(target: Target) -> Iterator[Row]:
    """is_transpose moves bits from NeuronCore-v3 on; before, it is a product and its rules bind nothing."""
    result = "bfloat16" if target.generation >= 3 else "float32"
    transposed = _matmul(is_transpose=True, result=result)
    # As data: that PSUM holds a sum to add to is judged before, by the published function.
    added: Case = Altered(transposed, _adding)
    words = "the transpose mode moves bits and adds nothing"
    if target.generation < 3:
        dense = _matmul(pair=("float8_e5m2", "float8_e5m2"), is_transpose=True)
        yield Row(MM, "dst", "a step of 2", (dense,))
        yield Row(MM, "accumulate", words, (transposed, added))
        return
    bytes_: dict[str, Any] = {"pair": ("float8_e5m2", "float8_e5m2"), "is_transpose": True, "result": "float8_e5m2"}
    yield Row(
        MM,
        "dst",
        "a step of 2",
        (_matmul(spread=2, **bytes_),),
        (_matmul(spread=1, **bytes_), _matmul(spread=3, **bytes_)),
    )
    yield Row(MM, "accumulate", words, (transposed, Altered(_matmul(), _adding)), (added,))


# ---------------------------------------------------------------------------------------------------- nc_matmul_mx


def microscaled(target: Target) -> Iterator[Row]:
    """Quadrants, even columns and scale tiles."""
    yield Row(MX, "stationary", "a multiple of 32", (_microscaled(32), _microscaled(128)), (_microscaled(33),))
    yield Row(MX, "stationary", "an even number", (_microscaled(m=2),), (_microscaled(m=3),))
    for scale, free in (("stationary_scale", 8), ("moving_scale", 16)):

        def given(rows: int, columns: int, p: int = 64, scale: str = scale) -> Example:
            return _microscaled(p).having(**{scale: Tile((rows, columns), "uint8")})

        yield Row(
            MX,
            scale,
            "the free size of",
            (given(36, free), given(4, free, 32)),
            (given(35, free), given(3, free, 32), given(36, free - 1), given(36, free + 1)),
        )


# ---------------------------------------------------------------------------------------------------- nc_transpose


def _transpose(rows: int, columns: int, engine: str = "tensor", **arguments: Any) -> Example:
    dtype, result = arguments.pop("dtype", "bfloat16"), arguments.pop("result", "")
    dst = Tile((min(columns, 128), rows), result or dtype, "psum", spread=arguments.pop("spread", 1))
    given = {"dst": dst, "data": Tile((rows, columns), dtype), "engine": nisa.engine[engine]}
    return EXAMPLES[TR].having(**given | arguments)


def transposes(target: Target) -> Iterator[Row]:
    """nc_transpose on both engines."""
    yield Row(
        TR,
        "data",
        "at most 128 x 128",
        (_transpose(128, 128), _transpose(32, 32, "vector")),
        (_transpose(33, 32, "vector"), _transpose(32, 33, "vector")),
        (_transpose(128, 129),),
    )
    base = _transpose(64, 48)
    yield Row(
        TR,
        "dst",
        "data in sbuf and dst in psum",
        (base, _transpose(32, 32, "vector", dst=Tile((32, 32), "bfloat16"))),
        (base.having(dst=Tile((48, 64), "bfloat16")), base.having(data=Tile((64, 48), "bfloat16", "psum"))),
    )
    shapes = ((47, 64), (49, 64), (48, 63), (48, 65))
    yield Row(TR, "dst", "transposed", (base,), tuple(base.having(dst=Tile(s, "bfloat16", "psum")) for s in shapes))
    widened = _transpose(64, 48, result="float32")
    before = target.generation < 3
    yield Row(
        TR,
        "dst",
        "the dtype of data",
        (base, _transpose(32, 32, "vector"), *((widened,) if before else ())),
        (
            _transpose(64, 48, result="float16"),
            _transpose(32, 32, "vector", result="float32"),
            *(() if before else (widened,)),
        ),
    )
    dense, spread = (_transpose(64, 48, dtype="float8_e5m2", spread=step) for step in (1, 2))
    vector = _transpose(32, 32, "vector", dtype="float8_e5m2")
    yield Row(TR, "dst", "a step of 2", (spread, vector, *((dense,) if before else ())), () if before else (dense,))


TABLES = (tiles, sizes, dtypes, double_rows, transpose_mode, microscaled, transposes)
