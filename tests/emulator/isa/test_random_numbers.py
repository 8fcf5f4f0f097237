"""Random numbers against generators on Python integers: values, states saved and restored, limits, both executors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.emulator.isa.harness import accepted, hbm, load, random_bits, run_both, sbuf, store, words
from tests.emulator.numerics.test_xorwow import turns
from tests.repetition import everyday
from trnlab.emulator import launch
from trnlab.emulator.isa import random_numbers
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.numerics import xorwow
from trnlab.emulator.program import Program
from trnlab.emulator.target import Engine

BF16 = ml_dtypes.bfloat16
VECTOR, GPSIMD = nisa.engine.vector, nisa.engine.gpsimd
GENERATORS = {VECTOR: 4, GPSIMD: 1}
RNG = np.random.default_rng(5)


def states_for(engine, lanes=128):
    return RNG.integers(0, 2**32, (lanes, 6 * GENERATORS[engine]), dtype=np.uint32)


def numbers(states, count):
    """(words [lanes, count], states after) of generators that take turns."""
    rows = [turns(lane.reshape(-1, 6), count) for lane in states]
    return np.array([row for row, _ in rows], np.uint32), np.array([after for _, after in rows], np.uint32)


def fractions(drawn):
    return (drawn >> 8).astype(np.float32) / np.float32(2**24)


# ------------------------------------------------------------------------------------------------------------- rng


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(
    engine=st.sampled_from([VECTOR, GPSIMD]),
    dtype=st.sampled_from([np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32]),
    partitions=st.sampled_from([1, 5, 32, 128]),
    count=st.integers(1, 19),
)
def test_numbers_keep_their_low_bits(engine, dtype, partitions, count):
    states = states_for(engine, partitions)

    def kernel(seeds):
        nisa.rand_set_state(load(seeds), engine=engine)
        tile = sbuf((partitions, count), dtype)
        nisa.rng(tile, engine=engine)
        after = sbuf(seeds.shape, nl.uint32)
        nisa.rand_get_state(after, engine=engine)
        return store(tile), store(after)

    drawn, after = run_both(kernel, states)
    expected, expected_after = numbers(states, count)
    assert (drawn.view(f"u{drawn.itemsize}") == expected.astype(f"u{drawn.itemsize}")).all()
    assert (after == expected_after).all()


def test_a_tile_uses_the_lanes_of_its_partitions():
    states = states_for(GPSIMD)

    def kernel(seeds):
        nisa.rand_set_state(load(seeds))
        tile, after = sbuf((128, 6), nl.uint32), sbuf((128, 6), nl.uint32)
        nisa.memset(tile, 0)
        nisa.rng(tile[64:96], engine=GPSIMD)
        nisa.rand_get_state(after)
        return store(tile), store(after)

    drawn, after = run_both(kernel, states)
    expected, expected_after = numbers(states[64:96], 6)
    assert (drawn[64:96] == expected).all()
    assert not drawn[:64].any()
    assert not drawn[96:].any()
    assert (after[64:96] == expected_after).all()
    others = np.r_[0:64, 96:128]
    assert (after[others] == states[others]).all()


@pytest.mark.parametrize(("engine", "parts"), [(GPSIMD, (5, 1, 6)), (VECTOR, (4, 8))])
def test_a_row_may_be_drawn_in_parts(engine, parts):
    """One generator goes on where it stopped; four of them do where a part ends with all four."""

    def kernel(seeds):
        nisa.rand_set_state(load(seeds), engine=engine)
        whole = sbuf((128, sum(parts)), nl.int32)
        nisa.rng(whole, engine=engine)
        nisa.rand_set_state(load(seeds), engine=engine)
        pieces = sbuf((128, sum(parts)), nl.int32)
        start = 0
        for size in parts:
            nisa.rng(pieces[:, start : start + size], engine=engine)
            start += size
        return store(whole), store(pieces)

    whole, pieces = run_both(kernel, states_for(engine))
    assert (whole == pieces).all()


def test_a_state_that_was_saved_brings_the_same_numbers_back():
    def kernel():
        first, saved, again = sbuf((128, 8), nl.uint32), sbuf((128, 24), nl.uint32), sbuf((128, 8), nl.uint32)
        nisa.rng(first)
        nisa.rand_get_state(saved, engine=VECTOR)
        nisa.rng(first)
        nisa.rand_set_state(saved, engine=VECTOR)
        nisa.rng(again)
        return store(first), store(again)

    first, again = run_both(kernel)
    assert (first == again).all()


def test_without_a_seed_every_call_and_no_two_lanes_draw_the_same():
    def kernel():
        tiles = [sbuf((128, 4), nl.uint32) for _ in range(3)]
        nisa.rng(tiles[0])
        nisa.rng(tiles[1], engine=GPSIMD)
        nisa.rng(tiles[2])
        return tuple(map(store, tiles))

    results = run_both(kernel)
    for one, other in zip(results, launch.run(kernel, target="trn3").outputs, strict=True):
        assert (one == other).all()
    assert len(np.unique(results)) == 3 * 128 * 4
    for engine, result in ((Engine.VECTOR, results[0]), (Engine.GPSIMD, results[1])):
        states = xorwow.seeded(np.uint32(random_numbers.UNSEEDED[engine]), 128, random_numbers.GENERATORS[engine])
        assert (result == numbers(states, 4)[0]).all()


def test_engines_have_states_of_their_own():
    def kernel():
        before, after = sbuf((128, 6), nl.uint32), sbuf((128, 6), nl.uint32)
        nisa.rand_get_state(before)
        nisa.rng(sbuf((128, 9), nl.uint32), engine=VECTOR)
        nisa.rand_get_state(after)
        return store(before), store(after)

    before, after = run_both(kernel)
    assert (before == after).all()


def test_numbers_go_on_in_a_run_time_loop():
    def kernel(seeds):
        nisa.rand_set_state(load(seeds))
        result = hbm((3, 128, 5), nl.uint32)
        for i in nl.dynamic_range(3):
            tile = sbuf((128, 5), nl.uint32)
            nisa.rng(tile, engine=GPSIMD)
            nisa.dma_copy(result[i], tile)
        return result

    states = states_for(GPSIMD)
    result = run_both(kernel, states)
    assert (result.transpose(1, 0, 2).reshape(128, 15) == numbers(states, 15)[0]).all()


def test_the_initial_state_is_part_of_the_program():
    program = accepted(lambda: nisa.rng(sbuf((2, 2), nl.int8)))
    (state,) = (buffer for buffer in program.buffers if buffer.kind == "state")
    held = np.frombuffer(program.constants[state.number], np.uint32).reshape(128, 24)
    assert (held == xorwow.seeded(np.uint32(0), 128, 4)).all()
    assert Program.from_json(program.to_json()) == program


def test_lanes_perturbed_by_their_number_as_aws_kernels_do():
    """Read the state, add lane * stride in 32-bit integers on GpSimd, write it back, draw."""
    stride = 0x9E3779

    def kernel(seeds):
        nisa.rand_set_state(load(seeds))
        state, lanes, sums = (sbuf((128, 6), nl.uint32) for _ in range(3))
        nisa.rand_get_state(state)
        nisa.iota(lanes, [[0, 6]], 0, stride)
        nisa.tensor_tensor(sums, state, lanes, nl.add)
        nisa.rand_set_state(sums, engine=GPSIMD)
        tile = sbuf((128, 7), nl.int32)
        nisa.rng(tile, engine=GPSIMD)
        return store(tile)

    states = np.broadcast_to(states_for(GPSIMD, 1), (128, 6)).copy()
    moved = states + (np.arange(128, dtype=np.uint32) * np.uint32(stride))[:, None]
    assert (run_both(kernel, states, target="trn2").view(np.uint32) == numbers(moved, 7)[0]).all()


# ---------------------------------------------------------------------------------------------------- set_rng_seed


@pytest.mark.parametrize("dtype", [np.uint32, np.int32, np.float32])
def test_a_seed_sets_every_lane(dtype):
    seed = random_bits((1, 1), dtype, 3)

    def kernel(value):
        nisa.set_rng_seed(load(value))
        first, second = sbuf((128, 6), nl.uint32), sbuf((128, 6), nl.uint32)
        nisa.rng(first)
        nisa.set_rng_seed(load(value))
        nisa.rng(second)
        return store(first), store(second)

    first, second = run_both(kernel, seed, target="trn1")
    assert (first == second).all()
    assert (first == numbers(xorwow.seeded(seed.view(np.uint32)[0], 128, 4), 6)[0]).all()


def test_different_seeds_draw_different_numbers():
    def kernel(seeds):
        tiles = [sbuf((128, 4), nl.uint32) for _ in range(2)]
        for number, tile in enumerate(tiles):
            nisa.set_rng_seed(load(seeds[number : number + 1]))
            nisa.rng(tile)
        return tuple(map(store, tiles))

    assert len(np.unique(run_both(kernel, np.array([[1], [2]], np.int32)))) == 2 * 128 * 4


# ---------------------------------------------------------------------------------------------------------- rand2


def cast(values, dtype):
    if np.dtype(dtype).kind in "iu":
        bounds = np.iinfo(dtype)
        return np.clip(np.rint(values.astype(np.float64)), bounds.min, bounds.max).astype(dtype)
    return values.astype(dtype)


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(
    dtype=st.sampled_from(
        [np.float32, BF16, np.float16, ml_dtypes.float8_e4m3, ml_dtypes.float8_e5m2, np.int8, np.uint16, np.int32]
    ),
    low=st.floats(-100, 100, width=32),
    distance=st.floats(2.0**-10, 100, width=32),
    per_partition=st.booleans(),
)
def test_uniform_values_between_bounds(dtype, low, distance, per_partition):
    states = states_for(VECTOR)
    low = np.float32(low)
    high = np.float32(low + np.float32(distance))
    bounds = np.tile(np.array([[low, high]], np.float32), (128, 1))

    def kernel(seeds, ends):
        nisa.rand_set_state(load(seeds), engine=VECTOR)
        tile, ends = sbuf((128, 10), dtype), load(ends)
        pair = (ends[:, 0:1], ends[:, 1:2]) if per_partition else (float(low), high)
        nisa.rand2(tile, *pair)
        return store(tile)

    fraction = fractions(numbers(states, 10)[0])
    expected = np.minimum(low + fraction * np.float32(high - low), high)
    found = run_both(kernel, states, bounds)
    assert (words(found) == words(cast(expected, dtype))).all()


def test_uniform_values_fill_their_range():
    def kernel():
        tile = sbuf((128, 512))
        nisa.rand2(tile, -2.0, 6.0)
        return store(tile)

    values = run_both(kernel).astype(np.float64)
    assert values.min() >= -2
    assert values.max() <= 6
    # Mean and variance of a uniform distribution, 2 and 64 / 12, within five standard errors of n = 65,536 draws.
    assert abs(values.mean() - 2) < 5 * np.sqrt(64 / 12 / values.size)
    assert abs(values.var() - 64 / 12) < 5 * np.sqrt((8**4 / 80 - (64 / 12) ** 2) / values.size)
    counts, _ = np.histogram(values, 64, (-2, 6))
    assert abs(((counts - 1024.0) ** 2 / 1024).sum() - 63) < 5 * np.sqrt(2 * 63)


# -------------------------------------------------------------------------------------------------------- dropout


@pytest.mark.parametrize("dtype", everyday(3, [np.float32, BF16, np.uint8, np.int32, ml_dtypes.float8_e5m2]))
def test_dropped_elements_are_zero_and_others_keep_their_bits(dtype):
    data = random_bits((128, 21), dtype, 8)
    states, prob = states_for(VECTOR), RNG.random((128, 1), np.float32)
    prob[:3, 0] = 0, 1, 0.5

    def kernel(x, seeds, p):
        nisa.rand_set_state(load(seeds), engine=VECTOR)
        tile = load(x)
        results = [sbuf(x.shape, x.dtype) for _ in range(2)]
        nisa.dropout(results[0], tile, load(p))
        nisa.dropout(results[1], tile, 0.25)
        return tuple(map(store, results))

    drawn, after = numbers(states, 21)
    later = numbers(after, 21)[0]
    zero = np.zeros((), f"u{data.itemsize}")
    found, quarter = run_both(kernel, data, states, prob)
    assert (words(found) == np.where(fractions(drawn) < prob, zero, words(data))).all()
    assert (words(quarter) == np.where(fractions(later) < 0.25, zero, words(data))).all()
    assert (words(found)[0] == words(data)[0]).all()
    assert not words(found)[1].any()


def test_the_share_of_dropped_elements_is_the_probability():
    def kernel(x):
        tile = load(x)
        nisa.dropout(tile, tile, 0.3)
        return store(tile)

    dropped = (run_both(kernel, np.ones((128, 512), np.float32)) == 0).mean()
    assert abs(dropped - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 65536)


@pytest.mark.parametrize("dtype", [BF16, np.float16])
def test_float_data_takes_any_float_probability(dtype):
    def kernel(x, p):
        tile = sbuf(x.shape)
        nisa.dropout(tile, load(x), load(p))
        return store(tile)

    prob = np.tile(np.array([[0], [1]], dtype), (16, 1))
    result = run_both(kernel, np.ones((32, 9), np.float32), prob)
    assert (result == 1 - prob.astype(np.float32)).all()


# ------------------------------------------------------------------------------------------------- bodies and facts


def _bodies():
    """Bodies as functions of their generators' state."""
    low, high = jnp.full((8, 1), -0.3, jnp.float32), jnp.full((8, 1), 1.7, jnp.float32)
    data = jnp.asarray(random_bits((8, 9), np.float32, 2))
    return {
        "rng": lambda state: random_numbers.rng.body(jax.ShapeDtypeStruct((8, 9), np.int16), state),
        "rand2": lambda state: random_numbers.rand2.body(jax.ShapeDtypeStruct((8, 9), np.float32), low, high, state),
        "dropout": lambda state: random_numbers.dropout.body(data, high / 4, state),
    }


@pytest.mark.parametrize("name", _bodies())
def test_bodies_give_the_same_bits_alone_compiled_and_in_a_batch(name):
    body, states = _bodies()[name], np.stack([states_for(VECTOR, 8) for _ in range(3)])
    together = jax.vmap(body)(states)
    for number, state in enumerate(states):
        parts = zip(body(jnp.asarray(state)), jax.jit(body)(state), together, strict=True)
        for alone, compiled, batched in parts:
            assert (words(np.asarray(alone)) == words(np.asarray(compiled))).all()
            assert (words(np.asarray(alone)) == words(np.asarray(batched[number]))).all()


def test_what_is_not_published_is_said_to_be_assumed():
    for spec in (random_numbers.rng, random_numbers.rand2, random_numbers.dropout):
        assert any("seeds nothing" in text for text in spec.assumptions)
        assert any("XORWOW" in text for text in spec.assumptions)
