"""The HTML page in headless Chromium: no console errors, no network, zoom, hover and the choice of the target act."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trnlab.models.profile.page import profile_page
from trnlab.models.profile.summary import Profile

# [x in the canvas, opcode] of the longest event of the first row.
MIDDLE_OF_THE_LONGEST = """() => {
  const events = trnlab.data.profiles[0].events, row = events.rows[0], [low, high] = trnlab.view();
  const length = (i) => row.end[i] - row.start[i];
  const longest = row.start.map((_, i) => i).sort((a, b) => length(b) - length(a))[0];
  const middle = (row.start[longest] + row.end[longest]) / 2;
  const width = document.getElementById('timeline').clientWidth;
  return [92 + (middle - low) / (high - low) * (width - 100), events.opcodes[row.opcode[longest]]];
}"""

COLOURS = """() => {
  const canvas = document.getElementById('timeline');
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const found = new Set();
  for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) found.add(data.slice(i, i + 3).join(','));
  return [...found];
}"""


def test_the_page_stands_alone_and_its_data_is_the_profile(two_profiles: list[Profile]) -> None:
    page = profile_page(two_profiles)
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a namespace, never fetched
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    read = json.loads(data[1])["profiles"]
    for entry, profile in zip(read, two_profiles, strict=True):
        assert sum(len(row["step"]) for row in entry["events"]["rows"]) == profile.instructions
        assert entry["seconds"] == list(profile.seconds)


def test_text_of_the_kernel_cannot_end_the_data(profile: Profile) -> None:
    import dataclasses

    named = dataclasses.replace(profile, kernel="</script><script>alert(1)</script>")
    page = profile_page([named])
    assert "<script>alert(1)" not in page
    assert page.count("</script>") == 2


@pytest.fixture(scope="module")
def browser_page(
    two_profiles: list[Profile], chromium: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, list[str]]]:
    playwright = pytest.importorskip("playwright.sync_api")
    path: Path = tmp_path_factory.mktemp("page") / "profile.html"
    path.write_text(profile_page(two_profiles), encoding="utf-8")
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
        yield page, problems
        browser.close()


def view(page: Any) -> tuple[float, float]:
    low, high = page.evaluate("window.trnlab.view()")
    return low, high


@pytest.mark.pages
def test_it_loads_without_a_word_on_the_console(browser_page: tuple[Any, list[str]], profile: Profile) -> None:
    page, problems = browser_page
    assert page.locator("#title").inner_text() == "flash_attention"
    assert page.locator("#light tr").count() == 1 + len(profile.light)
    assert page.locator("#advice tr").count() == 1 + len(profile.advice)
    assert page.locator("#roofline svg circle").count() == 2
    assert problems == []


@pytest.mark.pages
def test_wheel_zooms_around_the_pointer_and_a_double_click_shows_all(browser_page: tuple[Any, list[str]]) -> None:
    page, problems = browser_page
    whole = view(page)
    box = page.locator("#timeline").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    for _ in range(5):
        page.mouse.wheel(0, -100)
    page.wait_for_function(f"window.trnlab.view()[0] > {whole[0]}")
    zoomed = view(page)
    assert zoomed[0] > whole[0]
    assert zoomed[1] < whole[1]
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 - 80, box["y"] + 60)
    page.mouse.up()
    dragged = view(page)
    assert dragged[0] > zoomed[0]
    assert dragged[1] - dragged[0] == pytest.approx(zoomed[1] - zoomed[0])
    page.locator("#timeline").dblclick()
    assert view(page) == pytest.approx(whole)
    assert problems == []


@pytest.mark.pages
def test_the_pointer_on_an_instruction_shows_it(browser_page: tuple[Any, list[str]]) -> None:
    page, problems = browser_page
    place = page.evaluate(MIDDLE_OF_THE_LONGEST)
    box = page.locator("#timeline").bounding_box()
    page.mouse.move(box["x"] + place[0], box["y"] + 24 + 15)
    tip = page.locator("#tip")
    assert tip.is_visible()
    assert tip.inner_text().startswith(place[1])
    assert "attention.py:" in tip.inner_text()
    page.mouse.move(box["x"] + 5, box["y"] + 24 + 15)
    assert not tip.is_visible()
    assert problems == []


@pytest.mark.pages
def test_a_click_shows_another_target(browser_page: tuple[Any, list[str]], two_profiles: list[Profile]) -> None:
    page, problems = browser_page
    page.get_by_role("tab", name="trn3").click()
    assert page.locator("#subtitle").inner_text().startswith("trn3")
    assert view(page)[1] == pytest.approx(two_profiles[1].seconds[1] * 1e9)
    page.get_by_role("tab", name="trn2").click()
    assert page.get_by_role("tab", name="trn2").get_attribute("aria-selected") == "true"
    assert problems == []


@pytest.mark.pages
def test_a_screenshot_is_not_blank(browser_page: tuple[Any, list[str]]) -> None:
    page, _ = browser_page
    painted = page.evaluate(COLOURS)
    assert {"0,114,178", "230,159,0", "0,158,115", "86,180,233"} <= set(painted)  # tensor, vector, scalar, dma
    assert len(page.screenshot(full_page=True)) > 50_000
