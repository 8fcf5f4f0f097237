"""A chip written as the TOML file that `toml_chips` reads."""

from __future__ import annotations

import json

from trnlab.models.chips.record import Chip
from trnlab.models.chips.toml_chips import QUANTITIES
from trnlab.models.quantity import Quantity


def to_toml(chip: Chip) -> str:
    """The chip as a TOML file that `load_chip` reads back with the same figures; what makes a chip a Trainium is lost.

    Useful as a starting point for one's own.
    """
    texts = {"name": chip.label, "vendor": chip.vendor, "source": f"trnlab's figures of {chip.label}"}
    lines = [*(f"{key} = {_literal(text)}" for key, text in texts.items()), f"cores = {chip.cores}"]
    figures = ((key, getattr(chip, key)) for key in QUANTITIES)
    lines += [f"{key} = {_figure(found)}" for key, found in figures if found is not None]
    lines += ["", "[peaks]", *(f"{rate} = {_figure(peak)}" for rate, peak in chip.peaks.items())]
    wiring = chip.scale_up
    lines += ["", "[scale_up]", f"kind = {_literal(wiring.kind)}", f"shape = {list(wiring.shape)}"]
    lines += [f"bandwidth = {_figure(wiring.bandwidth)}", f"step_latency = {_figure(wiring.step_latency)}"]
    return "\n".join([*lines, f"shares = {list(wiring.shares)}", ""])


def _literal(value: str | float) -> str:
    """A number or text; TOML's basic texts escape as JSON does, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)


def _figure(quantity: Quantity) -> str:
    parts: dict[str, str | float] = {"value": quantity.value, "class": quantity.klass, "source": quantity.source}
    if quantity.low is not None and quantity.high is not None:
        parts |= {"low": quantity.low, "high": quantity.high}
    return "{ " + ", ".join(f"{key} = {_literal(value)}" for key, value in parts.items()) + " }"
