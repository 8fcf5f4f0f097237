"""Where a `.plot()` draws: into given axes, into a file, or into a fresh figure. matplotlib is loaded here only."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from trnlab.emulator.errors import TrnlabError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Place = str | PathLike[str] | Axes | None


class Drawing:
    """Axes to draw into; `finish()` writes the file, when a path was given, and returns the figure.

    Raises:
        TrnlabError: matplotlib is not installed.
    """

    def __init__(self, place: Place, size: tuple[float, float]) -> None:
        self.path = place if isinstance(place, (str, PathLike)) else None
        if place is not None and not isinstance(place, (str, PathLike)):
            self.axes: Any = place
            self.figure: Any = self.axes.get_figure()
            return
        try:
            from matplotlib.figure import Figure as NewFigure
        except ImportError as error:
            raise TrnlabError("drawing needs matplotlib, which is not installed: pip install trnlab[viz]") from error
        self.figure = NewFigure(figsize=size, dpi=120, layout="constrained", facecolor="white")
        self.axes = self.figure.add_subplot()

    def finish(self) -> Figure:
        """The figure, saved where a path was given."""
        if self.path is not None:
            self.figure.savefig(self.path)
        figure: Figure = self.figure
        return figure
