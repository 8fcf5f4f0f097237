"""Conditional rules of the GpSimd Engine and of the sequencers' registers.

Source: NKI reference, the pages of the instructions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.emulator.isa.limit_edges.calls import Tile
from tests.emulator.isa.limit_edges.examples import EXAMPLES
from tests.emulator.isa.limit_edges.rules import Row
from trnlab.emulator.target import Target


def patterns(target: Target) -> Iterator[Row]:
    """iota and affine_select: one to four pairs [step, num] that count the elements of a partition."""
    four = {"pattern": [[4, 2], [2, 2], [1, 2], [1, 1]]}
    five = {"pattern": [[4, 2], [2, 2], [1, 2], [1, 1], [1, 1]]}
    none = {name: {"pattern": [], "dst": EXAMPLES[name].tile("dst").with_free(1)} for name in ("iota", "affine_select")}
    none["affine_select"]["on_true_tile"] = EXAMPLES["affine_select"].tile("on_true_tile").with_free(1)
    for name, empty in none.items():
        yield Row(name, "pattern", "one to four", ({}, four), (five, empty), ({"pattern": [[1, 8], [1, 0]]},))
        yield Row(name, "pattern", "as many values", ({}, four), ({"pattern": [[1, 7]]}, {"pattern": [[1, 9]]}))


def positions(target: Target) -> Iterator[Row]:
    """topk, nonzero_with_count, sequence_bounds."""

    def ranked(n: int, k: int, columns: int) -> dict[str, Any]:
        tiles = {"val_dst": (k, "bfloat16"), "idx_dst": (k, "uint32"), "src": (columns, "bfloat16")}
        return {"n": n, **{name: Tile((16, free), dtype) for name, (free, dtype) in tiles.items()}}

    yield Row(
        "topk",
        "n",
        "8 <= n < 65536",
        (ranked(8, 2, 1), ranked(65535, 2, 4096)),
        (ranked(7, 2, 1), ranked(65536, 2, 4096)),
    )
    yield Row(
        "topk",
        "val_dst",
        "K <= n",
        (ranked(20, 20, 2), ranked(65535, 32767, 4096)),
        (ranked(20, 21, 2), ranked(65535, 32768, 4096)),
    )
    yield Row("topk", "src", "ceil(n / 16)", (ranked(32, 2, 2), ranked(33, 2, 3)), (ranked(33, 2, 2),))
    free = [{"dst": Tile((16, count), "int32")} for count in (8, 9, 10)]
    yield Row("nonzero_with_count", "dst", "plus 1", (free[1],), (free[0], free[2]))
    free = [{"dst": Tile((1, count))} for count in (15, 16, 17)]
    yield Row("sequence_bounds", "dst", "twice", (free[1],), (free[0], free[2]))


def gathers(target: Target) -> Iterator[Row]:
    """local_gather: the indices of one core, and what they gather."""

    def gather(count: int, columns: int, each: int = 1, free: int | None = None) -> dict[str, Any]:
        return {
            "num_valid_indices": count,
            "num_elem_per_idx": each,
            "index": Tile((16, columns), "uint16"),
            "dst": Tile((16, max(count * each, 1) if free is None else free)),
        }

    yield Row(
        "local_gather",
        "num_valid_indices",
        "1 to 4096",
        (gather(1, 1), gather(16, 1), gather(4096, 256), gather(4096, 300)),
        (gather(17, 1), gather(4097, 300)),
        (gather(0, 1),),
    )
    accepted, refused = gather(4, 1, 2, 8), (gather(4, 1, 2, 7), gather(4, 1, 2, 9), gather(4, 1, 2, 4))
    yield Row("local_gather", "dst", "num_valid_indices *", (accepted,), refused)


def registers(target: Target) -> Iterator[Row]:
    """One integer at a time."""
    for name, operand in (("register_load", "src"), ("register_store", "dst")):

        def memory(*shape: int, operand: str = operand, **facts: Any) -> dict[str, Any]:
            return {operand: Tile(shape, "int32", **facts)}

        hbm: dict[str, Any] = {"region": "shared_hbm"}
        yield Row(
            name,
            operand,
            "one element",
            (memory(1, **hbm), memory(1, 1, **hbm), memory(1, 1)),
            (memory(2, **hbm), memory(1, 2), memory(2, 1)),
        )


TABLES = (patterns, positions, gathers, registers)
