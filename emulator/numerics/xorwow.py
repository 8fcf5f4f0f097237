"""XORWOW, the pseudo random number generator of the GpSimd and (from NeuronCore-v4 on) the Vector Engine.

    t = x ^ (x >> 2);  (x, y, z, w) = (y, z, w, v);  v = v ^ (v << 4) ^ t ^ (t << 1);  d = d + 362437
    word = v + d

in 32-bit arithmetic that wraps around (G. Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8 (14), 2003,
p. 5). A state is the six words x, y, z, w, v, d in this order; AWS publishes the algorithm and that a state has six
words (NKI Trainium3 architecture guide, XORWOW-based PRNG), the order is assumed.

Functions take NumPy or JAX arrays of uint32 where nothing else is said.
"""

from __future__ import annotations

from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

STATE_WORDS: Final = 6
WEYL_STEP: Final = 362437
UNIFORM_BITS: Final = 24  # what a float32 significand holds

_GOLDEN: Final = np.uint32(0x9E3779B9)  # odd: its multiples are distinct modulo 2**32
_FIRST_FACTOR: Final = np.uint32(0x85EBCA6B)
_SECOND_FACTOR: Final = np.uint32(0xC2B2AE35)


def mixed(words: Any) -> Any:
    """The 32-bit finaliser of MurmurHash3: a bijection of 32-bit words every bit of which depends on every other."""
    words = (words ^ (words >> np.uint32(16))) * _FIRST_FACTOR
    words = (words ^ (words >> np.uint32(13))) * _SECOND_FACTOR
    return words ^ (words >> np.uint32(16))


def seeded(seed: Any, lanes: int, generators: int) -> Any:
    """States [lanes, generators * 6] from one 32-bit seed: word number n (from 0) is mixed(seed + (n + 1) * golden).

    Distinct words: no state of all zeros, on which XORWOW would stand still, and no two lanes alike.
    """
    count = np.arange(1, lanes * generators * STATE_WORDS + 1, dtype=np.uint32)
    return mixed(seed + (count * _GOLDEN).reshape(lanes, generators * STATE_WORDS))


def draw(states: Array, count: int) -> tuple[Array, Array]:
    """(words [lanes, count], states after): number i of a lane comes from its generator i % G, in step i // G.

    states: [lanes, G * 6]; all G generators of a lane take the same steps, so that numbers beyond `count` are dropped
    """
    lanes = states.shape[0]
    generators = states.shape[1] // STATE_WORDS
    split = states.reshape(lanes, generators, STATE_WORDS)
    first = tuple(split[..., word] for word in range(STATE_WORDS))
    last, steps = lax.scan(_step, first, length=-(-count // generators))
    words = steps.transpose(1, 0, 2).reshape(lanes, -1)[:, :count]
    return words, jnp.stack(last, axis=-1).reshape(states.shape)


def _step(state: tuple[Array, ...], _: None) -> tuple[tuple[Array, ...], Array]:
    x, y, z, w, v, d = state
    t = x ^ (x >> 2)
    v, w, z, y, x = v ^ (v << 4) ^ t ^ (t << 1), v, w, z, y
    d = d + jnp.uint32(WEYL_STEP)
    return (x, y, z, w, v, d), v + d


def uniform(words: Array) -> Array:
    """float32 in [0, 1) from 32-bit words: the upper 24 bits as a fraction, every value exact."""
    fraction: Array = (words >> (32 - UNIFORM_BITS)).astype(jnp.float32) * jnp.float32(2.0**-UNIFORM_BITS)
    return fraction
