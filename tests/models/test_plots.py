"""Roofline diagrams: rendered, and read back from the artists."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trnlab.emulator.errors import TrnlabError
from trnlab.models.chips import get_chip
from trnlab.models.plots import draw
from trnlab.models.quantity import ModelError
from trnlab.models.roofline import KernelPoint, Roofline


def kernel(**changes: Any) -> KernelPoint:
    facts: dict[str, Any] = {"name": "k", "flops": {"bf16": 1e12}, "hbm_bytes": 1e9, "dma_bytes": 1e9}
    return KernelPoint(**facts | changes)


POINTS = (
    kernel(name="blocked matmul", flops={"fp32": 5.5e11}, hbm_bytes=1.745e9, time_seconds=28.3e-3, target="trn2 core"),
    kernel(name="attention", flops={"bf16": 8.6e9}, hbm_bytes=1.7e7, dma_bytes=1.7e7),
)


def test_diagram_renders_to_png(tmp_path: Path) -> None:
    image = pytest.importorskip("matplotlib.image")
    path = tmp_path / "roofline.png"
    figure = draw(POINTS)
    figure.savefig(path)
    pixels = image.imread(path)
    assert pixels.shape[0] > 600
    assert pixels.shape[1] > 1000
    # White ground, and ink in each of the four panels.
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    for row in (0, 1):
        for column in (0, 1):
            panel = pixels[row * height : (row + 1) * height, column * width : (column + 1) * width, :3]
            assert 0.7 < np.mean(np.all(panel > 0.99, axis=-1)) < 0.99


def test_diagram_shows_ceilings_ridges_and_points_at_their_values() -> None:
    pytest.importorskip("matplotlib")
    trn1, trn2, trn3, trn4 = draw(POINTS).axes
    assert all((axes.get_xscale(), axes.get_yscale()) == ("log", "log") for axes in (trn1, trn2, trn3, trn4))
    for axes, name in ((trn1, "trn1"), (trn2, "trn2"), (trn3, "trn3"), (trn4, "trn4")):
        line = Roofline.of_core(name)
        heights = [np.asarray(curve.get_ydata()) for curve in axes.lines]
        flat = {float(height[0]) for height in heights if np.ptp(height) == 0}
        texts = {text.get_text() for text in axes.texts}
        for rate in set(line.peaks) - {"sparse"}:
            assert line.peak(rate).value in flat
            assert f"{line.ridge_point(rate).value:.0f}" in texts
        left, right = axes.get_xlim()
        assert left < min(line.ridge_point(rate).value for rate in line.peaks) < right
    labels = [
        [text.get_text() for text in axes.texts if "matmul" in text.get_text()] for axes in (trn1, trn2, trn3, trn4)
    ]
    percent = Roofline.of_core("trn2").bound(POINTS[0]).percent_of_roofline
    assert labels == [[], [f"blocked matmul ({percent:.0f} %)"], [], []]
    assert "MXFP8, MXFP4  315 TFLOP/s" in {text.get_text() for text in trn3.texts}
    # Bands for the projection only: its ceilings whose variants differ, and its HBM slope.
    assert [len(axes.patches) for axes in (trn1, trn2, trn3)] == [0, 0, 0]
    assert len(trn4.patches) >= 3
    assert trn4.get_title(loc="right") == "central projection; bands low to high"


def test_diagram_of_chips_and_of_sparse_rates() -> None:
    pytest.importorskip("matplotlib")
    (axes,) = draw((), [get_chip("trn2")], sparse=True).axes
    texts = {text.get_text() for text in axes.texts}
    assert {"BF16  667 TFLOP/s", "sparse  2.56 PFLOP/s"} <= texts
    assert axes.get_ylabel() == "FLOP/s of one chip"


def test_diagram_of_another_memory_level() -> None:
    pytest.importorskip("matplotlib")
    point = kernel(name="k", sbuf_bytes=2e10)
    (axes,) = draw([point], ["trn2"], memory="SBUF").axes
    line = Roofline.of_core("trn2")
    assert axes.get_xlabel() == "arithmetic intensity (FLOP per SBUF byte)"
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["SBUF 10 TB/s"]
    dots = [curve for curve in axes.lines if curve.get_marker() == "o"]
    assert [float(np.asarray(dot.get_xdata())[0]) for dot in dots] == pytest.approx([1e12 / 2e10])
    texts = {text.get_text() for text in axes.texts}
    assert f"{line.ridge_point('bf16', 'SBUF').value:.2g}" in texts
    left, right = axes.get_xlim()
    assert left < line.ridge_point("fp32", "SBUF").value < 1e12 / 2e10 < right
    with pytest.raises(ModelError, match="FLOP and SBUF bytes above zero"):
        draw([kernel()], ["trn2"], memory="SBUF")


def test_diagram_of_chips_for_comparison() -> None:
    pytest.importorskip("matplotlib")
    h100, trn3 = draw((), [get_chip("h100"), get_chip("trn3")]).axes
    assert h100.get_title(loc="left") == "H100 SXM, one chip"
    assert "TF32  495 TFLOP/s" in {text.get_text() for text in h100.texts}
    assert "FP8, INT8  1.98 PFLOP/s" in {text.get_text() for text in h100.texts}
    assert [len(axes.get_legend().get_texts()) for axes in (h100, trn3)] == [1, 2]  # type: ignore[union-attr]
    with pytest.raises(ModelError, match="memory of H100 SXM chip: found 'SBUF'; allowed: HBM"):
        draw((), [get_chip("h100")], memory="SBUF")


def test_diagram_labels_of_equal_points_do_not_overlap() -> None:
    pytest.importorskip("matplotlib")
    twins = [kernel(name=f"kernel {i}", hbm_bytes=2e9) for i in range(4)]
    figure = draw(twins, ["trn2"])
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text().startswith("kernel")]
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


CROWD = [
    kernel(name=f"a kernel of a long name {i}", flops={"bf16": 2e11}, hbm_bytes=x * 1e8, time_seconds=t * 1e-3)
    for i, (x, t) in enumerate([(5, 3.0), (5.3, 3.1), (6, 2.7), (9, 3.0), (3, 3.3), (400, 90), (1, 2.9), (4, 40)])
]


@pytest.mark.parametrize("targets", [("trn3",), ("trn1", "trn2", "trn3", "trn4")])
def test_no_label_lies_on_another_or_on_a_dot(targets: tuple[str, ...]) -> None:
    pytest.importorskip("matplotlib")
    figure = draw(CROWD, targets)
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        names = [text.get_text() for text in axes.texts]
        assert sum("kernel" in name for name in names) == len(CROWD)
        for i, box in enumerate(boxes):
            assert not [names[j] for j in range(i) if box.overlaps(boxes[j])], names[i]
        dots = [line.get_xydata()[0] for line in axes.lines if line.get_marker() == "o"]  # type: ignore[index]
        assert len(dots) == len(CROWD)
        covered = [box for box in boxes for x, y in axes.transData.transform(dots) if box.contains(x, y)]
        assert not covered
        panel = axes.get_window_extent()
        assert all(panel.x0 <= box.x0 and box.x1 <= panel.x1 for box in boxes)


def test_a_label_far_from_its_dot_is_led_to_it() -> None:
    pytest.importorskip("matplotlib")
    (axes,) = draw(CROWD, ["trn3"]).axes
    leaders = [line for line in axes.lines if line.get_gid() == "leader"]
    assert leaders
    dots = {tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() == "o"}  # type: ignore[index]
    for leader in leaders:
        end = np.asarray(leader.get_xydata())[-1]
        assert any(np.allclose(end, dot) for dot in dots)


def test_labels_stay_where_they_were_placed_when_the_figure_is_saved(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = draw(CROWD, ["trn3"])
    before = np.array([text.get_window_extent().bounds for text in figure.axes[0].texts])
    figure.savefig(tmp_path / "roofline.svg", format="svg")
    figure.draw_without_rendering()
    np.testing.assert_allclose([text.get_window_extent().bounds for text in figure.axes[0].texts], before)


def test_diagram_refuses_what_it_cannot_show() -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(ModelError, match="all cores or all chips"):
        draw((), ["trn2", get_chip("trn3")])
    with pytest.raises(ModelError, match="targets of a diagram"):
        draw((), [])
    with pytest.raises(ModelError, match="target of kernel 'blocked matmul': found 'trn2 core'; allowed: trn3 core"):
        draw(POINTS, ["trn3"])
    with pytest.raises(ModelError, match="FLOP and HBM bytes above zero"):
        draw([kernel(hbm_bytes=0)])


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(TrnlabError, match=r"pip install trnlab\[viz\]"):
        draw(POINTS)
