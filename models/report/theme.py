"""Colours and axes of the report's figures: readable for colour-blind readers, on paper, and with units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

INK: Final = "#222222"
FAINT: Final = "#e3e6ea"
FONT: Final = {"family": "system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif", "size": 12, "color": INK}

# Okabe and Ito's palette, which readers with colour-vision deficiency can tell apart.
BLUE, VERMILION, GREEN = "#0072b2", "#d55e00", "#009e73"
PURPLE, ORANGE, SKY, YELLOW, BLACK, GREY = "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000", "#999999"

CHIP_COLOURS: Final[Mapping[str, str]] = {"trn2": BLUE, "trn3": VERMILION, "trn4": GREEN}
PATTERNS: Final[Mapping[str, str]] = {"": "", "///": "/", "...": "-", "xxx": "x"}
"""Matplotlib's hatches and what plotly calls them."""


def axis(title: str, *, log: Sequence[int] = (), **more: Any) -> dict[str, Any]:
    """One axis with its title, which names the unit. log: digits with a tick in every decade of a logarithmic one."""
    scale: dict[str, Any] = {}
    if log:
        values = [digit * 10.0**power for power in range(-4, 8) for digit in log]
        scale = {"type": "log", "tickvals": values, "ticktext": [f"{value:,.10g}" for value in values]}
    plain = {"gridcolor": FAINT, "zeroline": False, "linecolor": "#b8b8b8", "ticks": "outside", "ticklen": 3}
    return {"title": {"text": title, "standoff": 12}, "automargin": True, **plain, **scale, **more}


def layout(height: int, **axes_and_more: Any) -> dict[str, Any]:
    """A figure's layout; what the reader hid in the legend stays hidden when a slider moves."""
    return {
        "height": height,
        "font": FONT,
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "margin": {"l": 70, "r": 20, "t": 30, "b": 60},
        "hovermode": "closest",
        "uirevision": "kept",
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        **axes_and_more,
    }


def pattern(shape: str) -> dict[str, Any]:
    """White hatching over a bar's colour, so that parts stay apart in grey print."""
    return {"shape": shape, "fillmode": "overlay", "fgcolor": "#ffffff", "size": 6, "solidity": 0.25}
