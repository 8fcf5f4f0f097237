"""What is live at once, who holds it, and the errors when it does not fit."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator.check.banks import assign_banks
from trnlab.emulator.check.capacity import check_capacity, measure
from trnlab.emulator.dtypes import as_dtype
from trnlab.emulator.errors import CapacityError
from trnlab.emulator.memory import Buffer, MemoryRegion
from trnlab.emulator.nest import LiveRanges
from trnlab.emulator.program import Program
from trnlab.emulator.target import get_target
from trnlab.emulator.trace import Trace

TRN3, TRN2 = get_target("trn3"), get_target("trn2")
KIB = 1024


def record(body: Any, target: Any = TRN3) -> Program:
    with Trace("test", target).opened() as trace:
        body()
        return trace.program([], [])


def tile(kib: float, name: str = "", buffer: Any = None, **where: Any) -> Any:
    """A float32 tile of that many KiB per partition."""
    shape = (128, int(kib * KIB) // 4)
    return nl.ndarray(shape, dtype=nl.float32, buffer=nl.sbuf if buffer is None else buffer, name=name, **where)


# -- SBUF ------------------------------------------------------------------------------------------------------------


def test_the_curve_is_the_sum_of_what_is_live() -> None:
    def body() -> None:
        a, b, c = tile(4, "a"), tile(8, "b"), tile(16, "c")
        nisa.memset(a, 0.0)  # 0: a
        nisa.memset(b[:, :1024], 0.0)  # 1: a b
        nisa.tensor_copy(b[:, 1024:], a)  # 2: a b
        nisa.memset(c, 0.0)  # 3: b c
        nisa.tensor_copy(c[:, :2048], b)  # 4: b c
        nisa.memset(c, 1.0)  # 5: c

    occupancy = check_capacity(record(body), TRN3)
    assert (occupancy.sbuf_curve // KIB).tolist() == [4, 12, 12, 24, 24, 16]
    assert occupancy.sbuf_peak_bytes == 24 * KIB
    assert occupancy.sbuf_peak_instruction == 3
    assert [(holder.buffer.name, holder.first, holder.last) for holder in occupancy.sbuf_holders] == [
        ("c", 3, 5),
        ("b", 1, 4),
    ]
    assert occupancy.psum_curve.tolist() == [0] * 6


def test_a_loop_holds_what_its_iterations_share() -> None:
    def body() -> None:
        shared = tile(4)
        nisa.memset(shared, 0.0)  # 0

        def inner(_: Any) -> None:
            nisa.tensor_scalar(shared, shared, nl.add, 1.0)  # 1
            fresh = tile(8)
            nisa.memset(fresh, 0.0)  # 2
            nisa.memset(tile(16), 0.0)  # 3

        nl.fori_loop(0, 3, inner)

    assert (check_capacity(record(body), TRN3).sbuf_curve // KIB).tolist() == [4, 4, 12, 20]


def test_partitions_where_hand_placed_buffers_start_are_judged_too() -> None:
    def body() -> None:
        nisa.memset(tile(4), 0.0)
        low = nl.ndarray((32, 2048), dtype=nl.float32, address=(0, 8 * KIB))
        high = nl.ndarray((64, 4096), dtype=nl.float32, address=(64, 8 * KIB))
        nisa.memset(low, 0.0)
        nisa.memset(high, 0.0)
        nisa.tensor_copy(low, high[0:32, :2048])

    occupancy = check_capacity(record(body), TRN3)
    assert (occupancy.sbuf_curve // KIB).tolist() == [4, 8, 16, 16]  # low and high share no partition


def test_too_much_at_once_names_the_holders_and_the_lines() -> None:
    def body() -> None:
        big = [tile(40, f"big{i}") for i in range(6)]
        for item in big:
            nisa.memset(item, 0.0)
        last = tile(32, "last straw")
        nisa.memset(last, 0.0)  # 6: 6 * 40 + 32 KiB > 256 KiB
        for item in big:
            nisa.tensor_copy(item[:, :4], last[:, :4])

    program = record(body)
    with pytest.raises(CapacityError) as caught:
        check_capacity(program, TRN3)
    violation = caught.value.violation
    assert violation.location is not None
    assert violation.location.text == "nisa.memset(last, 0.0)  # 6: 6 * 40 + 32 KiB > 256 KiB"
    assert violation.allowed == f"{256 * KIB} bytes per partition"
    assert violation.operand == "SBUF"
    assert violation.generation == TRN3.label
    text = str(caught.value)
    assert f"{(6 * 40 + 32) * KIB} bytes per partition live at instruction 6" in text
    assert f"big0: float32[128, {40 * KIB // 4}], {40 * KIB} bytes per partition, live 0 to 7, allocated at" in text
    assert text.index("big0") < text.index("big5") < text.index("last straw")
    assert text.count(f"{__file__}:") >= 7


def test_many_holders_are_summed_up() -> None:
    def body() -> None:
        tiles = [tile(20, f"t{i}") for i in range(14)]
        for item in tiles:
            nisa.memset(item, 0.0)
        for item in tiles:
            nisa.tensor_copy(item[:, :1], tiles[0][:, :1])

    with pytest.raises(CapacityError, match="and 6 more"):  # all 14 are live at the last memset; 8 are named
        check_capacity(record(body), TRN3)


def test_a_program_that_fits_one_generation_may_not_fit_another() -> None:
    def body() -> None:
        tiles = [tile(20) for _ in range(12)]
        for item in tiles:
            nisa.memset(item, 0.0)
        for item in tiles:
            nisa.tensor_copy(item[:, :1], tiles[0][:, :1])

    program = record(body)
    occupancy, overflows = measure(program, TRN3)
    assert overflows == ()
    assert occupancy.sbuf_peak_bytes == 240 * KIB < occupancy.sbuf_capacity_bytes
    _, overflows = measure(program, TRN2)
    assert [overflow.about for overflow in overflows] == ["SBUF"]  # 192 KiB


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 64)), max_size=20))
def test_curves_by_brute_force(intervals: list[tuple[int, int, int]]) -> None:
    """Tiles whose first and last uses are given, against a sum at every instruction."""
    spans = [(min(a, b), max(a, b), kib) for a, b, kib in intervals]

    def body() -> None:
        tiles = [tile(kib / 16) for _, _, kib in spans]
        pad = tile(1 / 64)
        for at in range(31):
            for item, (first, last, _) in zip(tiles, spans, strict=True):
                if at in (first, last):
                    nisa.memset(item, 0.0)
            nisa.memset(pad, 0.0)

    program = record(body)
    occupancy, _ = measure(program, TRN3)
    uses: dict[int, list[int]] = {}
    for number, (buffer, _) in enumerate(program.operands.tolist()):
        uses.setdefault(buffer, []).append(number)
    expected = [
        sum(program.buffers[b].bytes_per_partition for b, at in uses.items() if min(at) <= number <= max(at))
        for number in range(len(program))
    ]
    assert occupancy.sbuf_curve.tolist() == expected


def test_an_empty_program_is_empty() -> None:
    occupancy = check_capacity(record(lambda: None), TRN3)
    assert occupancy.sbuf_peak_bytes == occupancy.psum_peak_banks == 0
    assert repr(occupancy) == "Occupancy(sbuf 0 of 262144 bytes per partition, psum 0 of 8 banks)"


def test_a_hundred_thousand_instructions_take_well_under_a_second() -> None:
    def body() -> None:
        x, acc = tile(2), tile(2, buffer=nl.psum)
        nisa.memset(x, 0.0)
        nisa.memset(acc, 0.0)
        nisa.tensor_copy(x, acc)

    once = record(body)
    count = 33_333
    fresh = np.arange(count).repeat(len(once.operands)) * 2  # new buffers in every repetition
    operands = np.tile(once.operands, (count, 1))
    operands[:, 0] += fresh
    buffers = tuple(
        Buffer(2 * i + b.number, b.region, b.shape, b.dtype, b.name) for i in range(count) for b in once.buffers
    )
    program = once.replace(
        buffers=buffers,
        signature_ids=np.tile(once.signature_ids, count),
        operands=operands,
        immediates=np.tile(once.immediates, count),
        location_ids=np.tile(once.location_ids, count),
    )
    started = time.process_time()
    occupancy = check_capacity(program, TRN3)
    assert time.process_time() - started < 2  # 0.3 s on two slow cores; the margin is for busy machines
    assert len(program) == 99_999
    assert occupancy.sbuf_peak_bytes == 2 * KIB
    assert occupancy.psum_peak_banks == 1


# -- placement by hand -----------------------------------------------------------------------------------------------


def placed(first: tuple[int, int], second: tuple[int, int], region: Any, *, together: bool) -> Program:
    def body() -> None:
        one = nl.ndarray((32, 64), dtype=nl.float32, buffer=region, name="one", address=first)
        two = nl.ndarray((32, 64), dtype=nl.float32, buffer=region, name="two", address=second)
        nisa.memset(one, 0.0)
        nisa.memset(two, 0.0)
        if together:
            nisa.tensor_copy(two, one)

    return record(body)


@pytest.mark.parametrize("region", [nl.sbuf, nl.psum])
@pytest.mark.parametrize(
    ("second", "share"),
    [((0, 0), True), ((0, 252), True), ((0, 256), False), ((32, 0), False)],
)
def test_live_buffers_may_not_share_addresses(region: Any, second: tuple[int, int], share: bool) -> None:
    program = placed((0, 0), second, region, together=True)
    if not share:
        check_capacity(program, TRN3)
        return
    with pytest.raises(CapacityError) as caught:
        check_capacity(program, TRN3)
    violation = caught.value.violation
    assert violation.operand == "one and two"
    for part in ("one: float32[32, 64]", "two: float32[32, 64]", f"byte {second[1]}", f"{__file__}:"):
        assert part in violation.found
    assert violation.location is not None
    assert violation.location.text == "nisa.memset(two, 0.0)"


@pytest.mark.parametrize("region", [nl.sbuf, nl.psum])
def test_addresses_are_free_again_when_a_buffer_is_done(region: Any) -> None:
    check_capacity(placed((0, 0), (0, 0), region, together=False), TRN3)


# -- PSUM ------------------------------------------------------------------------------------------------------------


def test_banks_in_use() -> None:
    def body() -> None:
        full = [tile(2, buffer=nl.psum) for _ in range(2)]
        halves = [tile(1, buffer=nl.psum) for _ in range(3)]
        for item in (*full, *halves):
            nisa.memset(item, 0.0)
        out = tile(2)
        for item in (*full, *halves):
            nisa.tensor_copy(out[:, : item.shape[1]], item)

    # Two halves share a bank; the third needs its own; then each is read once, in order, and is done.
    assert check_capacity(record(body), TRN3).psum_curve.tolist() == [1, 2, 3, 3, 4, 4, 3, 2, 2, 1]


def test_nine_live_banks_do_not_fit_and_eight_do() -> None:
    def body(count: int) -> None:
        tiles = [tile(2, f"acc{i}", buffer=nl.psum) for i in range(count)]
        for item in tiles:
            nisa.memset(item, 0.0)
        out = tile(2)
        for item in tiles:
            nisa.tensor_copy(out, item)

    assert check_capacity(record(lambda: body(8)), TRN3).psum_peak_banks == 8
    with pytest.raises(CapacityError) as caught:
        check_capacity(record(lambda: body(9)), TRN3)
    violation = caught.value.violation
    assert violation.operand == "PSUM"
    assert "no room at instruction 8 for acc8: float32[128, 512]" in violation.found
    assert "acc0: float32[128, 512]" in violation.found
    assert violation.allowed == "8 banks of 2048 bytes per partition"


def plan(*tiles: tuple[int, int, int], address: dict[int, int] | None = None) -> dict[int, Any]:
    """Banks of tiles (bytes, first, last); None where there was no room."""
    float32 = as_dtype("float32")
    buffers = [
        Buffer(
            number,
            MemoryRegion.psum,
            (128, nbytes // 4),
            float32,
            f"t{number}",
            address=(0, address[number]) if address and number in address else None,
        )
        for number, (nbytes, _, _) in enumerate(tiles)
    ]
    first, last = np.array([t[1] for t in tiles]), np.array([t[2] for t in tiles])
    found = assign_banks(buffers, LiveRanges(first, last, np.ones(len(tiles), bool)), TRN3)
    banks = {number: (banks.start, banks.stop - 1) for number, banks in found.banks.items()}
    return {number: banks.get(number) for number in range(len(tiles))}


def test_first_fit_over_time() -> None:
    assert plan((2048, 0, 9), (2048, 0, 1), (2048, 2, 9)) == {0: (0, 0), 1: (1, 1), 2: (1, 1)}


def test_small_tiles_share_a_bank_while_they_fit() -> None:
    assert plan((1024, 0, 9), (512, 0, 9), (512, 1, 9), (4, 1, 9)) == {0: (0, 0), 1: (0, 0), 2: (0, 0), 3: (1, 1)}


def test_large_tiles_take_whole_consecutive_banks() -> None:
    assert plan((4, 0, 9), (3000, 0, 9), (8192, 0, 9), (4096, 0, 9)) == {0: (0, 0), 1: (1, 2), 2: (3, 6), 3: None}
    assert plan((4, 0, 9), (16384, 0, 9)) == {0: (0, 0), 1: None}
    assert plan((4, 0, 3), (16384, 4, 9)) == {0: (0, 0), 1: (0, 7)}


def test_hand_placed_tiles_keep_their_banks() -> None:
    # Tile 1 sits at byte 1024 of bank 0 over time 5..9, so what overlaps it finds only the other half free.
    address = {1: 1024}
    assert plan((2048, 0, 4), (1024, 5, 9), address=address) == {0: (0, 0), 1: (0, 0)}
    assert plan((2048, 0, 5), (1024, 5, 9), address=address) == {0: (1, 1), 1: (0, 0)}
    assert plan((1024, 0, 5), (1024, 5, 9), address=address) == {0: (0, 0), 1: (0, 0)}
    assert plan((4, 0, 9), (4096, 0, 9), address={1: 1024}) == {0: (0, 0), 1: (0, 2)}


@given(
    st.lists(st.tuples(st.sampled_from([4, 512, 1024, 2048, 4096]), st.integers(0, 9), st.integers(0, 9)), max_size=12)
)
def test_no_bank_is_ever_overfull(tiles: list[tuple[int, int, int]]) -> None:
    spans = [(nbytes, min(a, b), max(a, b)) for nbytes, a, b in tiles]
    if not spans:
        return
    banks = plan(*spans)
    for moment in range(10):
        held = [0] * 8
        for number, (nbytes, first, last) in enumerate(spans):
            place = banks[number]
            if place is not None and first <= moment <= last:
                for bank in range(place[0], place[1] + 1):
                    held[bank] += min(nbytes, 2048)
        assert max(held) <= 2048
