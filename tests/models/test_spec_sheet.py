"""Spec sheets: every figure is there, and contradicting ones stand beside it."""

from __future__ import annotations

import json

import pytest

from trnlab.models.chips import Chip, chip_names, get_chip
from trnlab.models.quantity import Quantity
from trnlab.models.spec_sheet import FIGURES, Figure, sheet_dict, spec_sheet


def figure(chip: Chip, key: str) -> Figure:
    (found,) = [one for one in spec_sheet(chip) if one.key == key]
    return found


def test_conflicting_figures_stand_side_by_side() -> None:
    trn3 = get_chip("trn3")
    hbm = figure(trn3, "hbm_bandwidth")
    assert hbm.quantity == trn3.hbm_bandwidth
    assert [(select, other.value) for select, other in hbm.others] == [("hbm_bandwidth=NKI guide", 4.7e12)]
    link = figure(trn3, "scale_up.bandwidth")
    assert [other.value for _, other in link.others] == pytest.approx([1.28e12, 1024 * 2**30, 704e9, 352e9])
    assert figure(trn3, "hbm_bytes").others == ()


def test_every_figure_of_every_chip_is_listed() -> None:
    for name in chip_names():
        chip = get_chip(name)
        keys = [one.key for one in spec_sheet(chip)]
        assert keys == [*(f"peaks.{rate}" for rate in chip.peaks), *(key for key, _ in FIGURES)]
        assert len({one.name for one in spec_sheet(chip)}) == len(keys)
        for one in spec_sheet(chip):
            if one.quantity is not None:
                assert one.quantity.source
            # What --figure takes gives what the sheet promises.
            for select, other in one.others:
                topic, _, choice = select.partition("=")
                assert figure(get_chip(name, figures={topic: choice}), one.key).quantity == other


def test_what_nobody_printed_is_null_in_the_data() -> None:
    data = sheet_dict(get_chip("tpu-v6e"))
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    by_key = {row["key"]: row for row in data["figures"]}
    assert by_key["power"]["quantity"] is None
    assert by_key["hbm_bytes"]["quantity"]["value"] == 32 * 2**30
    assert data["scale_up"] == {"kind": "torus", "shape": [16, 16], "chips": 256}


def test_a_chosen_figure_shows_the_default_instead() -> None:
    chip = get_chip("trn3", figures={"hbm_bandwidth": "NKI guide"})
    hbm = figure(chip, "hbm_bandwidth")
    assert isinstance(hbm.quantity, Quantity)
    assert hbm.quantity.value == 4.7e12
    assert [other.value for _, other in hbm.others] == [4.9e12]
    assert sheet_dict(chip)["selected"] == {"hbm_bandwidth": "NKI guide"}
