"""Cross-checks of Trainium: AWS's own totals, published checkpoints, routing and collectives.

Where the source is "computed apart", the numbers come from closed formulas evaluated outside this code; the inputs are
in the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from trnlab.models.chips import Topology, get_chip
from trnlab.models.chips.topology import Kind
from trnlab.models.parallel.collectives import Algorithm, all_reduce, all_to_all
from trnlab.models.parallel.fabric import Fabric
from trnlab.models.projection.calibration import GEMM_PEAK
from trnlab.models.quantity import Quantity
from trnlab.models.validation.checks import BY_HAND, CrossCheck
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import get_precision
from trnlab.models.workloads.model import Experts
from trnlab.models.workloads.parameters import parameters_of
from trnlab.models.workloads.routing import distinct_experts, straggler

_AWS = "AWS Neuron hardware pages"
_MONTE_CARLO = "Monte Carlo simulation of uniform routing"


def _torus(side: int) -> Fabric:
    return _fabric("torus", (side, side), 0.512e12, 2e-6)


def _switch(chips: int) -> Fabric:
    return _fabric("switch", (chips,), 1.024e12, 3e-6)


def _fabric(kind: Kind, shape: tuple[int, ...], bandwidth: float, step: float) -> Fabric:
    domain = Topology(
        kind=kind,
        shape=shape,
        bandwidth=Quantity(bandwidth, "B/s", BY_HAND, "assumed"),
        step_latency=Quantity(step, "s", BY_HAND, "assumed"),
    )
    return Fabric(name=domain.label, domain=domain)


def _reduce_us(fabric: Fabric, batch: int, algorithm: Algorithm) -> float:
    return float(all_reduce(fabric, batch * 2880 * 2, 16, algorithm).total) * 1e6


def _dispatch_us(fabric: Fabric, tokens: int) -> float:
    return float(all_to_all(fabric, tokens * 4 * 2880 * 2, fabric.domain.size).total) * 1e6


def _checkpoint_gib(name: str) -> float:
    return parameters_of(get_model(name)).bytes(get_precision("experts-mxfp4-a8")) / 2**30


def _distinct(count: int, active: int, tokens: int, skew: float) -> float:
    return float(distinct_experts(Experts(count=count, active=active, width=1), tokens, skew))


def _straggler(tokens: int) -> float:
    return float(straggler(Experts(count=128, active=4, width=1), tokens, 64))


_ALGORITHMS: Final[Sequence[Algorithm]] = ("ring", "recursive halving-doubling", "mesh", "switch")
_DISTINCT: Final = (
    (128, 4, 32, 0.0, 81.65),
    (128, 8, 16, 0.0, 82.29),
    (256, 8, 64, 0.0, 222.53),
    (8, 2, 4, 0.0, 5.45),
    (128, 4, 32, 0.6, 71.0),
    (128, 4, 32, 1.0, 55.0),
)
_HAND = partial(CrossCheck, source=BY_HAND)

TRAINIUM_CHECKS: Final[tuple[CrossCheck, ...]] = (
    CrossCheck(
        name="38 4096 x 4096 x 4096 in BF16 on two Trainium3 cores",
        source="SemiAnalysisAI/InferenceX, codex/trainium-exploration, commit e60b2ca49",
        inputs="23.3 µs + FLOP / (90 % of a quarter chip)",
        unit="µs",
        expected=927.6,
        compute=lambda: 23.3 + 2 * 4096**3 / (151.1 / 167.75 * GEMM_PEAK) * 1e6,
    ),
    CrossCheck(
        name="39a Trn3 Gen2 UltraServer, FP8",
        source=_AWS,
        inputs="144 chips",
        unit="TFLOP/s",
        expected=362_448,
        tolerance=1e-6,
        compute=lambda: 144 * get_chip("trn3").peak("mxfp8").value / 1e12,
    ),
    CrossCheck(
        name="39b Trn2 UltraServer, FP8",
        source=_AWS,
        inputs="64 chips",
        unit="PFLOP/s",
        expected=83.2,
        compute=lambda: 64 * get_chip("trn2").peak("fp8").value / 1e15,
    ),
    CrossCheck(
        name="39c Trn3 Gen2 UltraServer, HBM",
        source=_AWS,
        inputs="144 chips",
        unit="TB/s",
        expected=705.6,
        tolerance=1e-6,
        compute=lambda: 144 * get_chip("trn3").hbm_bandwidth.value / 1e12,
    ),
    *(
        CrossCheck(
            name=f"40 checkpoint of {name}",
            source="OpenAI, gpt-oss model card",
            inputs="experts in MXFP4, the rest in BF16",
            unit="GiB",
            expected=gib,
            tolerance=0.002,
            compute=partial(_checkpoint_gib, name),
        )
        for name, gib in (("gpt-oss-120b", 60.8), ("gpt-oss-20b", 12.8))
    ),
    *(
        CrossCheck(
            name=f"distinct experts of {count}, {active} a token, {tokens} tokens, skew {skew:g}",
            source=_MONTE_CARLO,
            inputs="",
            unit="expert",
            expected=found,
            compute=partial(_distinct, count, active, tokens, skew),
        )
        for count, active, tokens, skew, found in _DISTINCT
    ),
    *(
        CrossCheck(
            name=f"busiest of 64 ranks over the mean, batch {tokens}",
            source=_MONTE_CARLO,
            inputs="128 experts, 4 a token",
            unit="",
            expected=found,
            tolerance=0.02,
            compute=partial(_straggler, tokens),
        )
        for tokens, found in ((32, 2.95), (128, 1.92), (512, 1.42), (2048, 1.21))
    ),
    *(
        _HAND(
            name=f"all-reduce, {algorithm}, batch {batch}",
            inputs="gpt-oss-120b, 16 chips, torus 0.512 TB/s and 2 µs or switch 1.024 TB/s and 3 µs",
            unit="µs",
            expected=expected,
            tolerance=0.02,
            compute=partial(_reduce_us, _switch(16) if algorithm == "switch" else _torus(4), batch, algorithm),
        )
        for batch, times in ((1, (60, 16, 10, 6)), (1024, (82, 38, 32, 17)))
        for algorithm, expected in zip(_ALGORITHMS, times, strict=True)
    ),
    *(
        _HAND(
            name=f"MoE dispatch, {tokens} tokens a chip, {fabric.name}",
            inputs="top 4, BF16, width 2880",
            unit="µs",
            expected=expected,
            tolerance=0.04,
            compute=partial(_dispatch_us, fabric, tokens),
        )
        for fabric, tokens, expected in (
            (_torus(4), 64, 9.4),
            (_torus(8), 64, 19),
            (_torus(12), 64, 29),
            (_torus(12), 512, 149),
            (_switch(144), 64, 4.4),
            (_switch(144), 512, 14),
        )
    ),
)
