"""`trnlab report`: the files it writes, what it refuses, and that nothing half-written stays."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trnlab.emulator.errors import TrnlabError
from trnlab.models.claims.speedup_map import TITLES
from trnlab.models.cli import app
from trnlab.models.report import page
from trnlab.models.report.command import PICTURES, write_report
from trnlab.models.report.contents import Contents
from trnlab.models.report.pictures import pictures, save
from trnlab.models.report.tornado import MEASURES


@pytest.mark.pages
def test_page_pictures_markdown_and_data(contents: Contents, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    told: list[str] = []
    written = write_report(contents, tmp_path, told.append, as_data=True)
    assert len(told) == PICTURES + 1
    assert sorted(written) == sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert {path.suffix for path in written} == {".html", ".md", ".json", ".png", ".svg"}
    markdown = (tmp_path / "report.md").read_text()
    linked = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", markdown)
    assert len(linked) == PICTURES
    assert all((tmp_path / name).is_file() for name in linked)
    for table in contents.tables():
        assert table.markdown() in markdown
    data = json.loads((tmp_path / "report.json").read_text())
    assert len(data["figures"]) == len(contents.figures())
    assert [claim["statement"] for claim in data["claims"]] == [claim.statement for claim in contents.claims]


@pytest.mark.pages
def test_pictures_are_the_same_bytes_every_time(contents: Contents, tmp_path: Path) -> None:
    draw = pictures(contents)["sensitivity"][1]
    for name in ("first", "second"):
        save(draw(), tmp_path / name, "svg")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


@pytest.mark.pages
def test_provenance_has_a_class_and_a_source_for_every_number(contents: Contents) -> None:
    (table,) = [table for table in contents.tables() if table.key == "provenance"]
    for where, what, value, klass, source in table.rows:
        assert klass in {"published", "derived", "fitted", "assumed"}, (where, what)
        assert source, (where, what)
        assert value, (where, what)
    places = {row[0] for row in table.rows}
    assert {"Trainium2", "Trainium3", "claims", "validation", "Trainium3, calibrated layer"} <= places
    assert {"gpt-oss-120b", "decode steps", "validation, measured", "validation, cross-check"} <= places
    assert {f"map, {title}" for title in TITLES.values()} <= places
    assert {f"Pareto, prompts of {context:,}" for context in contents.fronts.fronts} <= places
    assert {f"sensitivity, {title}" for title, _ in MEASURES.values()} <= places


@pytest.mark.slow
def test_provenance_names_everything_that_the_figures_and_tables_show(contents: Contents) -> None:
    (table,) = [table for table in contents.tables() if table.key == "provenance"]
    known = {(where, what) for where, what, *_ in table.rows}
    for panel in contents.panels:
        assert {(panel.line.name, f"peak {rate.upper()}") for rate in panel.line.peaks} <= known
        assert {(panel.line.name, f"{roof.name} rate") for roof in panel.line.roofs} <= known
        assert {(panel.line.name, f"{point.name}, rate") for point in panel.points} <= known
    for measure, (title, _) in MEASURES.items():
        ends = [(row.swing.name, end.label) for row in contents.tornado.rows[measure] for end in row.swing.ends]
        assert {(f"sensitivity, {title}", f"{name}: {label}") for name, label in ends} <= known
    measured = {what for where, what in known if where == "validation, measured"}
    rows = (*contents.validation.decode.residuals, *contents.validation.prefill.residuals)
    assert {row.name for row in rows} | {row.name for row in contents.validation.serving} <= measured
    checks = {what for where, what in known if where == "validation, cross-check"}
    assert checks == {check.name for check in contents.validation.checks}
    computed = {what for where, what in known if where == "claims, computed"}
    assert computed == {f"{c.statement}: {r.meaning}" for c in contents.claims for r in c.readings if r.computed}


def test_a_folder_that_cannot_be_is_refused_before_the_work(tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(app, ["report", "--out", str(tmp_path / "file")])
    assert isinstance(result.exception, TrnlabError)
    assert "cannot write" in str(result.exception)


def test_an_unknown_model_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", "--out", str(tmp_path / "out"), "--model", "gpt-5"])
    assert isinstance(result.exception, TrnlabError)
    assert "gpt-5" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_configuration_that_is_malformed_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    config = tmp_path / "config.json"
    for text, message in (
        ("{", "a JSON object"),
        ('{"model_type": "bert"}', "model_type in config.json: found 'bert'"),
    ):
        config.write_text(text)
        result = CliRunner().invoke(app, ["report", "--out", str(tmp_path / "out"), "--model", str(config)])
        assert isinstance(result.exception, TrnlabError)
        assert message in str(result.exception)
    absent = CliRunner().invoke(app, ["report", "--out", str(tmp_path / "out"), "--model", "absent.json"])
    assert "config file: found 'absent.json'" in str(absent.exception)
    assert not (tmp_path / "out").exists()


def test_without_plotly_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "plotly.offline", None)
    with pytest.raises(TrnlabError, match=r"trnlab\[report\]"):
        page.plotly_script()
    result = CliRunner().invoke(app, ["report", "--out", str(tmp_path / "out")])
    assert "plotly" in str(result.exception)
    assert not (tmp_path / "out").exists()
