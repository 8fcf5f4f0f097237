"""The demonstration, on shapes small enough for a test."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from trnlab.emulator.target import get_target
from trnlab.models import demo, demo_report

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def report() -> demo.DemoReport:
    patch = pytest.MonkeyPatch()
    for name, value in {"TOKENS": 64, "D_MODEL": 320, "D_FF": 96, "HEADS": 2, "SEQUENCE": 192}.items():
        patch.setattr(demo, name, value)
    steps: list[str] = []
    result = demo.run_demo(steps.append)
    patch.undo()
    assert len(steps) == demo.steps()
    return result


def test_accuracy_is_what_the_formats_allow(report: demo.DemoReport) -> None:
    matmul, attention = report.cases
    original, quantised = matmul.accuracy
    # MXFP4 keeps one mantissa bit, MXFP8 three: about 12 dB apart; BF16 attention keeps eight bits of the weights.
    assert 12 < original.sqnr_db < 25
    assert quantised.sqnr_db > original.sqnr_db + 8
    assert attention.accuracy[0].sqnr_db > 45


def test_trainium2_says_what_it_lacks_and_shows_a_twin(report: demo.DemoReport) -> None:
    matmul, attention = report.cases
    trn2, trn3 = matmul.projections[:2]
    assert (trn2.kernel, trn2.missing) == ("FP8 twin", "quantize_mx")
    assert (trn3.kernel, trn3.missing) == ("MXFP8 x MXFP4", "")
    assert all(not projection.missing for projection in attention.projections)


def test_every_target_is_projected_with_a_band(report: demo.DemoReport) -> None:
    for case in report.cases:
        found = [(projection.target, projection.variant) for projection in case.projections]
        expected = [(target.name, target.variant) for target in (get_target(n, v) for n, v in demo.TARGETS)]
        assert found == expected
        for projection in case.projections:
            low, central, high = projection.seconds
            assert 0 < low <= central <= high
            assert 0 < projection.roofline_percent <= 100
            assert all(0 <= share <= 1 for share in projection.utilisation.values())


def test_the_report_prints_and_is_data(report: demo.DemoReport) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    demo_report.render(report, console)
    text = console.export_text()
    for part in ("SQNR", "Trainium2", "Trainium4", "central", "no MX", "FP8 twin", "time µs, high", "% of roofline"):
        assert part in text
    assert json.loads(report.to_json())["cases"][0]["projections"][0]["target"] == "trn2"


def test_accuracy_of_a_known_error() -> None:
    oracle = np.array([1.0, -2.0, 4.0])
    accuracy = demo.Accuracy.of(np.array([1.0, -2.0, 4.5]), oracle, "itself")
    assert (accuracy.max_abs, accuracy.max_rel) == (0.5, 0.125)
    assert accuracy.sqnr_db == pytest.approx(10 * np.log10(21 / 0.25))
    assert demo.Accuracy.of(oracle, oracle, "itself").sqnr_db == float("inf")
