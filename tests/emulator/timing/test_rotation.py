"""Tiles take turns in a finite SBUF and PSUM: who takes over from whom, and what the schedule makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import launch
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.program import Program
from trnlab.emulator.target import Target, get_target
from trnlab.emulator.timing.rotation import Rotation, rotate, uses_of
from trnlab.emulator.timing.timeline import Timeline, schedule

FLOAT32 = np.dtype(np.float32)


def array(shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, FLOAT32)  # type: ignore[no-untyped-call]


def traced(kernel: Callable[..., Any], *shapes: tuple[int, ...]) -> Program:
    return launch.trace(kernel, *map(array, shapes), target="trn2")


def small(sbuf_bytes: int = 224 * 1024) -> Target:
    target = get_target("trn2")
    fact = replace(target.provenance["sbuf_bytes_per_partition"], value=sbuf_bytes)
    return target.with_facts("small memory", sbuf_bytes_per_partition=fact)


def rotated(program: Program, target: Target) -> Rotation:
    return rotate(program, uses_of(program, np.arange(len(program))), target)


def names(program: Program, rotation: Rotation) -> list[tuple[str, list[str]]]:
    """(tile, replaced tiles) by the letters that the kernels give them."""
    label = {buffer.number: buffer.name for buffer in program.buffers}
    return [(label[item.tile], [label[other] for other in item.replaced]) for item in rotation.takeovers]


def tile(name: str, columns: int, buffer: Any = None) -> Any:
    return nl.ndarray((128, columns), dtype=nl.float32, buffer=buffer or nl.sbuf, name=name)


def through(x: Any, sizes: dict[str, int]) -> Any:
    """Each tile is loaded and stored again before the next is allocated."""
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for number, (name, columns) in enumerate(sizes.items()):
        loaded = tile(name, columns)
        nisa.dma_copy(loaded, x[number, :, 0:columns])
        nisa.dma_copy(result[number, :, 0:columns], loaded)
    return result


def test_fresh_memory_first_then_the_tile_that_ended_first() -> None:
    program = traced(lambda x: through(x, dict.fromkeys("abcde", 64)), (8, 128, 64))
    # 256 bytes per partition each: three fit, then they take turns.
    assert names(program, rotated(program, small(3 * 256))) == [("d", ["a"]), ("e", ["b"])]
    assert names(program, rotated(program, small(5 * 256))) == []


def test_a_tile_takes_what_it_needs_of_several_and_leaves_the_rest() -> None:
    sizes = {"a": 16, "b": 16, "c": 24, "d": 8, "e": 8}
    program = traced(lambda x: through(x, sizes), (8, 128, 64))
    # 32 columns of memory: c replaces a and half of b, d the other half, e comes from c.
    assert names(program, rotated(program, small(32 * 4))) == [("c", ["a", "b"]), ("d", ["b"]), ("e", ["c"])]


def test_tiles_that_live_at_once_never_replace_each_other_and_what_has_no_room_is_counted() -> None:
    def kernel(x: Any) -> Any:
        tiles = [tile(name, 64) for name in "abcd"]
        for number, each in enumerate(tiles):
            nisa.dma_copy(each, x[number])
        total = tile("total", 64)
        nisa.tensor_tensor(total, tiles[0], tiles[1], nl.add)
        nisa.tensor_tensor(total, tiles[2], tiles[3], nl.add)
        return x

    program = traced(kernel, (8, 128, 64))
    rotation = rotated(program, small(3 * 256))
    # a, b and c fill it; d finds no room; "total" begins while all four are still in use.
    assert (names(program, rotation), rotation.homeless_bytes) == ([], 2 * 256)


def test_memory_with_an_address_is_not_handed_out() -> None:
    def kernel(x: Any) -> Any:
        placed = nl.ndarray((128, 64), dtype=nl.float32, buffer=nl.sbuf, address=(0, 0))
        nisa.dma_copy(placed, x[0])
        return through(x, dict.fromkeys("abc", 64))

    program = traced(kernel, (8, 128, 64))
    assert names(program, rotated(program, small(3 * 256))) == [("c", ["a"])]


def banks_kernel(count: int, columns: int) -> Callable[..., Any]:
    def kernel(x: Any) -> Any:
        loaded = tile("x", 128)
        nisa.dma_copy(loaded, x)
        for number in range(count):
            bank, copied = tile(f"p{number}", columns, nl.psum), tile(f"s{number}", columns)
            nisa.nc_matmul(bank, loaded, loaded[:, 0:columns] if columns <= 128 else tile("y", columns))
            nisa.tensor_copy(copied, bank)
        return x

    return kernel


def test_psum_tiles_rotate_through_the_eight_banks() -> None:
    program = traced(banks_kernel(10, 64), (128, 128))
    rotation = rotated(program, get_target("trn2"))
    # A tile takes a bank of its own, though it fills an eighth of it, and the one that was left first.
    assert names(program, rotation) == [("p8", ["p0"]), ("p9", ["p1"])]
    numbers = [buffer.number for buffer in program.buffers if buffer.region is MemoryRegion.psum]
    assert [rotation.banks[number].start for number in numbers] == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]


def test_psum_tiles_share_a_bank_only_when_none_is_empty() -> None:
    def kernel(x: Any) -> Any:
        loaded = tile("x", 128)
        nisa.dma_copy(loaded, x)
        banks = [tile(f"p{number}", 128, nl.psum) for number in range(10)]
        for bank in banks:
            nisa.nc_matmul(bank, loaded, loaded)
        for bank in banks:
            nisa.tensor_copy(tile(f"s{bank}", 128), bank)
        return x

    program = traced(kernel, (128, 128))
    rotation = rotated(program, get_target("trn2"))
    numbers = [buffer.number for buffer in program.buffers if buffer.region is MemoryRegion.psum]
    places = [rotation.banks[number].start for number in numbers]
    assert places[:8] == list(range(8))
    assert len(set(places[8:])) == 2
    assert rotation.homeless_bytes == 0


# -- what the schedule makes of it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_loads_run_ahead_only_as_far_as_memory_allows(copies: int) -> None:
    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        power = nl.ndarray((128, 64), dtype=nl.float32, buffer=nl.sbuf, address=(0, 0))
        for number in range(6):
            loaded = tile(f"t{number}", 64)
            nisa.dma_copy(loaded, x[number])
            nisa.activation(power, nl.exp, loaded)
        nisa.dma_copy(result[0], power)
        return result

    program = traced(kernel, (6, 128, 64))
    timeline = schedule(program, small((1 + copies) * 256), order="list")
    events = list(timeline.events())
    loads, powers = events[0:12:2], events[1:12:2]
    for number in range(copies, 6):
        # The exp must have read the tile, its signal must arrive, and the transfer must start: 35 and 1,300 ns.
        assert loads[number].start_seconds >= powers[number - copies].end_seconds + 1335e-9 - 1e-12
        assert loads[number].wait in ("sbuf", "dma")
    assert schedule(program, small(64 * 256), order="list").total_seconds <= timeline.total_seconds


operations = st.tuples(st.sampled_from(["load", "add", "exp", "matmul"]), st.integers(0, 2), st.integers(1, 3))


def fresh_tiles(plan: list[tuple[str, int, int]]) -> Callable[..., Any]:
    """Every instruction writes a tile of its own; it reads one of the last three."""

    def kernel(x: Any) -> Any:
        made = [tile("first", 64)]
        nisa.dma_copy(made[0], x)
        for number, (name, back, width) in enumerate(plan):
            source, new = made[max(0, len(made) - 1 - back)], tile(f"t{number}", 64 * width)
            if name == "load":
                nisa.dma_copy(new[:, 0:64], x)
            elif name == "add":
                nisa.tensor_tensor(new[:, 0:64], source[:, 0:64], made[-1][:, 0:64], nl.add)
            elif name == "exp":
                nisa.activation(new[:, 0:64], nl.exp, source[:, 0:64])
            else:
                bank = nl.ndarray((64, 64), dtype=nl.float32, buffer=nl.psum)
                nisa.nc_matmul(bank, source[:, 0:64], made[-1][:, 0:64])
                nisa.memset(new, 0.0)
                nisa.tensor_copy(new[0:64, 0:64], bank)
            made.append(new)
        return x

    return kernel


def most_bytes_at_once(timeline: Timeline) -> int:
    """Bytes per partition of SBUF in use, each tile from its first write's start to its last use's end."""
    program = timeline.program
    changes: list[tuple[int, int]] = []
    for buffer in program.buffers:
        if buffer.region is not MemoryRegion.sbuf:
            continue
        used = [n for n in range(len(program)) if buffer.number in program.row(n)[:, 0]]
        if used:
            changes.append((min(int(timeline.start_ps[n]) for n in used), buffer.bytes_per_partition))
            changes.append((max(int(timeline.end_ps[n]) for n in used), -buffer.bytes_per_partition))
    level = peak = 0
    for _, change in sorted(changes):
        level += change
        peak = max(peak, level)
    return peak


@given(st.lists(operations, min_size=4, max_size=40), st.sampled_from(["list", "program"]))
@settings(max_examples=60, deadline=None)
def test_no_schedule_holds_more_than_memory_has(plan: Any, order: Any) -> None:
    program = traced(fresh_tiles(plan), (128, 64))
    # Five live tiles of at most 768 bytes: two results back, the newest, and the one being written.
    target = small(6 * 768)
    timeline = schedule(program, target, order=order)
    assert timeline.homeless_bytes == 0
    assert most_bytes_at_once(timeline) <= 6 * 768
