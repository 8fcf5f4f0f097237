"""Peak memory of one launch, each in a process of its own: `python -m tests.bench.memory NAME MODE [--small]`."""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from tests.bench.launches import FULL, LAUNCHES, SMALL, Sizes
from tests.bench.rows import Case, Figure, SkippedError
from trnlab.emulator import run
from trnlab.emulator.calls import Mode

MEBIBYTE = 2**20
ALLOWANCE = 256  # MiB beyond as much again as the kernel's own tensors
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # proc(5): writing 5 to clear_refs resets the peak resident set size


def resident(field: str) -> int:
    """Bytes of VmRSS (now) or VmHWM (the peak) of this process."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field + ":"))
    return 1024 * int(line.split()[1])


def give_back() -> None:
    """Return freed memory to the system, so that a later allocation shows."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def measure(name: str, mode: Mode, sizes: Sizes) -> dict[str, int]:
    """Bytes of the launch's tensors, and of the peak above them: JAX loaded and warm, the inputs in place."""
    launch = LAUNCHES[name](sizes)
    jnp.dot(jnp.ones((8, 8)), jnp.ones((8, 8))).block_until_ready()
    give_back()
    CLEAR.write_text(RESET_PEAK)
    before = resident("VmRSS")
    outputs = run(launch.kernel, *launch.arguments, mode=mode, target=launch.target, **launch.options).outputs
    jax.block_until_ready(outputs)
    results = sum(leaf.nbytes for leaf in jax.tree.leaves(outputs))
    inputs = sum(argument.nbytes for argument in launch.arguments)
    return {"tensors": inputs + results, "above": resident("VmHWM") - before - results}


def memory_case(name: str, mode: Mode, sizes: Sizes) -> Case:
    """Peak above the kernel's own tensors: at most their size and 256 MiB."""

    def measured() -> dict[str, Any]:
        if not (STATUS.exists() and CLEAR.exists()):
            raise SkippedError("needs Linux's /proc/self/clear_refs")
        command = [sys.executable, "-m", "tests.bench.memory", name, mode, *(["--small"] if sizes == SMALL else [])]
        child = subprocess.run(command, check=False, capture_output=True, text=True)
        if child.returncode:
            raise RuntimeError(child.stderr.strip().splitlines()[-1])
        found = json.loads(child.stdout)
        return {"value": found["above"] / MEBIBYTE, "target": found["tensors"] / MEBIBYTE + ALLOWANCE}

    return Case(Figure(case=f"peak memory above its tensors, {name}, {mode}", unit="MiB"), measured)


def memory_cases(sizes: Sizes) -> list[Case]:
    """Every kernel compiled, the first matmul on the reference executor too."""
    compiled = [memory_case(name, "compiled", sizes) for name in LAUNCHES]
    return [*compiled, memory_case("matmul naive", "reference", sizes)]


def main() -> None:
    """Measure in this process and print the bytes as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=LAUNCHES)
    parser.add_argument("mode", choices=["compiled", "reference"])
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    json.dump(measure(options.name, options.mode, SMALL if options.small else FULL), sys.stdout)


if __name__ == "__main__":
    main()
