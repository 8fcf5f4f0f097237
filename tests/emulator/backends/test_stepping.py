"""Stretches run step by step, on programs small enough to compare: every bit is the reference's.

The limit up to which instructions are compiled in line is lowered to nothing, so that the smallest kernel is stepped.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from jax.sharding import Mesh, PartitionSpec

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.bench.stress_kernels import RANDOM_COLUMNS, RANDOM_TILES, unfoldable
from tests.emulator.backends.harness import bits, leaves, load, normal, same_bits, store
from tests.emulator.backends.random_kernels import ALL_KINDS, arguments, kernel_of
from tests.emulator.backends.random_recipes import Recipe, random_recipe, recipes
from trnlab.emulator import errors, launch
from trnlab.emulator.backends import compiled, merging, pools, rolled, stepping, stretches
from trnlab.emulator.backends.renaming import rename
from trnlab.emulator.backends.steps import Steps
from trnlab.emulator.fold import fold
from trnlab.emulator.target import get_target


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Steps]]:
    """Everything that can be is run step by step; the list fills with what was."""
    found: list[Steps] = []
    run = stepping.Stepping.run

    def noted(self: Any, steps: Steps, *args: Any) -> None:
        found.append(steps)
        run(self, steps, *args)

    monkeypatch.setattr(compiled, "lower", partial(rolled.lower, inline=0))
    monkeypatch.setattr(stretches, "MOST_KINDS", 1.0)
    monkeypatch.setattr(stepping.Stepping, "run", noted)
    compiled._compiled.cache_clear()
    yield found
    compiled._compiled.cache_clear()


ROWS, COLUMNS = 8, 16


def irregular(tiles: list[Any], count: int, seed: int) -> None:
    """Instructions in random order on random columns of some tiles of several dtypes."""
    draw = random.Random(seed)
    for _ in range(count):
        dst, first, second = draw.sample(tiles, 3)
        width = draw.choice((3, 8))
        views = [tile[:, at : at + width] for tile in (dst, first, second) for at in [draw.randrange(COLUMNS - width)]]
        kind = draw.randrange(4)
        if kind == 0:
            nisa.tensor_tensor(*views, op=nl.maximum)
        elif kind == 1:
            nisa.tensor_scalar(*views[:2], op0=nl.multiply, operand0=draw.choice((0.5, 0.75)), op1=nl.add, operand1=0.1)
        elif kind == 2:
            nisa.tensor_copy(*views[:2])
        else:
            nisa.memset(views[0], draw.choice((1.0, -2.0)))


def tiles_of(x: Any) -> list[Any]:
    """Some tiles loaded, in two dtypes, and one that nothing wrote."""
    tiles = [load(x[number]) for number in range(3)]
    narrow = nl.ndarray((ROWS, COLUMNS), dtype=nl.bfloat16)
    nisa.tensor_copy(narrow, tiles[0])
    return [*tiles, narrow, nl.ndarray((ROWS, COLUMNS), dtype=nl.float32)]


@nki.jit
def mixed(x, count, seed):
    tiles = tiles_of(x)
    irregular(tiles, count, seed)
    return tuple(store(tile) for tile in tiles)


X = normal(0, 3, ROWS, COLUMNS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_irregular_instructions(stepped: list[Steps], seed: int) -> None:
    same_bits(mixed, X, count=60, seed=seed)
    assert sum(len(steps) for steps in stepped) >= 60
    assert all(steps.kinds < len(steps) for steps in stepped)


@pytest.mark.slow
def test_composes_with_jit_vmap_and_shard_map(stepped: list[Steps]) -> None:
    batch = normal(1, 2, 3, ROWS, COLUMNS)
    expected = [leaves(launch.run(mixed, x, 40, 2, mode="reference").outputs) for x in batch]
    kernel = partial(mixed, count=40, seed=2)
    mesh = Mesh(np.array(jax.devices()[:1]), ("x",))
    spec = PartitionSpec("x")
    for transformed in (
        lambda x: jax.tree.map(lambda *parts: jnp.stack(parts), *(jax.jit(kernel)(one) for one in x)),
        jax.vmap(kernel),
        jax.jit(jax.vmap(kernel)),
        jax.jit(jax.shard_map(jax.vmap(kernel), mesh=mesh, in_specs=spec, out_specs=spec)),
    ):
        for place, found in enumerate(leaves(transformed(batch))):
            np.testing.assert_array_equal(bits(found), bits(np.stack([outputs[place] for outputs in expected])))
    assert stepped


@pytest.mark.slow
@settings(max_examples=4)
@given(recipes(40), st.integers(0, 9))
def test_random_kernels(recipe: Recipe, seed: int) -> None:
    _same_stepped(recipe, seed)


@pytest.mark.slow
@settings(max_examples=100)
@given(recipes(16), st.integers(0, 9))
def test_many_random_kernels(recipe: Recipe, seed: int) -> None:
    _same_stepped(recipe, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_many_random_kernels_pooled_and_written_out_at_random(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(seed)
    monkeypatch.setattr(merging.merge_counts, "__defaults__", (draw.choice([200, 1000, 10000]),))
    monkeypatch.setattr(pools, "POOLED_BYTES", draw.choice([100, pools.POOLED_BYTES]))
    monkeypatch.setattr(stretches, "WRITTEN_OUT", draw.choice([1, 4, 8, 64]))
    monkeypatch.setattr(stretches, "MERGED_OUT", draw.choice([1, 4, 64]))
    _same_stepped(random_recipe(draw, 60, ALL_KINDS), seed)


def _same_stepped(recipe: Recipe, seed: int) -> None:
    kernel, args = kernel_of(recipe), arguments(seed)
    expected = leaves(launch.run(kernel, *jax.tree.map(np.array, args), mode="reference").outputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stretches, "MOST_KINDS", 1.0)
        lowered, program = lower(kernel, *args)
        found, _ = jax.jit(lowered)([jnp.asarray(array) for array in args])
    assert lowered.stepping.planned
    for number, reference in zip(program.outputs, expected, strict=True):
        np.testing.assert_array_equal(bits(found[number]).reshape(-1), bits(reference).reshape(-1))


def lower(kernel: Any, *args: Any, inline: int = 0) -> tuple[Any, Any]:
    """The lowered function and its program."""
    program = launch.trace(kernel, *args)
    folded = fold(rename(program).program)
    return rolled.lower(folded, get_target(program.target_name), print, inline), folded


# -- loops -----------------------------------------------------------------------------------------------------------


@nki.jit
def looped(x, bound, repeats):
    """Irregular bodies in a structured loop and in a Python loop, whose operands move with both."""
    tiles = tiles_of(x)
    out = nl.ndarray((repeats, 3, ROWS, COLUMNS), dtype=nl.float32, buffer=nl.shared_hbm)
    register = nisa.register_alloc(load(bound))
    kept = [nl.ndarray((ROWS, COLUMNS), dtype=nl.float32) for _ in range(repeats)]
    for tile in kept:
        nisa.memset(tile, 3.0)

    def body(i):
        irregular(tiles, 10, 3)
        nisa.dma_copy(tiles[0], x[i])

    nl.fori_loop(0, register, body)
    order = np.random.default_rng(0).permutation(repeats).tolist()
    for number in range(repeats):
        own = nl.ndarray((ROWS, COLUMNS), dtype=nl.float32)  # new in every iteration, and read before it is whole
        nisa.tensor_copy(own[:, 0:8], kept[order[number]][:, number : number + 8])
        irregular([own, *tiles], 12, 4)
        nisa.tensor_scalar(kept[number], own, nl.add, 0.25 * number)
        nisa.dma_copy(out[number, 0], own)
        nisa.dma_copy(out[order[number], 1], kept[number])
        nisa.dma_copy(out[number, 2, :, 0:4], tiles[1][:, number : number + 1].broadcast(1, 4))
    return out


def test_state_is_carried_through_loops(stepped: list[Steps], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "WRITTEN_OUT", 1)
    for trips in (0, 3):  # a value, not a shape: compiled once
        same_bits(looped, X, np.array([[trips]], np.int32), repeats=6)
    assert any(steps.places.rates for steps in stepped), "no operand moves with a loop"
    assert any(steps.places.lookups for steps in stepped), "no operand follows a table"
    assert any(steps.words.lookups for steps in stepped), "no immediate varies with a loop"


def test_short_repeats_are_written_out(stepped: list[Steps]) -> None:
    same_bits(looped, X, np.array([[2]], np.int32), repeats=6)
    assert any(len(steps) > 6 * 16 and not steps.places.rates for steps in stepped)


# -- what not every kind has -------------------------------------------------------------------------------------------


@nki.jit
def addressed(table, rows, row):
    """Reads and writes at run-time addresses, of whole views, of rows, with bad ones skipped."""
    tiles = [load(table[0:ROWS]) for _ in range(2)]
    index, register = load(rows), nisa.register_alloc(load(row))
    out = nl.ndarray(table.shape, dtype=table.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(out, table)
    draw = random.Random(0)
    for _ in range(16):
        at, tile = draw.randrange(8), draw.choice(tiles)
        kind = draw.randrange(4)
        if kind == 0:
            nisa.dma_copy(tile[:, at : at + 8], table[nl.ds(register, ROWS), 0:8])
        elif kind == 1:
            nisa.dma_copy(tile, table.vector_select(0, index), oob_mode=nisa.oob_mode.skip)
        elif kind == 2:
            nisa.dma_copy(out.vector_select(0, index), tile, oob_mode=nisa.oob_mode.skip)
        else:
            nisa.tensor_scalar(tile[:, at : at + 8], tiles[0][:, at : at + 8], nl.add, 0.5)
    return out, store(tiles[0]), store(tiles[1])


def test_run_time_addresses(stepped: list[Steps]) -> None:
    table = normal(2, 24, COLUMNS)
    rows = np.array([3, 23, 24, -1, 0, 7, 3, 9], np.int32)[:, None]
    same_bits(addressed, table, rows, np.array([[16]], np.int32))
    with pytest.raises(errors.BoundsError, match=r"nisa.dma_copy: table.*run-time index 17") as expected:
        launch.run(addressed, table, rows, np.array([[17]], np.int32), mode="reference")
    with pytest.raises(errors.BoundsError) as found:
        launch.run(addressed, table, rows, np.array([[17]], np.int32), mode="compiled")
    assert found.value.violation == expected.value.violation
    assert stepped


@nki.jit
def printed(x):
    tiles = [load(x[number]) for number in range(3)]
    for number, place in enumerate((2, 0, 1, 1, 0, 2, 1)):
        nisa.tensor_scalar(tiles[place], tiles[(place + number) % 3], nl.add, 1.0)
        nl.device_print(f"tile {place}", tiles[place][:, place : place + 2])
    return store(tiles[0])


def test_prints_come_in_order(stepped: list[Steps]) -> None:
    shown: dict[str, list[Any]] = {"reference": [], "compiled": []}
    for mode, lines in shown.items():
        launch.run(printed, X, mode=mode, on_print=lambda *line, lines=lines: lines.append(line))
    assert stepped
    assert [prefix for prefix, _ in shown["compiled"]] == [f"tile {place}" for place in (2, 0, 1, 1, 0, 2, 1)]
    for (_, found), (_, expected) in zip(*shown.values(), strict=True):
        np.testing.assert_array_equal(found, expected)


@nki.jit
def retyped(x):
    """Halves of words are moved between tiles, partly by kinds that also read the words whole."""
    tiles = [load(x[number]) for number in range(3)]
    draw = random.Random(1)
    for _ in range(14):
        to, other = draw.sample(tiles, 2)
        a, b = draw.randrange(2 * COLUMNS - 8), draw.randrange(2 * COLUMNS - 8)
        if draw.random() < 0.7:
            nisa.tensor_copy(to.view(nl.uint16)[:, a : a + 8], other.view(nl.uint16)[:, b : b + 8])
        else:
            nisa.tensor_copy(to.view(nl.int32)[:, 0:8], other.view(nl.int32)[:, 4:12])
    return tuple(store(tile) for tile in tiles)


def test_words_of_other_sizes(stepped: list[Steps]) -> None:
    same_bits(retyped, X)
    assert any(site.inner for steps in stepped for group in steps.groups for kind in group for site in kind.sites)


@nki.jit
def listed(x, order, moves):
    """Halves of words are moved in tiles of a list that every iteration makes anew, and of one that outlives them."""
    inner = len(order) - 1
    kept = [nl.ndarray((ROWS, COLUMNS), dtype=nl.float32) for _ in order]
    for tile in kept:
        nisa.memset(tile, 2.0)
    out = nl.ndarray((len(order), inner + 2, ROWS, COLUMNS), dtype=nl.float32, buffer=nl.shared_hbm)
    for i, place in enumerate(order):
        own = [nl.ndarray((ROWS, COLUMNS), dtype=nl.float32) for _ in order]
        for tile in own:
            nisa.memset(tile, 1.0)
        nisa.dma_copy(own[0], x[i])
        for j in range(inner):
            nisa.tensor_copy(own[j + 1].view(nl.uint16)[:, 0:8], own[j].view(nl.uint16)[:, 1:9])
            nisa.tensor_scalar(own[j + 1][:, 8:], own[j][:, 8:], nl.add, 1.0)
        at = place if moves else 3
        nisa.tensor_copy(kept[place].view(nl.uint16)[:, at : at + 8], own[inner].view(nl.uint16)[:, 2:10])
        for j in range(inner + 1):
            nisa.dma_copy(out[i, j], own[j])
        nisa.dma_copy(out[i, inner + 1], kept[place])
    return out


@pytest.mark.parametrize(
    ("order", "moves", "written_out"),
    [
        pytest.param((0, 1, 2, 3, 4), False, 1, id="run together: the list moves with the iterations"),
        pytest.param((0, 1, 2), False, 64, id="as many iterations as tiles in a list of their own"),
        pytest.param((2, 0, 4, 1, 3), True, 1, id="one after the other: tables say which tile, and where"),
        pytest.param((2, 0, 4, 1, 3), True, 64, id="written out: tables are known entry by entry"),
    ],
)
def test_words_of_other_sizes_in_lists(
    stepped: list[Steps], monkeypatch: pytest.MonkeyPatch, order: tuple[int, ...], moves: bool, written_out: int
) -> None:
    monkeypatch.setattr(stretches, "WRITTEN_OUT", written_out)
    monkeypatch.setattr(stretches, "MERGED_OUT", 1)
    same_bits(listed, normal(3, 5, ROWS, COLUMNS), order=order, moves=moves)
    assert any(site.inner for steps in stepped for group in steps.groups for kind in group for site in kind.sites)


# -- how much is compiled ----------------------------------------------------------------------------------------------


def test_short_programs_are_compiled_in_line() -> None:
    lowered, program = lower(mixed, X, 60, 0, inline=400)
    assert len(program) < 400
    assert list(lowered.stepping.parts(lowered.storage.top)) == list(lowered.storage.top.items)


@pytest.mark.slow
def test_ten_thousand_instructions_that_do_not_fold() -> None:
    """What is compiled depends on the 16 kinds of instruction (and the load and the store), not on their number."""
    x = normal(0, RANDOM_TILES, 128, RANDOM_COLUMNS)
    sizes = []
    for count in (1_000, 10_000):
        lowered, program = lower(unfoldable, x, count, 0, inline=400)
        assert len(program) > count - 4 * RANDOM_TILES, "it folds"
        executable = jax.jit(lowered).lower([jnp.asarray(x)]).compile()
        (steps,) = lowered.stepping.planned.values()
        assert steps.kinds <= 16
        sizes.append(len(executable.as_text().splitlines()))
    assert sizes[1] <= 1.1 * sizes[0]
    (found,) = executable([jnp.asarray(x)])[0].values()
    expected = launch.run(unfoldable, x, 10_000, 0, mode="reference").outputs
    np.testing.assert_array_equal(bits(found).reshape(-1), bits(expected).reshape(-1))


def test_pools_are_changed_in_place() -> None:
    """No loop copies a pool: 20 tiles of 128 x 1024 words are 10 MB, a step writes 128 x 8 of them."""
    tiles, wide = 20, 1024

    @nki.jit
    def large(x):
        held = [nl.ndarray((128, wide), dtype=nl.float32) for _ in range(tiles)]
        for tile in held:
            nisa.dma_copy(tile, x)
        draw = random.Random(0)
        for _ in range(200):
            (to, other), at, width = draw.sample(held, 2), draw.randrange(wide - 16), draw.choice((8, 12))
            operator = draw.choice((nl.add, nl.multiply))
            if draw.random() < 0.5:
                nisa.tensor_scalar(to[:, at : at + width], other[:, 0:width], operator, 1.5)
            else:
                nisa.tensor_copy(to[:, 8 : 8 + width], other[:, at : at + width])
        return tuple(store(tile) for tile in held)

    lowered, _ = lower(large, np.zeros((128, wide), np.float32), inline=20)
    text = jax.jit(lowered).lower([jnp.zeros((128, wide))]).compile().as_text()
    (pool,) = [
        pool for steps in lowered.stepping.planned.values() for pool in steps.pools if pool.family.slots >= tiles
    ]
    copies = re.findall(rf"= f32\[{pool.family.slots},128,{wide}\]\S* copy\(", text)
    assert len(copies) <= 1, "at most one on the way in"
    assert "while(" in text
