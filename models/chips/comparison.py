"""Chips of other vendors, for comparison, from their public data sheets: dense peaks, memory, scale-up links, power.

Data sheets that print peaks with structured sparsity are halved. A source that says "read in" was checked against a
copy of the vendor's page; "reported" figures were found in secondary reports that agree with each other, and the
vendor's page itself could not be opened here. AMD's peaks are compute units x FLOP a clock x clock, which a test works
out. Latencies of links are assumed, nobody publishes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from trnlab.models.chips.record import GIB, Chip, Choice
from trnlab.models.chips.topology import Kind, Topology
from trnlab.models.quantity import Quantity

GB: Final = 1e9

_HOPPER: Final = "NVIDIA H100 and H200 data sheets, SXM, halved where printed with sparsity (reported)"
_HGX_B200: Final = "NVIDIA HGX B200 data sheet, per GPU, dense (reported)"
_GB300: Final = "NVIDIA GB300 NVL72 data sheet, per GPU, dense (reported)"
_V5P: Final = "Google Cloud TPU v5p page (read in a stored copy)"
_V6E: Final = "Google Cloud TPU v6e page (read in a stored copy)"
_TPU7X: Final = "Google Cloud TPU7x page (read in a stored copy)"
_MI300X: Final = "AMD Instinct MI300X data sheet, dense (reported)"
_MI355X: Final = "AMD Instinct MI355X data sheet, dense (reported)"

_SWITCH_STEP: Final = Quantity(
    3e-6, "s", "assumed: one crossing of an NVSwitch, as of Trainium's switch", "assumed", 1e-6, 5e-6
)
_ICI_HOP: Final = Quantity(1e-6, "s", "jax-ml scaling book: about 1 µs a hop of a TPU's interconnect", "published")
_XGMI_STEP: Final = Quantity(
    3e-6, "s", "assumed: one direct link between two GPUs, with its software", "assumed", 1e-6, 5e-6
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sheet:
    """One data sheet: TFLOP/s by rate, bytes, TB/s, GB/s of the links in both directions, watts, and the wiring.

    others: by topic, other official figures as (name, field, value, unit, source).
    """

    name: str
    vendor: str
    cores: int
    tflops: Mapping[str, float]
    hbm_bytes: float
    hbm_terabytes: float
    link_gigabytes: float
    kind: Kind
    shape: tuple[int, ...]
    step: Quantity
    source: str
    watts: float | None = None
    others: Mapping[str, tuple[tuple[str, str, float, str, str], ...]] = field(default_factory=dict)


_HOPPER_TFLOPS: Final = {"fp32": 66.9, "tf32": 494.7, "bf16": 989.4, "fp8": 1978.9, "int8": 1978.9}

_SHEETS: Final[Mapping[str, _Sheet]] = {
    "h100": _Sheet(
        name="H100 SXM",
        vendor="NVIDIA",
        cores=132,
        tflops=_HOPPER_TFLOPS,
        hbm_bytes=80 * GB,
        hbm_terabytes=3.35,
        link_gigabytes=900,
        kind="switch",
        shape=(8,),
        step=_SWITCH_STEP,
        source=_HOPPER,
        watts=700,
    ),
    "h200": _Sheet(
        name="H200 SXM",
        vendor="NVIDIA",
        cores=132,
        tflops=_HOPPER_TFLOPS,
        hbm_bytes=141 * GB,
        hbm_terabytes=4.8,
        link_gigabytes=900,
        kind="switch",
        shape=(8,),
        step=_SWITCH_STEP,
        source=_HOPPER,
        watts=700,
    ),
    "b200": _Sheet(
        name="B200 SXM",
        vendor="NVIDIA",
        cores=148,
        tflops={"fp32": 75, "tf32": 1125, "bf16": 2250, "fp8": 4500, "mxfp8": 4500, "mxfp4": 9000, "int8": 4500},
        hbm_bytes=180 * GB,
        hbm_terabytes=7.7,
        link_gigabytes=1800,
        kind="switch",
        shape=(8,),
        step=_SWITCH_STEP,
        source=_HGX_B200,
        watts=1000,
        others={
            "hbm_bytes": (
                ("HGX data sheet", "hbm_bytes", 180 * GB, "B", _HGX_B200),
                ("announcement", "hbm_bytes", 192 * GB, "B", "NVIDIA Blackwell announcement (reported)"),
            ),
            "hbm_bandwidth": (
                ("HGX data sheet", "hbm_bandwidth", 7.7e12, "B/s", _HGX_B200),
                ("announcement", "hbm_bandwidth", 8e12, "B/s", "NVIDIA Blackwell announcement (reported)"),
            ),
        },
    ),
    "gb300": _Sheet(
        name="GB300",
        vendor="NVIDIA",
        cores=160,
        tflops={"fp32": 80, "tf32": 1250, "bf16": 2500, "fp8": 5000, "mxfp8": 5000, "mxfp4": 15_000, "int8": 165},
        hbm_bytes=279 * GB,
        hbm_terabytes=8.0,
        link_gigabytes=1800,
        kind="switch",
        shape=(72,),
        step=_SWITCH_STEP,
        source=_GB300,
        watts=1400,
        others={
            "hbm_bytes": (
                ("data sheet", "hbm_bytes", 279 * GB, "B", _GB300),
                ("announcement", "hbm_bytes", 288 * GB, "B", "NVIDIA Blackwell Ultra announcement (reported)"),
            ),
        },
    ),
    "tpu-v5p": _Sheet(
        name="TPU v5p",
        vendor="Google",
        cores=2,
        tflops={"bf16": 459, "fp8": 459, "int8": 918},
        hbm_bytes=95 * GIB,
        hbm_terabytes=2.765,
        link_gigabytes=1200,
        kind="torus",
        shape=(16, 20, 28),
        step=_ICI_HOP,
        source=f"{_V5P}; int8 and the pod's shape reported",
        others={
            "hbm_bytes": (
                ("current page", "hbm_bytes", 95 * GIB, "B", _V5P),
                ("older page", "hbm_bytes", 95 * GB, "B", f"{_V5P}, older edition in GB"),
            ),
        },
    ),
    "tpu-v6e": _Sheet(
        name="TPU v6e",
        vendor="Google",
        cores=1,
        tflops={"bf16": 918, "fp8": 918, "int8": 1836},
        hbm_bytes=32 * GIB,
        hbm_terabytes=1.638,
        link_gigabytes=800,
        kind="torus",
        shape=(16, 16),
        step=_ICI_HOP,
        source=f"{_V6E}; {_TPU7X}",
        others={
            "hbm_bytes": (
                ("TPU7x page", "hbm_bytes", 32 * GIB, "B", _TPU7X),
                ("v6e page", "hbm_bytes", 32 * GB, "B", _V6E),
            ),
        },
    ),
    "ironwood": _Sheet(
        name="TPU7x",
        vendor="Google",
        cores=2,
        tflops={"bf16": 2307, "fp8": 4614},
        hbm_bytes=192 * GIB,
        hbm_terabytes=7.38,
        link_gigabytes=1200,
        kind="torus",
        shape=(16, 24, 24),
        step=_ICI_HOP,
        source=f"{_TPU7X}; the shape of the 9,216 chips is assumed",
        others={
            "hbm_bandwidth": (
                ("TPU7x page", "hbm_bandwidth", 7.38e12, "B/s", _TPU7X),
                ("announcement", "hbm_bandwidth", 7.2e12, "B/s", "Google Cloud Next 2025 (reported)"),
            ),
        },
    ),
    "mi300x": _Sheet(
        name="MI300X",
        vendor="AMD",
        cores=304,
        tflops={"fp32": 163.4, "tf32": 653.7, "bf16": 1307.4, "fp8": 2614.9, "int8": 2614.9},
        hbm_bytes=192 * GB,
        hbm_terabytes=5.3,
        link_gigabytes=896,
        kind="fully connected",
        shape=(8,),
        step=_XGMI_STEP,
        source=_MI300X,
        watts=750,
    ),
    "mi355x": _Sheet(
        name="MI355X",
        vendor="AMD",
        cores=256,
        tflops={"fp32": 157.3, "bf16": 2516.6, "fp8": 5033.2, "mxfp8": 5033.2, "mxfp4": 10_066, "int8": 5033.2},
        hbm_bytes=288 * GB,
        hbm_terabytes=8.0,
        link_gigabytes=1075.2,
        kind="fully connected",
        shape=(8,),
        step=_XGMI_STEP,
        source=_MI355X,
        watts=1400,
    ),
}


def _chip(sheet: _Sheet) -> Chip:
    def quantity(value: float, unit: str) -> Quantity:
        return Quantity(value, unit, sheet.source)

    link = quantity(sheet.link_gigabytes * GB, "B/s")
    one_way = Quantity(sheet.link_gigabytes * GB / 2, "B/s", f"{sheet.source}; half of both directions", "derived")
    return Chip(
        name=sheet.name,
        vendor=sheet.vendor,
        cores=sheet.cores,
        peaks={rate: quantity(value * 1e12, "FLOP/s") for rate, value in sheet.tflops.items()},
        hbm_bytes=quantity(sheet.hbm_bytes, "B"),
        hbm_bandwidth=quantity(sheet.hbm_terabytes * 1e12, "B/s"),
        link_bandwidth=link,
        scale_up=Topology(kind=sheet.kind, shape=sheet.shape, bandwidth=one_way, step_latency=sheet.step),
        power=None if sheet.watts is None else quantity(sheet.watts, "W"),
        alternatives={
            topic: tuple(
                Choice(name=name, source=source, changes={key: Quantity(value, unit, source)})
                for name, key, value, unit, source in rows
            )
            for topic, rows in sheet.others.items()
        },
    )


COMPARISON: Final[Mapping[str, Chip]] = MappingProxyType({key: _chip(sheet) for key, sheet in _SHEETS.items()})
"""Chips of other vendors by the name that `get_chip` takes."""
