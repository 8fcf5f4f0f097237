"""An interactive figure as plain data: traces for every position of its controls, in plotly's own terms."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

from trnlab.models.quantity import ModelError

Trace = dict[str, Any]


def identifier(text: str) -> str:
    """The text as a trace's uid: plotly puts it into url(#...), where a blank would end it and paint the bar black."""
    return re.sub(r"\W+", "-", text).strip("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What the reader sets: a slider over numbers, or a choice among words. default: position that is shown first."""

    name: str
    options: tuple[str, ...]
    default: int = 0
    kind: Literal["slider", "choice"] = "choice"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure. states: the traces by the controls' positions; all states have the same layout.

    Raises:
        ModelError: a position of the controls without traces.
    """

    key: str
    title: str
    lead: str
    layout: Mapping[str, Any]
    states: Mapping[tuple[int, ...], Sequence[Trace]]
    controls: tuple[Control, ...] = ()

    def __post_init__(self) -> None:
        positions = set(product(*(range(len(control.options)) for control in self.controls)))
        if positions != set(self.states):
            raise ModelError(f"states of figure {self.key!r}", len(self.states), f"{len(positions)}, one a position")

    @property
    def shown(self) -> Sequence[Trace]:
        """The traces that are shown first."""
        return self.states[tuple(control.default for control in self.controls)]

    def as_dict(self) -> dict[str, Any]:
        """The figure as JSON-ready data; positions joined by commas."""
        return {
            "key": self.key,
            "title": self.title,
            "lead": self.lead,
            "layout": dict(self.layout),
            "controls": [
                {"name": each.name, "options": list(each.options), "default": each.default, "kind": each.kind}
                for each in self.controls
            ],
            "states": {",".join(map(str, key)): list(traces) for key, traces in self.states.items()},
        }
