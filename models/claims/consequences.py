"""What the announced factors would mean for models: Trainium3 over Trainium2 and Trainium4 over Trainium3.

Each row is a ratio at one operating point, 16 chips with tensor parallelism. For Trainium4 weights are MXFP4 (GPT-OSS's
experts, all linear maps of the others), activations MXFP8, or FP4 where a row says so; "alone" leaves every other
peak, the HBM bandwidth and its capacity as Trainium3's. The roofline layer has no assumption but the multipliers; the
calibrated one also assumes fixed costs per layer of the model. Bands span Trainium4's low and high cases and, in the
calibrated layer, the ends of the new chip's fixed cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from trnlab.models.chips import Chip, get_chip
from trnlab.models.claims.deployment import Deployment, speedup
from trnlab.models.projection.method import CASES, Case
from trnlab.models.quantity import Quantity, QuantityClass
from trnlab.models.spec_sheet import quantity_dict

BATCH: Final = 64
PROMPT: Final = 8192
ANSWER: Final = 1024
MODELS: Final = ("gpt-oss-120b", "Llama-3.1-70B", "Llama-3.1-405B", "DeepSeek-V3")
_VARIANT: Final = {"fast": "high", "central": "central", "slow": "low"}
_AS_TRAINIUM3: Final = {"fp32": "x1", "bf16": "x1", "fp8": "x1", "fp4": "x1", "hbm_bandwidth": "x1", "hbm_bytes": "x1"}


TRAINIUM3: Final = "Trainium3 over Trainium2"
TRAINIUM4: Final = "Trainium4 over Trainium3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequence:
    """Ratios of one model: decode steps, prompts, and whole requests, in one layer of the projection.

    over: which chip over which. what: what differs. old, new: chips and formats.
    decode: output tokens a second of decoding alone; prompt: 1 / TTFT; request: output tokens a second per chip.
    """

    over: str
    what: str
    model: str
    layer: str
    old: str
    new: str
    decode: Quantity
    prompt: Quantity
    request: Quantity

    def as_dict(self) -> dict[str, Any]:
        """The row as JSON-ready data."""
        ratios = {name: quantity_dict(getattr(self, name)) for name in ("decode", "prompt", "request")}
        return {name: getattr(self, name) for name in ("over", "what", "model", "layer", "old", "new")} | ratios


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A row for every model: formats of weights and KV cache before and after, Trainium4's figures if not its cases."""

    over: str
    what: str
    old: tuple[str, str]
    new: tuple[str, str]
    figures: Mapping[str, str] | None = None
    calibrated: bool = False

    def old_chip(self) -> Chip:
        return get_chip("trn2" if self.over == TRAINIUM3 else "trn3")

    def new_chip(self, case: Case) -> Chip:
        if self.over == TRAINIUM3:
            return get_chip("trn3")
        if self.figures is None:
            return get_chip("trn4", _VARIANT[case])
        return get_chip("trn4", figures={**_AS_TRAINIUM3, **self.figures})


_SHIPPED: Final = ("mxfp4-a8", "fp8")
_FP4: Final = ("mxfp4-a4", "fp8")
_CHANGES: Final = (
    _Change(over=TRAINIUM3, what="BF16 on both", old=("bf16", "bf16"), new=("bf16", "bf16")),
    _Change(over=TRAINIUM3, what="FP8 to MXFP8", old=("fp8", "fp8"), new=("mxfp8", "fp8")),
    _Change(over=TRAINIUM3, what="FP8 to MXFP4 weights", old=("fp8", "fp8"), new=_SHIPPED, calibrated=True),
    _Change(over=TRAINIUM3, what="BF16 to MXFP4 weights", old=("bf16", "bf16"), new=_SHIPPED, calibrated=True),
    _Change(over=TRAINIUM4, what="4x bandwidth alone", old=_SHIPPED, new=_SHIPPED, figures={"hbm_bandwidth": "x4"}),
    _Change(over=TRAINIUM4, what="3x FP8 alone", old=_SHIPPED, new=_SHIPPED, figures={"fp8": "x3"}),
    _Change(over=TRAINIUM4, what="6x FP4 alone, in FP4", old=_SHIPPED, new=_FP4, figures={"fp4": "x6"}),
    _Change(over=TRAINIUM4, what="all three", old=_SHIPPED, new=_SHIPPED, calibrated=True),
    _Change(over=TRAINIUM4, what="all three, in FP4", old=_SHIPPED, new=_FP4, calibrated=True),
)


def _deployment(model: str, chip: Chip, formats: tuple[str, str]) -> Deployment:
    """GPT-OSS has only its experts in a narrow format, as it ships; the others all of their linear maps."""
    weights, kv = formats
    prefix = "experts-" if model.startswith("gpt-oss") and weights != "bf16" else ""
    return Deployment.of(model, chip, prefix + weights, kv)


def _row(change: _Change, model: str, layer: str) -> Consequence:
    old = _deployment(model, change.old_chip(), change.old)
    new = {case: _deployment(model, change.new_chip(case), change.new) for case in CASES}
    found = {case: speedup(old, each, layer, BATCH, PROMPT, ANSWER, case) for case, each in new.items()}
    assumed = layer != "roofline" or (change.over == TRAINIUM4 and change.figures is None)
    klass: QuantityClass = "assumed" if assumed else "derived"

    def ratio(name: str) -> Quantity:
        values = {case: float(getattr(each, name)) for case, each in found.items()}
        low, high = min(values.values()), max(values.values())
        source = f"{layer} projection: 16 chips, {BATCH} requests of {PROMPT} + {ANSWER} tokens"
        return Quantity(values["central"], "", source, klass, *((low, high) if low < high else (None, None)))

    return Consequence(
        over=change.over,
        what=change.what,
        model=model,
        layer=layer,
        old=old.label,
        new=new["central"].label,
        decode=ratio("decode"),
        prompt=ratio("first_token"),
        request=ratio("throughput"),
    )


@cache
def consequences() -> tuple[Consequence, ...]:
    """Every change for every model in the roofline layer, and whole deployments in the calibrated one as well."""
    return tuple(
        _row(change, model, layer)
        for over in (TRAINIUM3, TRAINIUM4)
        for model in MODELS
        for layer in ("roofline", "calibrated")
        for change in _CHANGES
        if change.over == over and (layer == "roofline" or change.calibrated)
    )
