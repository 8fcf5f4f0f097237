"""XORWOW against Marsaglia's definition written out on Python integers, and the seeding."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from trnlab.emulator.numerics import xorwow

MASK = 2**32 - 1


def marsaglia(state, count):
    """The first words of a generator, and its state after them (Xorshift RNGs, 2003, p. 5)."""
    x, y, z, w, v, d = (int(word) for word in state)
    words = []
    for _ in range(count):
        t = x ^ (x >> 2)
        x, y, z, w = y, z, w, v
        v = (v ^ ((v << 4) & MASK)) ^ (t ^ ((t << 1) & MASK))
        d = (d + 362437) & MASK
        words.append((d + v) & MASK)
    return words, [x, y, z, w, v, d]


def turns(states, count):
    """A row of numbers from generators that take turns, all stepping alike."""
    steps = -(-count // len(states))
    drawn = [marsaglia(state, steps) for state in states]
    row = [drawn[i % len(states)][0][i // len(states)] for i in range(count)]
    return row, [word for _, after in drawn for word in after]


@settings(max_examples=6, deadline=None)
@given(
    lanes=st.integers(1, 5),
    generators=st.sampled_from([1, 4]),
    count=st.integers(1, 23),
    seed=st.integers(0, MASK),
)
def test_draw_takes_turns_between_generators(lanes, generators, count, seed):
    states = np.random.default_rng(seed).integers(0, 2**32, (lanes, generators * 6), dtype=np.uint32)
    words, after = xorwow.draw(states, count)
    for lane in range(lanes):
        row, end = turns(states[lane].reshape(generators, 6), count)
        assert words[lane].tolist() == row
        assert after[lane].tolist() == end


def test_an_all_zero_state_only_counts():
    """Five zero words stay zero: what is left is the counter, 362437 more in every step."""
    words, _ = xorwow.draw(np.zeros((1, 6), np.uint32), 4)
    assert words[0].tolist() == [362437, 2 * 362437, 3 * 362437, 4 * 362437]


def test_the_same_bits_alone_under_jit_and_in_a_batch():
    states = np.stack([xorwow.seeded(np.uint32(seed), 8, 4) for seed in range(3)])
    alone = [xorwow.draw(one, 10) for one in states]
    compiled = [jax.jit(xorwow.draw, static_argnums=1)(one, 10) for one in states]
    together = jax.vmap(lambda one: xorwow.draw(one, 10))(states)
    for number, (words, after) in enumerate(alone):
        for other in (compiled[number], (together[0][number], together[1][number])):
            assert (words == other[0]).all()
            assert (after == other[1]).all()


def murmur(word):
    """The finaliser of MurmurHash3 on Python integers."""
    word ^= word >> 16
    word = word * 0x85EBCA6B & MASK
    word ^= word >> 13
    word = word * 0xC2B2AE35 & MASK
    return word ^ word >> 16


@pytest.mark.parametrize("seed", [0, 1, 42, MASK])
def test_a_seed_becomes_distinct_words_on_the_host_and_in_a_program(seed):
    states = xorwow.seeded(np.uint32(seed), 128, 4)
    assert states.dtype == np.uint32
    assert states.shape == (128, 24)
    assert len(np.unique(states)) == states.size
    expected = [murmur((seed + (n + 1) * 0x9E3779B9) & MASK) for n in range(24 * 3)]
    assert states.reshape(-1)[: 24 * 3].tolist() == expected
    traced = jax.jit(lambda value: xorwow.seeded(value, 128, 4))(np.array([[seed]], np.uint32))
    assert (np.asarray(traced) == states).all()


def test_fractions_are_exact_and_below_one():
    words = np.array([0, 255, 256, 2**31, MASK], np.uint32)
    assert xorwow.uniform(words).tolist() == [0.0, 0.0, 2.0**-24, 0.5, 1 - 2.0**-24]


def test_numbers_of_all_lanes_spread_evenly():
    """Chi-squared of the upper bytes of 65,536 numbers: 255 degrees of freedom, so 255 +- 5 sqrt(2 * 255)."""
    words, _ = xorwow.draw(xorwow.seeded(np.uint32(7), 128, 4), 512)
    counts = np.bincount(np.asarray(words).reshape(-1) >> 24, minlength=256)
    squared = ((counts - 256.0) ** 2 / 256.0).sum()
    assert abs(squared - 255) < 5 * np.sqrt(2 * 255)
