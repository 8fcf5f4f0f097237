"""The GPT-OSS claims: 3 times the throughput per chip and 4 times faster responses, Trn3 against Trn2 UltraServers.

AWS published neither model size nor batch, lengths, formats or partitioning, so each claim is read in several ways at
one operating point, and put on the map of all of them.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from trnlab.emulator.target.facts import KEYNOTE
from trnlab.models.chips import get_chip
from trnlab.models.claims.claim import Claim, OperatingPoint, Reading
from trnlab.models.claims.deployment import Deployment, Speedup, gpt_oss, speedup
from trnlab.models.claims.hardware import times
from trnlab.models.claims.speedup_map import ANSWER, Measure, SpeedupMap, speedup_map
from trnlab.models.projection.method import CASES, LAYERS
from trnlab.models.quantity import Quantity, QuantityClass

BATCH: Final = 512
PROMPT: Final = 8192
SHIPPED: Final = ("trn3", "experts-mxfp4-a8", "fp8")
"""How Trainium3 would serve GPT-OSS: experts in MXFP4 with MXFP8 activations, the rest in BF16, FP8 KV cache."""
POINT: Final = f"gpt-oss-120b, 16 chips, {BATCH} requests of {PROMPT} + {ANSWER} tokens"

_MEANING: Final = {
    "roofline": "peaks alone; BF16 -> MXFP4 experts, MXFP8 activations, FP8 KV",
    "efficiencies": "the same with efficiencies and collectives",
    "calibrated": "the same with a fixed cost per layer: Trainium2's fitted, Trainium3's chosen to fit this claim",
}
# Other formats, in the roofline layer: what the old and the new chip run, and what that means.
_OTHERS: Final = (
    (("trn2", "bf16", "bf16"), ("trn3", "bf16", "bf16"), "peaks alone; BF16 on both: the chip without the format"),
    (("trn2", "bf16", "bf16"), ("trn3", "experts-mxfp4-a8", "bf16"), "peaks alone; BF16 KV cache kept"),
    (("trn2", "experts-fp8", "fp8"), SHIPPED, "peaks alone; against FP8 experts and KV on Trainium2"),
)
_KLASS: Final[dict[str, QuantityClass]] = {"roofline": "derived", "efficiencies": "fitted", "calibrated": "assumed"}


def old_deployment() -> Deployment:
    """gpt-oss-120b in BF16 on 16 Trainium2, as Neuron's recipe has it."""
    return gpt_oss("trn2", "bf16", "bf16")


def new_deployment() -> Deployment:
    """gpt-oss-120b on 16 Trainium3 in the formats it ships in."""
    return gpt_oss(*SHIPPED)


@cache
def gpt_oss_map(layer: str) -> SpeedupMap:
    """Trainium3 over Trainium2 at every batch and prompt.

    Raises:
        ModelError: no such layer.
    """
    return speedup_map(old_deployment(), new_deployment(), layer)


def ratio_of(old: Deployment, new: Deployment, layer: str, measure: Measure) -> Quantity:
    """The ratio at the operating point; its band is that of the new chip's fixed cost per layer of the model."""

    def at(found: Speedup) -> float:
        return float(found.throughput if measure == "throughput" else found.latency)

    values = {case: at(speedup(old, new, layer, BATCH, PROMPT, ANSWER, case)) for case in CASES}
    low, high = min(values.values()), max(values.values())
    band = (low, high) if low < high else (None, None)
    return Quantity(values["central"], "", f"{layer} projection: {POINT}", _KLASS[layer], *band)


def _readings(measure: Measure) -> tuple[Reading, ...]:
    old, new = old_deployment(), new_deployment()
    layers = [Reading(meaning=_MEANING[layer], computed=ratio_of(old, new, layer, measure)) for layer in LAYERS]
    others = [
        Reading(meaning=meaning, computed=ratio_of(gpt_oss(*before), gpt_oss(*after), "roofline", measure))
        for before, after, meaning in _OTHERS
    ]
    return (*layers, *others)


def points_of(measure: Measure, factor: float) -> tuple[OperatingPoint, ...]:
    """Where each layer's map crosses the factor."""
    return tuple(point for layer in LAYERS for point in gpt_oss_map(layer).contour(measure, factor))


def serving_claims() -> tuple[Claim, ...]:
    """Throughput per chip, speed of the responses, and tokens per joule."""
    return (
        Claim(
            statement="GPT-OSS: 3 times the throughput per chip on Trn3 against Trn2 UltraServers",
            source=KEYNOTE,
            claimed=times(3),
            readings=_readings("throughput"),
            kind="model",
            points=points_of("throughput", 3),
            note=f"readings at one point: {POINT}",
        ),
        Claim(
            statement="GPT-OSS: responses 4 times as fast on Trn3 against Trn2 UltraServers",
            source=KEYNOTE,
            claimed=times(4),
            readings=_readings("latency"),
            kind="model",
            points=points_of("latency", 4),
            note=f"readings at one point, speed of the answer's tokens: {POINT}",
        ),
        _tokens_per_joule(),
    )


def _tokens_per_joule() -> Claim:
    trn2, trn3 = get_chip("trn2").power, get_chip("trn3").power
    assert trn2 is not None
    assert trn3 is not None
    old, new = old_deployment(), new_deployment()
    return Claim(
        statement="a Trn3 UltraServer gives 5 times the tokens per megawatt of a Trn2 UltraServer",
        source=f"{KEYNOTE}, launch material",
        claimed=times(5),
        readings=tuple(
            Reading(
                meaning=f"GPT-OSS tokens per joule, {layer} layer, powers assumed",
                computed=ratio_of(old, new, layer, "throughput") * (trn2 / trn3),
            )
            for layer in LAYERS
        ),
        kind="untestable",
        note=f"also needs the power of both chips, which AWS has not published; {POINT}",
    )
