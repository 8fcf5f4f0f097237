"""Tables for notebooks: HTML without any library, and pandas where it is installed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from trnlab.emulator.errors import TrnlabError


def html_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table with a caption; every cell is escaped."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def data_frame(records: Sequence[Mapping[str, Any]]) -> Any:
    """The records as a pandas DataFrame.

    Raises:
        TrnlabError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise TrnlabError("this needs pandas, which is not installed: pip install trnlab[tables]") from error
    return pd.DataFrame.from_records(list(records))
