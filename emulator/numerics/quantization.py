"""Quantise a tensor of any size on the host, chunk by chunk, and report what that loses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import as_dtype
from trnlab.emulator.errors import ArgumentError, DtypeError, KernelError, ShapeError, Violation
from trnlab.emulator.numerics.microscaling_policies import BLOCK_POLICIES, ScaleRule
from trnlab.emulator.numerics.quantization_formats import FORMATS, Floats, QuantizationFormat, Request
from trnlab.emulator.numerics.quantization_report import QuantizationReport, Tally
from trnlab.emulator.usage import nearest

CHUNK: Final = 2**20
"""Elements that are worked on at once."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """A report, and the arrays that hold the quantised tensor where they were asked for, blocks along the last axis."""

    report: QuantizationReport
    parts: Mapping[str, NDArray[Any]]


def quantize_tensor(
    tensor: NDArray[Any],
    format: str,
    *,
    axis: int = -1,
    rule: str | None = None,
    policy: str = "hardware",
    keep: bool = False,
) -> Quantization:
    """Quantise a tensor and report what is lost, chunk by chunk.

    tensor: bfloat16, float16 or float32 of at least one axis, in any memory order.
    format: a name in `FORMATS`. axis: along which the blocks lie; its length must be a multiple of the block's.
    rule:   "nki" or "ocp_floor", for MX formats; by default what quantize_mx does, and for FP4 the OCP rule.
    policy: a name in `BLOCK_POLICIES`, for MX formats.
    keep:   hand back the quantised arrays too; MX blocks and scales are as `pack_checkpoint` takes them.

    Raises:
        ArgumentError: an unknown format, rule or policy, or one that the format has not.
        DtypeError: another dtype. ShapeError: no axis, nothing in it, or blocks that do not divide it.
    """
    chosen = _format(format)
    chosen_rule = _rule(format, chosen, rule)
    if policy not in BLOCK_POLICIES:
        _fail(ArgumentError, "policy", repr(policy), f"{', '.join(BLOCK_POLICIES)}{nearest(policy, BLOCK_POLICIES)}")
    if policy != "hardware" and not chosen.rules:
        _fail(ArgumentError, "policy", f"{policy!r} for {format}", "hardware: the others are for MX formats")
    position = _check_tensor(tensor, chosen, axis)
    rows = np.moveaxis(tensor, position, -1)
    flat = rows.reshape(-1, rows.shape[-1])
    largest = float(np.max([np.abs(part).max() for part in _chunks(flat)]))
    request = Request(chosen_rule, BLOCK_POLICIES[policy], largest)
    tally = Tally(chosen)
    pieces: list[Mapping[str, NDArray[Any]]] = []
    for chunk in _chunks(flat):
        encoded = chosen.encode(chunk, request)
        tally.add(chunk, encoded)
        pieces += [encoded.parts] if keep else []
    facts = {
        "format": format,
        "element": str(chosen.element),
        "source": chosen.source,
        "rule": chosen_rule.value if chosen.rules else "",
        "policy": policy if chosen.rules else "",
        "shape": tensor.shape,
        "dtype": str(as_dtype(tensor.dtype)),
        "axis": position,
    }
    leading = rows.shape[:-1]
    return Quantization(tally.report(facts, leading, position), _joined(pieces, leading))


def _joined(pieces: Sequence[Mapping[str, NDArray[Any]]], leading: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    """The chunks' arrays as one each, with the tensor's leading axes."""
    whole = {name: np.concatenate([piece[name] for piece in pieces]) for name in (pieces[0] if pieces else ())}
    return {name: part.reshape(*leading, *part.shape[1:]) for name, part in whole.items()}


def _chunks(flat: NDArray[Any]) -> Iterator[Floats]:
    """Rows in f32, a chunk at a time, contiguous."""
    step = max(1, CHUNK // flat.shape[1])
    return (np.ascontiguousarray(flat[i : i + step]).astype(np.float32) for i in range(0, len(flat), step))


# -------------------------------------------------------------------------------------------------------- checks


def _format(name: str) -> QuantizationFormat:
    if name not in FORMATS:
        _fail(ArgumentError, "format", repr(name), f"{', '.join(FORMATS)}{nearest(name, FORMATS)}")
    return FORMATS[name]


def _rule(name: str, format: QuantizationFormat, rule: str | None) -> ScaleRule:
    if rule is None:
        return format.rules[0] if format.rules else ScaleRule.OCP_FLOOR
    allowed = [item.value for item in format.rules]
    if rule not in allowed:
        _fail(ArgumentError, "rule", f"{rule!r} for {name}", " or ".join(allowed) or "none: no rule makes its scales")
    return ScaleRule(rule)


def _check_tensor(tensor: NDArray[Any], format: QuantizationFormat, axis: int) -> int:
    sources = (dtypes.bfloat16, dtypes.float16, dtypes.float32)
    if tensor.dtype not in [source.storage for source in sources]:
        _fail(DtypeError, "tensor", str(tensor.dtype), f"{', '.join(sources)} in native byte order")
    if tensor.ndim == 0 or tensor.size == 0:
        _fail(ShapeError, "tensor", f"shape {tensor.shape}", "at least one axis, and something in it")
    if not -tensor.ndim <= axis < tensor.ndim:
        _fail(ArgumentError, "axis", str(axis), f"from {-tensor.ndim} to {tensor.ndim - 1}")
    length = tensor.shape[axis]
    if length % format.block:
        allowed = f"a multiple of {format.block}, the block; pad it, or choose another axis"
        _fail(ShapeError, "tensor", f"{length} along axis {axis} of shape {tensor.shape}", allowed)
    return axis % tensor.ndim


def _fail(error: type[KernelError], operand: str, found: str, allowed: str) -> NoReturn:
    raise error(Violation(subject="quantize", operand=operand, found=found, allowed=allowed))
