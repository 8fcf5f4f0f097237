"""Memory ports that engines share, by generation: who takes turns with whom."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import launch
from trnlab.emulator.target import Engine
from trnlab.emulator.timing.schedule_plan import ENGINES
from trnlab.emulator.timing.timeline import Timeline, schedule

FLOAT32, BFLOAT16 = np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16)


def timeline_of(kernel: Callable[..., Any], target: str, dtype: Any = FLOAT32) -> Timeline:
    array = jax.ShapeDtypeStruct((128, 512), dtype)  # type: ignore[no-untyped-call]
    return schedule(launch.trace(kernel, array, target=target), target)


def load(x: Any) -> Any:
    tile = nl.ndarray(x.shape, dtype=x.dtype)
    nisa.dma_copy(tile, x)
    return tile


def overlap(timeline: Timeline, *engines: Engine) -> bool:
    """Whether instructions of two of the engines ever run at once."""
    numbers = [ENGINES.index(engine) for engine in engines]
    mine = np.isin(timeline.engine, numbers)
    spans = sorted(zip(timeline.start_ps[mine].tolist(), timeline.end_ps[mine].tolist(), strict=True))
    return any(before[1] > after[0] for before, after in pairwise(spans))


def on_vector_and_gpsimd(x: Any) -> Any:
    tile = load(x)
    for _ in range(4):
        for engine in (nisa.engine.vector, nisa.engine.gpsimd):
            nisa.tensor_copy(nl.ndarray(x.shape, dtype=x.dtype), tile, engine=engine)
    return x


@pytest.mark.parametrize(
    ("target", "dtype", "together"),
    [
        ("trn1", FLOAT32, False),  # one SBUF port for both
        ("trn1", BFLOAT16, False),
        ("trn2", FLOAT32, True),  # each its own
        ("trn2", BFLOAT16, False),  # a copy of bf16 runs in a performance mode, over the shared bus
        ("trn3", FLOAT32, True),
        ("trn3", BFLOAT16, False),
    ],
)
def test_vector_and_gpsimd_at_sbuf(target: str, dtype: Any, together: bool) -> None:
    timeline = timeline_of(on_vector_and_gpsimd, target, dtype)
    assert overlap(timeline, Engine.VECTOR, Engine.GPSIMD) == together
    assert ("port" in {event.wait for event in timeline.events()}) == (not together)


def from_psum(banks: int) -> Callable[..., Any]:
    """Vector and Scalar Engine each read four times, from `banks` banks of PSUM."""

    def kernel(x: Any) -> Any:
        tile = load(x)
        sums = [nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.psum) for _ in range(banks)]
        for bank in sums:
            nisa.nc_matmul(bank, tile[:, 0:128], tile)
        for _ in range(4):
            nisa.tensor_copy(nl.ndarray(x.shape, dtype=x.dtype), sums[0], engine=nisa.engine.vector)
            nisa.activation(nl.ndarray(x.shape, dtype=x.dtype), nl.copy, sums[-1])
        return x

    return kernel


@pytest.mark.parametrize(
    ("target", "banks", "together"), [("trn1", 1, False), ("trn1", 2, False), ("trn2", 1, False), ("trn2", 2, True)]
)
def test_vector_and_scalar_at_psum(target: str, banks: int, together: bool) -> None:
    timeline = timeline_of(from_psum(banks), target)
    assert overlap(timeline, Engine.VECTOR, Engine.SCALAR) == together


def test_what_is_not_in_psum_is_not_held_up_there() -> None:
    def kernel(x: Any) -> Any:
        tile = load(x)
        for _ in range(4):
            nisa.tensor_copy(nl.ndarray(x.shape, dtype=x.dtype), tile, engine=nisa.engine.vector)
            nisa.activation(nl.ndarray(x.shape, dtype=x.dtype), nl.copy, tile)
        return x

    assert overlap(timeline_of(kernel, "trn1"), Engine.VECTOR, Engine.SCALAR)


# -- transposes in the background -------------------------------------------------------------------------------------


def transposes(x: Any) -> Any:
    tile = load(x)
    for number in range(8):
        bank = nl.ndarray((128, 128), dtype=x.dtype, buffer=nl.psum)
        nisa.nc_transpose(bank, tile[:, 0:128], engine=nisa.engine.tensor)
        nisa.tensor_copy(nl.ndarray((128, 128), dtype=x.dtype, name=f"t{number}"), bank)
    return x


def test_a_chain_of_transposes_takes_about_half_from_v4_on() -> None:
    spans = {}
    for target in ("trn2", "trn3"):
        timeline = timeline_of(transposes, target, BFLOAT16)
        mine = timeline.engine == ENGINES.index(Engine.TENSOR)
        spans[target] = int(timeline.end_ps[mine].max() - timeline.start_ps[mine].min())
        assert overlap(timeline, Engine.TENSOR) == (target == "trn3")
        assert timeline.busy_seconds["tensor"] <= timeline.total_seconds
    # AWS Trainium3 guide: close to double performance on long chains of transposes.
    assert spans["trn3"] == pytest.approx(spans["trn2"] / 2, rel=0.05)


def test_matmuls_never_run_beside_each_other_but_beside_a_transpose() -> None:
    def kernel(x: Any) -> Any:
        tile = load(x)
        for _ in range(3):
            product = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.psum)
            nisa.nc_matmul(product, tile[:, 0:128], tile)
            nisa.nc_transpose(nl.ndarray((128, 128), dtype=x.dtype, buffer=nl.psum), tile[:, 0:128])
        return x

    timeline = timeline_of(kernel, "trn3", BFLOAT16)
    events = [event for event in timeline.events() if event.engine is Engine.TENSOR]
    matmuls = [event for event in events if event.opcode == "nc_matmul"]
    assert all(before.end_seconds <= after.start_seconds + 1e-15 for before, after in pairwise(matmuls))
    for transpose in (event for event in events if event.opcode == "nc_transpose"):
        assert any(
            matmul.start_seconds <= transpose.start_seconds and transpose.end_seconds <= matmul.end_seconds
            for matmul in matmuls
        )
