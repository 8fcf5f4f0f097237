"""The report's page in headless Chromium: it works alone; sliders, choices, legends and the filter act."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trnlab.models.report.contents import Contents
from trnlab.models.report.page import SECTIONS, plotly_script, report_page

pytestmark = pytest.mark.pages
Opened = tuple[Any, list[str]]


@pytest.fixture(scope="module")
def text(contents: Contents) -> str:
    pytest.importorskip("plotly")
    return report_page(contents)


def test_the_page_holds_plotly_once_and_loads_nothing(text: str, contents: Contents) -> None:
    script = plotly_script()
    assert text.count(script) == 1
    own = text.replace(script, "")
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!#|data:)", own)
    assert "@import" not in own
    assert "url(" not in own
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', own, re.DOTALL)
    assert data is not None
    assert json.loads(data[1]) == json.loads(json.dumps([figure.as_dict() for figure in contents.figures()]))


def test_every_figure_and_table_has_a_section(text: str, contents: Contents) -> None:
    keys = [key for key, _ in SECTIONS]
    assert {figure.key for figure in contents.figures()} <= set(keys)
    assert {table.key for table in contents.tables()} <= set(keys)
    assert re.findall(r'<section id="(\w+)">', text) == keys
    assert text.count("<table>") == len(contents.tables())


@pytest.fixture(scope="module")
def opened(text: str, chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    playwright = pytest.importorskip("playwright.sync_api")
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(text, encoding="utf-8")
    problems: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "data:")) else problems.append(request.url),
        )
        page.goto(path.as_uri())
        page.evaluate("() => window.drawn.then(() => true)")
        yield page, problems
        assert problems == []
        browser.close()


def shown(page: Any, key: str, trace: int = 0) -> list[Any]:
    """The values along the x axis of a trace as plotly has them now."""
    found: list[Any] = page.evaluate(f"() => Array.from(document.getElementById('plot-{key}').data[{trace}].x)")
    return found


def move(page: Any, name: str, value: int) -> None:
    """Set a slider as a reader would, which fires its event."""
    page.locator(f"#{name}").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value
    )


def test_every_figure_is_drawn_without_a_word_on_the_console(opened: Opened, contents: Contents) -> None:
    page, problems = opened
    assert page.locator(".plot .main-svg").count() >= len(contents.figures())
    for figure in contents.figures():
        drawn = page.evaluate(f"() => document.getElementById('plot-{figure.key}').data.length")
        assert drawn == len(figure.shown), figure.key
    assert page.locator("#plot-breakdown .bars path").count() >= 5 * 9
    assert problems == []


def test_sliders_show_the_projection_of_their_batch_and_context(opened: Opened, contents: Contents) -> None:
    page, _ = opened
    found = contents.breakdown
    for batch, context in ((1, 1024), (1024, 65_536), (64, 8192)):
        move(page, "breakdown-0", found.batches.index(batch))
        move(page, "breakdown-1", found.contexts.index(context))
        point = found.points[batch, context]["trn3"]
        assert point is not None
        expected = [layer.parts["experts"].value * 1e3 for layer in point.layers]
        assert shown(page, "breakdown", 1)[3:6] == pytest.approx(expected)
        assert page.locator("#controls-breakdown output").all_inner_texts() == [f"{batch:,}", f"{context:,}"]


def test_the_slider_answers_the_keyboard(opened: Opened) -> None:
    page, _ = opened
    before = shown(page, "pareto")
    page.locator("#pareto-0").focus()
    page.keyboard.press("ArrowRight")
    assert shown(page, "pareto") != before
    page.keyboard.press("ArrowLeft")
    assert shown(page, "pareto") == before


def test_a_choice_shows_another_layer(opened: Opened, contents: Contents) -> None:
    page, _ = opened
    page.locator("#heatmap-1").select_option(label="roofline")
    z = page.evaluate("() => document.getElementById('plot-heatmap').data[0].z[0][0]")
    assert z == contents.maps.maps["trn2", "trn3", "roofline", "central"].throughput[0, 0]
    page.locator("#heatmap-1").select_option(label="calibrated")


def test_a_choice_shows_another_assumption_set(opened: Opened, contents: Contents) -> None:
    page, _ = opened
    maps = contents.maps.maps
    for variant, chip in (("low", "trn4-low"), ("high", "trn4-high"), ("central", "trn4")):
        page.locator("#heatmap-2").select_option(label=variant)
        names = page.evaluate("() => document.getElementById('plot-heatmap').data.map((trace) => trace.name)")
        expected = maps["trn3", chip, "calibrated", "central"]
        assert f"{expected.new.chip.label} over Trainium3" in names


def test_the_bands_of_trainium4_are_painted(opened: Opened) -> None:
    page, _ = opened
    filled = """() => [...document.querySelectorAll('#plot-roofline .fills path')]
      .filter((path) => path.getBBox().width > 20 && getComputedStyle(path).fillOpacity > 0.1).length"""
    # HBM, and every ceiling whose assumption sets differ: FP32, BF16, FP8, MXFP8 and MXFP4.
    assert page.evaluate(filled) == 6


def test_a_click_in_the_legend_hides_a_part_and_it_stays_hidden(opened: Opened) -> None:
    page, _ = opened
    entry = page.locator("#plot-breakdown .legendtoggle").nth(1)
    visible = "() => document.getElementById('plot-breakdown')._fullData[1].visible"
    assert page.evaluate(visible) is True
    entry.click()
    page.wait_for_function(f"({visible})() === 'legendonly'")
    move(page, "breakdown-0", 0)
    assert page.evaluate(visible) == "legendonly"
    entry.click()
    page.wait_for_function(f"({visible})() === true")


def test_the_filter_finds_a_number_by_its_source(opened: Opened) -> None:
    page, _ = opened
    visible = """() => [...document.querySelectorAll('#provenance tbody tr')]
      .filter((row) => row.offsetHeight > 0).map((row) => row.textContent)"""
    total = page.locator("#provenance tbody tr").count()
    page.locator("#filter").fill("trainium3 hbm NKI")
    left = page.evaluate(visible)
    assert 0 < len(left) < total / 10
    assert all("NKI" in row and "Trainium3" in row for row in left)
    page.locator("#filter").fill("")
    assert len(page.evaluate(visible)) == total


def test_hatched_bars_keep_their_colours(opened: Opened, contents: Contents) -> None:
    image = pytest.importorskip("matplotlib.image")
    page, _ = opened
    move(page, "breakdown-0", contents.breakdown.batches.index(64))
    pixels = image.imread(BytesIO(page.locator("#plot-breakdown").screenshot()))[..., :3]
    for colour in ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#999999"):
        wanted = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
        assert (np.abs(pixels - wanted).max(axis=2) < 0.02).sum() > 100, colour


def test_print_opens_every_table_and_narrows_the_plots_and_then_restores_both(opened: Opened) -> None:
    page, _ = opened
    folds = "() => [...document.querySelectorAll('details')].map((fold) => fold.open)"
    sizes = "() => [...document.querySelectorAll('.plot')].map((plot) => [plot.clientWidth, plot.clientHeight])"
    widths = "() => [...document.querySelectorAll('.plot')].map((plot) => plot._fullLayout.width)"
    before = page.evaluate(folds), page.evaluate(widths), page.evaluate(sizes)
    assert not all(before[0])
    page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    page.wait_for_function(f"({widths})().every((width) => width === 1000)")
    assert all(page.evaluate(folds))
    page.evaluate("() => window.dispatchEvent(new Event('afterprint'))")
    page.wait_for_function(f"({widths})().every((width) => width === {before[1][0]})")
    assert (page.evaluate(folds), page.evaluate(sizes)) == (before[0], before[2])


def test_pictures_of_the_plots_are_not_blank(opened: Opened, contents: Contents) -> None:
    image = pytest.importorskip("matplotlib.image")
    page, _ = opened
    for figure in contents.figures():
        pixels = image.imread(BytesIO(page.locator(f"#plot-{figure.key}").screenshot()))[::3, ::3, :3]
        coloured = np.ptp(pixels, axis=2) > 0.15  # neither white nor a grey of axes and text
        assert coloured.mean() > 0.001, figure.key
        assert len(np.unique((pixels * 15).astype(int).reshape(-1, 3), axis=0)) > 10, figure.key
