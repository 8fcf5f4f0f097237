"""Cost rules of the pseudo random number instructions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trnlab.emulator.isa.random_numbers import GENERATORS
from trnlab.emulator.isa.registry import Call
from trnlab.emulator.target import Engine, Feature, Generation
from trnlab.emulator.target.facts import GUIDES
from trnlab.emulator.timing.cost_terms import CostRule
from trnlab.emulator.timing.data_path import streamed
from trnlab.emulator.timing.rule_parts import NOBODY, PriceRule, free, no_work, on, operations, rule


def _drawn(call: Call) -> float:
    """Elements over numbers per lane and cycle: all generators of a Vector lane at once from v4 on."""
    at_once = call.engine is Engine.VECTOR and call.target.has(Feature.XORWOW)
    return call["dst"].free_elements / (GENERATORS[Engine.VECTOR] if at_once else 1)


def _either(count: Callable[[Call], float]) -> PriceRule:
    """The same number of elements on the Vector and on the GpSimd Engine."""
    return lambda call: streamed(call, {Engine.VECTOR: count(call), Engine.GPSIMD: count(call)})


def _state(name: str) -> CostRule:
    source = f"{NOBODY}; taken as streaming the words of a lane's state"
    words = free("state")
    formula = f"max(64, words of {name}); GpSimd: 150 + words"
    return rule(formula, _either(words), no_work, source, kind="move", documented=())


RANDOM_NUMBERS: Final[dict[str, CostRule]] = {
    "rng": rule(
        "max(64, N dst), Vector from v4 on max(64, N / 4); GpSimd: 150 + N",
        _either(_drawn),
        operations("dst", extra=1),
        f"{NOBODY}; one number per lane and cycle, four on Vector from v4 on ({GUIDES}: XORWOW-based PRNG)",
        documented=(),
    ),
    "rand2": rule(
        "max(64, N dst / 4)",
        on(Engine.VECTOR, _drawn),
        operations("dst", extra=3),
        f"{GUIDES}: XORWOW-based PRNG, four numbers per lane and cycle",
        documented=(Generation.V4,),
    ),
    "dropout": rule("max(64, N data)", on(Engine.VECTOR, free("data")), operations("data", extra=1)),
    "set_rng_seed": _state("state"),
    "rand_set_state": _state("state"),
    "rand_get_state": _state("state"),
}
"""The cost rule of every opcode of `isa.random_numbers`."""
