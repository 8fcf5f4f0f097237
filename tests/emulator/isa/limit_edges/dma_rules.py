"""Conditional rules of the DMA instructions: descriptors, transposes, accumulation.

Sources: NKI reference, the pages of the instructions; NKI deep dive, Descriptor Generation Engine reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.emulator.isa.limit_edges.calls import Altered, Example, Same, Tile, altered
from tests.emulator.isa.limit_edges.examples import EXAMPLES, accumulating, gathering
from tests.emulator.isa.limit_edges.rules import Given, Row
from trnlab.emulator.nki import isa as nisa
from trnlab.emulator.target import Target

MODE, OOB = nisa.dge_mode, nisa.oob_mode
SKIP: dict[str, Any] = {"oob_mode": OOB.skip}
HBM: dict[str, Any] = {"region": "shared_hbm"}
COPY, TRANSPOSE, COMPUTE = "dma_copy", "dma_transpose", "dma_compute"


# -------------------------------------------------------------------------------------------------------- dma_copy


def copies(target: Target) -> Iterator[Row]:
    """Casts and queues of dma_copy."""
    has_packed, has_hardware = target.generation >= 4, target.generation >= 3
    packed, word = Tile((8, 8), "float8_e4m3fn_x4"), Tile((8, 8), "uint32")
    casts = ({"dst": word, "src": packed}, {"dst": packed, "src": word})
    plain: tuple[Given, ...] = ({}, {"src": Tile((8, 8), "bfloat16", **HBM)})
    same = ({"dst": packed, "src": packed},) if has_packed else ()
    yield Row(COPY, "src", "packed x4 elements are not cast", (*plain, *same), casts if has_packed else ())
    hardware: dict[str, Any] = {"dge_mode": MODE.hwdge}
    cast = hardware | {"src": Tile((8, 8), "bfloat16", **HBM)}
    yield Row(
        COPY,
        "src",
        "equal dtypes with hwdge",
        (*plain, *((hardware,) if has_hardware else ())),
        (cast,) if has_hardware else (),
    )
    queued = tuple(hardware | {"engine": nisa.engine[name]} for name in ("sync", "scalar"))
    others = tuple(hardware | {"engine": nisa.engine[name]} for name in ("vector", "tensor", "gpsimd", "dma"))
    software = tuple({"engine": nisa.engine.sync, "dge_mode": mode} for mode in (MODE.unknown, MODE.swdge, MODE.none))
    accepted = queued if has_hardware else ()
    yield Row(COPY, "engine", "with dge_mode.hwdge", ({}, *accepted), (*software, *(others if has_hardware else ())))


def descriptors(target: Target) -> Iterator[Row]:
    """Which descriptors a run-time offset takes."""
    hardware = (MODE.hwdge,) if target.generation >= 3 else ()
    rows = Tile((8, 1), "uint32")
    moved = tuple({name: Tile((8, 8), moved=True, **HBM)} for name in ("dst", "src"))
    listed = tuple({name: Tile((8, 8), rows=rows, **HBM)} for name in ("dst", "src"))
    words = "swdge or unknown for a vector offset"

    def in_modes(places: tuple[dict[str, Tile], ...], *modes: Any) -> tuple[Given, ...]:
        return tuple(place | {"dge_mode": mode} for place in places for mode in modes)

    yield Row(
        COPY,
        "dge_mode",
        words,
        (*in_modes(moved, MODE.swdge, MODE.unknown, *hardware), *in_modes(listed, MODE.swdge, MODE.unknown)),
        (*in_modes(moved, MODE.none), *in_modes(listed, MODE.none, *hardware)),
    )
    shifted = EXAMPLES[TRANSPOSE].tile("src").of(moved=True)
    in_place = ({"src": shifted},)
    modes = (MODE.none, MODE.hwdge)
    yield Row(
        TRANSPOSE,
        "dge_mode",
        words,
        (*in_modes(in_place, MODE.swdge, MODE.unknown, MODE.hwdge), gathering(dge_mode=MODE.swdge), gathering()),
        (*in_modes(in_place, MODE.none), *(gathering(dge_mode=mode) for mode in modes)),
    )


# --------------------------------------------------------------------------------------------------- dma_transpose


def _transposed(shape: tuple[int, ...], dtype: str = "bfloat16", rows: Tile | None = None, **more: Any) -> Example:
    axes = more.get("axes") or {2: (1, 0), 3: (2, 1, 0), 4: (3, 1, 2, 0)}[len(shape)]
    result = tuple(shape[axis] for axis in axes)
    tiles = {"src": Tile(shape, dtype, rows=rows, **HBM), "dst": Tile(result, dtype)}
    return EXAMPLES[TRANSPOSE].having(**tiles | more)


def transposes(target: Target) -> Iterator[Row]:
    """Dimensions, axes, dtypes and modes of dma_transpose."""
    ranks = tuple(_transposed(shape) for shape in ((16, 8), (16, 2, 8), (16, 2, 3, 8)))
    flat = {"src": Tile((16,), "bfloat16", **HBM)}
    deep = {"src": Tile((16, 1, 1, 1, 8), "bfloat16", **HBM)}
    yield Row(TRANSPOSE, "src", "2, 3 or 4 dimensions", ranks, (), (flat, deep))
    others = tuple({"axes": axes} for axes in ((1,), (2, 1, 0), (3, 1, 2, 0), (0, -1)))
    wrong = (((16, 8), (0, 1)), ((16, 2, 8), (1, 0, 2)), ((16, 2, 3, 8), (3, 2, 1, 0)))
    yield Row(
        TRANSPOSE, "axes", "by the number of", ranks, (*others, *(_transposed(shape, axes=a) for shape, a in wrong))
    )
    hardware: dict[str, Any] = {"dge_mode": MODE.hwdge}
    rows = Tile((16, 1), "uint32")
    yield Row(
        TRANSPOSE,
        "src",
        "a dtype of 2 or 4 bytes",
        (
            *(_transposed((16, 8), dtype) for dtype in ("uint16", "float32")),
            _transposed((16, 8), **hardware),
            _transposed((16, 8), rows=rows),
        ),
        (
            _transposed((16, 8), "uint8"),
            _transposed((16, 8), "float32", **hardware),
            _transposed((16, 8), "float32", rows=rows),
        ),
    )
    shapes = ((127, 16), (128, 15), (128, 17))
    yield Row(TRANSPOSE, "dst", "dimensions permuted", ranks, tuple({"dst": Tile(s, "bfloat16")} for s in shapes))
    software, skipping = {"dge_mode": MODE.swdge}, SKIP
    yield Row(TRANSPOSE, "dge_mode", "or a src with a run-time index", ({}, gathering(**software)), (software,))
    yield Row(TRANSPOSE, "oob_mode", "or a src with a run-time index", ({}, gathering(**skipping)), (skipping,))
    good = ((16, 128), (16, 1, 8), (8, 2, 8), (4, 4, 8), (2, 8, 8), (1, 16, 8), (16, 3, 1, 8), (1, 3, 16, 8))
    bad = ((15, 8), (17, 8), (32, 8), (3, 16, 8), (32, 1, 8), (2, 4, 8), (1, 16, 8, 8))
    wide = Altered(_transposed((16, 128), **hardware), _as_wide)
    yield Row(
        TRANSPOSE,
        "src",
        "with hwdge: 16 rows",
        tuple(_transposed(shape, **hardware) for shape in good),
        tuple(_transposed(shape, **hardware) for shape in bad),
        (wide,),
    )


def _as_wide(call: Any) -> Any:
    """As data: a last dimension of 129 makes a result of 129 partitions, which no tile has."""
    return altered(altered(call, "src", shape=(16, 129)), "dst", shape=(129, 16))


def gathered_transposes(target: Target) -> Iterator[Row]:
    """NKI reference, nisa.dma_transpose: DMA indirect transpose constraints."""

    def of(shape: tuple[int, ...] = (16, 8), index: tuple[int, ...] = (16, 1), dtype: str = "uint32") -> Example:
        return _transposed(shape, rows=Tile(index, dtype))

    good = of()
    four = tuple(of(shape) for shape in ((16, 1, 2, 8), (16, 2, 1, 8)))
    yield Row(TRANSPOSE, "src", "dimension 1 or 2 of size 1", (*four, of((16, 3, 8))), (of((16, 2, 2, 8)),))
    wide = Altered(of((16, 128)), _as_wide)
    yield Row(TRANSPOSE, "src", "a last dimension of at most 128, for a src", (of((16, 128)),), (), (wide,))
    yield Row(TRANSPOSE, "src", "a multiple of 16 rows", (good, of((32, 8), (32, 1))), (of((17, 8), (32, 1)),))
    yield Row(TRANSPOSE, "src.index", "2-D indices", (good,), (of(index=(16, 1, 1)),))
    heights = ((16, 1), (112, 1), (128, 1))
    yield Row(TRANSPOSE, "src.index", "16 to 128 partitions", tuple(of(index=i) for i in heights), (of(index=(24, 1)),))
    narrow, wide_index = of((256, 8), (128, 2)), of((224, 8), (112, 2))
    yield Row(TRANSPOSE, "src.index", "more than one column", (narrow, of((112, 8), (112, 1))), (wide_index,))
    others = tuple(of(dtype=dtype) for dtype in ("int32", "uint16", "int16", "uint8", "int8"))
    yield Row(TRANSPOSE, "src.index", "uint32 indices", (good,), others)


# ----------------------------------------------------------------------------------------------------- dma_compute


def accumulations(target: Target) -> Iterator[Row]:
    """dma_compute: sums of what lies at known places, or one tile and the rows that indices name."""
    rows = Tile((16, 1), "uint32")
    tile, listed = Tile((16, 8)), Tile((16, 8), rows=rows, **HBM)
    gather, scatter = accumulating(), accumulating(dst=listed, src0=Same("dst"), src1=tile)
    moved = tuple({name: Tile((8, 8), moved=True, **HBM)} for name in ("dst", "src0", "src15"))
    yield Row(COMPUTE, "", "known at compile time", ({}, gather), moved)
    yield Row(
        COMPUTE,
        "srcs",
        "two sources",
        (gather, scatter),
        (
            accumulating(src2=tile),
            accumulating(src0=tile),
            accumulating(dst=tile.of(**HBM)),
            accumulating(dst=listed, src1=tile.of(**HBM)),
            Example(COMPUTE, {"dst": tile, "src0": listed, "reduce_op": EXAMPLES[COMPUTE].arguments["reduce_op"]}),
            accumulating(src0=listed, src1=listed),
        ),
    )
    repeated = {"unique_indices": False}
    yield Row(COMPUTE, "unique_indices", "True with a vector offset", (gather, repeated), (accumulating(**repeated),))
    yield Row(COMPUTE, "oob_mode", "or a vector offset", ({}, accumulating(**SKIP), scatter.having(**SKIP)), (SKIP,))


TABLES = (copies, descriptors, transposes, gathered_transposes, accumulations)
