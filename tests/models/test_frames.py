"""What notebooks show: HTML, pandas and pictures of chips, rooflines, claims and maps."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

from trnlab.emulator.errors import TrnlabError
from trnlab.models.chips import get_chip
from trnlab.models.claims import claims_table, to_pandas
from trnlab.models.claims.serving import gpt_oss_map
from trnlab.models.frames import html_table
from trnlab.models.roofline import KernelPoint, Roofline


def cells(html: str) -> list[list[str]]:
    """Every row of an HTML table, header first; fails on broken markup."""
    table = ElementTree.fromstring(html)
    return [[cell.text or "" for cell in row] for row in table.iter("tr")]


def test_html_is_escaped() -> None:
    html = html_table("a < b", ("x & y",), [("<script>",)])
    assert "<script>" not in html
    assert cells(html) == [["x & y"], ["<script>"]]
    assert ElementTree.fromstring(html)[0].text == "a < b"


def test_a_chip_shows_its_sheet() -> None:
    rows = cells(get_chip("trn3")._repr_html_())
    (hbm,) = [row for row in rows if row[0] == "HBM bandwidth"]
    assert hbm[1] == "4.9 TB/s (published)"
    assert hbm[3] == "4.7 TB/s (hbm_bandwidth=NKI guide)"
    assert ["power", "not printed", "", ""] in cells(get_chip("tpu-v6e")._repr_html_())


def test_a_roofline_shows_its_ridges() -> None:
    header, *rows = cells(Roofline.of_chip("trn2")._repr_html_())
    assert header == ["dtype", "peak", "ridge, HBM", "ridge, DMA", "ridge, SBUF"]
    assert ["bf16", "667 TFLOP/s (published)", "230 FLOP/B"] in [row[:3] for row in rows]


def test_a_claim_shows_its_readings() -> None:
    for claim in claims_table():
        header, *rows = cells(claim._repr_html_())
        assert len(header) == len(rows[0]) == 5
        assert len(rows) == len(claim.readings)
        assert rows[0][-1] == claim.verdict


def test_tables_of_pandas_hold_the_numbers() -> None:
    pytest.importorskip("pandas")
    sheet = get_chip("trn3").to_pandas()
    hbm = sheet[sheet["key"] == "hbm_bandwidth"]
    assert dict(zip(hbm["select"], hbm["value"], strict=True)) == {"": 4.9e12, "hbm_bandwidth=NKI guide": 4.7e12}
    ridges = Roofline.of_chip("trn2").to_pandas()
    chosen = ridges[(ridges["dtype"] == "bf16") & (ridges["memory"] == "HBM")]
    assert chosen["ridge_flops_per_byte"].tolist() == pytest.approx([667 / 2.9])
    claims = to_pandas()
    assert len(claims) == sum(len(claim.readings) for claim in claims_table())
    first = claims.iloc[0]
    assert first["error_percent"] == pytest.approx(100 * (2517 / 1299 / 2 - 1))
    found = gpt_oss_map("roofline")
    frame = found.to_pandas()
    assert len(frame) == len(found.prompts) * len(found.batches)
    row = frame[(frame["prompt"] == found.prompts[2]) & (frame["batch"] == found.batches[4])].iloc[0]
    assert row["throughput"] == found.throughput[2, 4]
    assert math.isnan(frame.iloc[-1]["latency"])


def test_pictures_have_units_on_every_axis() -> None:
    pytest.importorskip("matplotlib")
    point = KernelPoint(name="k", flops={"bf16": 1e12}, hbm_bytes=1e9, dma_bytes=1e9)
    (axes,) = Roofline.of_chip("trn2").plot([point]).axes
    assert "FLOP per HBM byte" in axes.get_xlabel()
    maps = gpt_oss_map("roofline").plot()
    throughput, latency, bar = maps.axes
    for panel in (throughput, latency):
        assert (panel.get_xlabel(), panel.get_ylabel()) == ("running requests", "tokens of the prompt")
    assert bar.get_ylabel() == "times as fast"
    assert [panel.get_title(loc="left") for panel in (throughput, latency)] == [
        "output tokens/s per chip, roofline",
        "tokens/s per request, roofline",
    ]


@pytest.mark.parametrize(
    ("library", "use"),
    [
        ("pandas", lambda: get_chip("trn3").to_pandas()),
        ("pandas", lambda: Roofline.of_chip("trn2").to_pandas()),
        ("pandas", to_pandas),
    ],
)
def test_without_the_library_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, library: str, use: Callable[[], Any]
) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == library:
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(TrnlabError, match=r"pip install trnlab\[tables\]"):
        use()
