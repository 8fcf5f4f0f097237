"""Chips and UltraServers against AWS's printed tables, and the projection's chip figures."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from trnlab.emulator.dtypes import bfloat16, float4_e2m1fn_x4
from trnlab.emulator.target import TARGETS, Fact, TargetError, get_target
from trnlab.models.chips import Chip, get_chip, get_ultraserver
from trnlab.models.quantity import ModelError, Quantity

GIB = 2**30


def printed(quantity: Quantity | None) -> Quantity:
    assert quantity is not None
    return quantity


# AWS's chip pages, retyped: TFLOP/s by format, HBM GiB and TB/s, DMA TB/s, NeuronLink TB/s.
CHIP_PAGES: dict[str, tuple[dict[str, float], int, float, float, float]] = {
    "trn1": ({"fp32": 47.5, "bf16": 190, "fp8": 190, "int8": 380}, 32, 0.82, 1.0, 0.384),
    "trn2": ({"fp32": 181, "bf16": 667, "fp8": 1299, "sparse": 2563}, 96, 2.9, 3.5, 1.28),
    "trn3": ({"fp32": 183, "bf16": 671, "mxfp8": 2517, "mxfp4": 2517, "sparse": 2517}, 144, 4.9, 4.9, 2.56),
}


@pytest.mark.parametrize("name", CHIP_PAGES)
def test_chip_pages_are_reproduced(name: str) -> None:
    tflops, gib, hbm, dma, link = CHIP_PAGES[name]
    chip = get_chip(name)
    for rate, value in tflops.items():
        assert chip.peak(rate).value == value * 1e12
        assert chip.peak(rate).klass == "published"
    assert chip.hbm_bytes.value == gib * GIB
    bandwidths = (chip.hbm_bandwidth, printed(chip.dma_bandwidth), chip.link_bandwidth)
    assert [q.value for q in bandwidths] == pytest.approx([hbm * 1e12, dma * 1e12, link * 1e12])
    assert {q.klass for q in bandwidths} == {"published"}
    assert chip.label == f"Trainium{name[-1]}"


def test_pages_print_more_than_the_cores_add_up_to() -> None:
    trn2 = get_chip("trn2")
    assert trn2.core_peak("bf16").value == pytest.approx(8 * 78.6432e12)
    assert trn2.peak("bf16").value / trn2.core_peak("bf16").value == pytest.approx(1.06, abs=0.005)
    assert trn2.peak("fp32").value / trn2.core_peak("fp32").value == pytest.approx(1.15, abs=0.005)
    # MX rates agree to the last printed digit.
    assert round(get_chip("trn3").core_peak("mxfp8").value / 1e12) == 2517


def test_rates_missing_on_the_page_are_derived_from_the_core() -> None:
    fp8 = get_chip("trn3").peak("fp8")
    assert fp8.value == pytest.approx(8 * 2 * 78.6432e12)
    assert fp8.klass == "derived"
    assert "not on the chip page" in fp8.source


def test_effective_dma_is_engines_times_effective_rate() -> None:
    expected = {"trn1": 32 * 17e9, "trn2": 128 * 23e9, "trn3": 128 * 33e9}
    for name, value in expected.items():
        chip = get_chip(name)
        assert printed(chip.dma_effective_bandwidth).value == value
        assert printed(chip.dma_effective_bandwidth).value < printed(chip.dma_bandwidth).value


def test_central_trainium4_is_the_announcement() -> None:
    trn3, trn4 = get_chip("trn3"), get_chip("trn4")
    assert trn4.peak("mxfp8").value == pytest.approx(3 * 2517e12)
    assert trn4.peak("mxfp4").value == pytest.approx(6 * 2517e12)
    assert trn4.hbm_bandwidth.value == pytest.approx(4 * 4.9e12)
    assert trn4.hbm_bytes.value == 2 * trn3.hbm_bytes.value
    announced = (trn4.peak("mxfp8"), trn4.peak("mxfp4"), trn4.hbm_bandwidth, trn4.hbm_bytes)
    assert {figure.klass for figure in announced} == {"derived"}
    assert trn4.peak("bf16").klass == trn4.peak("fp32").klass == "assumed"
    assert trn4.peak("bf16").value == pytest.approx(2 * trn3.peak("bf16").value)


def test_low_and_high_trainium4() -> None:
    low, central, high = (get_chip("trn4", variant) for variant in ("low", "central", "high"))
    # The assumption set: FP8 x2.7 / x3 / x3.5, FP4 at 1.8 / 2 / 2 times that, BF16 x1 / x2 / x3.
    for chip, fp8, fp4, bf16 in ((low, 2.7, 4.86, 1), (central, 3, 6, 2), (high, 3.5, 7, 3)):
        assert chip.peak("mxfp8").value == pytest.approx(fp8 * 2517e12)
        assert chip.peak("mxfp4").value == pytest.approx(fp4 * 2517e12)
        assert chip.peak("bf16").value == pytest.approx(bf16 * 671e12)
        assert chip.label == f"Trainium4 ({chip.variant})"
    getters: list[Callable[[Chip], Quantity]] = [
        lambda chip: chip.hbm_bandwidth,
        lambda chip: chip.peak("mxfp4"),
        lambda chip: chip.core_peak("mxfp8"),
        lambda chip: printed(chip.dma_effective_bandwidth),
        lambda chip: printed(chip.sbuf_bytes),
        lambda chip: chip.hbm_bytes,
        lambda chip: chip.link_bandwidth,
    ]
    for get in getters:
        values = [get(chip).value for chip in (low, central, high)]
        assert values == sorted(values)
        for chip in (low, central, high):
            assert get(chip).interval == (values[0], values[2])
    for chip in (low, high):
        assert {q.klass for q in chip.peaks.values()} == {"assumed"}
    for chip in (low, central, high):
        assert printed(chip.dma_effective_bandwidth).value <= chip.hbm_bandwidth.value * (1 + 1e-12)


# AWS's UltraServer tables, retyped: chips, TFLOP/s, HBM GiB, HBM TB/s.
ULTRASERVERS: dict[str, tuple[int, dict[str, float], int, float]] = {
    "trn2": (64, {"fp8": 83_200, "bf16": 42_800}, 6 * 1024, 185.6),
    "trn3-gen1": (64, {"mxfp8": 161_088, "bf16": 42_944, "fp32": 11_712}, 9_216, 313.6),
    "trn3-gen2": (144, {"mxfp8": 362_448, "bf16": 96_624, "fp32": 26_352}, 20_736, 705.6),
}


@pytest.mark.parametrize("name", ULTRASERVERS)
def test_ultraserver_totals_are_chips_times_chip_page(name: str) -> None:
    chips, tflops, gib, terabytes = ULTRASERVERS[name]
    server = get_ultraserver(name)
    assert server.chips == chips
    for rate, printed in tflops.items():
        assert server.peak(rate).value == printed * 1e12
        # Trn3's totals are exact products; Trn2's are rounded to 0.3 %.
        tolerance = 3e-3 if name == "trn2" else 1e-9
        assert server.chips_peak(rate).value == pytest.approx(printed * 1e12, rel=tolerance)
    assert server.hbm_bytes.value == gib * GIB == chips * server.chip.hbm_bytes.value
    assert server.hbm_bandwidth.value == pytest.approx(terabytes * 1e12)
    assert server.hbm_bandwidth.value == pytest.approx(chips * server.chip.hbm_bandwidth.value)


def test_lookups_and_their_errors() -> None:
    assert get_chip("GEN4") is get_chip("trn3") is get_chip(get_target("v4"))
    assert get_chip("trn4").variant == "central"
    assert get_chip("trn3").peak(bfloat16) == get_chip("trn3").peak("bf16")
    assert get_chip("trn3").peak(float4_e2m1fn_x4) == get_chip("trn3").peak("mxfp4")
    assert get_ultraserver("TRN3-Gen2").name == "Trn3 Gen2 UltraServer"
    with pytest.raises(TargetError):
        get_chip("trn9")
    with pytest.raises(ModelError, match="peak rate of Trainium2: found 'mxfp8'; allowed: fp32, bf16, fp8, sparse"):
        get_chip("trn2").peak("mxfp8")
    with pytest.raises(TargetError, match="matmul rate or dtype"):
        get_chip("trn2").peak("int4")
    with pytest.raises(TargetError):
        get_chip("trn2").core_peak("mxfp8")
    with pytest.raises(ModelError, match="trn2, trn3-gen1, trn3-gen2"):
        get_ultraserver("trn4")
    clock = Fact(value=2e9, unit="Hz", klass="assumed", source="what if")
    with pytest.raises(ModelError, match="a published or projected target"):
        get_chip(get_target("trn3").with_facts("mine", tensor_clock_hz=clock))


def test_chips_are_values_with_sources() -> None:
    for target in TARGETS:
        chip = get_chip(target)
        assert pickle.loads(pickle.dumps(chip)) == chip
        assert hash(chip) == hash(get_chip(target))
        for quantity in (*chip.peaks.values(), chip.hbm_bytes, chip.hbm_bandwidth, printed(chip.dma_bandwidth)):
            assert quantity.source
        # Trainium1's page has INT8, which the Tensor Engine's rates do not.
        assert set(chip.peaks) - {"int8"} == set(target.matmul_rates())


def test_sbuf_bandwidth_is_the_printed_figure_and_scales_with_the_ports() -> None:
    # Bytes a cycle and clock of each port, from the architecture guides' widths, and the DMA engines' effective rate.
    tensor = {"trn1": 512 * 2.8e9, "trn2": 512 * 2.4e9, "trn3": 1024 * 2.4e9}
    vector = {"trn1": 512 * 1.12e9, "trn2": 1024 * 0.96e9, "trn3": 1024 * 1.2e9}
    scalar = {"trn1": 512 * 1.4e9, "trn2": 512 * 1.2e9, "trn3": 512 * 1.2e9}
    dma = {"trn1": 272e9, "trn2": 368e9, "trn3": 528e9}
    # The Scalar Engine and GpSimd are equally wide and fast in all three.
    ports = {name: tensor[name] + 2 * vector[name] + 4 * scalar[name] + dma[name] for name in tensor}
    for name, cores in (("trn1", 2), ("trn2", 8), ("trn3", 8)):
        found = printed(get_chip(name).sbuf_bandwidth)
        assert found.value == pytest.approx(cores * 10e12 * ports[name] / ports["trn2"])
        assert found.low == pytest.approx(cores * ports[name])
        assert found.klass == ("derived" if name == "trn2" else "assumed")


def test_sbuf_capacity_is_that_of_all_cores() -> None:
    for name, mebibytes in (("trn1", 2 * 24), ("trn2", 8 * 28), ("trn3", 8 * 32)):
        assert printed(get_chip(name).sbuf_bytes).value == mebibytes * 2**20
