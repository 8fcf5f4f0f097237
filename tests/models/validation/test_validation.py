"""Validation rows, their statistics, the refit, and the command; the published rows themselves are slow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trnlab.emulator.errors import TrnlabError
from trnlab.emulator.target import get_target
from trnlab.models.validation import library
from trnlab.models.validation.cases import CASES, LEFT_OUT, MeasuredCase
from trnlab.models.validation.fitted import FITTED, Responses
from trnlab.models.validation.outcome import Comparison, Outcome, evaluate, program_of
from trnlab.models.validation.statistics import by_group, orders, summarise

BY_NAME = {case.name: case for case in CASES}
LIBRARY_VARIABLE = "NKI_LIBRARY_DIR"


def outcome(name: str, measured: float, central: float, **facts: Any) -> Outcome:
    """A row with made-up figures."""
    given = {key: facts.pop(key) for key in ("group", "family", "band", "counted", "unseen") if key in facts}
    case = replace(BY_NAME["T1-1"], name=name, milliseconds=measured, **given)
    values: dict[str, Any] = {
        "low": central / 2,
        "high": central * 2,
        "order": "list",
        "instructions": 1,
        "bounding_resource": "dma",
        "active": {},
        "hbm_bytes": None,
        "homeless_bytes": 0,
        "assumed_opcodes": (),
    }
    return Outcome(case=case, central=central, **(values | facts))


# -- cases ------------------------------------------------------------------------------------------------------------


def test_cases_are_told_apart_and_say_where_they_come_from() -> None:
    assert len(BY_NAME) == len(CASES)
    assert not BY_NAME.keys() & LEFT_OUT.keys()
    for case in CASES:
        assert case.source, case.name
        assert case.milliseconds > 0, case.name
        engines = {"dma packets": 16}  # of which the times are added up
        assert all(time <= engines.get(name, 1) * case.milliseconds for name, time in case.active.items()), case.name


def test_a_kernel_that_needs_more_memory_gets_it_and_the_target_says_so() -> None:
    roomy = BY_NAME["T2-6"].hardware()
    assert roomy.sbuf_bytes_per_partition == 448 * 1024
    assert "448 KiB" in roomy.variant
    assert BY_NAME["T2-5"].hardware() == get_target("trn2")


def test_bytes_of_the_loop_nests() -> None:
    # 32 row blocks x 16 column blocks x 64 K tiles of 128 x 128 and 128 x 512 values, and the result once.
    tiles = 32 * 16 * 64 * (128 * 128 + 128 * 512)
    for name, itemsize in (("T1-1", 2), ("T2-4", 4)):
        small = replace(BY_NAME[name], shapes=(((256, 128), dtype_of(name)), ((256, 512), dtype_of(name))))
        done = evaluate(replace(small, hbm_bytes=1.0), program_of(small))
        assert done.hbm_bytes is not None
        assert done.hbm_bytes.predicted == itemsize * (2 * (128 * 128 + 128 * 512) + 128 * 512)
        assert tiles * itemsize + 4096 * 8192 * itemsize == pytest.approx(5.436e9 * itemsize / 2, rel=1e-3)


def dtype_of(name: str) -> Any:
    return BY_NAME[name].shapes[0][1]


def test_library_kernels_need_a_checkout(tmp_path: Path) -> None:
    with pytest.raises(TrnlabError, match="QL-1 needs a checkout"):
        program_of(BY_NAME["QL-1"])
    with pytest.raises(library.LibraryError, match="no checkout of aws-neuron/nki-library"):
        library.load("attention_cte", tmp_path)


# -- outcomes and statistics ------------------------------------------------------------------------------------------


def test_the_execution_overhead_is_added_where_the_measurement_includes_it() -> None:
    case = BY_NAME["DMA ex2"]
    program = program_of(case)
    without, with_it = evaluate(case, program), evaluate(replace(case, overhead=True), program)
    assert with_it.central - without.central == pytest.approx(10e-3)
    assert with_it.low - without.low == pytest.approx(5e-3)
    assert with_it.high - without.high == pytest.approx(50e-3)


def test_errors_and_ranges() -> None:
    row = outcome("x", 2.0, 1.5)
    assert row.error == pytest.approx(-0.25)
    assert row.inside
    assert not outcome("x", 2.0, 0.9).inside
    assert outcome("x", 2.0, 0.9, band=0.1).inside  # 0.9 * 2 = 1.8 meets 2 less 10 %
    assert Comparison(measured=4.0, predicted=5.0).error == pytest.approx(0.25)


def test_statistics_of_made_up_rows() -> None:
    rows = [
        outcome("a", 10, 11, group="one", family="f"),
        outcome("b", 20, 18, group="one", family="f", active={"dma": Comparison(measured=1.0, predicted=1.1)}),
        outcome("c", 10, 13, group="two", family="g", unseen=-0.5),
        outcome("d", 10, 5, group="two", active={"vector": Comparison(measured=1.0, predicted=0.95)}),
        outcome("reading", 10, 99, group="three", counted=False, unseen=9.0),
    ]
    found = summarise(rows)
    assert found.rows == 4
    assert found.mean_absolute_error == pytest.approx((0.1 + 0.1 + 0.3 + 0.5) / 4)
    assert found.by_group == pytest.approx({"one": 0.1, "two": 0.4})
    assert found.balanced == pytest.approx(0.25)
    assert found.worst == ("d", pytest.approx(-0.5))
    assert found.worst_active == ("b dma", pytest.approx(0.1))
    assert found.unseen == (1, 0.5, pytest.approx(0.3))
    assert [(order.faster, order.slower, order.agrees) for order in found.orders] == [("a", "b", True)]
    assert by_group({}, {}) == {}


def test_only_distinct_measurements_must_be_in_order() -> None:
    close = [outcome("a", 10, 12, family="f"), outcome("b", 10.4, 11, family="f")]
    assert orders(close) == ()
    apart = [outcome("a", 10, 12, family="f"), outcome("b", 10.6, 11, family="f")]
    assert [order.agrees for order in orders(apart)] == [False]


# -- fitted constants -------------------------------------------------------------------------------------------------


def made_up(values: dict[str, dict[tuple[str, float], float]], groups: dict[str, str]) -> Responses:
    """Cases measured as 1 ms; `values` gives what a constant's value multiplies each prediction by."""
    cases = tuple(replace(BY_NAME["T1-1"], name=name, group=group, milliseconds=1.0) for name, group in groups.items())
    factors = {
        (name, constant.label, value): values.get(name, {}).get((constant.label, value), 1.0)
        for name in groups
        for constant in FITTED
        for value in constant.grid
    }
    return Responses(cases=cases, central=dict.fromkeys(groups, 1.0), factors=factors)


def test_leaving_a_source_out_takes_the_constants_of_the_others() -> None:
    vector, clock = ("vector_static_cycles v2", 150.0), ("tensor_sustained_clock_factor v2", 0.9)
    # Row "a" is right with 150 cycles only, "b" with a clock of 0.9 only; "c" likes neither.
    wrong = {(item.label, value): 2.0 for item in FITTED for value in item.grid}
    a = {key: factor for key, factor in wrong.items() if key[0] == vector[0] and key != vector}
    b = {key: factor for key, factor in wrong.items() if key[0] == clock[0] and key != clock}
    found = {item.group: item for item in made_up({"a": a, "b": b}, {"a": "A", "b": "B"}).leave_one_out()}
    assert found["A"].chosen[clock[0]] == clock[1]
    assert found["B"].chosen[vector[0]] == vector[1]
    # Nothing but "b" chose for "a", and took the first of the values that are all the same to it.
    assert found["A"].errors == {"a": pytest.approx(1.0)}
    assert found["A"].mean_absolute_error == pytest.approx(1.0)


def test_effects_move_one_constant_at_a_time() -> None:
    name, value = FITTED[0].label, FITTED[0].grid[0]
    responses = made_up({"a": {(name, value): 1.2}}, {"a": "A", "b": "B"})
    effects = responses.effects()
    assert effects[name][value] == pytest.approx(0.1)
    assert sum(sum(row.values()) for row in effects.values()) == pytest.approx(0.1)
    assert responses.errors({}) == {"a": 0.0, "b": 0.0}


def test_fitted_constants_are_numbers_of_the_target_and_the_grid_has_their_value() -> None:
    for constant in FITTED:
        for generation in constant.generations:
            fact = get_target(f"v{generation}").provenance[constant.name]
            assert fact.value in constant.grid
            assert "fit" in fact.source or fact.klass == "derived", constant.name


def test_responses_run_the_timeline_with_one_constant_changed() -> None:
    case = replace(BY_NAME["T3-2"], shapes=tuple(((*shape[:-1], 16), dtype) for shape, dtype in BY_NAME["T3-2"].shapes))
    responses = Responses.of([(case, program_of(case))])
    faster, slower = (responses.factors["T3-2", "vector_static_cycles v2", value] for value in (0.0, 200.0))
    assert faster < 1 < slower
    assert responses.factors["T3-2", "vector_static_cycles v2", 100.0] == 1


# -- the command ------------------------------------------------------------------------------------------------------


def validate(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trnlab.models.cli", "validate", "timeline", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_prints_rows_and_says_what_is_missing() -> None:
    done = validate("--only", "DMA", "--only", "QL-1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    data = json.loads(done.stdout)
    assert [row["name"] for row in data["rows"]] == ["DMA ex1", "DMA ex2"]
    assert data["skipped"] == ["QL-1", "QL-1b"]
    row = data["rows"][0]
    assert row["error"] == pytest.approx(row["predicted_ms"] / row["measured_ms"] - 1)
    assert row["low_ms"] <= row["predicted_ms"] <= row["high_ms"]
    text = validate("--only", "DMA").stdout
    assert "DMA ex2" in text
    assert "mean absolute error" in text


def test_a_row_that_does_not_exist_is_an_error() -> None:
    done = validate("--only", "T9")
    assert done.returncode == 2
    assert "T9" in done.stderr


# -- the published rows -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published() -> list[Outcome]:
    checkout = os.environ.get(LIBRARY_VARIABLE)
    wanted = [case for case in CASES if checkout or not isinstance(case.kernel, str)]
    return [evaluate(case, program_of(case, Path(checkout) if checkout else None)) for case in wanted]


@pytest.mark.slow
def test_published_measurements_are_met_as_closely_as_stated(published: list[Outcome]) -> None:
    found = summarise(published)
    assert found.mean_absolute_error <= 0.09
    assert found.balanced <= 0.09
    assert abs(found.worst[1]) <= 0.30
    assert abs(found.worst_active[1]) <= 0.15
    assert [order for order in found.orders if not order.agrees] == []


@pytest.mark.slow
def test_published_bytes_and_readings(published: list[Outcome]) -> None:
    rows = {row.case.name: row for row in published}
    for name, row in rows.items():
        if row.hbm_bytes is not None:
            assert abs(row.hbm_bytes.error) <= 0.01, name
    # Read off figures to about 20 ns at either end of five bars.
    for name in ("DMA ex1", "DMA ex2", "T4-2"):
        assert abs(rows[name].error) <= 0.1, name


def test_cases_cannot_be_changed() -> None:
    assert isinstance(BY_NAME["T1-1"], MeasuredCase)
    with pytest.raises(AttributeError):
        BY_NAME["T1-1"].milliseconds = 1.0  # type: ignore[misc]
