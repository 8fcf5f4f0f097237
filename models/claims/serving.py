"""The GPT-OSS claims: 3 times the throughput per chip and 4 times faster responses, Trn3 against Trn2 UltraServers.

AWS published neither model size nor batch, lengths, formats or partitioning, so each claim is read in several ways at
one operating point, and put on the map of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

from trnlab.emulator.target.facts import KEYNOTE
from trnlab.models.chips import get_chip
from trnlab.models.claims.claim import Claim, OperatingPoint, Reading
from trnlab.models.claims.deployment import Deployment, Speedup, gpt_oss, speedup
from trnlab.models.claims.hardware import times
from trnlab.models.claims.speedup_map import ANSWER, Measure, SpeedupMap, speedup_map
from trnlab.models.projection.constants import fixed_cost, flat_layer
from trnlab.models.projection.method import CASES, LAYERS, Case, LayerName
from trnlab.models.quantity import ModelError, Quantity, QuantityClass

BATCH: Final = 512
PROMPT: Final = 8192
SHIPPED: Final = ("trn3", "experts-mxfp4-a8", "fp8")
"""How Trainium3 would serve GPT-OSS: experts in MXFP4 with MXFP8 activations, the rest in BF16, FP8 KV cache."""
POINT: Final = f"gpt-oss-120b, 16 chips, {BATCH} requests of {PROMPT} + {ANSWER} tokens"

MAPPED: Final[tuple[tuple[LayerName, Case], ...]] = (
    ("roofline", "central"),
    ("efficiencies", "central"),
    ("calibrated", "central"),
    ("calibrated", "fast"),
)
"""Layers and ends of Trainium3's fixed cost in which the claims are put on the map."""
# Other formats, in the roofline layer: what the old and the new chip run, and what that means.
_OTHERS: Final = (
    (("trn2", "bf16", "bf16"), ("trn3", "bf16", "bf16"), "peaks alone; BF16 on both: the chip without the format"),
    (("trn2", "bf16", "bf16"), ("trn3", "experts-mxfp4-a8", "bf16"), "peaks alone; BF16 KV cache kept"),
    (("trn2", "experts-fp8", "fp8"), SHIPPED, "peaks alone; against FP8 experts and KV on Trainium2"),
)
KLASS: Final[dict[str, QuantityClass]] = {"roofline": "derived", "efficiencies": "fitted", "calibrated": "assumed"}
"""Class of a ratio of the serving model, by layer."""
_BISECTIONS: Final = 40


def old_deployment() -> Deployment:
    """gpt-oss-120b in BF16 on 16 Trainium2, as Neuron's recipe has it."""
    return gpt_oss("trn2", "bf16", "bf16")


def new_deployment() -> Deployment:
    """gpt-oss-120b on 16 Trainium3 in the formats it ships in."""
    return gpt_oss(*SHIPPED)


@cache
def gpt_oss_map(layer: str, case: Case = "central") -> SpeedupMap:
    """Trainium3 over Trainium2 at every batch and prompt, Trainium3's fixed cost at one end of its band.

    Raises:
        ModelError: no such layer.
    """
    return speedup_map(old_deployment(), new_deployment(), layer, case=case)


def claim_maps() -> tuple[SpeedupMap, ...]:
    """The maps of the claims: each layer, and the calibrated one with the fast end of Trainium3's fixed cost."""
    return tuple(gpt_oss_map(layer, case) for layer, case in MAPPED)


def ratio_of(old: Deployment, new: Deployment, layer: str, measure: Measure) -> Quantity:
    """The ratio at the operating point; its band is that of the new chip's fixed cost per layer of the model."""

    def at(found: Speedup) -> float:
        return float(found.throughput if measure == "throughput" else found.latency)

    values = {case: at(speedup(old, new, layer, BATCH, PROMPT, ANSWER, case)) for case in CASES}
    low, high = min(values.values()), max(values.values())
    band = (low, high) if low < high else (None, None)
    return Quantity(values["central"], "", f"{layer} projection: {POINT}", KLASS[layer], *band)


def _meanings() -> dict[str, str]:
    return {
        "roofline": "peaks alone; BF16 -> MXFP4 experts, MXFP8 activations, FP8 KV",
        "efficiencies": "the same with efficiencies and collectives",
        "calibrated": "the same with a fixed cost per layer: Trainium2's "
        + f"{_fixed('trn2').klass}, Trainium3's {_fixed('trn3').klass}; band: ends of Trainium3's",
    }


def _fixed(chip: str) -> Quantity:
    found = fixed_cost(get_chip(chip))
    if found is None:
        raise ModelError(f"fixed cost of {chip}", None, "a quantity with a band")
    return found


def fixed_cost_for(measure: Measure, factor: float) -> float | None:
    """Seconds per layer of the model that Trainium3 may take at the operating point for the ratio to be the factor.

    Of the calibrated layer; None where the ratio is below the factor even without any.
    """
    old = old_deployment().serve("calibrated", BATCH, PROMPT, ANSWER)

    def ratio(fixed: float) -> float:
        new = new_deployment().serve("calibrated", BATCH, PROMPT, ANSWER, fixed_seconds=fixed)
        if measure == "latency":
            return float(old.tpot_seconds / new.tpot_seconds)
        return float(new.tokens_per_second_per_chip / old.tokens_per_second_per_chip)

    low, high = 0.0, 1e-3
    if ratio(low) < factor:
        return None
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if ratio(middle) >= factor else (low, middle)
    return low


def _needs(measure: Measure, factor: float) -> str:
    """What Trainium3's fixed cost would have to be, beside what it is taken to be."""
    needed, taken = fixed_cost_for(measure, factor), _fixed("trn3")
    takes = f"it takes {taken.value * 1e6:.0f} µs ({taken.klass})"
    if needed is None:
        return f"the calibrated layer stays below {factor:g} times there even without a fixed cost; {takes} a layer"
    at_most = f"a fixed cost of at most {needed * 1e6:.0f} µs a layer on Trainium3"
    return f"the calibrated layer gives {factor:g} times there with {at_most}; {takes}"


def _readings(measure: Measure) -> tuple[Reading, ...]:
    old, new = old_deployment(), new_deployment()
    meanings = _meanings()
    layers = [Reading(meaning=meanings[layer], computed=ratio_of(old, new, layer, measure)) for layer in LAYERS]
    others = [
        Reading(meaning=meaning, computed=ratio_of(gpt_oss(*before), gpt_oss(*after), "roofline", measure))
        for before, after, meaning in _OTHERS
    ]
    return (*layers, *_at_shares(measure), *others)


_SHARES: Final = (0.5, 0.86)
"""Shares of peak FLOP/s and of HBM bandwidth of `_at_shares`: a usual one of prompts, and that of measured decoding."""


def _at_shares(measure: Measure) -> Iterator[Reading]:
    """The same at one share of every peak: prompts, bound by computing, weigh more beside decoding than at the peaks.

    The chips differ in HBM by more than in prompts, so the ratio of throughput is below that of the peaks alone.
    """
    for fixed, what in (((0.0, 0.0), "no fixed cost"), ((170e-6, 50e-6), "170 and 50 µs a layer")):
        old, new = (
            each.serve_by(flat_layer(*_SHARES, seconds), BATCH, PROMPT, ANSWER)
            for each, seconds in zip((old_deployment(), new_deployment()), fixed, strict=True)
        )
        ratio = old.tpot_seconds / new.tpot_seconds
        if measure == "throughput":
            ratio = new.tokens_per_second_per_chip / old.tokens_per_second_per_chip
        meaning = f"peaks at 50 % of FLOP/s and 86 % of HBM on both chips, {what}"
        yield Reading(meaning=meaning, computed=Quantity(float(ratio), "", f"shares assumed: {POINT}", "assumed"))


def points_of(measure: Measure, factor: float) -> tuple[OperatingPoint, ...]:
    """Where each layer's map crosses the factor."""
    return tuple(point for found in claim_maps() for point in found.contour(measure, factor))


def serving_claims() -> tuple[Claim, ...]:
    """Throughput per chip and speed of the responses."""
    return (
        Claim(
            statement="GPT-OSS: 3 times the throughput per chip on Trn3 against Trn2 UltraServers",
            source=KEYNOTE,
            claimed=times(3),
            readings=_readings("throughput"),
            kind="model",
            points=points_of("throughput", 3),
            measure="throughput",
            note=f"readings at one point: {POINT}; {_needs('throughput', 3)}",
        ),
        Claim(
            statement="GPT-OSS: responses 4 times as fast on Trn3 against Trn2 UltraServers",
            source=KEYNOTE,
            claimed=times(4),
            readings=_readings("latency"),
            kind="model",
            points=points_of("latency", 4),
            measure="latency",
            note=f"readings at one point, speed of the answer's tokens: {POINT}; {_needs('latency', 4)}",
        ),
        Claim(
            statement="on Amazon Bedrock Trainium3 is up to 3 times as fast as Trainium2",
            source=f"{KEYNOTE}, launch material",
            claimed=times(3),
            readings=(Reading(meaning="AWS named neither model nor operating point", computed=None),),
            kind="untestable",
        ),
    )
