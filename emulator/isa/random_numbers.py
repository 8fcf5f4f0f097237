"""Pseudo random numbers on the Vector and the GpSimd Engine, and the state of their generators.

Each lane of an engine has generators of its own: one on GpSimd, four on Vector (NKI Trainium3 architecture guide,
XORWOW-based PRNG), which take turns along a row. The states are a hidden operand, a register tensor of six uint32 words
per generator; the lanes are those of the partitions that the call's tile lies in.

Assumed, because AWS publishes no more than that: every generation's generators are XORWOW (Vector before NeuronCore-v4
has a shift register whose polynomial is not published), the order of a state's words, how one seed becomes the states
of all lanes, and what the states are in a kernel that seeds nothing: those of the seed in `UNSEEDED`, in every call.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import DtypeError
from trnlab.emulator.isa.accumulator import FLOAT32
from trnlab.emulator.isa.bits import from_words, to_words
from trnlab.emulator.isa.limits import MaxDims, Rule, SameDtype, SameFree, SamePartitions
from trnlab.emulator.isa.operators import REFERENCE, EngineSet, RunsHere, from_pattern
from trnlab.emulator.isa.registry import (
    FLOAT_DTYPES,
    REGISTER,
    SBUF,
    Call,
    Operand,
    instruction,
    reads,
    updates,
    writes,
)
from trnlab.emulator.numerics import xorwow
from trnlab.emulator.numerics.sealing import seal
from trnlab.emulator.target import Engine, Feature, Generation, Target

GENERATORS: Final = {Engine.VECTOR: 4, Engine.GPSIMD: 1}
"""Generators in each lane."""

UNSEEDED: Final = {Engine.VECTOR: 0, Engine.GPSIMD: 1}
"""The seed that an engine's generators start from in every kernel call (assumed)."""

ASSUMPTIONS: Final = (
    "the generators of every generation are XORWOW, a state's words are x, y, z, w, v, d",
    "number i of a row comes from generator i % G of its lane; all G take the same steps",
    "the lanes of the tile's partitions are used",
    "a kernel that seeds nothing starts from a fixed state, another one in each lane",
)

_WORD: Final[frozenset[DType]] = frozenset({dtypes.uint32})
_STATE: Final[dict[str, Any]] = {"regions": REGISTER, "dtypes": _WORD, "raw": True}
STATE: Final[Operand] = updates("state", **_STATE)

_INTEGERS: Final = frozenset({dtypes.int8, dtypes.int16, dtypes.int32, dtypes.uint8, dtypes.uint16, dtypes.uint32})
_SEEDS: Final = frozenset({dtypes.int32, dtypes.uint32, dtypes.float32, dtypes.tfloat32})
_UNIFORM: Final = _INTEGERS | frozenset(
    {dtypes.float8_e4m3, dtypes.float8_e5m2, dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.tfloat32}
)


def state_words(engine: Engine) -> int:
    """Words of state in each lane: 24 on Vector, 6 on GpSimd."""
    return GENERATORS[engine] * xorwow.STATE_WORDS


@lru_cache(maxsize=16)
def unseeded(engine: Engine, lanes: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """The state [lanes, words] of an engine that nothing has seeded."""
    states: np.ndarray[Any, np.dtype[np.uint32]] = xorwow.seeded(np.uint32(UNSEEDED[engine]), lanes, GENERATORS[engine])
    return states


# -------------------------------------------------------------------------------------------------------- numbers


def _rng_engines(target: Target) -> EngineSet:
    if target.generation < Generation.V3:
        return (Engine.VECTOR,), "(gpsimd from NeuronCore-v3 on)"
    return (Engine.VECTOR, Engine.GPSIMD), ""


@instruction(
    engines=(Engine.VECTOR, Engine.GPSIMD),
    operands=(writes("dst", dtypes=_INTEGERS), STATE),
    limits=(RunsHere(_rng_engines, REFERENCE + "rng"),),
    math="raw",
    source=REFERENCE + "rng",
    assumptions=ASSUMPTIONS,
)
def rng(dst: jax.ShapeDtypeStruct, state: Array) -> tuple[Array, Array]:
    """dst = 32 random bits for each element, of which it keeps the least significant ones."""
    words, after = xorwow.draw(state, dst.shape[1])
    return from_pattern(words, dst.dtype), after


@instruction(
    engines=(Engine.VECTOR,),
    since=Generation.V4,
    feature=Feature.XORWOW,
    operands=(
        writes("dst", dtypes=_UNIFORM),
        reads("min", dtypes=FLOAT32, immediate=True, per_partition=True),
        reads("max", dtypes=FLOAT32, immediate=True, per_partition=True),
        STATE,
    ),
    limits=(SamePartitions("dst", "min", "max"),),
    source=REFERENCE + "rand2",
    assumptions=(
        *ASSUMPTIONS,
        "the fraction is the upper 24 bits of a word over 2**24; a sum that rounding lifts beyond max is max",
    ),
)
def rand2(dst: jax.ShapeDtypeStruct, min: Array, max: Array, state: Array) -> tuple[Array, Array]:
    """dst = min + fraction * (max - min), fraction uniform in [0, 1), in float32."""
    words, after = xorwow.draw(state, dst.shape[1])
    value = seal(min + seal(xorwow.uniform(words) * seal(max - min)))
    return jnp.where(value > max, max, value), after


def _inexact_probability(call: Call) -> str | None:
    if "prob" not in call or not call["data"].dtype.is_integer or call["prob"].dtype == dtypes.float32:
        return None
    return f"{call['prob']} for data {call['data']}"


@instruction(
    engines=(Engine.VECTOR,),
    operands=(
        writes("dst", raw=True),
        reads("data", raw=True),
        reads("prob", dtypes=FLOAT_DTYPES, immediate=True, per_partition=True),
        STATE,
    ),
    limits=(
        SameDtype("data", "dst"),
        SamePartitions("data", "dst", "prob"),
        SameFree("data", "dst"),
        Rule(_inexact_probability, "float32 for integer data", operand="prob", error=DtypeError),
    ),
    source=REFERENCE + "dropout",
    assumptions=(
        *ASSUMPTIONS,
        "an element is dropped where the upper 24 bits of its word over 2**24 lie below the probability",
        "the elements kept move bit for bit and are not scaled; a dropped one is all zero bits",
    ),
)
def dropout(data: Array, prob: Array, state: Array) -> tuple[Array, Array]:
    """dst = 0 with probability prob, else data."""
    words, after = xorwow.draw(state, data.shape[1])
    kept = to_words(data)
    return from_words(jnp.where(xorwow.uniform(words) < prob, jnp.zeros_like(kept), kept), data.dtype), after


# ---------------------------------------------------------------------------------------------------------- state


def _not_one_seed(call: Call) -> str | None:
    seeds = call["src_seeds"]
    return None if seeds.shape == (1, 1) else str(seeds)


@instruction(
    engines=(Engine.VECTOR,),
    operands=(reads("src_seeds", dtypes=_SEEDS), writes("state", **_STATE)),
    limits=(Rule(_not_one_seed, "shape (1, 1)", operand="src_seeds"),),
    math="raw",
    source=REFERENCE + "set_rng_seed",
    assumptions=(ASSUMPTIONS[0], "lanes and generators get distinct words, mixed from the seed and their number"),
)
def set_rng_seed(src_seeds: Array, state: jax.ShapeDtypeStruct) -> Array:
    """state = words of all lanes, mixed from the 32 bits of the seed and the number of the word."""
    lanes, words = state.shape
    seed = lax.bitcast_convert_type(src_seeds, jnp.uint32)
    return jnp.asarray(xorwow.seeded(seed, lanes, words // xorwow.STATE_WORDS))


def _state_engines(target: Target) -> EngineSet:
    if not target.has(Feature.XORWOW):
        return (Engine.GPSIMD,), "(vector from NeuronCore-v4 on)"
    return (Engine.GPSIMD, Engine.VECTOR), ""


def _wrong_words(operand: str) -> Rule:
    """One element for each word of a lane's state."""

    def found(call: Call) -> str | None:
        view = call[operand]
        good = view.free_elements == call["state"].free_elements
        return None if good else f"{view}, {view.free_elements} elements per partition"

    def allowed(call: Call) -> str:
        return f"{call['state'].free_elements} elements per partition on the {call.engine} engine"

    each = " or ".join(f"{state_words(engine)} on {engine}" for engine in GENERATORS)
    return Rule(found, allowed, operand=operand, words=f"an element per partition for each word of a lane: {each}")


_STATE_FACTS: Final[dict[str, Any]] = {
    "engines": (Engine.GPSIMD, Engine.VECTOR),
    "since": Generation.V3,
    "math": "raw",
}


@instruction(
    operands=(reads("src_seeds", regions=SBUF, dtypes=_WORD), writes("state", **_STATE)),
    limits=(
        RunsHere(_state_engines, REFERENCE + "rand_set_state"),
        MaxDims("src_seeds", 2, source=REFERENCE + "rand_set_state"),
        _wrong_words("src_seeds"),
    ),
    source=REFERENCE + "rand_set_state",
    assumptions=(ASSUMPTIONS[0], ASSUMPTIONS[2], "lanes of other partitions keep their state"),
    **_STATE_FACTS,
)
def rand_set_state(src_seeds: Array) -> Array:
    """state = src_seeds, six words for each generator of a lane."""
    return src_seeds


@instruction(
    operands=(writes("dst", dtypes=_WORD), reads("state", **_STATE)),
    limits=(
        RunsHere(_state_engines, REFERENCE + "rand_get_state"),
        MaxDims("dst", 2, source=REFERENCE + "rand_get_state"),
        _wrong_words("dst"),
    ),
    source=REFERENCE + "rand_get_state",
    assumptions=(ASSUMPTIONS[0], ASSUMPTIONS[2]),
    **_STATE_FACTS,
)
def rand_get_state(state: Array) -> Array:
    """dst = state, six words for each generator of a lane."""
    return state
