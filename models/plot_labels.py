"""Labels that keep clear of each other, of dots and of lines; matplotlib is loaded only when a figure is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

_DISTANCES: Final = (7, 14, 22, 32, 44, 58, 76, 96, 120)
_ANGLES: Final = (-35, 35, 145, -145, 0, 180, 60, 120, -60, -120, 90, -90, 15, -15, 165, -165)
"""Where a label is tried around its dot: degrees from the right, counterclockwise, at each distance in points."""
SPOTS: Final = tuple(
    (distance * math.cos(math.radians(angle)), distance * math.sin(math.radians(angle)))
    for distance in _DISTANCES
    for angle in _ANGLES
)
_LEADER: Final = 18.0
"""From this many points on, a line leads from the label to its dot."""
_OUTSIDE, _ON_LABEL, _ON_DOT, _LEADS_OVER, _NEARER_OTHER, _ON_LINE = 2000.0, 400.0, 200.0, 40.0, 8.0, 15.0
"""What a spot costs that leaves the panel, meets a label, covers a dot, whose leader crosses a label, that is nearer to
another dot than to its own, or that crosses a line."""
_PER_POINT: Final = 1 / 6
"""What a point of distance costs."""
_CLEAR: Final = 8.0
"""Pixels between a label and another dot's centre."""


def _sides(spot: tuple[float, float]) -> tuple[Literal["left", "center", "right"], Literal["bottom", "center", "top"]]:
    """Horizontal and vertical alignment: the nearest corner or side of the text points towards the dot."""
    across, up = spot
    is_above, is_beside = abs(across) < abs(up) / 2, abs(up) < abs(across) / 4
    return (
        "center" if is_above else "left" if across > 0 else "right",
        "center" if is_beside else "bottom" if up > 0 else "top",
    )


def _edge(box: Bbox, pixels: Any) -> tuple[float, float]:
    """The point of the box that is nearest to the pixels."""
    return min(max(pixels[0], box.x0), box.x1), min(max(pixels[1], box.y0), box.y1)


def _distance(box: Bbox, pixels: Any) -> float:
    """From the pixels to the box; 0 inside of it."""
    return math.dist(_edge(box, pixels), pixels)


@dataclass
class Labels:
    """The labels of one panel, placed one after the other; those placed first keep their spot.

    The panel's size must be settled: nothing may move it after the first label. dots: in data coordinates. boxes: what
    is taken, in pixels.
    """

    axes: Axes
    dots: Sequence[tuple[float, float]]
    boxes: list[Bbox] = field(default_factory=list)

    def put(
        self, text: str, at: tuple[float, float], spots: Sequence[tuple[float, float]] = SPOTS, **style: Any
    ) -> Annotation:
        """Write the text at the cheapest of the spots, which are offsets from `at` in points."""
        note = self.axes.annotate(text, at, spots[0], textcoords="offset points", **style)
        note.set_in_layout(False)
        size = note.get_window_extent()
        boxes = [self._box(size, at, spot) for spot in spots]
        best = min(
            range(len(spots)), key=lambda index: self._cost(boxes[index], at) + _PER_POINT * math.hypot(*spots[index])
        )
        note.set_position(spots[best])
        note.set_horizontalalignment(_sides(spots[best])[0])
        note.set_verticalalignment(_sides(spots[best])[1])
        self.boxes.append(boxes[best])
        if math.hypot(*spots[best]) >= _LEADER:
            self._lead(note, at)
        return note

    def _box(self, size: Bbox, at: tuple[float, float], spot: tuple[float, float]) -> Bbox:
        """The text's rectangle at a spot, in pixels."""
        per_point = self.axes.figure.dpi / 72
        x, y = self.axes.transData.transform(at) + [per_point * offset for offset in spot]
        horizontal, vertical = _sides(spot)
        x -= {"left": 0.0, "center": size.width / 2, "right": size.width}[horizontal]
        y -= {"bottom": 0.0, "center": size.height / 2, "top": size.height}[vertical]
        bbox: Bbox = import_module("matplotlib.transforms").Bbox.from_bounds(x, y, size.width, size.height)
        return bbox

    def _cost(self, box: Bbox, at: tuple[float, float]) -> float:
        panel, own = self.axes.get_window_extent(), self.axes.transData.transform(at)
        inside = panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0 and box.y1 <= panel.y1
        others = [_distance(box, pixels) for dot, pixels in self._dot_pixels if dot != at]
        leader = import_module("matplotlib.path").Path([_edge(box, own), own])
        return (
            (0 if inside else _OUTSIDE)
            + _ON_LABEL * sum(box.padded(1).overlaps(other) for other in self.boxes)
            + _ON_DOT * sum(distance < _CLEAR for distance in others)
            + _NEARER_OTHER * sum(distance <= _distance(box, own) for distance in others)
            + _ON_LINE * sum(bool(line.intersects_bbox(box, filled=False)) for line in self._lines)
            + _LEADS_OVER * sum(bool(leader.intersects_bbox(other, filled=True)) for other in self.boxes)
        )

    @cached_property
    def _dot_pixels(self) -> list[tuple[tuple[float, float], tuple[float, float]]]:
        return [(dot, tuple(self.axes.transData.transform(dot))) for dot in self.dots]

    @cached_property
    def _lines(self) -> list[Any]:
        """Paths of the lines of more than one point, in pixels."""
        path = import_module("matplotlib.path").Path
        drawn = (np.asarray(line.get_xydata()) for line in self.axes.lines)
        return [path(self.axes.transData.transform(line)) for line in drawn if len(line) > 1]

    def _lead(self, note: Annotation, at: tuple[float, float]) -> None:
        """A thin line from the nearest point of the label's edge to the dot."""
        own = self.axes.transData.transform(at)
        ends = self.axes.transData.inverted().transform(np.array([_edge(self.boxes[-1], own), own]))
        line = import_module("matplotlib.lines").Line2D
        leader = line(ends[:, 0], ends[:, 1], color=note.get_color(), linewidth=0.6, zorder=7, gid="leader")
        leader.set_in_layout(False)
        self.axes.add_artist(leader)
