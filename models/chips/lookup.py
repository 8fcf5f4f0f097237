"""`get_chip`: a chip by name, with the figures that the caller prefers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trnlab.emulator.target import TARGETS, Generation, Target, TargetError, get_target
from trnlab.models.chips.assumptions import NAMED_SETS, choose, named_set, with_alternatives
from trnlab.models.chips.comparison import COMPARISON
from trnlab.models.chips.record import Chip
from trnlab.models.chips.toml_chips import load_chip
from trnlab.models.chips.trainium import trainium
from trnlab.models.quantity import ModelError

TRAINIUM = ("trn1", "trn2", "trn3", "trn4")


def chip_names() -> tuple[str, ...]:
    """Every chip that `get_chip` knows by name: four of Trainium, then those for comparison."""
    return (*TRAINIUM, *COMPARISON)


def get_chip(
    name: str | Generation | Target | Path, variant: str | None = None, *, figures: Mapping[str, str] | None = None
) -> Chip:
    """The chip of that name, or of the TOML file at that path.

    name: any name that `get_target` takes, a chip for comparison such as "h100", or a path that ends in ".toml".
    variant: for trn4 "low", "central" (the default), "high" or a named set such as "bf16 stays".
    figures: by topic, the figure to use instead of the default: {"link": "UltraServer table"}, {"bf16": "x1"}. The
        chip's `alternatives` lists them.

    Raises:
        TargetError: no such chip.
        ModelError: no such variant or figure; a target that no chip page speaks of; a file that breaks the schema.
    """
    chip = _comparison(name, variant) or _trainium(name, variant)
    return choose(chip, figures) if figures else chip


def _comparison(name: str | Generation | Target | Path, variant: str | None) -> Chip | None:
    is_file = isinstance(name, Path) or (isinstance(name, str) and name.lower().endswith(".toml"))
    key = name.lower() if isinstance(name, str) else ""
    if not is_file and key not in COMPARISON:
        return None
    chip = load_chip(Path(str(name))) if is_file else COMPARISON[key]
    if variant not in (None, "published"):
        raise ModelError(f"variant of {chip.name}", variant, "published; only trn4 has others")
    return chip


def _trainium(name: str | Generation | Target | Path, variant: str | None) -> Chip:
    assert not isinstance(name, Path)
    try:
        target = get_target(name, None if variant in NAMED_SETS else variant)
    except TargetError as error:
        if error.what != "target":
            known = (*error.allowed, *NAMED_SETS) if "low" in error.allowed else error.allowed
            raise TargetError(error.what, error.found, known) from None
        raise TargetError("chip", error.found, (*error.allowed, *COMPARISON, "FILE.toml")) from None
    if variant is not None and variant in NAMED_SETS:
        if target.generation is not Generation.V5:
            raise ModelError(f"variant of {target}", variant, "published; only trn4 has assumptions")
        return named_set(variant)
    if target not in TARGETS:
        raise ModelError("target of a chip", target.variant, "a published or projected target")
    return with_alternatives(trainium(target))


def chip_named(text: str, *, figures: Mapping[str, str] | None = None) -> Chip:
    """The chip of one word, as commands take it: "trn3", "trn4-low", "trn4-bf16 stays", "tpu-v5p", "FILE.toml".

    Raises:
        TargetError, ModelError, ChipFileError: see `get_chip`.
    """
    if text.lower() in COMPARISON or text.lower().endswith(".toml"):
        return get_chip(text, figures=figures)
    plain, _, variant = text.partition("-")
    return get_chip(plain, variant or None, figures=figures)
