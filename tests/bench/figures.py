"""Figures without a peer: tracing, folding, the reference executor, the timeline."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tests.bench import kernels, programs, stress_kernels
from tests.bench.launches import Sizes, launch, matmul_launch, normal, transfers_launch, unfoldable_launch
from tests.bench.measure import TARGET, Launch, median_seconds, seconds
from tests.bench.rows import Case, Figure
from trnlab.emulator import run, trace
from trnlab.emulator.calls import forget_traced_kernels
from trnlab.emulator.fold import fold
from trnlab.emulator.program import Program
from trnlab.emulator.timing import schedule
from trnlab.kernels.attention import flash_attention
from trnlab.kernels.matmul import matmul

REPEATS = 3
HEADS, WIDTH = 4, 64
LINEARITY = 1.25  # linear: an instruction of the longest run takes at most this much of one in a run a tenth as long


def traced(item: Launch) -> Program:
    """The launch's program."""
    forget_traced_kernels()
    return trace(item.kernel, *item.arguments, target=item.target, **item.options)


def attention_heads(tokens: int) -> Launch:
    """Four heads that share keys and values, causal."""
    q, k, v = (normal(heads, tokens, WIDTH) for heads in (HEADS, 1, 1))
    return launch(flash_attention, q, k, v)


def tracing_case(name: str, item: Launch) -> Case:
    """Tracing with checks and source lines, of an instruction."""

    def measure() -> dict[str, Any]:
        count = len(traced(item))
        return {"value": 1e6 * median_seconds(lambda: traced(item), 5) / count}

    return Case(Figure(case=f"tracing and checks, {name}", unit="us/instruction", target=40.0), measure)


def tracing_cases(sizes: Sizes) -> list[Case]:
    """Kernels with many short and with few long instructions."""
    side, tokens = sizes.traced_matmul, sizes.traced_tokens
    return [
        tracing_case(f"matmul {side}^3, naive loops", matmul_launch(kernels.matmul_naive, side)),
        tracing_case(f"matmul {side}^3, trnlab.kernels", matmul_launch(matmul, side)),
        tracing_case(f"attention {HEADS} x {tokens} x {WIDTH}", attention_heads(tokens)),
    ]


def fold_case(name: str, program: Program, target: float) -> Case:
    """Folding a program that nothing has looked at before."""

    def measure() -> dict[str, Any]:
        return {"value": median_seconds(lambda: fold(program.replace(kernel=program.kernel)), REPEATS)}

    return Case(Figure(case=f"folding {name}", unit="s", target=target), measure)


def fold_cases(sizes: Sizes) -> list[Case]:
    """Loops of several lengths, then a program without any; the targets are 6 us an instruction."""
    each = 6e-6
    nests = [(count, programs.nested(count)) for count in sizes.fold]
    count = sizes.fold_random
    return [
        *(fold_case(f"{count:,} instructions in loops", program, each * count) for count, program in nests),
        fold_case(f"{count:,} random instructions", programs.random(count), each * count),
    ]


def in_reference(item: Launch) -> Any:
    """The outputs of the reference executor."""
    return run(item.kernel, *item.arguments, mode="reference", target=item.target, **item.options).outputs


def small_tiles(count: int) -> Launch:
    """A chain of instructions on 128 x 8 tiles."""
    return launch(stress_kernels.small_tiles, np.zeros((128, stress_kernels.SMALL_COLUMNS), np.float32), count=count)


def rate_case(name: str, item: Launch, target: float | None = None) -> Case:
    """Instructions per second of a warm reference run, tracing and checks included."""

    def measure() -> dict[str, Any]:
        count = len(traced(item))
        in_reference(item)
        return {"value": count / median_seconds(partial(in_reference, item), REPEATS)}

    plan = Figure(case=f"reference, {name}", unit="instructions/s", target=target, at_least=True)
    return Case(plan, measure)


def linearity_case(short: int, long: int) -> Case:
    """How much slower an instruction is in a long program than in a short one."""

    def measure() -> dict[str, Any]:
        items = {count: small_tiles(count) for count in (short, long)}
        each = {count: median_seconds(partial(in_reference, item), REPEATS) / count for count, item in items.items()}
        return {"value": each[long] / each[short]}

    name = f"reference, time an instruction, {long:,} against {short:,}"
    return Case(Figure(case=name, unit="x", target=LINEARITY), measure)


def reference_time_case(side: int) -> Case:
    """A matmul on the reference executor, first launch of the kernel in this process."""

    def measure() -> dict[str, Any]:
        return {"value": seconds(partial(in_reference, matmul_launch(matmul, side)))}

    return Case(Figure(case=f"reference, matmul {side}^3 bf16, first launch", unit="s", target=3.0), measure)


def reference_cases(sizes: Sizes) -> list[Case]:
    """Speed by class of instructions, and whether it holds in long programs."""
    *_, short, long = sizes.reference_counts
    side, tokens = sizes.reference_matmul, sizes.reference_tokens
    return [
        reference_time_case(side),
        *(rate_case(f"128 x 8 tiles, {count:,}", small_tiles(count), 15_000) for count in sizes.reference_counts),
        rate_case(f"matmul {side}^3 bf16, naive loops", matmul_launch(kernels.matmul_naive, side)),
        rate_case(f"attention {HEADS} x {tokens} x {WIDTH}", attention_heads(tokens)),
        linearity_case(short, long),
    ]


def timeline_case(name: str, item: Launch, target: float, *, flat: bool) -> Case:
    """Dependences and schedule of a traced program, as it is or without its loops."""

    def measure() -> dict[str, Any]:
        program = traced(item).flat if flat else traced(item)
        return {"value": median_seconds(lambda: schedule(program, TARGET), REPEATS)}

    return Case(Figure(case=f"timeline, {name}", unit="s", target=target), measure)


def timeline_cases(sizes: Sizes) -> list[Case]:
    """A folded program; flat ones that repeat, that do not, and whose transfers do not."""
    side, count = 2 * sizes.traced_matmul, sizes.fold_random
    return [
        timeline_case(f"matmul {side}^3", matmul_launch(matmul, side), 0.5, flat=False),
        timeline_case(f"{count:,} flat instructions, one repeated", small_tiles(count), 3.0, flat=True),
        timeline_case(f"{count:,} flat instructions in random order", unfoldable_launch(count), 3.0, flat=True),
        timeline_case(f"{count:,} flat instructions, random transfers", transfers_launch(count), 3.0, flat=True),
        timeline_case(f"{count:,} flat, random transfers of 16 queues", transfers_launch(count, 15), 3.0, flat=True),
    ]
