"""A server that queues share in turns, against arithmetic and against turns played one by one."""

from __future__ import annotations

from collections import defaultdict, deque
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from trnlab.emulator.timing.dma_plan import PlannedTransfer
from trnlab.emulator.timing.idle import covered
from trnlab.emulator.timing.turns import NEVER, Flight, Job, Server

Arrival = tuple[int, int, int, int]
"""When, queue, number of descriptors, picoseconds of one."""


def flight(step: int, queue: int, work: int, turn: int) -> Flight:
    return Flight(step, PlannedTransfer(((1, work),), turn, queue, 0))


def played(arrivals: list[Arrival]) -> list[tuple[int, int]]:
    """(begin, end) of every arrival, in order; arrivals in order of time."""
    server, spans = Server(), dict[int, tuple[int, int]]()

    def finish() -> None:
        now = server.due
        for job in server.finish(now)[0]:
            spans[job.flight.step] = (job.begin, now)

    for step, (when, queue, count, turn) in enumerate(arrivals):
        while server.due <= when:
            finish()
        server.add(when, Job(flight(step, queue, count * turn, turn), count * turn, turn))
    while server.due < NEVER:
        finish()
    return [spans[step] for step in range(len(arrivals))]


def ends(*queues: tuple[int, int]) -> list[int]:
    """Ends of one job for each queue, (descriptors, picoseconds of one), that arrive together."""
    return [end for _, end in played([(0, queue, *job) for queue, job in enumerate(queues)])]


def test_one_job_takes_its_own_time() -> None:
    assert played([(7, 0, 8, 35)]) == [(7, 7 + 8 * 35)]


@pytest.mark.parametrize("queues", [2, 3, 16])
def test_equal_queues_all_end_when_all_the_work_is_done(queues: int) -> None:
    assert ends(*[(8, 35_000)] * queues) == [queues * 8 * 35_000] * queues


def test_a_small_job_beside_a_large_one_waits_for_its_turns_only() -> None:
    # Two turns each, then the large one goes on alone: 2 * (100 + 100), and 1000 + 2 in all turns.
    assert ends((1000, 100), (2, 100)) == [1002 * 100, 2 * (100 + 100)]


def test_three_queues_with_different_descriptors() -> None:
    # Shares 100/600, 200/600 and 300/600. All are in the first 4 turns, two in the next 6, one in the last 10:
    # 4 * 600 = 2400; then 6 * (100 + 200) more = 4200; then 10 * 100 more = 5200, which is all the work.
    assert ends((20, 100), (10, 200), (4, 300)) == [5200, 4200, 2400]


def test_a_queue_that_comes_later_shares_what_is_left() -> None:
    # Alone for 400 of 1000; then the two share equally: 300 each take 600, and the first goes on alone with 300.
    assert played([(0, 0, 10, 100), (400, 1, 3, 100)]) == [(0, 1300), (400, 1000)]


def test_jobs_of_one_queue_follow_each_other_and_share_as_one() -> None:
    # Two queues, so half of the time each: the first queue's jobs end after 2 * 300 and 2 * 600, the second's then too.
    assert played([(0, 0, 3, 100), (0, 0, 3, 100), (0, 1, 6, 100)]) == [(0, 600), (600, 1200), (0, 1200)]


def test_a_delay_names_an_older_transfer_that_left_before() -> None:
    server = Server()
    first, second = flight(5, 0, 300, 100), flight(3, 1, 600, 100)
    first.start, second.start = 0, 50
    jobs = [Job(first, 300, 100), Job(second, 600, 100)]
    server.add(0, jobs[0])
    server.add(50, jobs[1])
    while server.due < NEVER:
        server.finish(server.due)
    # The younger one stayed longer: it waited for the older. The older was slowed, but began without waiting.
    assert [job.behind for job in jobs] == [-1, 5]


def one_by_one(jobs: list[tuple[int, int]]) -> list[int]:
    """Ends of the jobs of queues that take turns, a whole descriptor each."""
    left, now, done = deque((queue, *job) for queue, job in enumerate(jobs)), 0, [0] * len(jobs)
    while left:
        queue, count, turn = left.popleft()
        now += turn
        if count > 1:
            left.append((queue, count - 1, turn))
        else:
            done[queue] = now
    return done


jobs = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 5000)), min_size=1, max_size=16)


@given(jobs)
def test_together_they_end_as_turns_one_by_one_do(queues: list[tuple[int, int]]) -> None:
    found = ends(*queues)
    # By the turn in which a queue ends, every other has had as many turns, or all it had. Parts are rounded to whole
    # picoseconds whenever a queue ends, by less than one for each queue.
    slack = len(queues) ** 2
    for (count, _), end in zip(queues, found, strict=True):
        assert abs(end - sum(min(count, other) * turn for other, turn in queues)) <= slack
    # Whole descriptors differ from the fluid by less than a round.
    for end, exact in zip(found, one_by_one(queues), strict=True):
        assert 0 <= end - exact + slack <= sum(turn for _, turn in queues) + 2 * slack


arrivals = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 4), st.integers(1, 12), st.integers(1, 60)), min_size=1, max_size=40
).map(lambda rows: [(sum(row[0] for row in rows[: place + 1]), *row[1:]) for place, row in enumerate(rows)])


@given(arrivals)
@settings(max_examples=300)
def test_work_is_conserved_to_the_picosecond(rows: list[Arrival]) -> None:
    spans = played(rows)
    begin, end = (np.array(column, np.int64) for column in zip(*spans, strict=True))
    work = [count * turn for _, _, count, turn in rows]
    # Busy for exactly as long as the work takes, and never idle while there is some: as if it came in one queue.
    assert covered(begin, end) == sum(work)
    free = 0
    for (when, *_), time in zip(rows, work, strict=True):
        free = max(free, when) + time
    assert max(end.tolist()) == free
    # No job is faster than alone, and those of a queue are in order and apart.
    mine = defaultdict(list)
    for (when, queue, *_), time, span in zip(rows, work, spans, strict=True):
        assert span[0] >= when
        assert span[1] - span[0] >= time
        mine[queue].append(span)
    for queue in mine.values():
        assert all(before[1] <= after[0] for before, after in pairwise(queue))


@given(arrivals, st.integers(1, 10**15))
def test_only_differences_of_times_matter(rows: list[Arrival], later: int) -> None:
    shifted = played([(when + later, *row) for when, *row in rows])  # type: ignore[misc]
    assert [(begin - later, end - later) for begin, end in shifted] == played(rows)


def test_what_lies_ahead_is_in_the_state() -> None:
    """Servers that go on differently are in different states, and time alone changes none."""

    def state(first: int, second: int, begin: int, now: int, since: int = 0) -> list[int]:
        server = Server()
        for step, left in enumerate((first, second)):
            server.add(begin, Job(flight(step, step, left, 10), left, 10))
        server.since += since
        return list(server.state(now, lambda step: step))

    base = state(100, 200, 0, 30)
    assert state(100, 200, 7_000, 7_030) == base
    for other in (state(110, 200, 0, 30), state(100, 210, 0, 30), state(100, 200, 0, 31), state(100, 200, 0, 30, 5)):
        assert other != base
