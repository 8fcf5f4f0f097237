"""What tests of the compiled back end share: tiles in and out, and a run in both modes with all bits compared."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import launch
from trnlab.emulator.backends.layout import Plan, plan_layout
from trnlab.emulator.backends.renaming import rename
from trnlab.emulator.fold import fold
from trnlab.emulator.nest import Block
from trnlab.emulator.repeats import Repeat


def bits(array: Any) -> np.ndarray:
    array = np.ascontiguousarray(np.asarray(array))
    return array.view(f"u{array.dtype.itemsize}")


def leaves(value: Any) -> list[Any]:
    return jax.tree.leaves(value)


def same_bits(kernel: Any, *args: Any, **kwargs: Any) -> Any:
    """Run in both modes on separate copies; returns the reference's outputs after comparing all bits."""
    copies = [jax.tree.map(np.array, args) for _ in range(2)]
    reference = launch.run(kernel, *copies[0], mode="reference", **kwargs).outputs
    compiled = launch.run(kernel, *copies[1], mode="compiled", **kwargs).outputs
    assert len(leaves(reference)) == len(leaves(compiled)) > 0
    for expected, found in zip(leaves(reference), leaves(compiled), strict=True):
        assert expected.dtype == found.dtype
        np.testing.assert_array_equal(bits(found), bits(expected))
    for expected, found in zip(leaves(copies[0]), leaves(copies[1]), strict=True):
        np.testing.assert_array_equal(bits(found), bits(expected), err_msg="an argument written in place")
    return reference


def normal(seed: int, *shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32).astype(dtype)


def load(x: Any, dtype: Any = None) -> Any:
    tile = nl.ndarray(x.shape, dtype=x.dtype if dtype is None else dtype, buffer=nl.sbuf)
    nisa.dma_copy(tile, x)
    return tile


def store(tile: Any, dtype: Any = None) -> Any:
    out = nl.ndarray(tile.shape, dtype=tile.dtype if dtype is None else dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(out, tile)
    return out


def tile(rows: int = 8, columns: int = 8, dtype: Any = nl.float32, buffer: Any = nl.sbuf, name: str = "") -> Any:
    return nl.ndarray((rows, columns), dtype=dtype, buffer=buffer, name=name)


def hbm(*shape: int, dtype: Any = nl.float32, name: str = "") -> Any:
    return nl.ndarray(shape, dtype=dtype, buffer=nl.shared_hbm, name=name)


# -- what becomes of a kernel's loops ---------------------------------------------------------------------------------


def planned(kernel: Any, *args: Any, **kwargs: Any) -> Plan:
    """The plan by which the compiled back end runs a kernel."""
    return plan_layout(fold(rename(launch.trace(kernel, *args, **kwargs)).program))


def loops_of(plan: Plan) -> dict[Block, int]:
    """The repeats of a plan in program order, outer before inner, and how many of their iterations run at a time."""
    found: dict[Block, int] = {}

    def visit(block: Block) -> None:
        for item in block.items:
            if isinstance(item, Block):
                if isinstance(item.loop, Repeat):
                    found[item] = plan.counts[item]
                visit(item)

    visit(plan.storage.top)
    return found


def same_bits_rolled(kernel: Any, *args: Any, merged: bool | None = None, **kwargs: Any) -> Any:
    """`same_bits` of a kernel whose loops are found again.

    merged: whether some of them run several iterations at a time; None where that is not the point
    """
    counts = loops_of(planned(kernel, *args, **kwargs))
    assert counts
    assert merged is None or merged == any(count > 1 for count in counts.values())
    return same_bits(kernel, *args, **kwargs)
