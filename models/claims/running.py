"""The GPT-OSS claims about energy and cost, which need powers and prices that nobody has published.

Both go by throughput per chip: at the same requests for the cost, and for tokens per megawatt at the same latency per
user, where the faster chip serves more requests.
"""

from __future__ import annotations

from typing import Final

from trnlab.emulator.target.facts import KEYNOTE
from trnlab.models.chips import get_chip
from trnlab.models.claims.claim import Claim, Reading
from trnlab.models.claims.deployment import at_equal_pace
from trnlab.models.claims.hardware import TALK, times
from trnlab.models.claims.serving import KLASS, POINT, PROMPT, new_deployment, old_deployment, ratio_of
from trnlab.models.claims.speedup_map import ANSWER
from trnlab.models.projection.method import CASES, LAYERS, LayerName
from trnlab.models.quantity import Quantity

PACES: Final = (64, 512)
"""Requests on Trainium2 whose pace is kept where a claim speaks of the same latency per user."""
COST_LEFT: Final = 0.6
"""Of the cost, when it is lowered by 40 %."""


def running_claims() -> tuple[Claim, ...]:
    """Tokens per megawatt, and the cost of a token."""
    return (_tokens_per_megawatt(), _cost())


def _cost() -> Claim:
    """What an hour of a chip may cost for the announced saving, which is about prices that nobody has published."""
    old, new = old_deployment(), new_deployment()
    ratios = {layer: ratio_of(old, new, layer, "throughput") for layer in LAYERS}
    most = {layer: COST_LEFT * ratio.value for layer, ratio in ratios.items()}
    prices = ", ".join(f"{value:.2f} ({layer})" for layer, value in most.items())
    return Claim(
        statement="Trainium3 lowers the cost of AI workloads by up to 40 %",
        source=TALK,
        claimed=times(COST_LEFT),
        readings=tuple(
            Reading(meaning=f"cost of a token of GPT-OSS at equal prices of a chip, {layer} layer", computed=1 / ratio)
            for layer, ratio in ratios.items()
        ),
        kind="untestable",
        digits=1,
        note=f"at {POINT} it holds while an hour of Trainium3 costs at most as many times one of Trainium2: {prices}",
    )


def _tokens_per_megawatt() -> Claim:
    """At equal interactivity the new chip runs more requests, so it gains more throughput than at equal ones."""
    trn2, trn3 = get_chip("trn2").power, get_chip("trn3").power
    assert trn2 is not None
    assert trn3 is not None
    share = trn2 / trn3
    return Claim(
        statement="GPT-OSS: over 5 times the tokens per megawatt at equal pace, Trn3 against Trn2",
        source=f"{KEYNOTE}; gpt-oss-120b according to transcripts of it",
        claimed=times(5),
        readings=tuple(
            Reading(meaning=f"{meaning}, powers assumed", computed=ratio * share)
            for meaning, ratio in (_pace(layer, batch) for batch in PACES for layer in LAYERS)
        ),
        kind="untestable",
        at_least=True,
        note=(
            f"AWS has not published the power of either chip; with those assumed here it needs {(5 / share).value:.2f} "
            f"times the throughput per chip; gpt-oss-120b, 16 chips, requests of {PROMPT} + {ANSWER} tokens"
        ),
    )


def _pace(layer: LayerName, batch: int) -> tuple[str, Quantity]:
    """What the ratio is at, and the ratio of throughput per chip at the pace that the old deployment has there."""
    found = {
        case: at_equal_pace(old_deployment(), new_deployment(), layer, batch, PROMPT, ANSWER, case) for case in CASES
    }
    low, high = (end(each.throughput for each in found.values()) for end in (min, max))
    middle = found["central"]
    meaning = f"{layer}: {middle.user_rate:.0f} tokens/s a user, {batch} requests on Trn2, {middle.batch:.0f} on Trn3"
    band = (low, high) if low < high else (None, None)
    source = f"{layer} projection: gpt-oss-120b, 16 chips, equal time per output token"
    return meaning, Quantity(middle.throughput, "", source, KLASS[layer], *band)
