"""Chips of other vendors against figures of public documents, retyped, and against each other."""

from __future__ import annotations

import pickle

import pytest

from trnlab.emulator.dtypes import bfloat16
from trnlab.emulator.target import TargetError
from trnlab.models.chips import chip_named, chip_names, get_chip
from trnlab.models.chips.comparison import COMPARISON
from trnlab.models.quantity import ModelError
from trnlab.models.roofline import Roofline

# The TPU7x page's table: BF16 and FP8 TFLOP/s, HBM GiB, HBM GB/s, ICI GB/s in both directions, chips of a pod.
TPU_PAGE = {
    "tpu-v5p": (459, 459, 95, 2765, 1200, 8960),
    "tpu-v6e": (918, 918, 32, 1638, 800, 256),
    "ironwood": (2307, 4614, 192, 7380, 1200, 9216),
}


@pytest.mark.parametrize("name", TPU_PAGE)
def test_tpus_are_those_of_googles_page(name: str) -> None:
    bf16, fp8, gib, hbm, ici, chips = TPU_PAGE[name]
    chip = get_chip(name)
    assert (chip.peak("bf16").value, chip.peak("fp8").value) == (bf16 * 1e12, fp8 * 1e12)
    assert chip.hbm_bytes.value == gib * 2**30
    assert chip.hbm_bandwidth.value == pytest.approx(hbm * 1e9)
    assert (chip.link_bandwidth.value, chip.link_bandwidth_one_direction.value) == (ici * 1e9, ici * 1e9 / 2)
    assert (chip.scale_up.size, chip.scale_up.kind) == (chips, "torus")
    assert chip.power is None


def test_googles_pod_bisection_is_reproduced() -> None:
    """The v6e page prints 3.2 TB/s of bisection bandwidth for the 16 x 16 torus of 800 GB/s chips."""
    # 2 x 16 links cross, each 800 / 4 = 200 GB/s both directions: 6.4 TB/s both ways, 3.2 one way.
    assert get_chip("tpu-v6e").scale_up.bisection_bandwidth.value == pytest.approx(3.2e12)


def test_rack_totals_of_nvidia() -> None:
    """GB300 NVL72: 1.1 EFLOP/s dense FP4, 360 PFLOP/s FP8, 20 TB, 576 TB/s, 130 TB/s of NVLink (public figures)."""
    chip = get_chip("gb300")
    assert chip.scale_up.size == 72
    assert 72 * chip.peak("mxfp4").value == pytest.approx(1.1e18, rel=0.02)
    assert 72 * chip.peak("fp8").value == pytest.approx(360e15)
    assert 72 * chip.hbm_bytes.value == pytest.approx(20e12, rel=0.01)
    assert 72 * chip.hbm_bandwidth.value == pytest.approx(576e12)
    assert 72 * chip.link_bandwidth.value == pytest.approx(130e12, rel=0.01)


def test_hopper() -> None:
    """The scaling book takes 1e15 / 3.35e12 for an H100's ridge point: 298 FLOP per byte."""
    h100, h200 = get_chip("h100"), get_chip("h200")
    assert Roofline.of_chip(h100).ridge_point("bf16").value == pytest.approx(298, rel=0.02)
    assert h100.peaks == h200.peaks
    assert h200.hbm_bandwidth.value / h100.hbm_bandwidth.value == pytest.approx(1.43, abs=0.005)
    assert h200.hbm_bytes.value / h100.hbm_bytes.value == pytest.approx(1.76, abs=0.005)
    # 132 multiprocessors at 1.83 GHz, 4,096 BF16 operations a cycle each; in FP32 256 at 1.98 GHz.
    assert h100.peak("bf16").value == pytest.approx(132 * 1.83e9 * 4096, rel=1e-3)
    assert h100.peak("fp32").value == pytest.approx(132 * 1.98e9 * 256, rel=1e-3)
    # Hopper's Tensor Cores halve with each doubling of the operand.
    assert h100.peak("fp8").value == pytest.approx(2 * h100.peak("bf16").value, rel=1e-3)
    assert h100.peak("bf16").value == pytest.approx(2 * h100.peak("tf32").value, rel=1e-3)


def test_infinity_fabric_is_seven_links() -> None:
    for name, gigabytes in (("mi300x", 128), ("mi355x", 153.6)):
        chip = get_chip(name)
        assert chip.link_bandwidth.value == pytest.approx(7 * gigabytes * 1e9)
        # A pair of the eight shares one link.
        assert chip.scale_up.group(2).bandwidth.value == pytest.approx(gigabytes * 1e9 / 2)


def test_mi300x_rates_are_compute_units_times_clock() -> None:
    """304 compute units at 2.1 GHz, 4,096 FP8 operations a cycle each (AMD's CDNA 3 white paper)."""
    assert get_chip("mi300x").peak("fp8").value == pytest.approx(304 * 2.1e9 * 4096, rel=1e-4)
    assert get_chip("mi300x").peak("bf16").value == pytest.approx(304 * 2.1e9 * 2048, rel=1e-4)
    # CDNA 4: 256 at 2.4 GHz, 8,192 a cycle (AMD at ISSCC 2026).
    assert get_chip("mi355x").peak("fp8").value == pytest.approx(256 * 2.4e9 * 8192, rel=1e-4)
    assert get_chip("mi355x").peak("bf16").value == pytest.approx(256 * 2.4e9 * 4096, rel=1e-4)


def test_every_chip_is_a_value_with_sources_and_no_target() -> None:
    for name, chip in COMPARISON.items():
        assert chip is get_chip(name.upper()) is chip_named(name)
        assert chip.target is None
        assert (chip.dma_bandwidth, chip.dma_effective_bandwidth, chip.sbuf_bandwidth) == (None, None, None)
        assert chip.label == chip.name
        assert pickle.loads(pickle.dumps(chip)) == chip
        assert all(peak.source and peak.klass == "published" for peak in chip.peaks.values())
        assert chip.scale_up.step_latency.source
        assert chip.peak(bfloat16) == chip.peaks["bf16"]
    assert chip_names()[:4] == ("trn1", "trn2", "trn3", "trn4")
    assert set(chip_names()[4:]) == set(COMPARISON)


def test_what_they_do_not_have_is_refused() -> None:
    with pytest.raises(ModelError, match="peak rate of H100 SXM: found 'mxfp4'; allowed: fp32, tf32, bf16, fp8, int8"):
        get_chip("h100").peak("mxfp4")
    with pytest.raises(ModelError, match="core-level figures of H100 SXM: found 'NVIDIA'; allowed: a Trainium chip"):
        get_chip("h100").core_peak("bf16")
    with pytest.raises(TargetError, match=r"chip: found 'h200x'; .*did you mean 'h200'"):
        get_chip("h200x")
    with pytest.raises(TargetError, match="matmul rate or dtype: found 'int4'"):
        get_chip("h100").peak("int4")


def test_tf32_is_its_own_rate_where_one_is_printed() -> None:
    assert get_chip("h100").peak("tfloat32").value == pytest.approx(494.7e12)
    assert get_chip("trn2").peak("tfloat32") == get_chip("trn2").peak("bf16")


def test_words_of_commands() -> None:
    assert chip_named("trn4-low") is get_chip("trn4", "low")
    assert chip_named("trn4-bf16 stays") == get_chip("trn4", "bf16 stays")
    assert chip_named("trn3", figures={"link": "chip page"}).selected == {"link": "chip page"}
    with pytest.raises(TargetError):
        chip_named("trn4-lower")
