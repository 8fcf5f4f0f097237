"""A comparison's figures, each worked out by hand, and its three faces."""

from __future__ import annotations

import json
import math
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from trnlab.emulator.errors import DtypeError, ShapeError
from trnlab.emulator.testing import NAN_DISTANCE, UlpBin, compare

ACTUAL = np.array([1.0, 2.0, -4.0, 0.0], ml_dtypes.bfloat16)
EXPECTED = np.array([1.0, 2.0 + 2.0**-6, -4.125, 0.0])  # 2 + 2**-6 is one step of bfloat16 off, -4.125 four


def test_figures() -> None:
    found = compare(ACTUAL, EXPECTED, name="case")
    assert (found.dtype, found.shape, found.count) == ("bfloat16", (4,), 4)
    assert found.max_abs == 0.125
    assert found.max_rel == 0.125 / 4.125
    noise, signal = 2.0**-12 + 0.125**2, 1 + (2 + 2.0**-6) ** 2 + 4.125**2
    assert found.rms == pytest.approx(math.sqrt(noise / 4), rel=1e-12)
    assert found.relative_rms == pytest.approx(math.sqrt(noise / signal), rel=1e-12)
    assert found.sqnr_db == pytest.approx(10 * math.log10(signal / noise), rel=1e-12)
    assert found.ulps == (UlpBin(0, 0, 2), UlpBin(1, 1, 1), UlpBin(2, 2, 0), UlpBin(3, 4, 1))
    assert (found.worst_index, found.worst_actual, found.worst_expected) == ((2,), -4.0, -4.125)
    assert found.max_ulp == 4
    assert (found.nan_mismatches, found.inf_mismatches) == (0, 0)


def test_equal_arrays_have_no_noise() -> None:
    found = compare(ACTUAL, ACTUAL.astype(np.float64))
    assert found.sqnr_db == math.inf
    assert (found.relative_rms, found.max_ulp, found.ulps) == (0.0, 0, (UlpBin(0, 0, 4),))


def test_what_is_not_finite_is_counted_and_left_out_of_the_norms() -> None:
    actual = np.array([np.nan, np.inf, np.inf, np.nan, 3.0], np.float32)
    expected = np.array([1.0, 1e39, -np.inf, np.nan, 2.0])  # 1e39 rounds to infinity in float32
    found = compare(actual, expected)
    assert (found.nan_mismatches, found.inf_mismatches) == (1, 1)
    assert (found.max_abs, found.max_rel) == (1.0, 0.5)
    assert found.worst_index == (0,)
    assert found.ulps[-1] == UlpBin(NAN_DISTANCE, NAN_DISTANCE, 1)


def test_one_ulp_relative_error_of_e4m3() -> None:
    # All values of one binade, each one step up: the noise is one step squared each.
    codes = np.arange(0x38, 0x40, dtype=np.uint8)
    values = codes.view(ml_dtypes.float8_e4m3)
    up = (codes + 1).view(ml_dtypes.float8_e4m3)
    found = compare(up, values.astype(np.float64))
    assert found.ulps == (UlpBin(0, 0, 0), UlpBin(1, 1, 8))
    assert found.rms == 0.125


def test_packed_words_are_compared_by_lanes() -> None:
    words = np.array([[0x38383838]], np.uint32)
    found = compare(words, words ^ np.uint32(1), "float8_e4m3fn_x4")
    assert (found.shape, found.dtype) == ((1, 1, 4), "float8_e4m3fn")
    assert found.ulps == (UlpBin(0, 0, 3), UlpBin(1, 1, 1))


def test_faces(tmp_path: Path) -> None:
    found = compare(ACTUAL, EXPECTED, name="<case>")
    text = str(found)
    assert "worst element              [2]: -4.0, expected -4.125" in text
    assert "3-4 ulp" in text
    console = Console(width=100, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
    with console.file:
        console.print(found)
        assert "3-4 ulp" in console.export_text()
    assert "&lt;case&gt;" in found._repr_html_()
    data = json.loads(found.to_json())
    assert data["worst_index"] == [2]
    assert json.loads(compare(ACTUAL, ACTUAL).to_json())["sqnr_db"] == "inf"
    assert found.plot(tmp_path / "ulps.png").axes[0].patches[1].get_height() == 1
    assert (tmp_path / "ulps.png").stat().st_size > 1000
    axes = Figure().add_subplot()
    assert found.plot(axes) is axes.figure


def test_refusals() -> None:
    with pytest.raises(ShapeError, match=r"\(4, 1\)"):
        compare(ACTUAL, EXPECTED[:, None])
    with pytest.raises(DtypeError, match="NKI has"):
        compare(EXPECTED, EXPECTED)
