"""What a timeline means: conservation laws that hold for every kernel, and causes planted on purpose and found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.emulator.timing.insight import kernels
from tests.emulator.timing.insight.kernels import FLOAT32, array, timed
from trnlab.emulator import trace
from trnlab.emulator.timing.insight.advice import advice
from trnlab.emulator.timing.insight.hot_lines import hot_lines
from trnlab.emulator.timing.insight.occupancy import memory_curves
from trnlab.emulator.timing.insight.signatures import source_lines
from trnlab.emulator.timing.insight.speed_of_light import speed_of_light
from trnlab.emulator.timing.insight.transfers import grade_of, transfer_sizes
from trnlab.emulator.timing.insight.what_if import scaled_transfer, seconds_if
from trnlab.emulator.timing.timeline import Timeline, schedule
from trnlab.kernels.attention import flash_attention
from trnlab.kernels.matmul import matmul


@pytest.fixture(scope="module")
def attention() -> Timeline:
    return timed(flash_attention, array((2, 256, 64)), array((1, 256, 64)), array((1, 256, 64)))


@pytest.fixture(scope="module")
def blocked() -> Timeline:
    return timed(matmul, array((512, 256)), array((512, 1024)))


@pytest.fixture(params=["attention", "blocked"])
def timeline(request: pytest.FixtureRequest) -> Timeline:
    found: Timeline = request.getfixturevalue(request.param)
    return found


def rules(timeline: Timeline) -> dict[str, Any]:
    return {item.rule: item for item in advice(timeline)}


# -- laws ------------------------------------------------------------------------------------------------------------


def test_hot_lines_add_up_to_the_end_of_the_critical_path(timeline: Timeline) -> None:
    last = timeline.critical_path[-1].end_seconds
    assert sum(line.seconds for line in hot_lines(timeline)) == pytest.approx(last, rel=1e-9)


def test_memory_curves_start_and_end_empty_and_never_exceed_the_sum_of_all_buffers(timeline: Timeline) -> None:
    for curve in memory_curves(timeline):
        assert (np.diff(curve.times_ps) > 0).all()
        assert (curve.used_bytes >= 0).all()
        assert curve.used_bytes[-1] == 0
        every = sum(b.bytes_per_partition for b in timeline.program.buffers if b.region.value == curve.memory)
        assert 0 < curve.peak_bytes <= every


def test_no_unit_is_faster_than_light(timeline: Timeline) -> None:
    rows = speed_of_light(timeline)
    assert [row.percent for row in rows] == sorted((row.percent for row in rows), reverse=True)
    for row in rows:
        assert 0 < row.percent <= 100 + 1e-9
        assert row.least_seconds <= timeline.total_seconds * (1 + 1e-9)


def test_transfer_bins_hold_every_byte_that_the_dma_engines_move(timeline: Timeline) -> None:
    bins = transfer_sizes(timeline)
    assert sum(row.total_bytes for row in bins) == timeline.work.dma_bytes
    assert sum(row.descriptors for row in bins) == timeline.work.dma_descriptors
    assert all(row.low_bytes * row.descriptors <= row.total_bytes < 2 * row.low_bytes * row.descriptors for row in bins)


def test_executions_count_every_step_and_lines_name_this_repository(timeline: Timeline) -> None:
    assert sum(timeline.executions) == len(timeline)
    assert all(".py:" in line for lines in source_lines(timeline) for line in lines)


def test_nothing_changed_takes_the_same_time(timeline: Timeline) -> None:
    assert seconds_if(timeline) == pytest.approx(timeline.total_seconds, abs=1e-15)


def test_nothing_changed_takes_the_same_time_beside_idle_cores_and_in_program_order() -> None:
    program = trace(kernels.reloaded, array((128, 12288), FLOAT32), target="trn2")
    beside, alone = (schedule(program, "trn2", "program", idle_neighbours=idle) for idle in (False, True))
    assert alone.total_seconds < beside.total_seconds  # the whole stack's bandwidth shows, so it must not get lost
    for timeline in (beside, alone):
        assert seconds_if(timeline) == pytest.approx(timeline.total_seconds, abs=1e-15)


def test_slower_transfers_make_no_kernel_faster(timeline: Timeline) -> None:
    assert seconds_if(timeline, lambda cost: scaled_transfer(cost, 4.0)) > timeline.total_seconds


def test_advice_is_sorted_by_gain_and_never_gains_more_than_everything(timeline: Timeline) -> None:
    gains = [item.gain_seconds for item in advice(timeline)]
    assert gains == sorted(gains, reverse=True)
    assert all(0 < gain < timeline.total_seconds for gain in gains)


# -- causes planted on purpose ---------------------------------------------------------------------------------------


def test_narrow_rows_are_small_dma_and_wide_rows_are_not() -> None:
    small = rules(timed(kernels.copy, array((128, 32))))
    assert "small-dma" in small
    line = _line_of("nisa.dma_copy(dst=tile, src=source, **how)")
    assert small["small-dma"].lines[0].endswith(f"{kernels.__file__}:{line}")
    assert "small-dma" not in rules(timed(kernels.copy, array((128, 8192))))


def _line_of(text: str) -> int:
    with open(kernels.__file__) as source:
        return next(number for number, line in enumerate(source, start=1) if text in line)


def test_few_partitions_use_few_dma_engines() -> None:
    assert "few-dma-engines" in rules(timed(kernels.copy, array((8, 16384))))
    assert "few-dma-engines" not in rules(timed(kernels.copy, array((128, 16384))))


def test_transposes_on_the_tensor_engine_are_found() -> None:
    assert "tensor-transposes" in rules(timed(kernels.turned, array((128, 128))))
    assert "tensor-transposes" not in rules(timed(kernels.product, array((128, 128)), array((128, 512))))


def test_float32_matmuls_are_found_and_cost_three_quarters_of_their_time() -> None:
    operands = array((2048, 512), FLOAT32), array((2048, 2048), FLOAT32)
    found = rules(timed(matmul, *operands))["float32-matmul"]
    timeline = timed(matmul, *operands)
    tensor = timeline.busy_seconds["tensor"]
    # Four passes become one; waiting can only hide part of that.
    assert 0 < found.gain_seconds <= 0.76 * tensor
    assert "float32-matmul" not in rules(timed(matmul, array((512, 128)), array((512, 512))))


def test_a_quarter_of_the_rows_leaves_the_array_underused() -> None:
    assert "array-underused" in rules(timed(kernels.product, array((32, 32)), array((32, 512))))


def test_loading_a_tensor_sixteen_times_is_said_with_the_factor() -> None:
    found = rules(timed(kernels.reloaded, array((128, 4096))))["repeated-loads"]
    assert "16.0 times" in found.found
    assert "repeated-loads" not in rules(timed(kernels.copy, array((128, 4096))))


@pytest.mark.parametrize(
    ("nbytes", "grade"),
    [(1, "very poor"), (255, "very poor"), (256, "below peak"), (2047, "below peak"), (2048, "recommended"),
     (4095, "recommended"), (4096, "saturated")],
)  # fmt: skip
def test_grades_change_at_the_published_sizes(nbytes: int, grade: str) -> None:
    assert grade_of(nbytes) == grade


def test_occupancy_of_one_tile_is_its_bytes_from_load_to_store() -> None:
    timeline = timed(kernels.copy, array((128, 512)))
    sbuf = memory_curves(timeline)[0]
    assert sbuf.peak_bytes == 512 * 2
    assert sbuf.times_ps.tolist() == [int(timeline.start_ps[0]), int(timeline.end_ps[1])]
    assert sbuf.used_bytes.tolist() == [1024, 0]
    length = int(timeline.end_ps[1] - timeline.start_ps[0])
    total = round(timeline.total_seconds * 1e12)
    assert sbuf.mean_bytes(total) == pytest.approx(1024 * length / total)
