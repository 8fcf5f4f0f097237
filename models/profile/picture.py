"""A timeline as a static picture: engines and DMA queues over time, and how full SBUF and PSUM are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import numpy as np

from trnlab.emulator import TrnlabError
from trnlab.emulator.timing.schedule_plan import ENGINES
from trnlab.models.profile.event_table import event_table
from trnlab.models.profile.summary import Profile

# Okabe and Ito's palette, told apart by colour-blind readers and in grey.
COLOURS: Final = {
    "tensor": "#0072B2",
    "vector": "#E69F00",
    "scalar": "#009E73",
    "gpsimd": "#CC79A7",
    "sync": "#999999",
    "dma": "#56B4E9",
}
_TRANSPOSE: Final = "#D55E00"
_SUFFIXES: Final = (".png", ".svg", ".pdf")


def draw_timeline(profile: Profile, path: Path | None = None) -> Any:
    """The matplotlib figure of a profile; written to `path` (PNG, SVG or PDF) when one is given.

    Raises:
        TrnlabError: matplotlib is not installed (extra `viz`), or the file's suffix is none of the three.
    """
    if path is not None and path.suffix not in _SUFFIXES:
        raise TrnlabError(f"cannot draw {path.name}: found suffix {path.suffix!r}, allowed: {', '.join(_SUFFIXES)}")
    figure_class = _figure()
    figure = figure_class(figsize=(11, 5.5), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _bars(top, profile)
    _occupancy(bottom, profile)
    low, central, high = (1e6 * seconds for seconds in profile.seconds)
    figure.suptitle(
        f"{profile.kernel} on {profile.target}: {central:.1f} µs ({low:.1f} to {high:.1f}), "
        f"{100 * profile.mfu:.0f} % MFU, bound by {profile.bounding_resource}"
    )
    if path is not None:
        temporary = path.with_name(f"{path.stem}.tmp{path.suffix}")
        figure.savefig(temporary, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)
        os.replace(temporary, path)
    return figure


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise TrnlabError("pictures need matplotlib: pip install 'trnlab[viz]'") from error
    return Figure


def _bars(axes: Any, profile: Profile) -> None:
    timeline = profile.timeline
    table = event_table(timeline).columns
    start, length = table["start_ns"] / 1000, (table["end_ns"] - table["start_ns"]) / 1000
    transposes = np.array([cost.kind == "transpose" for cost in timeline.costs], bool)
    is_transpose = transposes[timeline.program.signature_ids[table["instruction"]]]
    rows = [e.value for e in ENGINES if (table["engine"] == e.value).any()]
    for row, name in enumerate(rows):
        own = table["engine"] == name
        for picked, colour, label in (
            (own & ~is_transpose, COLOURS[name], None),
            (own & is_transpose & (name != "dma"), _TRANSPOSE, "transposes"),
        ):
            bars = np.stack([start[picked], length[picked]], axis=1)
            if len(bars):
                axes.broken_barh(bars.tolist(), (row - 0.4, 0.8), facecolor=colour, linewidth=0, label=label)
    axes.set_yticks(range(len(rows)), [_label(profile, name) for name in rows])
    axes.invert_yaxis()
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper right", fontsize="small")


def _label(profile: Profile, name: str) -> str:
    share = profile.busy_seconds.get(name, 0.0) / (profile.seconds[1] or 1.0)
    return f"{name}\n{100 * share:.0f} % busy"


def _occupancy(axes: Any, profile: Profile) -> None:
    for curve, style in zip(profile.memory, ("-", "--"), strict=True):
        if not len(curve.times_ps):
            continue
        percent = 100 * curve.used_bytes / curve.capacity_bytes
        label = f"{curve.memory.upper()}, peak {curve.peak_bytes / 1024:.0f} of {curve.capacity_bytes / 1024:.0f} KiB"
        axes.step(curve.times_ps / 1e6, percent, style, where="post", label=label)
    axes.set_ylim(0, 105)
    axes.set_ylabel("occupied, %\nof a partition")
    axes.set_xlabel("time, µs")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.legend(loc="upper right", fontsize="small")
