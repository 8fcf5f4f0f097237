"""The report as one HTML page that needs no network and no other file, and as Markdown with pictures beside it."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from importlib.resources import files
from string import Template
from typing import Final

from trnlab.emulator.errors import TrnlabError
from trnlab.models.report.contents import Contents
from trnlab.models.report.figure import Figure
from trnlab.models.report.table import Table

_ASSETS: Final = files("trnlab.models.report") / "assets"
SECTIONS: Final = (
    ("claims", "Claims"),
    ("heatmap", "Speed-up by batch and context"),
    ("pareto", "Throughput and interactivity"),
    ("breakdown", "Decode steps"),
    ("projections", "The operating point in three layers"),
    ("consequences", "What the announcement would mean"),
    ("roofline", "Rooflines"),
    ("tornado", "Unknowns of Trainium4"),
    ("errors", "Validation"),
    ("spec", "Spec sheets"),
    ("provenance", "Provenance"),
)
"""Keys of figures and tables, in the order of the page, with what its contents call them."""


def report_page(contents: Contents) -> str:
    """The page as HTML text, with plotly's script in it once.

    Raises:
        TrnlabError: plotly is not installed.
    """
    figures = {figure.key: figure for figure in contents.figures()}
    tables = contents.tables()
    sections = [_section(key, title, figures.get(key), _of(tables, key)) for key, title in SECTIONS]
    return Template(_asset("page.html")).substitute(
        title=html.escape(f"Trainium report: {contents.scenario.model}"),
        lead=html.escape(summary(contents)),
        style=_asset("page.css"),
        plotly=plotly_script(),
        script=_asset("page.js"),
        links="".join(f'<a href="#{key}">{html.escape(title)}</a>' for key, title in SECTIONS),
        sections="\n".join(sections),
        data=_json_text([figure.as_dict() for figure in figures.values()]),
    )


def plotly_script() -> str:
    """plotly.js, which the package of that name carries.

    Raises:
        TrnlabError: plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise TrnlabError("the page needs plotly, which is not installed: pip install trnlab[report]") from error
    return str(get_plotlyjs())


def summary(contents: Contents) -> str:
    """One paragraph: what was asked, and how far to trust it."""
    means = contents.validation.summary
    return (
        f"{contents.scenario}. Trainium2 and 3 from published figures; Trainium4 is a projection from announced "
        "multiples and assumptions, a band and not a line. Three layers are never mixed: the roofline of peaks, the "
        "roofline with efficiencies, and the calibrated one with the fixed cost per layer that measured steps demand. "
        f"Mean absolute error on AWS's published decode rows {means['decode rows, AWS']:.0%} (each left out of the fit "
        f"{means['decode rows, AWS, each left out']:.0%}), on third-party rows that nothing was fitted to "
        f"{means['decode rows, third party, not fitted']:.0%}, on NVIDIA serving rows "
        f"{means['serving rows, middle layer']:.0%}."
    )


def report_markdown(contents: Contents, pictures: Sequence[tuple[str, str]]) -> str:
    """The report as Markdown. pictures: (key of the section, relative path), in order."""
    figures = {figure.key: figure for figure in contents.figures()}
    tables = contents.tables()
    parts = [f"# Trainium report: {contents.scenario.model}", summary(contents)]
    for key, title in SECTIONS:
        parts.append(f"## {title}")
        if key in figures:
            parts.append(figures[key].lead)
        parts += [f"![{title}]({path})" for section, path in pictures if section == key]
        parts += [table.markdown() for table in _of(tables, key)]
    return "\n\n".join(parts) + "\n"


def _of(tables: Sequence[Table], key: str) -> list[Table]:
    return [table for table in tables if table.key == key]


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _json_text(data: object) -> str:
    # A "<" inside a string could end the data or open a comment; its escape means the same to JSON.
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _section(key: str, title: str, figure: Figure | None, tables: Sequence[Table]) -> str:
    parts = [f'<section id="{key}"><h2>{html.escape(figure.title if figure else title)}</h2>']
    if figure is not None:
        parts.append(f'<p class="note">{html.escape(figure.lead)}</p><div class="controls" id="controls-{key}"></div>')
        parts.append(f'<div class="plot" id="plot-{key}" role="img" aria-label="{html.escape(figure.title)}"></div>')
    if key == "provenance":
        parts.append('<label class="search">Filter <input type="search" id="filter" placeholder="words"></label>')
    parts += [_table(table, is_open=figure is None and key != "provenance") for table in tables]
    return "".join(parts) + "</section>"


def _table(table: Table, *, is_open: bool) -> str:
    """The table inside a fold, so that the page stays short; print opens all of them."""
    note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
    body = f'<div class="scroll">{table.html()}</div>'
    opened = " open" if is_open else ""
    title = f"{html.escape(table.title)} ({len(table.rows):,} rows)"
    return f"<details{opened}><summary>{title}</summary>{note}{body}</details>"
