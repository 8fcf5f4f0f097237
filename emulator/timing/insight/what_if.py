"""A timeline played again with something changed: other prices for some instructions, or other numbers of the target.

The order asked for, the dependences and everything else stay, so the difference of two total times is what the change
is worth in this model, waiting included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from trnlab.emulator.target import Target
from trnlab.emulator.timing.cost import Cost, signature_costs
from trnlab.emulator.timing.schedule_plan import make_plan
from trnlab.emulator.timing.scheduler import Simulation

if TYPE_CHECKING:
    from trnlab.emulator.timing.timeline import Timeline

Repriced = Callable[[Cost], Cost]


def seconds_if(timeline: Timeline, price: Repriced | None = None, target: Target | None = None) -> float:
    """The total time with each instruction's cost put through `price`, on the timeline's target or another."""
    chosen = target or timeline.target
    costs = timeline.costs if target is None else signature_costs(timeline.program, chosen)
    if price is not None:
        costs = tuple(price(cost) for cost in costs)
    plan = make_plan(
        timeline.program,
        chosen,
        costs,
        timeline.steps,
        timeline.edges,
        timeline.plan.loops,
        timeline.idle_neighbours,
    )
    played = Simulation(plan, timeline.window if timeline.order == "list" else 1).play()
    return int((played.end_ps + plan.settle).max(initial=0)) * 1e-12


def scaled_transfer(cost: Cost, factor: float) -> Cost:
    """The cost of a transfer that takes `factor` times as long; other costs as they are."""
    if cost.transfer is None:
        return cost
    transfer = cost.transfer.scaled(factor)
    interval, generating = factor * transfer.queue_interval_seconds, factor * transfer.generating_seconds
    transfer = replace(transfer, queue_interval_seconds=interval, generating_seconds=generating)
    return replace(cost, transfer=transfer)


def less_traffic(cost: Cost, factor: float) -> Cost:
    """The cost of a transfer that moves only `factor` of its bytes, to and from HBM as well."""
    work = cost.work
    fewer = {
        name: round(getattr(work, name) * factor)
        for name in ("hbm_read_bytes", "hbm_write_bytes", "dma_bytes", "dma_descriptors")
    }
    return replace(scaled_transfer(cost, factor), work=replace(work, **fewer))
