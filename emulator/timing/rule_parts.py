"""What the tables of cost rules are made of: how a rule counts elements, work and read-outs, and on which engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from trnlab.emulator.isa.registry import Call
from trnlab.emulator.target import Engine, Generation
from trnlab.emulator.target.facts import ISA_COSTS
from trnlab.emulator.timing.cost_terms import CostRule, Price
from trnlab.emulator.timing.data_path import streamed

MEASURED_ERA: Final = frozenset({Generation.V2, Generation.V3})
"""The generations that the last printed formulas were written for."""

NOBODY: Final = "assumed: AWS publishes no cost"

PriceRule = Callable[[Call], Price]
WorkRule = Callable[[Call], dict[str, Any]]


def no_work(call: Call) -> dict[str, Any]:
    """Moving and waiting are no operations."""
    return {}


def operations(operand: str, *operators: str, extra: int = 0) -> WorkRule:
    """Elements of the operand times the operators present: the named attributes that are set, and `extra` ones."""

    def work(call: Call) -> dict[str, Any]:
        count = extra + sum(call.attributes.get(name) is not None for name in operators)
        return {"elementwise_operations": call[operand].elements * count}

    return work


def reads_out(call: Call) -> bool:
    """Whether the instruction also reads out the engine's accumulator registers."""
    return "reduce_res" in call


def free(operand: str, factor: float = 1.0) -> Callable[[Call], float]:
    """Elements per partition of the operand, times a factor."""
    return lambda call: call[operand].free_elements * factor


def on(
    engine: Engine,
    count: Callable[[Call], float],
    readout: Callable[[Call], bool] | None = None,
    *,
    assumed: Callable[[Call], bool] | None = None,
) -> PriceRule:
    """The price of streaming `count` elements per partition through the one engine that runs the instruction.

    assumed: whether this call goes beyond what the rule's source covers
    """
    return lambda call: streamed(
        call,
        {engine: count(call)},
        readout=readout is not None and readout(call),
        assumed=assumed is not None and assumed(call),
    )


def rule(formula: str, price: PriceRule, work: WorkRule, source: str = ISA_COSTS, **facts: Any) -> CostRule:
    """A cost rule, by default of the formulas last printed for v2 and v3."""
    documented = frozenset(facts.pop("documented", MEASURED_ERA))
    return CostRule(formula=formula, source=source, price=price, work=work, documented=documented, **facts)
