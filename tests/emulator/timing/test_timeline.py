"""The timeline of whole kernels: expectations from published formulas and profiles, as arithmetic."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import launch
from trnlab.emulator.errors import CostError, TimelineError
from trnlab.emulator.program import Program
from trnlab.emulator.target import TARGETS, Engine, get_target
from trnlab.emulator.timing.schedule_plan import ENGINES
from trnlab.emulator.timing.timeline import default_order, schedule

FLOAT32, BFLOAT16 = np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16)


def array(shape: tuple[int, ...], dtype: Any = FLOAT32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]


def traced(kernel: Callable[..., Any], *arrays: jax.ShapeDtypeStruct, target: str = "trn2") -> Program:
    return launch.trace(kernel, *arrays, target=target)


def load(source: Any) -> Any:
    tile = nl.ndarray(source.shape, dtype=source.dtype)
    nisa.dma_copy(tile, source)
    return tile


def result_like(tensor: Any) -> Any:
    return nl.ndarray(tensor.shape, dtype=tensor.dtype, buffer=nl.shared_hbm)


# -- whole kernels against arithmetic ---------------------------------------------------------------------------------


def eight_matmuls(a: Any, b: Any) -> Any:
    result, stationary, moving = nl.ndarray((128, 512), nl.float32, nl.shared_hbm), load(a), load(b)
    for _ in range(8):
        psum = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.psum)
        nisa.nc_matmul(psum, stationary, moving)
    tile = nl.ndarray((128, 512), dtype=nl.float32)
    nisa.tensor_copy(tile, psum)
    nisa.dma_copy(result, tile)
    return result


@pytest.mark.parametrize(
    ("target", "dtype", "passes", "clock", "cold"),
    [
        # Half rate until the engine has been busy for 1.5 of the last 3 us: 453 + 3 * 427 ns here, 1813 ns in float32.
        ("trn2", BFLOAT16, 1, 2.4e9, 4),
        ("trn2", FLOAT32, 4, 2.4e9, 1),
        ("trn1", BFLOAT16, 1, 0.857 * 2.8e9, 0),  # v2 sustains 2.4 of 2.8 GHz, and is not throttled
        ("trn3", BFLOAT16, 1, 2.4e9, 4),
    ],
)
def test_tensor_time_flops_and_utilisation_of_eight_matmuls(
    target: str, dtype: Any, passes: int, clock: float, cold: int
) -> None:
    program = traced(eight_matmuls, array((128, 128), dtype), array((128, 512), dtype), target=target)
    timeline = schedule(program, target)
    load = 128 / 4 * (2 if cold else 1)  # of the first stationary operand, behind nothing
    busy = (load + (8 + cold) * 512) * passes / clock
    # Each instruction is rounded to a whole picosecond.
    assert timeline.busy_seconds["tensor"] == pytest.approx(busy, abs=10e-12)
    assert timeline.tensor_seconds == pytest.approx({"matmul": busy}, abs=10e-12)
    assert timeline.utilisation["tensor"] == pytest.approx(busy / timeline.total_seconds, rel=1e-5)
    flops = 8 * 2 * 128 * 128 * 512
    (rate,) = timeline.flops
    assert timeline.flops[rate] == flops
    peak = get_target(target).matmul_flops_per_second(rate)
    assert timeline.mfu == pytest.approx(flops / peak / timeline.total_seconds)
    nbytes = (128 * 128 + 128 * 512) * dtype.itemsize + 128 * 512 * 4
    assert timeline.hbm_bytes == nbytes
    assert timeline.arithmetic_intensity == flops / nbytes
    share = nbytes / timeline.total_seconds / get_target(target).hbm_bytes_per_second_per_core
    assert timeline.hbm_bandwidth_share == pytest.approx(share)


def load_exp_store(x: Any) -> Any:
    result, tile = result_like(x), load(x)
    nisa.activation(tile, nl.exp, tile)
    nisa.dma_copy(result, tile)
    return result


def test_one_tile_kernel_adds_up_its_latencies() -> None:
    timeline = schedule(traced(load_exp_store, array((128, 1024))), "trn2")
    rows = 8 * (4096 / 23e9 + 5e-9)  # 8 rows of 4 KiB on each DMA engine, at 23 B/ns and 5 ns each
    transfer = 1300e-9 + rows + 300e-9  # start, data, completion
    exp = 1.28e-6 + (1024 + 350) / 1.2e9  # table load, then an isolated activation
    expected = transfer + 35e-9 + exp + 35e-9 + transfer  # a semaphore between engines
    assert timeline.total_seconds == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("shape", "measured"),
    # AWS NKI DMA overview, profiles of examples 1 and 2 on Trainium2, trigger of the load to completion of the store;
    # read off figures.
    [((4, 4096), 10.2e-6), ((128, 128), 5.34e-6)],
)
def test_profiled_examples_of_the_dma_overview(shape: tuple[int, int], measured: float) -> None:
    timeline = schedule(traced(load_exp_store, array(shape, BFLOAT16)), "trn2")
    # The figures are read to about 20 ns at either end of five bars; unexplained: contention in the first example.
    assert timeline.total_seconds == pytest.approx(measured, rel=0.1)


def test_a_matmul_result_reaches_the_vector_engine_after_its_latency() -> None:
    timeline = schedule(traced(eight_matmuls, array((128, 128), BFLOAT16), array((128, 512), BFLOAT16)), "trn2")
    (copy,) = np.flatnonzero(timeline.engine == ENGINES.index(Engine.VECTOR)).tolist()
    gap = (timeline.start_ps[copy] - timeline.end_ps[copy - 1]) * 1e-12
    # 60 cycles of memory access, 64 of the Tensor Engine's start, 256 through its array, at 2.4 GHz, and a semaphore.
    assert gap == pytest.approx((60 + 64 + 256) / 2.4e9 + 35e-9, abs=1e-12)


@pytest.mark.parametrize(("functions", "loads"), [("exp exp exp", 1), ("exp gelu exp", 3), ("copy copy", 0)])
def test_the_activation_table_is_loaded_when_the_function_changes(functions: str, loads: int) -> None:
    def kernel(x: Any) -> Any:
        result, tile = result_like(x), load(x)
        for name in functions.split():
            nisa.activation(tile, getattr(nl, name), tile)
        nisa.dma_copy(result, tile)
        return result

    timeline = schedule(traced(kernel, array((128, 512))), "trn2")
    count = len(functions.split())
    assert timeline.busy_seconds["scalar"] == pytest.approx(count * 512 / 1.2e9 + loads * 1.28e-6, rel=1e-6)


def test_matmuls_on_different_row_tiles_run_side_by_side() -> None:
    def kernel(a: Any, b: Any) -> Any:
        stationary, moving = load(a), load(b)
        for place in (0, 32, 64, 96, 0):
            psum, rows = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.psum), nl.ds(place, 32)
            nisa.nc_matmul(psum, stationary[rows], moving[rows], tile_position=(place, 0), tile_size=(32, 128))
        return a

    timeline = schedule(traced(kernel, array((128, 128), BFLOAT16), array((128, 512), BFLOAT16)), "trn2")
    start = timeline.start_ps[timeline.engine == ENGINES.index(Engine.TENSOR)].tolist()
    assert start[:4] == [start[0]] * 4
    # The fifth needs the first one's rows. All run at half rate, and the first four load their stationary rows first.
    cold = 2 / 2.4e9
    assert (start[4] - start[0]) * 1e-12 == pytest.approx((32 + 512) * cold, rel=1e-5)
    assert timeline.busy_seconds["tensor"] == pytest.approx((4 * (32 + 512) + 512) / 4 * cold, rel=1e-5)


# -- order ------------------------------------------------------------------------------------------------------------


def ping_pong(x: Any) -> Any:
    result, tile = result_like(x), load(x)
    for _ in range(8):
        psum = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.psum)
        weights, square = nl.ndarray((128, 512), dtype=x.dtype), nl.ndarray((128, 512), nl.float32, nl.psum)
        nisa.nc_matmul(psum, tile[:, 0:128], tile)
        nisa.activation(weights, nl.exp, psum)
        nisa.nc_matmul(square, weights[:, 0:128], tile)
    nisa.dma_copy(result, weights)
    return result


def test_list_order_fills_the_gaps_that_program_order_leaves() -> None:
    program = traced(ping_pong, array((128, 512), BFLOAT16))
    ordered, listed = schedule(program, "trn2", order="program"), schedule(program, "trn2", order="list")
    assert listed.total_seconds < ordered.total_seconds
    # In program order the second matmul of an iteration waits for exp, and the next first matmul stands behind it.
    assert {**listed.busy_seconds, "tensor": 0} == {**ordered.busy_seconds, "tensor": 0}
    # An engine that waits less is throttled less.
    assert listed.busy_seconds["tensor"] < ordered.busy_seconds["tensor"]
    assert schedule(program, "trn2", order="list", window=1).total_seconds == ordered.total_seconds


def test_buffers_placed_by_hand_keep_program_order() -> None:
    def placed(x: Any) -> Any:
        tile = nl.ndarray((128, 64), dtype=x.dtype, address=(0, 1024))
        nisa.dma_copy(tile, x)
        return x

    assert default_order(traced(placed, array((128, 64)))) == "program"
    free = traced(load_exp_store, array((128, 64)))
    assert default_order(free) == "list"
    assert schedule(free, "trn2").order == "list"


def test_run_time_loops_take_the_assumed_trips() -> None:
    def kernel(x: Any, count: Any) -> Any:
        result, tile, trips = result_like(x), load(x), nl.ndarray((1, 1), dtype=nl.int32)
        nisa.dma_copy(trips, count)
        register = nisa.register_alloc()
        nisa.register_load(register, trips)
        for _ in nl.dynamic_range(0, register):
            nisa.activation(tile, nl.exp, tile)
        nisa.dma_copy(result, tile)
        return result

    program = traced(kernel, array((128, 512)), array((1, 1), np.dtype(np.int32)))
    once, often = schedule(program, "trn2"), schedule(program, "trn2", assumed_trips=11)
    assert (len(once), len(often)) == (5, 15)
    # Each pass depends on the one before: an isolated activation of 512 elements.
    assert often.total_seconds - once.total_seconds == pytest.approx(10 * (512 + 350) / 1.2e9, rel=1e-6)


def test_what_cannot_be_scheduled_is_an_error() -> None:
    program = traced(load_exp_store, array((128, 64)))
    with pytest.raises(TimelineError, match="window"):
        schedule(program, "trn2", window=0)
    with pytest.raises(TimelineError, match="order"):
        schedule(program, "trn2", order="fastest")  # type: ignore[arg-type]
    unknown = program.replace(signatures=tuple(item._replace(opcode="unheard_of") for item in program.signatures))
    with pytest.raises(CostError, match="unheard_of"):
        schedule(unknown, "trn2")


# -- bands ------------------------------------------------------------------------------------------------------------


def test_the_range_spans_the_assumed_costs() -> None:
    def chain(x: Any) -> Any:
        tile = load(x)
        for _ in range(10):
            nisa.reciprocal(tile, tile)
        return x

    timeline = schedule(traced(chain, array((128, 512))), "trn2")
    cycles = 10 * (8 * 512 + 50)
    # The Vector Engine's static overhead is 50 cycles on v3, in a band of 25 to 100; a reciprocal may take 2 instead of
    # 8 cycles per element.
    assert timeline.busy_seconds["vector"] == pytest.approx(cycles / 0.96e9, rel=1e-6)
    assert timeline.range.low == pytest.approx(10 * (2 * 512 + 25) / 0.96e9, rel=1e-6)
    slower = timeline.range.high - timeline.range.central
    # Eight descriptors of the load take 1/0.9 of their bytes' time and 0.6 ns more. The engine's 25 ns more for its
    # part are inside the latency from the last byte on.
    load_seconds = 8 * (2048 / 23e9 * (1 / 0.9 - 1) + 0.6e-9)
    assert slower == pytest.approx(10 * 50 / 0.96e9 + load_seconds, abs=10e-12)  # ten roundings


def test_the_search_for_cycles_goes_on_after_a_schedule_and_after_a_failed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    program = traced(load_exp_store, array((128, 512)))
    schedule(program, "trn2")
    assert gc.isenabled()

    def broken(*_: Any) -> Any:
        assert not gc.isenabled()
        raise ArithmeticError

    monkeypatch.setattr("trnlab.emulator.timing.timeline.make_plan", broken)
    with pytest.raises(ArithmeticError):
        schedule(program, "trn2")
    assert gc.isenabled()


@pytest.mark.parametrize("kernel", [eight_matmuls, load_exp_store, ping_pong])
@pytest.mark.parametrize("clock", ["tensor_clock_hz", "vector_clock_hz", "scalar_clock_hz"])
def test_a_faster_clock_never_makes_these_kernels_slower(kernel: Any, clock: str) -> None:
    shapes = ((128, 128), (128, 512)) if kernel is eight_matmuls else ((128, 512),)
    program = traced(kernel, *(array(shape, BFLOAT16) for shape in shapes))
    target = get_target("trn2")
    fact = target.provenance[clock]
    totals = []
    for factor in (0.5, 1.0, 1.3, 2.0, 10.0):
        facts = {clock: replace(fact, value=fact.value * factor)}
        totals.append(schedule(program, target.with_facts("what if", **facts), order="program").total_seconds)
    assert totals == sorted(totals, reverse=True)


def test_the_projection_is_three_timelines() -> None:
    program = traced(eight_matmuls, array((128, 128), BFLOAT16), array((128, 512), BFLOAT16), target="trn3")
    variants = [target for target in TARGETS if target.name == "trn4"]
    timelines = [schedule(program, target) for target in variants]
    assert len({timeline.total_seconds for timeline in timelines}) == 3
    for target, timeline in zip(variants, timelines, strict=True):
        row = 1 / target.tensor_bf16_macs_per_cycle / target.tensor_clock_hz
        # At half rate until 1.5 us have passed.
        cold = ceil((1.5e-6 - 2 * 32 * row) / (2 * 512 * row))
        assert timeline.busy_seconds["tensor"] == pytest.approx(row * (2 * 32 + (8 + cold) * 512), rel=1e-5)


# -- reading a timeline -----------------------------------------------------------------------------------------------


def test_events_path_and_table_of_one_tile() -> None:
    timeline = schedule(traced(load_exp_store, array((128, 1024))), "trn2")
    assert [event.opcode for event in timeline.critical_path] == ["dma_copy", "activation", "dma_copy"]
    assert [event.wait for event in timeline.critical_path] == ["start", "data", "data"]
    assert [event.number for event in timeline.events()] == [0, 1, 2]
    location = timeline.critical_path[1].location
    assert location is not None
    assert location.function.endswith("load_exp_store")
    rows = timeline.table()
    assert [row[0] for row in rows[1:]] == [*(engine.value for engine in ENGINES), "hbm", "total"]
    assert {len(row) for row in rows} == {4}
    assert rows[-1][2] == f"{timeline.total_seconds * 1e6:.3f}"
    assert timeline.assumed_opcodes == ()


def test_a_run_hands_back_its_timeline() -> None:
    run = launch.run(load_exp_store, np.zeros((128, 64), np.float32), target="trn1")
    assert run.timeline.target.name == "trn1"
    assert run.timeline.total_seconds == schedule(run.program, "trn1").total_seconds > 0


def test_an_empty_program_takes_no_time() -> None:
    def nothing(x: Any) -> Any:
        return x

    timeline = schedule(traced(nothing, array((128, 64))), "trn2")
    assert (timeline.total_seconds, timeline.critical_path, timeline.mfu) == (0, (), 0)


def test_transposes_are_counted_apart_from_useful_work() -> None:
    def kernel(x: Any) -> Any:
        tile, turned = load(x), nl.ndarray((128, 128), dtype=x.dtype, buffer=nl.psum)
        nisa.nc_transpose(turned, tile, engine=nisa.engine.tensor)
        return x

    timeline = schedule(traced(kernel, array((128, 128), BFLOAT16)), "trn2")
    assert timeline.flops == {}
    assert timeline.work.transpose_flops == 2 * 128**3
    # Alone, so its stationary columns load first, and throttled to half rate.
    assert timeline.tensor_seconds == pytest.approx({"transpose": (128 + 128 / 4) * 2 / 2.4e9}, abs=10e-12)
