"""Published rows and cross-checks: every one within its stated tolerance, and the printed report whole."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from trnlab.models.projection.calibration import fit_gemm, mean_absolute_error
from trnlab.models.projection.trainium3_rows import TRAINIUM3_ROWS
from trnlab.models.quantity import ModelError
from trnlab.models.validation.checks import CrossCheck, critical_batch
from trnlab.models.validation.gemm_files import read_gemms
from trnlab.models.validation.projection_tables import print_validation
from trnlab.models.validation.projection_views import residual_chart
from trnlab.models.validation.projections import CROSS_CHECKS, ProjectionValidation
from trnlab.models.validation.serving_rows import SERVING_ROWS, median_achieved, serving_results


@pytest.fixture(scope="module")
def found() -> ProjectionValidation:
    return ProjectionValidation.make()


@pytest.mark.parametrize("check", CROSS_CHECKS, ids=lambda check: check.name)
def test_a_cross_check_agrees_within_its_tolerance(check: CrossCheck) -> None:
    assert check.passes, f"{check.name}: {check.ours} against {check.expected}, {check.error:+.2%}"


def test_cross_checks_are_many_distinct_and_strict() -> None:
    assert len({check.name for check in CROSS_CHECKS}) == len(CROSS_CHECKS) >= 35
    for check in CROSS_CHECKS:
        assert check.source
        assert check.tolerance <= 0.05 or check.flaw, f"{check.name} is loose without a reason"
        assert not replace(check, compute=lambda value=check.ours: value * 1.2).passes  # type: ignore[misc]


def test_critical_batches_are_refused_for_impossible_numbers() -> None:
    with pytest.raises(ModelError, match="bandwidth"):
        critical_batch(1e12, 0, 1)


def test_published_decode_rows_of_aws_are_met_within_15_percent(found: ProjectionValidation) -> None:
    """15 % is the goal; the fit does better, and so does every row without itself."""
    assert found.summary["decode rows, AWS"] < 0.10
    assert found.summary["decode rows, AWS, each left out"] < 0.10


def test_the_middle_layer_explains_half_of_what_the_roofline_misses(found: ProjectionValidation) -> None:
    """Nothing in it is fitted to these rows: their kernels' timelines must bring it nearer than the bytes alone."""
    aws = {row.name for row in found.decode.residuals if row.left_out is not None}
    middle = [row for row in found.kernels if row.name in aws]
    assert len(middle) == 16
    assert mean_absolute_error(middle) < 0.45
    assert all(row.modelled > 0 for row in middle)


def test_nvidias_rows_stay_below_the_roofline_and_dense_ones_at_43_to_64_percent() -> None:
    results = serving_results()
    published = sum(rate is not None for row in SERVING_ROWS for rate in row.rates)
    assert len(results) == published == 44
    assert all(0 < result.achieved < 1 for result in results)
    dense = [result.achieved for result in results if result.name.startswith("Llama")]
    # The fact base finds 43 to 64 % for the dense rows, with roofs and batches computed apart.
    assert min(dense) > 0.41
    assert max(dense) < 0.66


def test_the_report_prints_every_row_and_survives_a_narrow_terminal(found: ProjectionValidation) -> None:
    for width in (80, 200):
        console = Console(file=io.StringIO(), width=width)
        print_validation(found, console)
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert max(len(line) for line in text.splitlines()) <= width
        assert "Mean absolute errors" in text
        assert "decode rows, AWS, each left out" in text
    for check in CROSS_CHECKS:
        assert check.name[:20] in text


def test_the_report_is_data_too(found: ProjectionValidation) -> None:
    data = json.loads(found.to_json())
    assert len(data["cross_checks"]) == len(CROSS_CHECKS)
    assert len(data["decode"]) == 20
    assert len(data["serving"]) == 44
    assert data["summary"] == pytest.approx(found.summary)
    assert all(
        row["error"] == pytest.approx(row["modelled_seconds"] / row["measured_seconds"] - 1) for row in data["decode"]
    )


def test_the_result_shows_itself_as_text_html_data_frame_and_picture(found: ProjectionValidation) -> None:
    rows = sum(len(group) for group in found.groups.values())
    frame = found.to_pandas()
    assert len(frame) == rows
    measured = frame["modelled_seconds"] / (1 + frame["error"])
    assert measured.to_numpy() == pytest.approx(frame["measured_seconds"].to_numpy())
    for name, value in found.summary.items():
        assert f"mean absolute error, {name}: {value:.1%}" in str(found)
        assert f"{value:.1%}" in found._repr_html_()
    axes = found.plot().axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("measured, seconds", "model, seconds")
    assert sum(len(points.get_offsets()) for points in axes.collections[1:]) == rows  # the first is the band
    with pytest.raises(ModelError, match="rows to draw"):
        residual_chart({})


def test_trainium3_and_prompt_rows_have_their_own_means(found: ProjectionValidation) -> None:
    data = json.loads(found.to_json())
    assert [row["name"] for row in data["decode_trainium3"]] == [row.name for row in TRAINIUM3_ROWS]
    errors = [abs(row["error"]) for row in data["decode_trainium3"]]
    assert found.summary["decode rows of Trainium3, third party"] == pytest.approx(sum(errors) / len(errors))
    assert found.summary["decode rows of Trainium3, third party"] < 0.15
    fitted = [abs(row["error"]) for row in data["prompts"] if row["left_out_error"] is not None]
    assert found.summary["prompt rows"] == pytest.approx(sum(fitted) / len(fitted))


def test_achieved_shares_have_the_median_of_the_fact_base() -> None:
    """43 % over 35 of these rows, computed apart; GPT-OSS with a cache in BF16, as its checkpoint has it."""
    assert median_achieved() == pytest.approx(0.43, abs=0.02)


def profiles(shape: tuple[int, int, int], seconds: list[float]) -> dict[str, Any]:
    m, n, k = shape
    return {"executed_shape": {"m": m, "n": n, "k": k}, "samples": [{"total_time": time} for time in seconds]}


def test_gemm_profiles_are_one_row_per_executable(tmp_path: Path) -> None:
    first = {"rows": [profiles((2048, 2048, 1024), [5.0, 1.0, 2.0]), profiles((4096, 2048, 1024), [4.0])]}
    second = {"rows": [profiles((2048, 2048, 1024), [4.0]), profiles((2048, 2048, 1024), [100.0])]}
    (tmp_path / "trn3_lnc2_gemm_a.json").write_text(json.dumps(first))
    (tmp_path / "trn3_lnc2_gemm_b.json").write_text(json.dumps(second))
    (tmp_path / "other.json").write_text("{}")
    rows = read_gemms(tmp_path)
    # Median of a run, one run a file for requests that share an executable, median of the files: of 2 and 4.
    assert [(row.rows, row.columns, row.depth, row.seconds) for row in rows] == [
        (2048, 2048, 1024, 3.0),
        (4096, 2048, 1024, 4.0),
    ]


def test_gemm_profiles_are_fitted_from_a_folder(tmp_path: Path) -> None:
    shapes = [(2048, 2048, 1024), (4096, 4096, 4096), (8192, 8192, 8192)]
    rows = [profiles(shape, [2e-5 + 2.0 * shape[0] * shape[1] * shape[2] / 1.5e14]) for shape in shapes]
    (tmp_path / "trn3_lnc2_gemm_a.json").write_text(json.dumps({"rows": rows}))
    found = fit_gemm(read_gemms(tmp_path))
    assert found.launch_seconds == pytest.approx(2e-5)
    assert found.flops_per_second == pytest.approx(1.5e14)


@pytest.mark.parametrize("text", ["{", "[]", '{"rows": [{}]}', '{"rows": [{"executed_shape": {"m": 1}}]}'])
def test_malformed_profiles_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "trn3_lnc2_gemm_a.json").write_text(text)
    with pytest.raises(ModelError, match="trn3_lnc2_gemm_a"):
        read_gemms(tmp_path)


def test_a_folder_without_profiles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="GEMM profiles"):
        read_gemms(tmp_path)
