"""What XLA makes of rolled programs: loops that change storages in place, and the one known difference in bits."""

from __future__ import annotations

import re
from math import prod

import jax
import ml_dtypes
import numpy as np

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.bench.kernels import matmul_blocked
from tests.emulator.backends.harness import load, normal, store
from trnlab.emulator import launch
from trnlab.kernels.matmul import matmul


def copied_in_loops(text: str, dtype: str = "") -> list[int]:
    """Elements of every array (of a dtype, where one is given) that is copied inside the body of a while loop."""
    copies = dtype + r"\[([\d,]*)\]\S* copy\("
    bodies = re.findall(r"body=%([\w.\-]+)", text)
    found = []
    for body in bodies:
        start = text.index(f"\n%{body} ")
        lines = text[start : text.index("\n}", start)]
        found += [prod(int(n) for n in shape.split(",") if n) for shape in re.findall(copies, lines)]
    assert bodies, "no loop to look into"
    return found


def test_accumulation_loops_copy_no_storage() -> None:
    """PSUM of [256, 512] accumulates over eight tiles of K; only counters and tiles may be copied."""
    a, b = normal(0, 1024, 256), normal(1, 1024, 512)
    text = jax.jit(matmul).lower(a, b).compile().as_text()
    assert max(copied_in_loops(text), default=0) < 256 * 512


def test_sums_in_sbuf_are_changed_in_place() -> None:
    """Their parts lie in another order than the results of the merged matmuls that are added to them."""
    lhsT, rhs = normal(4, 2048, 512, dtype=ml_dtypes.bfloat16), normal(5, 2048, 2048, dtype=ml_dtypes.bfloat16)
    text = jax.jit(matmul_blocked).lower(lhsT, rhs).compile().as_text()
    assert max(copied_in_loops(text, "f32"), default=0) < 512 * 1024


@nki.jit
def gelu_of_sum(x, y):
    tile = load(x)
    nisa.tensor_tensor(tile, tile, load(y), nl.add)
    nisa.activation(tile, nl.gelu, tile)
    return store(tile)


def test_erf_may_differ_by_its_last_bits() -> None:
    """XLA writes erf as a polynomial that contracts by context: at most 2 ulp, in at most one element of a hundred."""
    x, y = normal(2, 128, 512), normal(3, 128, 512)
    reference = launch.run(gelu_of_sum, x, y, mode="reference").outputs
    compiled = launch.run(gelu_of_sum, x, y).outputs
    distance = np.abs(reference.view(np.int32).astype(np.int64) - compiled.view(np.int32))
    assert distance.max() <= 2
    assert (distance > 0).mean() <= 0.01
