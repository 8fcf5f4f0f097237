"""What a kernel does as a point for a roofline, and the least time a roofline gives it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from trnlab.models.chips.record import rate_of
from trnlab.models.frozen import FrozenMapping
from trnlab.models.quantity import ModelError, QuantityClass

Resource = Literal["tensor", "HBM", "DMA", "SBUF"]
Memory = Literal["HBM", "DMA", "SBUF"]
MEMORIES: Final[tuple[Memory, ...]] = ("HBM", "DMA", "SBUF")


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPoint:
    """What a kernel does, and how long it took if that is known.

    flops: FLOP by matmul rate or NKI dtype ("bf16", "float8_e4m3", ...); a multiply-add is 2 FLOP.
    hbm_bytes: bytes read from and written to HBM. dma_bytes: bytes moved by DMA engines, wherever they go.
    sbuf_bytes: bytes read from and written to SBUF, by engines and DMA; 0 when not counted.
    target: the label of the roofline that `time_seconds` belongs to; "" for any.

    Raises:
        ModelError: a negative or non-finite number, a time of zero, no work at all, or an unknown dtype.
    """

    name: str
    flops: Mapping[str, float]
    hbm_bytes: float
    dma_bytes: float
    sbuf_bytes: float = 0
    time_seconds: float | None = None
    target: str = ""

    def __post_init__(self) -> None:
        moved = {f"{memory.lower()}_bytes": self.bytes_of(memory) for memory in MEMORIES}
        work = {**self.flops, **moved}
        for key, amount in work.items():
            if not 0 <= amount < math.inf:
                raise ModelError(f"{key} of kernel {self.name!r}", amount, "a finite number >= 0")
        if not any(work.values()):
            raise ModelError(f"work of kernel {self.name!r}", 0, "some FLOP or bytes")
        if self.time_seconds is not None and not 0 < self.time_seconds < math.inf:
            raise ModelError(f"time_seconds of kernel {self.name!r}", self.time_seconds, "a finite number > 0, or None")
        for dtype in self.flops:
            rate_of(dtype)
        object.__setattr__(self, "flops", FrozenMapping(self.flops))

    @property
    def total_flops(self) -> float:
        """FLOP of all dtypes."""
        return math.fsum(self.flops.values())

    def bytes_of(self, memory: Memory) -> float:
        """Bytes read from and written to that memory, or moved by DMA."""
        return {"HBM": self.hbm_bytes, "DMA": self.dma_bytes, "SBUF": self.sbuf_bytes}[memory]

    def intensity(self, memory: Memory = "HBM") -> float:
        """Arithmetic intensity, FLOP per byte of that memory; infinite for a kernel that moves none."""
        moved = self.bytes_of(memory)
        return self.total_flops / moved if moved else math.inf

    @property
    def flops_per_second(self) -> float | None:
        """Achieved rate; None when the time is not known."""
        return None if self.time_seconds is None else self.total_flops / self.time_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The least time of a kernel on a roofline, its speed of light, and the resource that sets it.

    times: seconds by resource. klass: the weakest class among the peaks and roofs that were used.
    percent_of_roofline: 100 x time_seconds / measured time, None without a measured time. Above 100 the measurement
    beats the bound: then a figure is wrong, and it is reported rather than clipped.
    """

    point: KernelPoint
    roofline: str
    resource: Resource
    time_seconds: float
    times: Mapping[Resource, float]
    intensity: float
    klass: QuantityClass
    percent_of_roofline: float | None

    def percent_of(self, resource: Resource) -> float:
        """100 x this resource's time / the bounding resource's time: how near it is to being the bound."""
        return 100 * self.times[resource] / self.time_seconds
