"""Speed and memory of the emulator, measured on this machine: `make bench`.

Every figure is the median of several runs in one process, except peak memory, which needs a process of its own.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from rich.console import Console
from rich.table import Table

from trnlab.emulator import run, trace
from trnlab.emulator.timing import schedule
from trnlab.kernels.attention import flash_attention
from trnlab.kernels.matmul import matmul

SIZE = 1024
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Figure:
    """One measured figure beside its target (None: reported only)."""

    case: str
    value: float
    unit: str
    target: float | None = None


def seconds(action: Callable[[], Any], repeats: int) -> float:
    """Median wall time of the action."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def matmul_operands() -> tuple[Any, Any]:
    """Two SIZE x SIZE bfloat16 matrices."""
    rng = np.random.default_rng(0)
    lhs, rhs = rng.standard_normal((2, SIZE, SIZE)).astype(ml_dtypes.bfloat16)
    return lhs, rhs


def reference_figures() -> list[Figure]:
    """The reference executor on a matmul, beside XLA's own dot in the same process."""
    lhs, rhs = matmul_operands()
    started = time.perf_counter()
    run(matmul, lhs, rhs)
    cold = time.perf_counter() - started
    warm = seconds(lambda: run(matmul, lhs, rhs), 5)
    dot = jax.jit(lambda a, b: jnp.dot(a.T, b, preferred_element_type=jnp.float32))
    left, right = jnp.asarray(lhs), jnp.asarray(rhs)
    dot(left, right).block_until_ready()
    peer = seconds(lambda: dot(left, right).block_until_ready(), 9)
    return [
        Figure(f"matmul {SIZE}^3 bf16, reference, cold", cold, "s", 3.0),
        Figure(f"matmul {SIZE}^3 bf16, reference, warm", warm, "s", 3.0),
        Figure("the same beside XLA's dot (warm / XLA)", warm / peer, "x"),
    ]


def tracing_figures() -> list[Figure]:
    """Tracing with checks and source lines, per instruction."""
    lhs, rhs = np.zeros((2, 2048, 2048), ml_dtypes.bfloat16)
    q, k, v = (np.zeros((heads, 2048, 64), ml_dtypes.bfloat16) for heads in (4, 1, 1))
    figures = []
    for name, kernel, arguments in (
        ("matmul 2048^3", matmul, (lhs, rhs)),
        ("attention 4x2048x64", flash_attention, (q, k, v)),
    ):
        count = len(trace(kernel, *arguments))
        each = 1e6 * seconds(lambda kernel=kernel, arguments=arguments: trace(kernel, *arguments), 5) / count
        figures.append(Figure(f"tracing and checks, {name}, {count} instructions", each, "us/instruction", 60.0))
    return figures


def timeline_figures() -> list[Figure]:
    """Dependences and schedule of a traced program, per instruction."""
    lhs, rhs = np.zeros((2, 4096, 4096), ml_dtypes.bfloat16)
    program = trace(matmul, lhs, rhs)
    each = 1e6 * seconds(lambda: schedule(program, "trn3"), 3) / len(program)
    return [Figure(f"timeline, matmul 4096^3, {len(program)} instructions", each, "us/instruction")]


def peak_memory_figure() -> Figure:
    """Peak resident memory of a reference run above an interpreter with JAX loaded and warm."""
    command = [sys.executable, __file__, "--peak-memory"]
    grown = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return Figure(f"matmul {SIZE}^3 bf16, reference, peak memory above JAX", grown / MEBIBYTE, "MiB", 400.0)


def measure_peak_memory() -> int:
    """Bytes that the run adds to this process's peak."""
    jnp.dot(jnp.ones((8, 8)), jnp.ones((8, 8))).block_until_ready()
    before = peak_resident_bytes()
    run(matmul, *matmul_operands())
    return peak_resident_bytes() - before


def peak_resident_bytes() -> int:
    """This process's own peak; Linux's `ru_maxrss` would include what the parent had when it started us."""
    status = Path("/proc/self/status")
    if not status.exists():
        unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes there, kibibytes elsewhere
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def report(figures: list[Figure], console: Console) -> None:
    """Print the figures with the machine and the versions they were taken on."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("jax", "jaxlib", "numpy", "ml_dtypes"))
    table = Table(title=f"{platform.machine()}, Python {platform.python_version()}, {versions}", title_justify="left")
    for column in ("case", "measured", "target", "met"):
        table.add_column(column, justify="left" if column == "case" else "right")
    for figure in figures:
        met = "" if figure.target is None else "yes" if figure.value <= figure.target else "NO"
        target = "" if figure.target is None else f"{figure.target:g} {figure.unit}"
        table.add_row(figure.case, f"{figure.value:.3g} {figure.unit}", target, met)
    console.print(table)


def main() -> None:
    """Measure and print; --json FILE writes the figures as data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--peak-memory", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_memory:
        print(measure_peak_memory())
        return
    figures = [*reference_figures(), peak_memory_figure(), *tracing_figures(), *timeline_figures()]
    report(figures, Console())
    if options.json:
        with open(options.json, "w") as file:
            json.dump([asdict(figure) for figure in figures], file, indent=2)


if __name__ == "__main__":
    main()
