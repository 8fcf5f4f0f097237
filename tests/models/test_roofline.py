"""Rooflines: ridge points and bounds, with the arithmetic written out."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
from hypothesis import given, strategies as st

from trnlab.emulator.target import TARGETS, TargetError, get_target
from trnlab.models.chips import get_chip
from trnlab.models.quantity import ModelError
from trnlab.models.roofline import KernelPoint, Roofline

amounts = st.floats(min_value=0, max_value=1e18)
positive = st.floats(min_value=1.0, max_value=1e18)


def kernel(**changes: Any) -> KernelPoint:
    facts: dict[str, Any] = {"name": "k", "flops": {"bf16": 1e12}, "hbm_bytes": 1e9, "dma_bytes": 1e9}
    return KernelPoint(**facts | changes)


def test_core_ridge_points() -> None:
    # peak per core / HBM share per core: 2 x 128 x 128 x clock x cores / HBM bytes per second.
    def ridge(clock: float, cores: int, hbm: float, factor: float = 1) -> float:
        return 2 * 128 * 128 * clock * factor * cores / hbm

    assert Roofline.of_core("trn1").ridge_point("bf16").value == pytest.approx(ridge(2.8e9, 2, 820e9))
    assert Roofline.of_core("trn2").ridge_point("bf16").value == pytest.approx(ridge(2.4e9, 8, 2.9e12))
    assert Roofline.of_core("trn2").ridge_point("fp8").value == pytest.approx(ridge(2.4e9, 8, 2.9e12, 2))
    assert Roofline.of_core("trn3").ridge_point("mxfp8").value == pytest.approx(ridge(2.4e9, 8, 4.9e12, 4))
    assert Roofline.of_core("trn2").ridge_point("fp32").value == pytest.approx(ridge(2.4e9, 8, 2.9e12, 0.25))


def test_chip_ridge_points() -> None:
    # Chip-page peaks over chip-page bandwidth; the Trainium4 ones are 3 x 2517 / (4 x 4.9) and twice that.
    expected = {
        ("trn2", "bf16"): 667 / 2.9,
        ("trn2", "fp8"): 1299 / 2.9,
        ("trn3", "bf16"): 671 / 4.9,
        ("trn3", "mxfp8"): 2517 / 4.9,
        ("trn4", "mxfp8"): 7551 / 19.6,
        ("trn4", "mxfp4"): 15102 / 19.6,
    }
    for (name, rate), value in expected.items():
        ridge = Roofline.of_chip(name).ridge_point(rate)
        assert ridge.value == pytest.approx(value)
        assert ridge.unit == "FLOP/B"
    assert [round(value) for value in expected.values()] == [230, 448, 137, 514, 385, 771]


def test_projected_ridge_bands_span_whole_variants() -> None:
    for make in (Roofline.of_core, Roofline.of_chip):
        ridges = [make("trn4", variant).ridge_point("mxfp4") for variant in ("low", "central", "high")]
        values = [ridge.value for ridge in ridges]
        for ridge in ridges:
            assert ridge.interval == (min(values), max(values))
    assert Roofline.of_core("trn3").ridge_point("bf16").low is None


def test_core_and_chip_say_which_figures_they_use() -> None:
    core, chip = Roofline.of_core("trn2"), Roofline.of_chip("trn2")
    assert core.peak("bf16").value == pytest.approx(78.6432e12)
    assert chip.peak("bf16").value == 667e12
    assert (core.scope, chip.scope) == ("core", "chip")
    assert core.basis.startswith("one NeuronCore")
    assert "chip page" in chip.basis
    assert Roofline.of_chip(get_chip("trn2")) == chip == Roofline.of_chip(get_target("trn2"))
    assert (core.name, chip.name, Roofline.of_core("trn4").name) == ("trn2 core", "trn2 chip", "trn4 (central) core")


def test_dma_is_the_lower_roof_on_trn1_and_trn3_cores() -> None:
    dma_below_hbm = {}
    for name in ("trn1", "trn2", "trn3"):
        line = Roofline.of_core(name)
        dma_below_hbm[name] = line.dma.bytes_per_second.value < line.hbm.bytes_per_second.value
    # 272 < 410, 368 > 362.5, 528 < 612.5 GB/s
    assert dma_below_hbm == {"trn1": True, "trn2": False, "trn3": True}


def test_bound_of_a_published_matmul() -> None:
    """AWS's kernel-optimisation tutorial, last version: fp32 4096 x 8192 x 8192 on one Trainium2 core in 28.30 ms."""
    flops = 2 * 4096 * 8192 * 8192
    point = kernel(flops={"float32": flops}, hbm_bytes=1.745e9, dma_bytes=1.745e9, time_seconds=28.30e-3)
    bound = Roofline.of_core("trn2").bound(point)
    peak = 2 * 128 * 128 * 2.4e9 / 4
    assert bound.resource == "tensor"
    assert bound.time_seconds == pytest.approx(flops / peak)
    assert bound.percent_of_roofline == pytest.approx(100 * flops / peak / 28.30e-3)
    assert 98 < (bound.percent_of_roofline or 0) < 99
    assert bound.times["HBM"] == pytest.approx(1.745e9 / 362.5e9)
    assert bound.times["DMA"] == pytest.approx(1.745e9 / 368e9)
    assert bound.percent_of("HBM") == pytest.approx(100 * bound.times["HBM"] / bound.times["tensor"])
    assert bound.intensity == pytest.approx(flops / 1.745e9)


@pytest.mark.parametrize(
    ("hbm", "dma", "resource"),
    [(1e9, 1e9, "tensor"), (1e13, 1e9, "HBM"), (1e9, 1e13, "DMA"), (0, 1e13, "DMA"), (0, 0, "tensor")],
)
def test_the_bounding_resource_is_named(hbm: float, dma: float, resource: str) -> None:
    bound = Roofline.of_core("trn3").bound(kernel(flops={"bf16": 1e15}, hbm_bytes=hbm, dma_bytes=dma))
    assert bound.resource == resource
    assert bound.time_seconds == max(bound.times.values()) == bound.times[bound.resource]
    assert bound.percent_of_roofline is None


def test_tensor_time_adds_over_dtypes() -> None:
    line = Roofline.of_core("trn3")
    point = kernel(flops={"bf16": 1e15, "mxfp8": 4e15, "float8_e4m3": 2e15}, hbm_bytes=0, dma_bytes=0)
    # 4 PFLOP of MXFP8 and 2 PFLOP of double-row FP8 take as long as 1 PFLOP of BF16 each.
    assert line.bound(point).time_seconds == pytest.approx(3 * 1e15 / 78.6432e12)
    assert point.total_flops == 7e15
    assert math.isinf(point.intensity())


@given(amounts, amounts, positive)
def test_bound_is_the_maximum_and_scales(flops: float, hbm: float, dma: float) -> None:
    for target in TARGETS:
        line = Roofline.of_core(target)
        once = line.bound(kernel(flops={"bf16": flops}, hbm_bytes=hbm, dma_bytes=dma)).time_seconds
        twice = line.bound(kernel(flops={"bf16": 2 * flops}, hbm_bytes=2 * hbm, dma_bytes=2 * dma)).time_seconds
        assert twice == pytest.approx(2 * once)
        assert once >= flops / line.peak("bf16").value
        assert once >= hbm / line.hbm.bytes_per_second.value
        assert once >= dma / line.dma.bytes_per_second.value


@given(st.floats(min_value=1e-2, max_value=1e6))
def test_attainable_rate_agrees_with_the_bound(intensity: float) -> None:
    line = Roofline.of_chip("trn2")
    point = kernel(flops={"bf16": intensity * 1e9}, hbm_bytes=1e9, dma_bytes=0)
    rate = point.total_flops / line.bound(point).time_seconds
    assert line.attainable_flops_per_second("bf16", intensity) == pytest.approx(rate)
    ridge = line.ridge_point("bf16").value
    expected = "tensor" if intensity >= ridge else "HBM"
    assert line.bound(point).resource == expected or intensity == pytest.approx(ridge)


def test_class_of_a_bound_is_that_of_what_was_used() -> None:
    def klass(line: Roofline, **changes: Any) -> str:
        return line.bound(kernel(**changes)).klass

    chip, projection = Roofline.of_chip("trn2"), Roofline.of_chip("trn4")
    assert klass(chip, dma_bytes=0) == "published"
    assert klass(chip) == "derived"
    assert klass(projection, flops={"mxfp8": 1e12}, dma_bytes=0) == "derived"
    assert klass(projection, flops={"bf16": 1e12}, dma_bytes=0) == "assumed"
    assert klass(projection, flops={"mxfp8": 1e12, "bf16": 0}, dma_bytes=0) == "derived"


def test_faster_than_the_bound_is_reported_not_clipped() -> None:
    line = Roofline.of_core("trn2")
    least = line.bound(kernel()).time_seconds
    assert line.bound(kernel(time_seconds=least / 2)).percent_of_roofline == pytest.approx(200)
    assert line.bound(kernel(time_seconds=4 * least)).percent_of_roofline == pytest.approx(25)


@pytest.mark.parametrize(
    "changes",
    [
        {"hbm_bytes": -1},
        {"dma_bytes": math.inf},
        {"flops": {"bf16": math.nan}},
        {"flops": {}, "hbm_bytes": 0, "dma_bytes": 0},
        {"flops": {"bf16": 0}, "hbm_bytes": 0, "dma_bytes": 0},
        {"time_seconds": 0},
        {"time_seconds": math.nan},
    ],
)
def test_impossible_kernels_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="of kernel 'k'"):
        kernel(**changes)


def test_errors_name_what_is_missing() -> None:
    with pytest.raises(TargetError, match="matmul rate or dtype: found 'int3'"):
        kernel(flops={"int3": 1.0})
    trn2 = Roofline.of_core("trn2")
    with pytest.raises(ModelError, match="dtype on trn2 core: found 'mxfp4'; allowed: fp32, bf16, fp8, sparse"):
        trn2.bound(kernel(flops={"mxfp4": 1.0}))
    with pytest.raises(ModelError, match="memory of trn2 core: found 'PSUM'; allowed: HBM, DMA, SBUF"):
        trn2.roof("PSUM")
    with pytest.raises(ModelError, match="memory of H100 SXM chip: found 'DMA'; allowed: HBM"):
        _ = Roofline.of_chip("h100").dma
    moved = KernelPoint(name="copy", flops={}, hbm_bytes=0, dma_bytes=1e9)
    with pytest.raises(ModelError, match="roofline for 'copy': found 'H100 SXM chip'; allowed: one with a roof"):
        Roofline.of_chip("h100").bound(moved)
    with pytest.raises(ModelError, match="roofline for 'k': found 'trn2 core'; allowed: trn1 core"):
        trn2.bound(kernel(target="trn1 core"))


def test_sbuf_is_a_roof_of_cores_and_chips() -> None:
    # AWS's figure has about 10 TB/s per NeuronCore-v3; a chip has 8 of them.
    core, chip = Roofline.of_core("trn2"), Roofline.of_chip("trn2")
    assert core.sbuf.bytes_per_second.value == pytest.approx(10e12)
    assert chip.sbuf.bytes_per_second.value == pytest.approx(80e12)
    assert core.ridge_point("bf16", "SBUF").value == pytest.approx(78.6432e12 / 10e12)
    bound = core.bound(kernel(flops={"bf16": 1e12}, hbm_bytes=0, dma_bytes=0, sbuf_bytes=1e12))
    assert bound.resource == "SBUF"
    assert bound.time_seconds == pytest.approx(0.1)
    assert bound.percent_of("tensor") == pytest.approx(100 * 1e12 / 78.6432e12 / 0.1)
    assert bound.point.intensity("SBUF") == pytest.approx(1)
    assert core.attainable_flops_per_second("bf16", 2, "SBUF") == pytest.approx(20e12)


def test_rooflines_of_chips_for_comparison() -> None:
    line = Roofline.of_chip("b200")
    assert [roof.name for roof in line.roofs] == ["HBM"]
    assert line.target is None
    assert line.ridge_point("mxfp4").value == pytest.approx(9000 / 7.7)
    bound = line.bound(kernel(flops={"mxfp4": 9e15, "tfloat32": 1.125e15}, hbm_bytes=7.7e12, dma_bytes=1e15))
    # A second of FP4, a second of TF32, a second of HBM; DMA bytes have no roof here.
    assert bound.times == pytest.approx({"tensor": 2.0, "HBM": 1.0})
    assert line.variants() == (line,)
    assert line.basis != Roofline.of_chip("trn3").basis


def test_chosen_figures_move_the_roofs_and_name_them() -> None:
    chip = get_chip("trn3", figures={"hbm_bandwidth": "NKI guide"})
    line = Roofline.of_chip(chip)
    assert line.name == "Trainium3 (hbm_bandwidth: NKI guide) chip"
    assert line.ridge_point("bf16").value == pytest.approx(671 / 4.7)
    named = Roofline.of_chip(get_chip("trn4", "bf16 stays"))
    assert named.name == "Trainium4 (bf16 stays) chip"
    assert named.peak("bf16").value == 671e12
    assert named.variants() == (named,)
    assert [line.target.variant for line in Roofline.of_core("trn4").variants() if line.target] == [
        "low",
        "central",
        "high",
    ]


def test_results_are_hashable_and_travel_to_workers() -> None:
    bound = Roofline.of_core("trn3").bound(kernel(time_seconds=1.0))
    assert pickle.loads(pickle.dumps(bound)) == bound
    assert hash(pickle.loads(pickle.dumps(bound))) == hash(bound)
    line = Roofline.of_chip("trn4", "low")
    assert pickle.loads(pickle.dumps(line)) == line
