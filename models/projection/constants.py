"""The constants of the three layers for a chip, each with its source; what is not known falls back and says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Final

from trnlab.emulator.target import Generation
from trnlab.models.chips import Chip
from trnlab.models.frozen import FrozenMapping
from trnlab.models.projection.calibration import fit_decode
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
from trnlab.models.projection.prompt_rows import fit_prefill
from trnlab.models.projection.trainium3_rows import MEGAKERNEL, fit_trainium3
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


CLAIMED_FIXED_SECONDS: Final = 40e-6
"""What the announced 4x on GPT-OSS would leave for a layer of Trainium3 at batch 1, Trainium2's measured step given."""
FUSED_FIXED_SECONDS: Final = 10e-6
"""Assumed for the best that software for Trainium4 could do: one kernel for all layers, its waits hidden."""


def _trainium3_fixed() -> Quantity:
    fit = fit_trainium3()
    source = (
        f"fit to third-party decode steps on one Trainium3 ({MEGAKERNEL}); slow end: the slowest of them; fast end: "
        f"{CLAIMED_FIXED_SECONDS * 1e6:.0f} µs, which the announced 4x on GPT-OSS would take"
    )
    return Quantity(fit.fixed_seconds, "s", source, "fitted", CLAIMED_FIXED_SECONDS, fit.high)


def _trainium4_fixed() -> Quantity:
    fit = fit_trainium3()
    source = (
        "assumed: as Trainium3's, since three generations differ by less than a tenth; fast end: "
        f"{FUSED_FIXED_SECONDS * 1e6:.0f} µs, a fused decoder whose waits are hidden; slow end: the slowest of "
        "Trainium3's measured fused decoders"
    )
    return Quantity(fit.fixed_seconds, "s", source, "assumed", FUSED_FIXED_SECONDS, fit.fused)


_FIXED_LATER: Final[Mapping[Generation, Callable[[], Quantity]]] = {
    Generation.V4: _trainium3_fixed,
    Generation.V5: _trainium4_fixed,
}
_FITTED: Final = {Generation.V2: "trn1", Generation.V3: "trn2"}


def fixed_cost(chip: Chip) -> Quantity | None:
    """Seconds per layer and decode step: fitted for Trainium1 to 3, assumed for 4, None for other chips."""
    generation = None if chip.target is None else chip.target.generation
    if generation is None:
        return None
    if generation in _FITTED:
        fit, name = fit_decode(), _FITTED[generation]
        source = f"{_ROWS}; the band is what single rows would take"
        return Quantity(fit.fixed_seconds[name], "s", source, "fitted", *fit.fixed_range[name])
    return _FIXED_LATER[generation]()


def prompt_efficiency(chip: Chip) -> Quantity:
    """Compute efficiency of prompts: fitted to Trainium1's or 2's own rows, Trainium2's assumed for later chips."""
    fit, source = fit_prefill(), "AWS's published times to the first token"
    generation = None if chip.target is None else chip.target.generation
    name = _FITTED.get(generation) if generation is not None else None
    if name is not None:
        return Quantity(fit.efficiency[name], "", f"fit to {source} on {name}", "fitted", *fit.spread[name])
    least, _ = fit.spread["trn2"]
    source = f"assumed for this chip: Trainium2's fit to {source}; fast end assumed"
    return Quantity(fit.efficiency["trn2"], "", source, "assumed", least, PROMPT_CEILING)


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
    def notes(self) -> tuple[str, ...]:
        """What the reader must know of it, of decode steps and of prompts."""
        return tuple(dict.fromkeys(note for note in (self.decode.note, self.prefill.note) if note))

    @property
    def note(self) -> str:
        """The notes in one text."""
        return "; ".join(self.notes)

    def told(self, *, exposed: float | None = None, fixed_seconds: float | None = None) -> Layer:
        """The same with the user's exposed share of collectives, and fixed cost where the layer has one.

        Raises:
            ModelError: a share outside 0 to 1, or a negative cost.
        """
        for title, told in (("exposed share of collectives", exposed), ("fixed cost per layer", fixed_seconds)):
            if told is not None and not isfinite(told):
                raise ModelError(title, told, "a finite number")
        changes: dict[str, Quantity] = {}
        if exposed is not None and self.decode.transfer:
            changes["exposed"] = Quantity(exposed, "", _USER, "assumed")
        if fixed_seconds is not None and self.name == "calibrated":
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
        padded=frozenset(("dense", "experts")),
        note="" if known else f"no measurement of {chip.label}: Trainium's efficiencies are assumed",
    )
    return Layer(name="efficiencies", decode=method, prefill=method)


def _calibrated(chip: Chip) -> Layer:
    base, fixed = _efficiencies(chip), fixed_cost(chip)
    if fixed is None:
        note = (
            f"no calibration for {chip.label}: these are the efficiencies of the layer above, without the fixed cost "
            "that Trainiums have here, so the two do not compare"
        )
        method = replace(base.decode, name="calibrated", note=note)
        return Layer(name="calibrated", decode=method, prefill=method)
    memory = {**base.decode.memory, "attention": cache_efficiency(chip)}
    decode = replace(
        base.decode, name="calibrated", memory=memory, fixed=fixed, latency=False, note=_fixed_note(chip, fixed)
    )
    prompts = prompt_efficiency(chip)
    prefill = replace(
        decode,
        compute=FrozenMapping(everywhere(prompts)),
        transfer=False,
        padded=frozenset(),
        note=_prompt_note(prompts),
    )
    return Layer(name="calibrated", decode=decode, prefill=prefill)


def flat_layer(compute: float, memory: float, fixed_seconds: float) -> Layer:
    """One share of the peak for all computing, one of HBM for all bytes, a fixed cost per layer; collectives hidden.

    Raises:
        ModelError: a share that is not above 0 and at most 1, or a negative cost.
    """
    method = replace(
        ROOFLINE,
        compute=everywhere(Quantity(compute, "", _USER, "assumed")),
        memory=everywhere(Quantity(memory, "", _USER, "assumed")),
        fixed=Quantity(fixed_seconds, "s", _USER, "assumed"),
        note="",
    )
    return Layer(name="efficiencies", decode=method, prefill=replace(method, fixed=exact(0.0, "s")))


def _fixed_note(chip: Chip, fixed: Quantity) -> str:
    if fixed.klass == "assumed":
        return f"fixed cost per layer of {chip.label} is assumed, not measured"
    if chip.target is not None and chip.target.generation in _FITTED:
        return ""
    return f"fixed cost per layer of {chip.label} is fitted to third-party runs on one chip; AWS publishes none"


def _prompt_note(efficiency: Quantity) -> str:
    low, high = efficiency.interval
    where = "" if efficiency.klass == "fitted" else ", those of Trainium2 assumed and an assumed fast end"
    return (
        f"prompts at {efficiency.value:.0%} of peak ({low:.0%} to {high:.0%}{where}): published times to the first "
        "token scatter so widely that one is good to about a factor of two"
    )


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
