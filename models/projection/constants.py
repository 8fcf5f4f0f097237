"""The constants of the three layers for a chip, each with its source; what is not known falls back and says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from trnlab.emulator.target import Generation
from trnlab.models.chips import Chip
from trnlab.models.frozen import FrozenMapping
from trnlab.models.projection.calibration import fit_decode, fit_prefill
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.measured_rows import OPERATORX
from trnlab.models.projection.method import (
    LAYERS,
    ROOFLINE,
    Case,
    LayerName,
    Method,
    Operator,
    everywhere,
    exact,
)
from trnlab.models.quantity import ModelError, Quantity, QuantityClass

GEMM: Final = Quantity(0.90, "", f"{OPERATORX}: large BF16 matrices reach 90 % of a pair of cores", "fitted", 0.8, 0.92)
"""Compute efficiency of large matrices, before tokens are padded to whole rows."""

ATTENTION: Final = Quantity(
    0.31,
    "",
    "NKI Library regression figure: causal attention 8192 x 8192, head size 128, FP32, two Trainium2 cores, 0.352 ms",
    "fitted",
    0.18,
    0.6,
)
"""Compute efficiency of attention against the BF16 peak: softmax and transposes share the time."""

EXPOSED: Final = Quantity(1.0, "", "assumed: nothing of a collective is hidden behind computing", "assumed", 0.0, 1.0)
PROMPT_CEILING: Final = 0.6
"""Assumed upper end of the compute efficiency of prompts on Trainium3 and later."""


_USER: Final = "given by the user"
_ROWS: Final = "fit to AWS's published decode rows, Trainium1 and 2"


def memory_efficiency() -> Quantity:
    """Share of HBM bandwidth that reading weights reaches in decode steps, fitted."""
    return Quantity(fit_decode().weight_efficiency, "", _ROWS, "fitted")


def cache_efficiency(chip: Chip) -> Quantity:
    """Share of HBM bandwidth that reading the cache reaches in decode steps; later chips may reach that of weights."""
    fit = fit_decode()
    measured = chip.target is not None and chip.target.generation in _FITTED
    source = _ROWS if measured else f"assumed for this chip; {_ROWS}"
    klass: QuantityClass = "fitted" if measured else "assumed"
    return Quantity(fit.cache_efficiency, "", source, klass, fit.cache_efficiency, fit.weight_efficiency)


def _trainium3_fixed() -> Quantity:
    source = (
        "assumed: 50 µs a layer is what the announced 3x and 4x on GPT-OSS would take; no decode step of Trainium3 "
        "has been published, Trainium2's were fitted to 170 µs"
    )
    return Quantity(50e-6, "s", source, "assumed", 40e-6, 170e-6)


_FIXED_LATER: Final[Mapping[Generation, Quantity]] = {
    Generation.V4: _trainium3_fixed(),
    Generation.V5: Quantity(
        30e-6, "s", "assumed: less than Trainium3's, down to a fused decoder", "assumed", 10e-6, 50e-6
    ),
}
_FITTED: Final = {Generation.V2: "trn1", Generation.V3: "trn2"}


def fixed_cost(chip: Chip) -> Quantity | None:
    """Seconds per layer and decode step: fitted for Trainium1 and 2, assumed for 3 and 4, None for other chips."""
    generation = None if chip.target is None else chip.target.generation
    if generation is None:
        return None
    if generation in _FITTED:
        fit, name = fit_decode(), _FITTED[generation]
        source = f"{_ROWS}; the band is what single rows would take"
        return Quantity(fit.fixed_seconds[name], "s", source, "fitted", *fit.fixed_range[name])
    return _FIXED_LATER[generation]


def prompt_efficiency(chip: Chip) -> Quantity:
    """Compute efficiency of prompts, fitted to Trainium1 and 2; later chips may reach up to the assumed ceiling."""
    fit = fit_prefill()
    source = "fit to AWS's published times to the first token, Trainium1 and 2"
    if chip.target is not None and chip.target.generation in _FITTED:
        return Quantity(fit.efficiency, "", source, "fitted", fit.low, fit.high)
    return Quantity(fit.efficiency, "", f"assumed for this chip; {source}", "assumed", fit.efficiency, PROMPT_CEILING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The constants of one layer: for decode steps and for prompts."""

    name: LayerName
    decode: Method
    prefill: Method

    def at(self, case: Case) -> Layer:
        """The same with every banded constant at its fast or slow end."""
        return Layer(name=self.name, decode=self.decode.at(case), prefill=self.prefill.at(case))

    @property
    def note(self) -> str:
        """What the reader must know of it."""
        return self.decode.note

    def told(self, *, exposed: float | None = None, fixed_seconds: float | None = None) -> Layer:
        """The same with the user's exposed share of collectives, and fixed cost where the layer has one.

        Raises:
            ModelError: a share outside 0 to 1, or a negative cost.
        """
        changes: dict[str, Quantity] = {}
        if exposed is not None and self.decode.transfer:
            changes["exposed"] = Quantity(exposed, "", _USER, "assumed")
        if fixed_seconds is not None and self.decode.fixed.value > 0:
            changes["fixed"] = Quantity(fixed_seconds, "s", _USER, "assumed")
        if not changes:
            return self
        note = "" if "fixed" in changes else self.decode.note
        decode = replace(self.decode, note=note, **changes)  # type: ignore[arg-type]
        return replace(self, decode=decode, prefill=replace(self.prefill, **changes))  # type: ignore[arg-type]


def _efficiencies(chip: Chip) -> Layer:
    known = chip.target is not None
    gemm = GEMM if known else replace(GEMM, klass="assumed", source=f"assumed for {chip.label}; {GEMM.source}")
    compute: dict[Operator, Quantity] = {"dense": gemm, "experts": gemm, "attention": ATTENTION}
    method = Method(
        name="efficiencies",
        compute=compute,
        memory=everywhere(memory_efficiency()),
        fixed=exact(0.0, "s"),
        latency=True,
        transfer=True,
        exposed=EXPOSED,
        padded=True,
        note="" if known else f"no measurement of {chip.label}: Trainium's efficiencies are assumed",
    )
    return Layer(name="efficiencies", decode=method, prefill=method)


def _calibrated(chip: Chip) -> Layer:
    base, fixed = _efficiencies(chip), fixed_cost(chip)
    if fixed is None:
        note = f"no calibration for {chip.label}: these are the efficiencies of the layer above"
        method = replace(base.decode, name="calibrated", note=note)
        return Layer(name="calibrated", decode=method, prefill=method)
    note = "" if fixed.klass == "fitted" else f"fixed cost per layer of {chip.label} is assumed, not measured"
    memory = {**base.decode.memory, "attention": cache_efficiency(chip)}
    decode = replace(base.decode, name="calibrated", memory=memory, fixed=fixed, latency=False, note=note)
    prompts = everywhere(prompt_efficiency(chip))
    prefill = replace(decode, compute=FrozenMapping(prompts), transfer=False, padded=False)
    return Layer(name="calibrated", decode=decode, prefill=prefill)


def layer_of(name: str, machine: Machine) -> Layer:
    """The layer's constants for a machine.

    Raises:
        ModelError: no such layer.
    """
    if name == "roofline":
        return Layer(name="roofline", decode=ROOFLINE, prefill=ROOFLINE)
    if name not in LAYERS:
        raise ModelError("layer", name, ", ".join(LAYERS))
    return _efficiencies(machine.chip) if name == "efficiencies" else _calibrated(machine.chip)
