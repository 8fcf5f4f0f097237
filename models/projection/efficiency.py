"""Efficiencies of operators from the timelines of our own kernels, at the shapes that one core has of them.

The table is keyed by operator, matmul rate, per-core shape and target. An entry is

    efficiency = max(FLOP / peak, bytes / HBM) of one core's share of the chip / time of the kernel's timeline,

with the bytes that the operation needs, not those that the kernel moves. Where no kernel of ours covers the operator,
rate or target, the entry is the stated default and says so. Measuring is pure, and every entry is kept once made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import jax
import ml_dtypes
import numpy as np

from trnlab.emulator import Target, dtypes, trace
from trnlab.emulator.errors import GenerationError, TrnlabError
from trnlab.emulator.timing.timeline import Range, schedule
from trnlab.kernels.attention import flash_attention
from trnlab.kernels.attention_decode import decode_attention
from trnlab.kernels.matmul import matmul, matmul_fp8
from trnlab.kernels.matmul_mx import matmul_mxfp8_weights
from trnlab.models.chips import Chip
from trnlab.models.quantity import ModelError, Quantity

KernelName = Literal["matmul", "prefill attention", "decode attention"]
COVERED: Final[Mapping[KernelName, tuple[str, ...]]] = {
    "matmul": ("bf16", "fp8", "mxfp8"),
    "prefill attention": ("bf16",),
    "decode attention": ("bf16",),
}
"""Matmul rates, of decode attention formats of the cache, for which there is a kernel of ours."""
MOST_TOKENS, MOST_COLUMNS, MOST_DEPTH, MOST_KEYS = 1024, 2048, 8192, 4096
"""Larger shapes are timed at these sizes: the kernels repeat themselves, so their efficiency no longer changes."""
MOST_CONTEXT, MOST_CACHED_KEYS = 16_384, 1 << 17
"""The same for decode attention: keys of one cache and of all; beyond them its efficiency still rises by a tenth."""


class Shape(NamedTuple):
    """What one core does. matmul: tokens, columns, depth. Attention: queries, keys, head_dim, with heads in `group`.

    Decode attention: in place of queries caches, of one sequence and key/value head each, which `group` heads meet.
    """

    kernel: KernelName
    rate: str
    first: int
    second: int
    third: int
    group: int = 1

    @property
    def capped(self) -> Shape:
        """The shape that is timed in its place."""
        if self.kernel == "matmul":
            limits = (MOST_TOKENS, MOST_COLUMNS, MOST_DEPTH)
            first, second, third = (min(a, b) for a, b in zip(self[2:5], limits, strict=True))
            return self._replace(first=first, second=second, third=third)
        if self.kernel == "decode attention":
            keys = min(self.second, MOST_CONTEXT)
            return self._replace(first=min(self.first, MOST_CACHED_KEYS // keys), second=keys)
        shrink = min(1.0, MOST_KEYS / self.second)
        return self._replace(first=max(1, int(self.first * shrink)), second=min(self.second, MOST_KEYS))

    @property
    def flops(self) -> float:
        """FLOP of the operation; of causal attention half of the pairs."""
        product = float(self.first) * self.second * self.third * self.group
        if self.kernel == "matmul":
            return 2 * product
        return 4 * product / (2 if self.kernel == "prefill attention" else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """One entry: the value with its class and source, and where it comes from in words."""

    value: Quantity
    origin: str
    seconds: float | None = None

    @property
    def is_default(self) -> bool:
        """Whether no kernel was timed for it."""
        return self.seconds is None


@dataclass(slots=True)
class EfficiencyTable:
    """Entries by (target label, shape), filled as they are asked for.

    defaults: what stands where no kernel covers a case, by kernel name.
    """

    defaults: Mapping[KernelName, Quantity]
    entries: dict[tuple[str, Shape], Efficiency] = field(default_factory=dict)

    def get(self, chip: Chip, shape: Shape) -> Efficiency:
        """The entry of that shape on that chip, timed now unless it was before."""
        key = (chip.label, shape)
        if key not in self.entries:
            self.entries[key] = self._new(chip, shape)
        return self.entries[key]

    def _new(self, chip: Chip, shape: Shape) -> Efficiency:
        reason = _uncovered(chip, shape)
        if not reason:
            try:
                return _timed(chip, shape)
            except GenerationError as error:
                reason = f"{chip.label} lacks {error.violation.subject}"
        default = self.defaults[shape.kernel]
        return Efficiency(value=default, origin=f"default, {reason}: {default.source}")

    def to_json(self) -> str:
        """The entries as JSON, for `from_json`."""
        rows = [
            {"chip": chip, "shape": list(shape), "value": asdict(entry.value), **_words(entry)}
            for (chip, shape), entry in self.entries.items()
        ]
        return json.dumps(rows, indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, defaults: Mapping[KernelName, Quantity]) -> EfficiencyTable:
        """A table with the entries that `to_json` wrote.

        Raises:
            ModelError: the text is no such JSON.
        """
        try:
            rows = json.loads(text)
            entries = {(row["chip"], Shape(*row["shape"])): _entry(row) for row in rows}
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError("efficiency table", repr(error), "JSON as `to_json` writes it") from error
        return cls(defaults, entries)

    @classmethod
    def load(cls, path: Path, defaults: Mapping[KernelName, Quantity]) -> EfficiencyTable:
        """The table in a file.

        Raises:
            TrnlabError: the file cannot be read.
            ModelError: it holds no table.
        """
        try:
            return cls.from_json(path.read_text(encoding="utf-8"), defaults)
        except OSError as error:
            raise TrnlabError(f"cannot read {path}: {error.strerror}") from error


def _words(entry: Efficiency) -> dict[str, Any]:
    return {"origin": entry.origin, "seconds": entry.seconds}


def _entry(row: Mapping[str, Any]) -> Efficiency:
    return Efficiency(value=Quantity(**row["value"]), origin=row["origin"], seconds=row["seconds"])


def _uncovered(chip: Chip, shape: Shape) -> str:
    """Why no kernel of ours covers the case, or ""."""
    if chip.target is None:
        return "no timeline for other vendors' chips"
    if shape.rate not in COVERED[shape.kernel]:
        return f"no {shape.kernel} kernel of ours for {shape.rate}"
    if shape.kernel != "matmul" and not 1 <= shape.third <= 128:
        return f"no kernel of ours for heads of {shape.third}"
    return ""


def _timed(chip: Chip, shape: Shape) -> Efficiency:
    assert chip.target is not None
    small = shape.capped
    low, seconds, high = _kernel_seconds(chip.target, small)
    cores = chip.cores
    ideal = max(small.flops / (chip.peak(small.rate).value / cores), _bytes(small) / (chip.hbm_bandwidth.value / cores))
    sizes = " x ".join(str(size) for size in small[2:5])
    capped = "" if small == shape else f", timed in place of {' x '.join(str(size) for size in shape[2:5])}"
    origin = f"timeline of our {small.kernel} kernel, {small.rate}, {sizes} on one core{capped}"
    value, slow, fast = (min(1.0, ideal / time) for time in (seconds, high, low))
    quantity = Quantity(value, "", f"{origin} of {chip.label}", "derived", slow, fast)
    return Efficiency(value=quantity, origin=origin, seconds=seconds)


def _bytes(shape: Shape) -> float:
    if shape.kernel == "matmul":
        width = {"bf16": 2.0, "fp8": 1.0, "mxfp8": 8.25 / 8}[shape.rate]
        return width * shape.second * shape.third + 2.0 * shape.first * (shape.second + shape.third)
    caches = shape.first if shape.kernel == "decode attention" else 1
    return 2.0 * shape.third * (2 * shape.second * caches + 2 * shape.first * shape.group)


def _array(shape: tuple[int, ...], dtype: Any) -> Any:
    return jax.ShapeDtypeStruct(shape, np.dtype(dtype))  # type: ignore[no-untyped-call]


@cache
def _kernel_seconds(target: Target, shape: Shape) -> Range:
    """Low, central and high time of the kernel on one core; the cache makes each shape's trace a single one."""
    kernel, arguments, options = _call(shape)
    return schedule(trace(kernel, *arguments, target=target, **options), target).range


def _call(shape: Shape) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The kernel of a shape, with its arrays as shapes alone."""
    bf16 = ml_dtypes.bfloat16
    tokens, columns, depth = shape[2:5]
    if shape.kernel == "decode attention":
        queries = _array((tokens, shape.group, depth), bf16)
        cache = _array((tokens, 1, depth, columns), bf16), _array((tokens, 1, columns, depth), bf16)
        return decode_attention, (queries, *cache), {}
    if shape.kernel != "matmul":
        heads = (shape.group, tokens, depth)
        keys = _array((1, columns, depth), bf16)
        return flash_attention, (_array(heads, bf16), keys, keys), {"causal": True}
    if shape.rate == "bf16":
        return matmul, (_array((depth, tokens), bf16), _array((depth, columns), bf16)), {}
    if shape.rate == "fp8":
        fp8 = ml_dtypes.float8_e4m3
        return matmul_fp8, (_array((depth, tokens), fp8), _array((depth, columns), fp8)), {}
    padded = -(-depth // 128) * 128
    words, scales = _array((padded // 4, columns), np.uint32), _array((padded // 32, columns), np.uint8)
    arrays = (_array((depth, tokens), bf16), words, scales)
    return matmul_mxfp8_weights, arrays, {"weight_dtype": dtypes.float8_e4m3fn_x4}
