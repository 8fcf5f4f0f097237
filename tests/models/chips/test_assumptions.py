"""Conflicting official figures and named assumptions: each can be chosen, and the core's target follows."""

from __future__ import annotations

import pickle

import pytest

from trnlab.emulator.target import TargetError
from trnlab.models.chips import get_chip
from trnlab.models.chips.assumptions import NAMED_SETS
from trnlab.models.quantity import ModelError, Quantity
from trnlab.models.roofline import Roofline

GIB = 2**30


# The figures that AWS prints, retyped: B/s of a chip in both directions, and what one direction then is.
@pytest.mark.parametrize(
    ("name", "both", "one_way"),
    [
        ("chip page", 2.56e12, 1.28e12),
        ("UltraServer table", 2048 * GIB, 1024 * GIB),
        ("sum of links, one direction", 2 * 704e9, (4 + 5 + 2) * 64e9),
        ("sum of links, both directions", 704e9, 352e9),
    ],
)
def test_trainium3_has_three_printed_link_figures(name: str, both: float, one_way: float) -> None:
    chip = get_chip("trn3", figures={"link": name})
    assert chip.link_bandwidth.value == both
    assert chip.link_bandwidth_one_direction.value == pytest.approx(one_way)
    assert chip.scale_up.size == 144
    assert chip.target is not None
    assert chip.target.link_bytes_per_second_per_chip == both
    assert chip.label == f"Trainium3 (link: {name})"
    # Without a choice the band covers what is printed, and the value is between.
    band = get_chip("trn3").link_bandwidth_one_direction
    assert band.klass == "assumed"
    assert band.interval == (352e9, 1.28e12)
    assert band.interval[0] <= one_way <= band.interval[1]


@pytest.mark.parametrize(("chip", "page", "guide"), [("trn2", 2.9e12, 3.0e12), ("trn3", 4.9e12, 4.7e12)])
def test_hbm_bandwidth_of_page_and_guide(chip: str, page: float, guide: float) -> None:
    assert get_chip(chip, figures={"hbm_bandwidth": "chip page"}).hbm_bandwidth.value == page
    other = get_chip(chip, figures={"hbm_bandwidth": "NKI guide"})
    assert other.hbm_bandwidth.value == guide
    assert other.target is not None
    assert other.target.hbm_bytes_per_second_per_core == guide / 8


def test_peaks_of_page_and_cores() -> None:
    cores = get_chip("trn2", figures={"peaks": "core guides"})
    assert cores.peak("bf16").value == pytest.approx(8 * 2 * 128 * 128 * 2.4e9)
    assert cores.peak("bf16").klass == "derived"
    assert get_chip("trn2", figures={"peaks": "chip page"}).peak("bf16").value == 667e12


def test_plain_fp8_of_trainium3_is_printed_two_ways() -> None:
    """The ISA has double rows, K = 256 in the time of BF16; the guide's table of widths has FP8 as wide as BF16."""
    rows = get_chip("trn3", figures={"plain fp8": "double row"})
    assert rows.peak("fp8").value == pytest.approx(8 * 2 * 2 * 128 * 128 * 2.4e9)
    wide = get_chip("trn3", figures={"plain fp8": "as BF16"})
    assert wide.peak("fp8").value == wide.peak("bf16").value == 671e12
    assert wide.core_peak("fp8").value == pytest.approx(8 * 2 * 128 * 128 * 2.4e9)
    assert wide.peak("mxfp8") == rows.peak("mxfp8")


def test_a_target_says_what_was_chosen() -> None:
    chip = get_chip("trn3", figures={"hbm_bandwidth": "NKI guide", "plain fp8": "as BF16"})
    assert chip.target is not None
    assert chip.target.variant == "hbm_bandwidth: NKI guide, plain fp8: as BF16"
    core = Roofline.of_core(chip.target)
    assert core.name == "trn3 (hbm_bandwidth: NKI guide, plain fp8: as BF16) core"
    assert core.hbm.bytes_per_second.value == pytest.approx(4.7e12 / 8)
    assert core.peak("fp8").value == pytest.approx(2 * 128 * 128 * 2.4e9)


def test_domains_and_power_of_trainium3() -> None:
    small = get_chip("trn3", figures={"domain": "switch of 64", "link": "chip page", "power": "1000 W"})
    assert (small.scale_up.size, small.link_bandwidth_one_direction.value) == (64, 1.28e12)
    assert small.power is not None
    assert (small.power.value, small.power.klass, small.power.low) == (1000, "assumed", None)
    assert small.selected == {"domain": "switch of 64", "link": "chip page", "power": "1000 W"}


@pytest.mark.parametrize("factor", [1, 2, 2.5, 3])
@pytest.mark.parametrize(("topic", "rate"), [("bf16", "bf16"), ("fp8", "mxfp8"), ("fp4", "mxfp4"), ("fp32", "fp32")])
def test_multiples_of_trainium3_hold_for_page_and_core(topic: str, rate: str, factor: float) -> None:
    trn3 = get_chip("trn3")
    for variant in ("low", "central", "high"):
        chip = get_chip("trn4", variant, figures={topic: f"x{factor:g}"})
        assert chip.peak(rate).value == pytest.approx(factor * trn3.peak(rate).value)
        assert chip.core_peak(rate).value == pytest.approx(factor * trn3.core_peak(rate).value)
        assert chip.peak(rate).klass == "assumed"
        assert chip.peak(rate).low is None


def test_multiples_of_memory() -> None:
    fast = get_chip("trn4", figures={"hbm_bandwidth": "x4.5", "hbm_bytes": "x2"})
    assert fast.hbm_bandwidth.value == pytest.approx(4.5 * 4.9e12)
    assert fast.hbm_bytes.value == 288 * GIB
    assert fast.target is not None
    assert fast.target.hbm_bytes_per_second_per_chip == pytest.approx(4.5 * 4.9e12)


def test_named_sets_change_what_they_say_and_nothing_else() -> None:
    central = get_chip("trn4")
    stays = get_chip("trn4", "bf16 stays")
    assert stays.peak("bf16").value == 671e12
    assert stays.peak("mxfp8") == central.peak("mxfp8")
    assert (stays.hbm_bandwidth, stays.scale_up) == (central.hbm_bandwidth, central.scale_up)
    assert get_chip("trn4", "bf16 follows fp8").peak("bf16").value == pytest.approx(3 * 671e12)
    assert get_chip("trn4", "memory stays").hbm_bytes.value == 144 * GIB
    assert get_chip("trn4", "slow memory").hbm_bandwidth.value == pytest.approx(3 * 4.9e12)
    kept = get_chip("trn4", "NeuronLink kept")
    assert (kept.scale_up.size, kept.link_bandwidth_one_direction.value) == (144, 1e12)
    for name in NAMED_SETS:
        chip = get_chip("trn4", name)
        assert chip.label == f"Trainium4 ({name})"
        assert chip.variant == name
        assert pickle.loads(pickle.dumps(chip)) == chip
    further = get_chip("trn4", "bf16 stays", figures={"power": "1000 W"})
    assert further.label == "Trainium4 (bf16 stays, power: 1000 W)"


def test_every_listed_figure_can_be_chosen_and_differs_in_what_it_names() -> None:
    for name in ("trn1", "trn2", "trn3", "trn4", "b200", "gb300", "tpu-v5p", "tpu-v6e", "ironwood"):
        chip = get_chip(name)
        assert chip.alternatives
        for topic, choices in chip.alternatives.items():
            assert len({choice.name for choice in choices}) == len(choices) > 1
            for choice in choices:
                chosen = get_chip(name, figures={topic: choice.name})
                assert chosen.selected == {topic: choice.name}
                for key, new in choice.changes.items():
                    whole, _, part = key.rpartition(".")
                    owner = {"peaks": chosen.peaks, "scale_up": vars_of(chosen.scale_up), "": vars_of(chosen)}[whole]
                    assert owner[part] == new
                    if isinstance(new, Quantity):
                        assert new.source


def vars_of(record: object) -> dict[str, object]:
    return {name: getattr(record, name) for name in type(record).__dataclass_fields__}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("chip", "variant", "figures", "message"),
    [
        (
            "trn3",
            None,
            {"links": "chip page"},
            "figure of Trainium3: found 'links'; allowed: hbm_bandwidth, link, domain",
        ),
        (
            "trn3",
            None,
            {"link": "a blog"},
            "figure 'link' of Trainium3: found 'a blog'; allowed: chip page, UltraServer",
        ),
        ("trn3", None, {"hbm_bandwidth": "x2"}, "allowed: chip page, NKI guide$"),
        ("trn4", None, {"bf16": "x"}, "allowed: x1, x2, x3, x4, or another multiple up to x100"),
        ("trn4", None, {"bf16": "x0"}, "or another multiple"),
        ("trn4", None, {"bf16": "x100.5"}, "or another multiple up to x100"),
        ("trn4", None, {"bf16": "x" + 400 * "9"}, "or another multiple up to x100"),
        ("trn4", None, {"domain": "x2"}, "allowed: switch of 64, switch of 72, switch of 144$"),
        ("h100", None, {"link": "x"}, "figure of H100 SXM: found 'link'; allowed: none"),
        ("trn3", "bf16 stays", {}, "variant of trn3: found 'bf16 stays'"),
        ("h100", "low", {}, "variant of H100 SXM: found 'low'; allowed: published"),
    ],
)
def test_figures_that_do_not_exist(chip: str, variant: str | None, figures: dict[str, str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        get_chip(chip, variant, figures=figures)


def test_an_unknown_variant_lists_the_named_sets() -> None:
    with pytest.raises(TargetError, match="found 'bf17 stays'; allowed: low, central, high, bf16 stays") as caught:
        get_chip("trn4", "bf17 stays")
    assert caught.value.nearest == "bf16 stays"
