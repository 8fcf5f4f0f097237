"""What a step waited for began no later than the step: causes lead back in time, so every critical path ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import example, given, strategies as st

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.timing.test_timeline import array, traced
from trnlab.emulator.timing.schedule_plan import Wait
from trnlab.emulator.timing.timeline import Timeline, schedule

MODES = (nisa.dge_mode.unknown, nisa.dge_mode.hwdge, nisa.dge_mode.none)
loads = st.lists(
    st.tuples(
        st.integers(0, 3),  # which tensor, and so which queue
        st.sampled_from([0, 6, 64]),  # first partition
        st.sampled_from([1, 8, 64]),  # partitions
        st.sampled_from([64, 1024, 8192]),  # columns
        st.integers(0, len(MODES) - 1),
    ),
    min_size=1,
    max_size=10,
)


def kernel_of(plan: list[tuple[int, int, int, int, int]]) -> Callable[..., Any]:
    def kernel(*tensors: Any) -> Any:
        tile = nl.ndarray((128, 8192), dtype=nl.float32, buffer=nl.sbuf)
        nisa.memset(tile[:, 0:64], 0.0, engine=nisa.engine.vector)
        for number, first, count, columns, mode in plan:
            part = tile[first : first + count, 0:columns]
            nisa.dma_copy(part, tensors[number][first : first + count, 0:columns], dge_mode=MODES[mode])
        return tensors[0]

    return kernel


def causes_lead_back(timeline: Timeline) -> None:
    played, writing = timeline.played, dict(zip(timeline.writing.step.tolist(), timeline.writing.start_ps, strict=True))
    for step, cause in enumerate(played.cause.tolist()):
        if cause >= 0:
            began = writing[cause] if played.wait[step] == Wait.DESCRIPTORS else played.start_ps[cause]
            assert (began, cause) < (played.start_ps[step], step) or began < played.start_ps[step]
    assert len(timeline.critical_path) <= 2 * len(timeline)


@given(loads, st.sampled_from(["trn2", "trn3"]))
@example([(0, 64, 1, 8192, 0), (0, 64, 8, 64, 0), (1, 6, 64, 1024, 0)], "trn2")
def test_transfers_that_share_engines_and_generators(plan: list[tuple[int, int, int, int, int]], target: str) -> None:
    arrays = [array((128, 8192)) for _ in range(4)]
    causes_lead_back(schedule(traced(kernel_of(plan), *arrays, target=target), target))
