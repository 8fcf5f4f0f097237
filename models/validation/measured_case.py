"""The form of a validation row: what was run, how long it took, and what its profile counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jax
import ml_dtypes
import numpy as np

from trnlab.emulator.target import Fact, Target, get_target

FLOAT32: Final = np.dtype(np.float32)
FLOAT16: Final = np.dtype(np.float16)
BFLOAT16: Final = np.dtype(ml_dtypes.bfloat16)

NKIBENCH: Final = "NKIBench (GitHub zhang677/AccelOpt), device profiler"
NKI_LIBRARY: Final = "NKI Library (GitHub aws-neuron/nki-library), regression figures, read as picoseconds"

Kernel = Callable[..., Any]
Shapes = tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]


@dataclass(frozen=True, kw_only=True)
class MeasuredCase:
    """One published measurement and the kernel that stands for it.

    name:     of the row; group: rows of one kind, which are weighted alike in the mean over groups
    kernel:   the builder; for library kernels the name in `library.KERNELS`
    milliseconds: measured; band: how far its source spreads or was read off, relative
    overhead: whether the figure includes the start and end of the execution (see `Target.execution_overhead_seconds`)
    family:   versions of one problem, whose order must be predicted
    counted:  whether the row enters the means; readings and guides are shown apart
    sbuf_kib: SBUF per partition to assume instead of the target's, for a kernel that as printed needs more than it has
    unseen:   the signed error, a fraction, with which the row was met before it could speak for any rule or constant
    """

    name: str
    group: str
    title: str
    target: str
    source: str
    kernel: Kernel | str
    shapes: Shapes
    milliseconds: float
    band: float = 0.0
    overhead: bool = True
    family: str = ""
    counted: bool = True
    sbuf_kib: int | None = None
    active: Mapping[str, float] = field(default_factory=dict)
    hbm_bytes: float | None = None
    note: str = ""
    unseen: float | None = None

    def arguments(self) -> list[jax.ShapeDtypeStruct]:
        """The kernel's arrays, as shapes."""
        return [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in self.shapes]  # type: ignore[no-untyped-call]

    def hardware(self) -> Target:
        """The target, with the SBUF that this case assumes."""
        target = get_target(self.target)
        if self.sbuf_kib is None:
            return target
        fact = Fact(value=1024 * self.sbuf_kib, unit="B", klass="assumed", source=f"validation case {self.name}")
        return target.with_facts(f"{self.sbuf_kib} KiB of SBUF", sbuf_bytes_per_partition=fact)
