"""Instances and UltraServers: sizes, wiring, and what leads out of them."""

from __future__ import annotations

import pickle

import pytest

from trnlab.emulator.target import TargetError
from trnlab.models.chips import domain_of, get_chip, get_system, get_ultraserver, system_names
from trnlab.models.chips.systems import EFA_STEP
from trnlab.models.quantity import ModelError

# AWS's instance and UltraServer pages, retyped: chips, shape, GB/s of a chip inside (both directions), EFA Gb/s.
PAGES = {
    "trn1.32xlarge": (16, (4, 4), 384, 800),
    "trn1n.32xlarge": (16, (4, 4), 768, 1600),
    "trn2.48xlarge": (16, (4, 4), 1024, 3200),
    "trn2": (64, (4, 4, 4), 1280, 4 * 3200),
    "trn3-gen1": (64, (64,), None, 12_800),
    "trn3-gen2": (144, (144,), None, 28_800),
}


@pytest.mark.parametrize("name", PAGES)
def test_systems_are_those_of_the_pages(name: str) -> None:
    chips, shape, link, efa = PAGES[name]
    system = get_system(name)
    assert (system.chips, system.topology.shape) == (chips, shape)
    if link is not None:
        assert system.topology.bandwidth.value == pytest.approx(link * 1e9 / 2)
    assert system.efa_bandwidth is not None
    assert system.efa_bandwidth_per_chip is not None
    assert system.efa_bandwidth.value == pytest.approx(efa * 1e9 / 8)
    assert system.efa_bandwidth_per_chip.value == pytest.approx(efa * 1e9 / 8 / chips)
    assert system.efa_step_latency == EFA_STEP
    assert name in system_names()
    assert pickle.loads(pickle.dumps(system)) == system


def test_the_ultraserver_table_of_trn2_is_doubted_in_the_source() -> None:
    efa = get_ultraserver("trn2").efa_bandwidth
    assert efa is not None
    assert efa.klass == "derived"
    assert "prints 3,200 for all four" in efa.source


def test_domains_of_chips() -> None:
    assert get_system("trn3").topology.size == 144
    assert get_system(get_chip("trn3", figures={"domain": "switch of 64"})).chips == 64
    trn4 = {variant: domain_of(get_chip("trn4", variant)) for variant in ("low", "central", "high")}
    assert {variant: system.chips for variant, system in trn4.items()} == {"low": 64, "central": 72, "high": 144}
    for system in trn4.values():
        assert system.topology.kind == "switch"
        assert system.topology.bandwidth.klass == "assumed"
        assert system.efa_bandwidth is not None
        assert system.efa_bandwidth.klass == "assumed"
    # Nobody's network of other vendors is known here, and nothing may be computed from it.
    other = get_system("gb300")
    assert (other.chips, other.efa_bandwidth, other.efa_bandwidth_per_chip, other.efa_step_latency) == (
        72,
        None,
        None,
        None,
    )


def test_instances_of_one_chip_have_no_fabric() -> None:
    for name in ("trn1.2xlarge", "trn2.3xlarge"):
        system = get_system(name)
        assert (system.chips, system.topology.diameter, system.efa_bandwidth, system.efa_step_latency) == (
            1,
            0,
            None,
            None,
        )
        assert system.efa_bandwidth_per_chip is None


def test_a_domain_of_a_chip_has_the_systems_efa() -> None:
    for chip, name in (("trn1", "trn1.32xlarge"), ("trn2", "trn2"), ("trn3", "trn3-gen2")):
        theirs, ours = get_system(name).efa_bandwidth, get_system(get_chip(chip)).efa_bandwidth
        assert theirs is not None
        assert ours is not None
        assert ours.value == pytest.approx(theirs.value)


def test_totals_are_chips_times_chip() -> None:
    assert get_system("trn2.48xlarge").chips_peak("bf16").value == 16 * 667e12
    with pytest.raises(ModelError, match="peak rate"):
        get_system("trn2.48xlarge").chips_peak("mxfp8")


def test_unknown_systems() -> None:
    with pytest.raises(ModelError, match="UltraServer: found 'trn4'; allowed: trn2, trn3-gen1, trn3-gen2"):
        get_ultraserver("trn4")
    with pytest.raises(TargetError, match=r"chip: found 'trn9\.48xlarge'"):
        get_system("trn9.48xlarge")
