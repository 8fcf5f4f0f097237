"""Families, owners, slots and gaps: by hand for the loops that kernels have, by their definition for random ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.backends.harness import hbm, load, normal, planned, store, tile
from tests.emulator.backends.random_kernels import arguments, kernel_of
from tests.emulator.backends.random_recipes import random_recipe
from trnlab.emulator import launch
from trnlab.emulator.backends import rolled
from trnlab.emulator.backends.renaming import rename
from trnlab.emulator.backends.storage import Family, Storage
from trnlab.emulator.fold import fold
from trnlab.emulator.fold_flatten import parts_of
from trnlab.emulator.nest import live_ranges
from trnlab.emulator.repeats import Repeat
from trnlab.emulator.target import get_target

X = normal(0, 8, 48)


def columns(x: Any, number: int) -> Any:
    return x[:, 8 * number : 8 * number + 8]


def storage_of(kernel: Any, *args: Any) -> Storage:
    return planned(kernel, *args).storage


def named(storage: Storage, name: str) -> list[Family]:
    """The families of buffers that the kernel called so."""
    buffers = storage.program.buffers
    return [family for family in storage.families if buffers[family.members[0][1]].name == name]


def trips_around(storage: Storage, family: Family) -> list[int]:
    """The trips of the repeats in each iteration of which the family is new, outermost first."""
    return [b.loop.trips for b in storage.paths.get(family.owner, ()) if isinstance(b.loop, Repeat)]


def summary(storage: Storage, name: str) -> list[tuple[int, int, list[int]]]:
    """(members, slots, owning loops) of the families of that name."""
    return [(len(f.members), f.slots, trips_around(storage, f)) for f in named(storage, name)]


def test_a_tile_allocated_in_every_iteration_needs_one_slot() -> None:
    @nki.jit
    def fresh(x):
        out = hbm(8, 48, name="out")
        for i in range(6):
            first, second = tile(name="first"), tile(name="second")
            nisa.dma_copy(first, columns(x, i))
            nisa.tensor_scalar(second, first, nl.multiply, 2.0)
            nisa.dma_copy(columns(out, i), second)
        return out

    storage = storage_of(fresh, X)
    assert summary(storage, "first") == summary(storage, "second") == [(6, 1, [6])]
    assert summary(storage, "x") == summary(storage, "out") == [(1, 1, [])]
    assert not named(storage, "x")[0].written
    assert named(storage, "out")[0].written


def test_tiles_of_nested_loops_belong_to_the_innermost_that_can_own_them() -> None:
    @nki.jit
    def nested(x):
        out = hbm(3, 8, 48)
        for i in range(3):
            outer = tile(name="outer")
            nisa.dma_copy(outer, columns(x, i))
            for j in range(6):
                inner = tile(name="inner")
                nisa.dma_copy(inner, columns(x, j))
                nisa.tensor_tensor(inner, inner, outer, nl.add)
                nisa.dma_copy(columns(out[i], j), inner)
        return out

    storage = storage_of(nested, X)
    assert summary(storage, "outer") == [(3, 1, [3])]
    assert summary(storage, "inner") == [(18, 1, [3, 6])]


def test_a_list_of_tiles_lives_outside_the_loops_that_visit_it() -> None:
    @nki.jit
    def listed(x):
        out, kept = hbm(3, 8, 48), []
        for i in range(6):
            kept.append(tile(name="kept"))
            nisa.dma_copy(kept[-1], columns(x, i))
        for j in range(3):
            for i in range(6):
                nisa.dma_copy(columns(out[j], i), kept[i])
        return out

    storage = storage_of(listed, X)
    assert summary(storage, "kept") == [(6, 6, [])]
    (family,) = named(storage, "kept")
    assert sorted(slot for slot, _ in family.members) == list(range(6))
    for row in np.flatnonzero(storage.family_of == family.number).tolist():
        slots = [storage.advance(b, row).slot for b in storage.paths[storage.block_of(row)]]
        assert slots in ([1], [0, 1])  # the loop that fills it; those that visit it again and again


def test_a_list_filled_anew_in_every_iteration_belongs_to_that_loop() -> None:
    @nki.jit
    def refilled(x):
        out = hbm(3, 8, 48)
        for j in range(3):
            kept = []
            for i in range(6):
                kept.append(tile(name="kept"))
                nisa.dma_copy(kept[-1], columns(x, i))
            for i in range(6):
                nisa.dma_copy(columns(out[j], i), kept[i])
        return out

    assert summary(storage_of(refilled, X), "kept") == [(18, 6, [3])]


def test_lists_filled_in_turn_have_no_gaps_between_their_slots() -> None:
    """a0, b0, a1, b1, ...: consecutive members of a list are two allocations apart."""

    @nki.jit
    def turns(x):
        out, first, second = hbm(8, 48), [], []
        for i in range(6):
            first.append(tile(name="first"))
            second.append(tile(name="second"))
            nisa.dma_copy(first[-1], columns(x, i))
            nisa.tensor_scalar(second[-1], first[-1], nl.add, 1.0)
        for i in range(6):
            nisa.tensor_tensor(first[i], first[i], second[5 - i], nl.add)
            nisa.dma_copy(columns(out, i), first[i])
        return out

    storage = storage_of(turns, X)
    assert summary(storage, "first") == summary(storage, "second") == [(6, 6, [])]
    assert [int(storage.gaps[f.number]) for f in (*named(storage, "first"), *named(storage, "second"))] == [2, 2]


def test_buffers_that_take_turns_are_apart_or_one_family() -> None:
    """Written whole they are new in every iteration; written in part they stay, each a storage of its own."""

    @nki.jit
    def double(x):
        whole, part = [[tile(name=name) for _ in range(2)] for name in ("whole", "part")]
        out = hbm(2, 8, 48)
        for i in range(6):
            nisa.dma_copy(whole[i % 2], columns(x, i))
            nisa.dma_copy(part[i % 2][:, 0:4], columns(x, i)[:, 0:4])
            nisa.dma_copy(columns(out[0], i), whole[i % 2])
            nisa.dma_copy(columns(out[1], i), part[i % 2])
        return out

    storage = storage_of(double, X)
    assert all(slots == 1 and owner for _, slots, owner in summary(storage, "whole"))
    assert sum(members for members, _, _ in summary(storage, "whole")) == 6
    assert sum(members for members, _, _ in summary(storage, "part")) == 2
    assert all(owner == [] for _, _, owner in summary(storage, "part"))


def test_accumulators() -> None:
    """One that is updated in place is one slot where it starts; one that is new in every step needs all its values."""

    @nki.jit
    def sums(x):
        out = hbm(3, 8, 8)
        for j in range(3):
            total, chain = tile(name="total"), tile(name="chain")
            nisa.memset(total, 0.0)
            nisa.memset(chain, 0.0)
            for i in range(6):
                following = tile(name="chain")
                nisa.tensor_tensor(total, total, load(columns(x, i)), nl.add)
                nisa.tensor_tensor(following, chain, total, nl.add)
                chain = following
            nisa.dma_copy(out[j], chain)
        return out

    storage = storage_of(sums, X)
    assert summary(storage, "total") == [(3, 1, [3])]
    ((members, slots, owner),) = summary(storage, "chain")
    assert (members, owner) == (3 * 7, [3])
    assert slots == 7


def test_ragged_tails_are_families_of_their_own() -> None:
    @nki.jit
    def ragged(x):
        out = hbm(8, 45)
        for start in range(0, 45, 8):
            piece = tile(8, min(8, 45 - start), name="piece")
            nisa.dma_copy(piece, x[:, start : start + piece.shape[1]])
            nisa.dma_copy(out[:, start : start + piece.shape[1]], piece)
        return out

    assert sorted(summary(storage_of(ragged, X), "piece")) == [(1, 1, []), (5, 1, [5])]


def test_a_permuted_visit_is_a_table_of_slots() -> None:
    order = [3, 0, 5, 4, 1, 2]

    @nki.jit
    def permuted(x):
        out, kept = hbm(8, 48), []
        for i in range(6):
            kept.append(tile(name="kept"))
            nisa.dma_copy(kept[-1], columns(x, i))
        for i, number in enumerate(order):
            nisa.dma_copy(columns(out, i), kept[number])
        return out

    storage = storage_of(permuted, X)
    (family,) = named(storage, "kept")
    assert (len(family.members), family.slots) == (6, 6)
    visits = []
    for row in np.flatnonzero(storage.family_of == family.number).tolist():
        (block,) = storage.paths[storage.block_of(row)]
        advance = storage.advance(block, row)
        moved = np.arange(6) * advance.slot if advance.slot_table is None else advance.slot_table
        visits.append((int(storage.slot_of[row]) + moved).tolist())
        assert advance.has_table == (advance.slot_table is not None)
    slots = {number: slot for slot, number in family.members}
    assert visits[0] == [slots[number] for number in sorted(slots)]
    assert visits[1] == [visits[0][number] for number in order]


def test_two_tables_for_one_operand_add_up() -> None:
    """As folding leaves them where the counters of two loops around do not add up, but a third one's does."""
    places = (0, 1, 3, 7)

    @nki.jit
    def tabled(x):
        source, outs = load(x), hbm(3, 8, 4)
        for i in range(3):
            result = tile(8, 4)
            nisa.memset(result, 0.0)
            for j, place in enumerate(places):
                nisa.tensor_copy(result[:, j : j + 1], source[:, 4 * i + place : 4 * i + place + 1])
            nisa.dma_copy(outs[i], result)
        return outs

    folded = fold(rename(launch.trace(tabled, X)).program)
    inner = min(folded.repeats, key=lambda repeat: repeat.end - repeat.begin)
    (table,) = inner.tables
    np.testing.assert_array_equal(table.values, places)
    shared = np.array([[0, 5, -2, 1]])  # an axis for the loop around, in which it does not matter
    halves = table._replace(values=table.values - shared[0]), table._replace(values=shared)
    both = replace(inner, tables=halves)
    split = folded.replace(repeats=tuple(both if repeat is inner else repeat for repeat in folded.repeats))
    np.testing.assert_array_equal(split.flat.operands, folded.flat.operands)
    lowered = rolled.lower(split, get_target(split.target_name), print)
    (found,) = jax.jit(lowered)([jnp.asarray(X)])[0].values()
    expected = [[[row[4 * i + place] for place in places] for row in X] for i in range(3)]
    np.testing.assert_array_equal(np.asarray(found).reshape(3, 8, 4), np.asarray(expected))


def test_tiles_of_run_time_loops_are_new_in_an_iteration_that_writes_them_whole() -> None:
    @nki.jit
    def looped(x):
        out = hbm(4, 8, 8)
        nisa.dma_copy(out, x[:, 0:32].reshape((8, 4, 8)).permute((1, 0, 2)))

        def body(register):
            whole, part = tile(name="whole"), tile(name="part")
            nisa.dma_copy(whole, columns(x, 0))
            nisa.dma_copy(part[:, 0:4], whole[:, 0:4])
            nisa.tensor_tensor(whole, whole, part, nl.add)
            nisa.dma_copy(out[register], whole)

        nl.fori_loop(0, 4, body)
        after = tile(name="after")
        nisa.dma_copy(after, columns(x, 1))
        return out, store(after)

    storage = storage_of(looped, X)
    assert [family.depth for family in named(storage, "whole")] == [1]
    assert [family.depth for family in named(storage, "part")] == [0]
    assert [family.depth for family in named(storage, "after")] == [0]


def test_arguments_results_and_embedded_data_live_outside_all_loops() -> None:
    weights = normal(3, 6, 8, 8)

    @nki.jit
    def weighted(x):
        outs, held = [], nl.shared_constant(weights)
        for i in range(6):
            outs.append(hbm(8, 8, name="out"))
            nisa.dma_copy(outs[-1], load(columns(x, i)))
            nisa.dma_copy(outs[-1], load(held[i]))
        return outs

    storage = storage_of(weighted, X)
    assert summary(storage, "out") == [(6, 6, [])]
    assert all(family.depth == 0 for family in storage.families if family.buffer.kind in {"input", "constant"})


# -- any program -------------------------------------------------------------------------------------------------------


class Execution(NamedTuple):
    """One operand of one execution: its rows, the iterations of the repeats around, and where it lies."""

    flat_row: int
    row: int
    iterations: tuple[int, ...]
    slot: int
    offset: int


def executions(storage: Storage) -> Iterator[Execution]:
    """Every operand of every execution."""
    program = storage.program
    for part in parts_of(program):
        for index in np.ndindex(*part.positions.shape):
            at = int(part.positions[index])
            for number in part.leaves if at >= 0 else ():
                flat = int(program.flat.operand_starts[at + number - part.leaves.start])
                for row in range(int(program.operand_starts[number]), int(program.operand_starts[number + 1])):
                    slot, offset = int(storage.slot_of[row]), storage.offset(row)
                    blocks = [b for b in storage.path_of(number) if isinstance(b.loop, Repeat)]
                    for depth, (block, counter) in enumerate(zip(blocks, index, strict=True)):
                        advance = storage.advance(block, row)
                        slot += advance.slot * counter + entry(advance.slot_table, index, depth)
                        offset += advance.offset * counter + entry(advance.offset_table, index, depth)
                    flat_row = flat + row - int(program.operand_starts[number])
                    yield Execution(flat_row, row, index, slot, offset)


def entry(table: np.ndarray | None, index: tuple[int, ...], depth: int) -> int:
    if table is None:
        return 0
    around = index[depth + 1 - table.ndim : depth + 1]
    return int(table[tuple(0 if size == 1 else at for size, at in zip(table.shape, around, strict=True))])


@pytest.mark.parametrize(("seed", "size"), [*((seed, 80) for seed in range(40)), (1004, 120)])
def test_every_execution_finds_its_buffer(seed: int, size: int) -> None:
    """A buffer is always in one slot of one family, and no other is there while its content is needed."""
    storage = storage_of(kernel_of(random_recipe(Random(seed), size)), *arguments(seed))
    flat = storage.program.flat
    ranges = live_ranges(flat)
    place_of: dict[int, tuple[int, int]] = {}
    seen = 0
    for flat_row, row, _, slot, offset in executions(storage):
        buffer, flat_offset = flat.operands[flat_row].tolist()
        family = storage.families[int(storage.family_of[row])]
        assert 0 <= slot < family.slots
        assert offset == flat_offset
        assert place_of.setdefault(buffer, (family.number, slot)) == (family.number, slot)
        assert storage.program.buffers[buffer].shape == family.buffer.shape
        seen += 1
    assert seen == len(flat.operands)
    by_place: dict[tuple[int, int], list[int]] = {}
    for buffer, place in place_of.items():
        by_place.setdefault(place, []).append(buffer)
    for buffers in by_place.values():
        buffers.sort(key=lambda b: int(ranges.first[b]))
        for one, other in pairwise(buffers):
            assert ranges.last[one] < ranges.first[other]
    assert storage.slot_of_buffer.keys() >= place_of.keys()
    for buffer, (name, _) in place_of.items():
        assert storage.family_of_buffer(buffer).number == name
