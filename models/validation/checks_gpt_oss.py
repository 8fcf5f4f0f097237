"""Cross-checks of whole decode steps, prompts and training on Trainium2 and 3, above all for gpt-oss-120b.

The expected values were computed apart from this code, by closed formulas; the inputs are in the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from trnlab.models.parallel.partitioning import Partitioning, Splits
from trnlab.models.projection.constants import flat_layer
from trnlab.models.projection.decode import decode_step
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.method import ROOFLINE
from trnlab.models.projection.prefill import prefill_pass
from trnlab.models.projection.serving import ServingTime, serve
from trnlab.models.projection.training import upper_bound
from trnlab.models.validation.checks import BY_HAND, CrossCheck, everything_in
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import Precision, get_precision

_SIXTEEN: Final = Splits.of([Partitioning(tp=16)], ())
_OSS = "gpt-oss-120b"


def _step_ms(model: str, chip: str, precision: Precision, batch: int, context: int) -> float:
    machine = Machine.of(chip)
    step = decode_step(get_model(model), precision, machine, ROOFLINE, _SIXTEEN, batch, context)
    return float(step.total) * 1e3


def _gain(batch: int, precision: str) -> float:
    """Trainium3 over Trainium2 in BF16: decode of gpt-oss-120b on 16 chips, 4k."""
    slow = _step_ms(_OSS, "trn2", get_precision("bf16"), batch, 4096)
    return slow / _step_ms(_OSS, "trn3", get_precision(precision), batch, 4096)


def _prefill_gain(tokens: int, precision: str) -> float:
    """The same for one prompt, 16 chips."""

    def seconds(chip: str, name: str) -> float:
        model, machine = get_model(_OSS), Machine.of(chip)
        return float(prefill_pass(model, get_precision(name), machine, ROOFLINE, _SIXTEEN, tokens).total)

    return seconds("trn2", "bf16") / seconds("trn3", precision)


def _point(chip: str, precision: str, kv: str, fixed_us: float, batch: int, prompt: int) -> ServingTime:
    """16 chips, answers of 1k; half of every peak FLOP/s, 86 % of HBM, a fixed cost per layer of decode steps."""
    layer = flat_layer(0.5, 0.86, fixed_us * 1e-6)
    recipe = get_precision(precision, kv)
    return serve(get_model(_OSS), recipe, Machine.of(chip), layer, _SIXTEEN, batch, prompt, 1024)


def _request_gain(
    new: tuple[str, str, str], fixed_us: tuple[float, float], point: tuple[int, int], measure: str
) -> float:
    """New chip and formats over Trainium2 in BF16, at (requests, tokens of the prompt)."""
    before = _point("trn2", "bf16", "bf16", fixed_us[0], *point)
    after = _point(*new, fixed_us[1], *point)
    if measure == "throughput":
        return float(after.tokens_per_second / before.tokens_per_second)
    return float(before.tpot_seconds / after.tpot_seconds)


def _request_checks() -> Iterator[CrossCheck]:
    """Throughput and response of the alternatives, without a fixed cost and with 170 µs on Trainium2, 50 on 3."""
    for new, values in _ALTERNATIVES.items():
        later = 50.0 if new[0] == "trn3" else 170.0
        cases = [("throughput", (0.0, 0.0)), ("response", (0.0, 0.0))]
        cases += [("throughput", (170.0, later)), ("response", (170.0, later))]
        for (measure, fixed), expected in zip(cases, values, strict=True):
            yield _request_check(new, fixed, (512, 8192), measure, expected)
    for point, pair in _POINTS.items():
        for measure, expected in zip(("throughput", "response"), pair, strict=True):
            yield _request_check(_SHIPPED, (170.0, 50.0), point, measure, expected)


def _request_check(
    new: tuple[str, str, str], fixed: tuple[float, float], point: tuple[int, int], measure: str, expected: float
) -> CrossCheck:
    chip, precision, kv = new
    cost = f"{fixed[0]:g} and {fixed[1]:g} µs a layer" if fixed[0] else "no fixed cost"
    return _HAND(
        name=f"{measure}, {chip} {precision} {kv} KV over trn2 bf16, {point[0]} requests of {point[1]}, {cost}",
        inputs="gpt-oss-120b, 16 chips each, answers of 1k, 50 % of peak FLOP/s, 86 % of HBM",
        unit="x",
        expected=expected,
        tolerance=0.006,
        compute=partial(_request_gain, new, fixed, point, measure),
    )


def _training_rate(model: str, chip: str, precision: Precision) -> float:
    return upper_bound(get_model(model), precision, Machine.of(chip), 8192, 0.4)


_FP8, _MXFP8 = everything_in("fp8", "fp8", "fp8"), everything_in("mxfp8", "mxfp8", "fp8")
_MXFP4 = everything_in("mxfp4", "mxfp8", "fp8")
_HAND = partial(CrossCheck, source=BY_HAND)

# Decode at batch 64 and 4k on 16 chips in ms: Trn2 BF16, Trn2 FP8, Trn3 MXFP8, Trn3 MXFP4.
_DENSE: Final = {
    "Llama-3.1-70B": (4.85, 2.42, 1.46, 1.02),
    "Llama-3.1-405B": (20.3, 10.2, 6.2, 3.6),
    "DeepSeek-V3": (25.6, 13.0, 8.1, 4.4),
    "Qwen3-235B-A22B": (11.0, 5.5, 3.4, 1.9),
}
_COLUMNS: Final = (
    ("trn2", get_precision("bf16")),
    ("trn2", _FP8),
    ("trn3", _MXFP8),
    ("trn3", _MXFP4),
)
_GAINS: Final = {
    "bf16": {1: 1.69, 512: 1.66, 2048: 1.64},
    "experts-mxfp4-a16": {1: 3.41, 8: 5.23, 32: 5.56, 128: 5.06, 512: 3.51, 2048: 2.06},
    "experts-mxfp4-a8": {2048: 2.28},
}
_PROMPTS: Final = {
    "experts-mxfp4-a8": {8192: 2.04, 32_768: 1.61, 131_072: 1.23},
    "mx": {8192: 2.84, 32_768: 1.93, 131_072: 1.31},
}
_SHIPPED: Final = ("trn3", "experts-mxfp4-a8", "fp8")
# Throughput and response without a fixed cost, then with one: 512 requests of 8k / 1k.
_ALTERNATIVES: Final = {
    ("trn2", "experts-fp8", "fp8"): (1.73, 1.94, 1.46, 1.44),
    ("trn3", "bf16", "bf16"): (1.29, 1.66, 1.53, 2.05),
    ("trn3", "experts-mxfp8", "bf16"): (2.16, 2.26, 2.38, 2.59),
    ("trn3", "experts-mxfp4-a16", "bf16"): (1.57, 2.78, 1.82, 2.99),
    ("trn3", "experts-mxfp4-a8", "bf16"): (2.40, 2.78, 2.60, 2.99),
    _SHIPPED: (2.87, 4.20, 2.99, 3.86),
    ("trn3", "mx", "fp8"): (3.62, 4.61, 3.56, 4.07),
}
# (requests, tokens of the prompt): throughput and response with the fixed costs.
_POINTS: Final = {(128, 8192): (3.68, 4.20), (256, 1024): (4.07, 4.18), (1024, 1024): (3.49, 3.73)}
# Tokens trained per second and chip at 40 % MFU, 8k: Trn2 BF16, Trn2 FP8, Trn3 MXFP8.
_TRAINING: Final = {
    "Llama-3.1-70B": (594, 1083, 1872),
    "DeepSeek-V3": (949, 1531, 2237),
    "gpt-oss-120b": (7726, 13_647, 22_466),
}

GPT_OSS_CHECKS: Final[tuple[CrossCheck, ...]] = (
    *(
        _HAND(
            name=f"decode, Trainium3 {precision} over Trainium2 BF16, batch {batch}",
            inputs="gpt-oss-120b, 16 chips each, 4k",
            unit="x",
            expected=expected,
            compute=partial(_gain, batch, precision),
        )
        for precision, row in _GAINS.items()
        for batch, expected in row.items()
    ),
    *(
        _HAND(
            name=f"prompt of {tokens}, Trainium3 {precision} over Trainium2 BF16",
            inputs="gpt-oss-120b, 16 chips each",
            unit="x",
            expected=expected,
            compute=partial(_prefill_gain, tokens, precision),
        )
        for precision, row in _PROMPTS.items()
        for tokens, expected in row.items()
    ),
    _HAND(
        name="ceiling of a decode step on Trainium3",
        inputs="gpt-oss-120b, 16 chips, batch 128, 8.7k, MXFP4 weights, MXFP8 activations, FP8 cache",
        unit="ms",
        expected=1.07,
        compute=lambda: _step_ms(_OSS, "trn3", get_precision("experts-mxfp4-a8", "fp8"), 128, 8704),
    ),
    *_request_checks(),
    *(
        _HAND(
            name=f"decode step of {model} on {chip}, {precision.name}",
            inputs="16 chips, batch 64, 4k",
            unit="ms",
            expected=expected,
            tolerance=0.02,
            compute=partial(_step_ms, model, chip, precision, 64, 4096),
        )
        for model, row in _DENSE.items()
        for (chip, precision), expected in zip(_COLUMNS, row, strict=True)
    ),
    *(
        _HAND(
            name=f"training {model} on {chip}, {precision.name}",
            inputs="40 % MFU, 8k",
            unit="token/s/chip",
            expected=expected,
            tolerance=0.002,
            compute=partial(_training_rate, model, chip, precision),
        )
        for model, row in _TRAINING.items()
        for (chip, precision), expected in zip(_COLUMNS[:3], row, strict=True)
    ),
)
