"""Figures to choose from: official ones that contradict each other, and assumptions about what is not announced.

`get_chip("trn3", figures={"link": "UltraServer table"})` takes another printed figure,
`get_chip("trn4", figures={"bf16": "x1"})` another assumption, `get_chip("trn4", "bf16 stays")` a named set of them.
A multiple of Trainium3 may be any: "x2.5".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Final

from trnlab.emulator.target import Generation, Target, get_target
from trnlab.emulator.target.facts import CHIP_PAGES, GUIDES, ISA, ULTRASERVER_PAGES
from trnlab.models.chips.record import GIB, Chip, Choice, chip_flops
from trnlab.models.chips.trainium import FABRIC, one_direction, trainium
from trnlab.models.quantity import ModelError, Quantity

NAMED_SETS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "bf16 stays": ("central", {"bf16": "x1"}),
    "bf16 follows fp8": ("central", {"bf16": "x3"}),
    "memory stays": ("central", {"hbm_bytes": "144 GiB"}),
    "memory x2.67": ("central", {"hbm_bytes": "384 GiB"}),
    "NeuronLink kept": ("central", {"link": "NeuronLink-v4", "domain": "switch of 144"}),
    "slow memory": ("central", {"hbm_bandwidth": "x3"}),
    "1 kW": ("central", {"power": "1000 W"}),
    "2.5 kW": ("central", {"power": "2500 W"}),
}
"""Named sets of assumptions about Trainium4: the variant they start from, and what they change."""

Changes = dict[str, Quantity | tuple[int, ...]]

_MULTIPLE: Final = re.compile(r"x(\d+(?:\.\d+)?)")
LARGEST_MULTIPLE: Final = 100.0
"""Of a figure of Trainium3; beyond it a multiple is a slip of the pen."""
_RATE_OF_TOPIC: Final[Mapping[str, str]] = {"fp32": "fp32", "bf16": "bf16", "fp8": "mxfp8", "fp4": "mxfp4"}
_MULTIPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "fp32": ("x1", "x2", "x3"),
    "bf16": ("x1", "x2", "x3", "x4"),
    "fp8": ("x2.7", "x3", "x3.5"),
    "fp4": ("x4", "x4.86", "x6", "x7", "x8"),
    "hbm_bandwidth": ("x3", "x4", "x4.5"),
    "hbm_bytes": (),
}
"""Topics of the projection that are multiples of Trainium3's chip-page figure, with the multiples worth asking for."""


def choose(chip: Chip, figures: Mapping[str, str]) -> Chip:
    """The chip with the named figures in place of its own.

    Raises:
        ModelError: the chip has no such topic, or the topic no such figure; lists those there are.
    """
    for topic, name in figures.items():
        if topic not in chip.alternatives:
            raise ModelError(
                f"figure of {chip.name}", topic, ", ".join(chip.alternatives) or "none; it has no alternatives"
            )
        chip = chip.with_choice(topic, _choice(chip, topic, name))
    return chip


def _choice(chip: Chip, topic: str, name: str) -> Choice:
    listed = {choice.name: choice for choice in chip.alternatives[topic]}
    if name in listed:
        return listed[name]
    multiple = _MULTIPLE.fullmatch(name)
    is_projection = chip.target is not None and chip.target.generation is Generation.V5
    is_known = multiple is not None and 0 < float(multiple[1]) <= LARGEST_MULTIPLE
    if multiple is None or not is_known or not is_projection or topic not in _MULTIPLES:
        more = f", or another multiple up to x{LARGEST_MULTIPLE:g}" if is_projection and topic in _MULTIPLES else ""
        raise ModelError(f"figure {topic!r} of {chip.name}", name, ", ".join(listed) + more)
    assert chip.target is not None
    return _multiple(chip.target, topic, float(multiple[1]))


def named_set(name: str) -> Chip:
    """The Trainium4 of a named set of assumptions; its label is that name.

    Raises:
        ModelError: no such set.
    """
    if name not in NAMED_SETS:
        raise ModelError("assumptions about Trainium4", name, ", ".join(("low", "central", "high", *NAMED_SETS)))
    variant, figures = NAMED_SETS[name]
    base = with_alternatives(trainium(get_target("trn4", variant)))
    return replace(choose(base, figures), selected={}, assumptions=name)


@cache
def with_alternatives(chip: Chip) -> Chip:
    """The Trainium chip with every figure that can be chosen in its place."""
    assert chip.target is not None
    return replace(chip, alternatives=_ALTERNATIVES[chip.target.generation](chip, chip.target))


def _figure(name: str, field: str, value: float, unit: str, source: str, *numbers: str) -> Choice:
    """A printed figure for one field of the chip, and for the target's numbers of the same meaning."""
    quantity = Quantity(value, unit, source, "published")
    return Choice(name=name, source=source, changes={field: quantity}, target=dict.fromkeys(numbers, value))


def _hbm(*rows: tuple[str, float, str]) -> tuple[Choice, ...]:
    number = "hbm_bytes_per_second_per_chip"
    return tuple(_figure(name, "hbm_bandwidth", value, "B/s", source, number) for name, value, source in rows)


def _link(name: str, both: float, source: str, what: str = "half of both directions summed") -> Choice:
    printed = Quantity(both, "B/s", source)
    changes: Changes = {"link_bandwidth": printed, "scale_up.bandwidth": one_direction(printed, what)}
    return Choice(name=name, source=source, changes=changes, target={"link_bytes_per_second_per_chip": both})


def _peaks(chip: Chip, target: Target) -> tuple[Choice, ...]:
    """The chip page's peaks, or what the core guides' figures add up to."""
    source = f"{GUIDES}: cores x core rate"
    page: Changes = {f"peaks.{rate}": peak for rate, peak in chip.peaks.items()}
    cores: Changes = {
        f"peaks.{rate}": Quantity(chip_flops(target, rate), "FLOP/s", source, "derived")
        for rate in target.matmul_rates()
    }
    return (
        Choice(name="chip page", source=CHIP_PAGES, changes=page),
        Choice(name="core guides", source=source, changes=cores),
    )


def _power(*watts: int) -> tuple[Choice, ...]:
    source = "assumed: one of the figures that have been guessed"
    return tuple(
        Choice(name=f"{value} W", source=source, changes={"power": Quantity(value, "W", source, "assumed")})
        for value in watts
    )


def _domain(chips: int, source: str) -> Choice:
    return Choice(name=f"switch of {chips}", source=source, changes={"scale_up.shape": (chips,)})


def _trainium1(chip: Chip, target: Target) -> dict[str, tuple[Choice, ...]]:
    return {
        "hbm_bandwidth": _hbm(
            ("chip page", 820e9, CHIP_PAGES),
            ("newer chip page", 820.0 * GIB, f"{CHIP_PAGES}: newer editions, in GiB/s"),
        ),
        "link": (
            _link("chip page", 384e9, CHIP_PAGES),
            _link("trn1n", 768e9, f"{ULTRASERVER_PAGES}: trn1n"),
        ),
        "peaks": _peaks(chip, target),
    }


def _trainium2(chip: Chip, target: Target) -> dict[str, tuple[Choice, ...]]:
    return {
        "hbm_bandwidth": _hbm(
            ("chip page", 2.9e12, CHIP_PAGES), ("NKI guide", 3.0e12, "AWS NKI Trainium2 architecture guide")
        ),
        "peaks": _peaks(chip, target),
        "power": _power(400, 500, 600),
    }


def _trainium3(chip: Chip, target: Target) -> dict[str, tuple[Choice, ...]]:
    table, links = f"{ULTRASERVER_PAGES}: UltraServer table", f"{ULTRASERVER_PAGES}: 11 PCIe Gen6 x8 links"
    return {
        "hbm_bandwidth": _hbm(
            ("chip page", 4.9e12, CHIP_PAGES), ("NKI guide", 4.7e12, "AWS NKI Trainium3 architecture guide")
        ),
        "link": (
            _link("chip page", 2.56e12, CHIP_PAGES),
            _link("UltraServer table", 2048.0 * GIB, table),
            # 88 lanes carry 704 GB/s each way; the page does not say that this is one direction.
            _link("sum of links, one direction", 2 * 704e9, links, "the 704 GB/s printed, as one direction"),
            _link("sum of links, both directions", 704e9, links, "half of the 704 GB/s printed"),
        ),
        "domain": (
            _domain(64, f"{ULTRASERVER_PAGES}: Trn3 Gen1 UltraServer"),
            _domain(144, f"{ULTRASERVER_PAGES}: Trn3 Gen2 UltraServer"),
        ),
        "peaks": _peaks(chip, target),
        "plain fp8": (
            Choice(name="double row", source=ISA, changes={"peaks.fp8": chip.peaks["fp8"]}),
            _plain_fp8(chip),
        ),
        "power": _power(500, 692, 1000),
    }


def _plain_fp8(chip: Chip) -> Choice:
    """The Trainium3 guide's width table has FP8 without block scales at the 16-bit rate."""
    source = "AWS NKI Trainium3 architecture guide: 2 x 128 inputs for all dense formats but MX"
    peak = Quantity(chip.peaks["bf16"].value, "FLOP/s", source, "derived")
    return Choice(name="as BF16", source=source, changes={"peaks.fp8": peak}, target={"tensor_fp8_macs_per_cycle": 1.0})


def _trainium4(chip: Chip, target: Target) -> dict[str, tuple[Choice, ...]]:
    nvlink, neuronlink = "assumed: NVLink 6 through NVLink Fusion", "assumed: NeuronLink-v4 kept"
    kept = _link("NeuronLink-v4", 2 * 1.0e12, neuronlink)
    multiples = {
        topic: tuple(_multiple(target, topic, float(name[1:])) for name in names) for topic, names in _MULTIPLES.items()
    }
    sizes = tuple(
        _figure(f"{gib} GiB", "hbm_bytes", gib * GIB, "B", "assumed", "hbm_bytes_per_chip") for gib in (144, 288, 384)
    )
    return multiples | {
        "hbm_bytes": tuple(_assumed(choice) for choice in sizes) + multiples["hbm_bytes"],
        "link": (_assumed(kept), _assumed(_link("NVLink 6", 3.6e12, nvlink))),
        "domain": tuple(_domain(chips, FABRIC) for chips in (64, 72, 144)),
        "power": _power(692, 1000, 1500, 2500),
    }


def _assumed(choice: Choice) -> Choice:
    """The choice with every quantity of class assumed."""
    changes: Changes = {
        key: replace(new, klass="assumed") if isinstance(new, Quantity) else new for key, new in choice.changes.items()
    }
    return replace(choice, changes=changes)


def _multiple(target: Target, topic: str, factor: float) -> Choice:
    """Trainium4 with `factor` times Trainium3's chip-page figure; the core's number is scaled to agree."""
    trn3 = trainium(get_target("trn3"))
    name, source = f"x{factor:g}", f"assumed: {factor:g} x Trainium3's chip page"
    if topic not in _RATE_OF_TOPIC:
        kept = {"hbm_bandwidth": trn3.hbm_bandwidth, "hbm_bytes": trn3.hbm_bytes}[topic]
        number = {"hbm_bandwidth": "hbm_bytes_per_second_per_chip", "hbm_bytes": "hbm_bytes_per_chip"}[topic]
        value = Quantity(factor * kept.value, kept.unit, source, "assumed")
        return Choice(name=name, source=source, changes={topic: value}, target={number: value.value})
    rate = _RATE_OF_TOPIC[topic]
    macs = f"tensor_{rate}_macs_per_cycle"
    per_mac = chip_flops(target, rate) / getattr(target, macs)
    wanted = factor * chip_flops(get_target("trn3"), rate)
    peak = Quantity(factor * trn3.peaks[rate].value, "FLOP/s", source, "assumed")
    return Choice(name=name, source=source, changes={f"peaks.{rate}": peak}, target={macs: wanted / per_mac})


_ALTERNATIVES: Final = {
    Generation.V2: _trainium1,
    Generation.V3: _trainium2,
    Generation.V4: _trainium3,
    Generation.V5: _trainium4,
}
