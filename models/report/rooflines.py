"""Our kernels on one core of each generation, as data: where they lie under its roofline, and which cannot run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from trnlab.emulator.errors import GenerationError
from trnlab.emulator.target import Target, get_target
from trnlab.models.kernel_point import KernelPoint
from trnlab.models.profile.kernel_files import load_kernel, parse_arguments
from trnlab.models.program_points import traced_point
from trnlab.models.roofline import Roofline

CORES: Final = ("trn1", "trn2", "trn3", "trn4")
KERNELS: Final = (
    ("BF16 matmul", "trnlab.kernels.matmul:matmul", "lhsT=bf16[2880,512]", "rhs=bf16[2880,2880]"),
    ("FP8 matmul", "trnlab.kernels.matmul:matmul_fp8", "lhsT=fp8_e4m3[2880,512]", "rhs=fp8_e4m3[2880,2880]"),
    ("MXFP8 matmul", "trnlab.kernels.matmul_mx:matmul_mxfp8", "lhsT=bf16[2880,512]", "rhs=bf16[2880,2880]"),
    (
        "MXFP4 weights",
        "trnlab.kernels.matmul_mx:matmul_mxfp8_weights",
        "lhsT=bf16[2880,512]",
        "weights=u16[736,2880]",
        "scales=u8[92,2880]",
    ),
    (
        "attention",
        "trnlab.kernels.attention:flash_attention",
        "q=bf16[8,1024,64]",
        "k=bf16[1,1024,64]",
        "v=bf16[1,1024,64]",
    ),
)
"""Name, kernel and arguments: an expert projection of gpt-oss-120b (d_model = d_ff = 2880, openai/gpt-oss, config.json)
for 512 tokens, and 8 query heads on one key/value head over 1,024 tokens."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One core, the kernels timed on it, and why others are missing.

    spans: (least, largest) FLOP/s of each kernel over the assumption sets of a projection; equal for anything else.
    """

    line: Roofline
    points: tuple[KernelPoint, ...]
    missing: tuple[str, ...]
    spans: dict[str, tuple[float, float]]

    @property
    def title(self) -> str:
        """The core, and the variant where it is a projection."""
        line = self.line
        if line.target is None or len(line.variants()) == 1:
            return line.title
        return f"{line.title} ({line.target.variant}; bands: low to high)"

    def rates(self) -> tuple[str, ...]:
        """Matmul rates that are drawn: all but the sparse one, which no kernel here uses."""
        return tuple(rate for rate in self.line.peaks if rate != "sparse")

    def ceilings(self) -> tuple[tuple[str, ...], ...]:
        """The rates that are drawn, those of equal peak together."""
        heights: dict[float, list[str]] = {}
        for rate in self.rates():
            heights.setdefault(self.line.peak(rate).value, []).append(rate)
        return tuple(map(tuple, heights.values()))


@cache
def panels() -> tuple[Panel, ...]:
    """Every generation's core; Trainium4's is the central variant, between its others."""
    return tuple(_panel(name) for name in CORES)


def _panel(name: str) -> Panel:
    line = Roofline.of_core(get_target(name))
    by_variant = [_timed(other.target) for other in line.variants() if other.target is not None]
    points, missing = _timed(get_target(name))
    rates = [{point.name: point.flops_per_second or 0.0 for point in found} for found, _ in by_variant]
    spans = {p.name: (min(each[p.name] for each in rates), max(each[p.name] for each in rates)) for p in points}
    return Panel(line=line, points=points, missing=missing, spans=spans)


@cache
def _timed(target: Target) -> tuple[tuple[KernelPoint, ...], tuple[str, ...]]:
    """The kernels that run on the target, timed there, and why the others do not."""
    points, missing = [], []
    for title, place, *arguments in KERNELS:
        try:
            points.append(traced_point(title, load_kernel(place), parse_arguments(arguments), target))
        except GenerationError as error:
            missing.append(f"{title}: {error.violation.subject}")
    return tuple(points), tuple(missing)
