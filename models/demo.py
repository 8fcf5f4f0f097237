"""The demonstration: two kernels at gpt-oss-120b shapes, their accuracy, and what every generation would make of them.

Each kernel runs once, on an emulated Trainium3 core, and is compared with float64. For every target it is then traced
again, timed, and put under that core's roofline. A generation that lacks an instruction says so, and shows a twin of
the kernel in a dtype it has. Shapes: gpt-oss-120b has d_model = d_ff = 2880, head_dim 64, 64 query heads on 8
key/value heads (openai/gpt-oss, config.json), so one key/value head serves 8 query heads.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import ml_dtypes
import numpy as np

from trnlab.emulator import dtypes, run, trace
from trnlab.emulator.errors import GenerationError
from trnlab.emulator.target import Target, get_target
from trnlab.emulator.timing.timeline import Timeline, schedule
from trnlab.kernels import oracles
from trnlab.kernels.attention import flash_attention
from trnlab.kernels.matmul import matmul, matmul_fp8
from trnlab.kernels.matmul_mx import matmul_mxfp8_weights
from trnlab.kernels.packing import pack_weights, unpack_weights
from trnlab.models.program_points import kernel_point
from trnlab.models.roofline import Roofline

Array = np.ndarray[Any, Any]
EXECUTED_ON = "trn3"
TARGETS = (("trn2", None), ("trn3", None), ("trn4", "low"), ("trn4", "central"), ("trn4", "high"))
TOKENS, D_MODEL, D_FF = 512, 2880, 2880
HEADS, KV_HEADS, SEQUENCE, HEAD_DIM = 8, 1, 1024, 64
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """A result against float64: max_rel is max |error| / max |oracle|, SQNR 10 log10(sum oracle^2 / sum error^2)."""

    against: str
    max_abs: float
    max_rel: float
    sqnr_db: float

    @classmethod
    def of(cls, found: Array, oracle: Array, against: str) -> Accuracy:
        """The error of `found` against a float64 oracle."""
        error = np.asarray(found, np.float64) - oracle
        largest = float(np.abs(error).max())
        noise = float((error**2).sum())
        signal = float((oracle**2).sum())
        sqnr = float("inf") if noise == 0 else 10 * float(np.log10(signal / noise))
        return cls(against=against, max_abs=largest, max_rel=largest / float(np.abs(oracle).max()), sqnr_db=sqnr)


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """One kernel on one core of one target.

    kernel:    what was timed: the demonstrated kernel, or its twin when the target lacks the instruction `missing`
    seconds:   (low, central, high) of the timeline
    utilisation: busy fraction by engine, DMA and HBM at the central time
    intensity: FLOP per HBM byte; bound: what limits the roofline; roofline_percent: roofline time / central time
    """

    target: str
    variant: str
    kernel: str
    missing: str
    instructions: int
    seconds: tuple[float, float, float]
    utilisation: Mapping[str, float]
    busiest: str
    intensity: float
    bound: str
    roofline_percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseReport:
    """One kernel's part of the demonstration."""

    title: str
    kernel: str
    instructions: int
    run_seconds: float
    accuracy: tuple[Accuracy, ...]
    projections: tuple[Projection, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """The whole demonstration, as data."""

    executed_on: str
    seed: int
    cases: tuple[CaseReport, ...]

    def to_json(self) -> str:
        """The report as JSON; an infinite SQNR, of a result without error, is null."""
        finite = asdict(self, dict_factory=lambda items: {k: None if v == float("inf") else v for k, v in items})
        return json.dumps(finite, indent=2, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Variant:
    """A kernel with its arguments; `name` says which dtypes it multiplies."""

    name: str
    kernel: Any
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """A kernel to demonstrate, its twins in order of preference, and how its result is judged."""

    title: str
    variants: tuple[Variant, ...]
    judge: Callable[[Array], tuple[Accuracy, ...]]


def expert_projection() -> Case:
    """One expert projection: activations quantised to MXFP8 on the core, weights packed to MXFP4 on the host."""
    rng = np.random.default_rng(SEED)
    tokens = rng.standard_normal((D_MODEL, TOKENS)).astype(ml_dtypes.bfloat16)
    weights = (rng.standard_normal((D_MODEL, D_FF)) * D_MODEL**-0.5).astype(ml_dtypes.bfloat16)
    words, scales = pack_weights(weights.astype(np.float32), dtypes.float4_e2m1fn_x4)
    kept = unpack_weights(words, scales, dtypes.float4_e2m1fn_x4, D_MODEL)
    fp8 = tuple(matrix.astype(ml_dtypes.float8_e4m3) for matrix in (tokens, weights))
    variants = (
        Variant("MXFP8 x MXFP4", matmul_mxfp8_weights, (tokens, words, scales)),
        Variant("FP8 twin", matmul_fp8, fp8),
        Variant("BF16 twin", matmul, (tokens, weights)),
    )

    def judge(found: Array) -> tuple[Accuracy, ...]:
        return (
            Accuracy.of(found, oracles.matmul(tokens, weights, xp=np), "float64 of the BF16 operands"),
            Accuracy.of(found, oracles.matmul(tokens, kept, xp=np), "float64 with the MXFP4 weights"),
        )

    title = f"expert projection, tokens {TOKENS}, d_model {D_MODEL}, d_ff {D_FF}"
    return Case(title, variants, judge)


def attention() -> Case:
    """Causal attention of the query heads that share one key/value head, in BF16."""
    rng = np.random.default_rng(SEED + 1)
    q, k, v = (
        rng.standard_normal((heads, SEQUENCE, HEAD_DIM)).astype(ml_dtypes.bfloat16)
        for heads in (HEADS, KV_HEADS, KV_HEADS)
    )

    def judge(found: Array) -> tuple[Accuracy, ...]:
        return (Accuracy.of(found, oracles.attention(q, k, v, xp=np), "float64 of the BF16 operands"),)

    title = f"flash attention, causal, {HEADS} query heads on {KV_HEADS}, {SEQUENCE} tokens, head_dim {HEAD_DIM}"
    return Case(title, (Variant("BF16", flash_attention, (q, k, v)),), judge)


CASES: tuple[Callable[[], Case], ...] = (expert_projection, attention)
Progress = Callable[[str], None]


def steps() -> int:
    """How many times `run_demo` calls its progress function."""
    return len(CASES) * (2 + len(TARGETS))


def run_demo(progress: Progress = lambda message: None) -> DemoReport:
    """Run everything; `progress` is told what comes next, `steps()` times."""
    cases = tuple(_run_case(build, progress) for build in CASES)
    return DemoReport(executed_on=EXECUTED_ON, seed=SEED, cases=cases)


def _run_case(build: Callable[[], Case], progress: Progress) -> CaseReport:
    progress(f"{build.__name__.replace('_', ' ')}: preparing operands")
    case = build()
    main = case.variants[0]
    progress(f"{main.kernel.__name__}: running on an emulated {EXECUTED_ON} core")
    started = time.perf_counter()
    executed = run(main.kernel, *main.arguments, target=EXECUTED_ON)
    elapsed = time.perf_counter() - started
    projections = []
    for name, variant in TARGETS:
        target = get_target(name, variant)
        progress(f"{main.kernel.__name__}: timing on {target}")
        projections.append(project(case.variants, target))
    return CaseReport(
        title=case.title,
        kernel=f"{main.kernel.__name__} ({main.name})",
        instructions=len(executed.program),
        run_seconds=elapsed,
        accuracy=case.judge(executed.outputs),
        projections=tuple(projections),
    )


def project(variants: Sequence[Variant], target: Target) -> Projection:
    """The first variant that the target can run, timed there and put under the core's roofline.

    Raises:
        GenerationError: the target lacks something for every variant.
    """
    missing = ""
    for position, variant in enumerate(variants):
        try:
            program = trace(variant.kernel, *variant.arguments, target=target)
        except GenerationError as error:
            if position == len(variants) - 1:
                raise
            missing = missing or error.violation.subject.removeprefix("nisa.")
            continue
        return _projection(variant.name, missing, schedule(program, target))
    raise ValueError("no variants to project")


def _projection(kernel: str, missing: str, timeline: Timeline) -> Projection:
    target = timeline.target
    point = kernel_point(kernel, timeline)
    bound = Roofline.of_core(target).bound(point)
    assert bound.percent_of_roofline is not None
    return Projection(
        target=target.name,
        variant=target.variant,
        kernel=kernel,
        missing=missing,
        instructions=len(timeline.program),
        seconds=(timeline.range.low, timeline.range.central, timeline.range.high),
        utilisation=dict(timeline.utilisation),
        busiest=timeline.bounding_resource,
        intensity=timeline.arithmetic_intensity,
        bound=bound.resource,
        roofline_percent=bound.percent_of_roofline,
    )
