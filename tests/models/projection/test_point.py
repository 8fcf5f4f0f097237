"""`project` from end to end: layers, bands, classes, errors, and what a result shows of itself."""

from __future__ import annotations

import json
from functools import partial
from html import escape
from typing import Any

import pytest

from trnlab.models.chips import get_chip
from trnlab.models.parallel.partitioning import Partitioning, Splits
from trnlab.models.projection.calibration import fit_decode
from trnlab.models.projection.constants import layer_of
from trnlab.models.projection.machine import Machine, machine_at
from trnlab.models.projection.outcome import Projection
from trnlab.models.projection.point import project
from trnlab.models.projection.serving import serve
from trnlab.models.projection.serving_point import ServingPoint, default_precision
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import get_precision

POINT = ServingPoint(batch=64, prompt=8192, answer=1024)
SIXTEEN = Partitioning(tp=16)


@pytest.fixture(scope="module")
def trn3() -> Projection:
    return project("gpt-oss-120b", "trn3", SIXTEEN, POINT, kernels=False, price_per_chip_hour=3.6)


@pytest.fixture(scope="module")
def trn4() -> Projection:
    return project("gpt-oss-120b", "trn4", SIXTEEN, POINT, kernels=False)


def test_central_values_are_those_of_serve(trn3: Projection) -> None:
    machine = Machine.of("trn3")
    for found in trn3.layers:
        time = serve(
            get_model("gpt-oss-120b"),
            get_precision("experts-mxfp4-a8"),
            machine,
            layer_of(found.name, machine),
            Splits.of([SIXTEEN], ()),
            64,
            8192,
            1024,
        )
        assert found.tpot.value == float(time.tpot_seconds)
        assert found.ttft.value == float(time.ttft_seconds)
        assert found.chip_rate.value == float(time.tokens_per_second_per_chip)
        assert found.request.value == pytest.approx(found.ttft.value + 1024 * found.tpot.value)


def test_layers_are_ordered_and_their_parts_add_up(trn3: Projection) -> None:
    assert [found.name for found in trn3.layers] == ["roofline", "efficiencies", "calibrated"]
    assert trn3.layer("roofline").tpot.value < trn3.layer("efficiencies").tpot.value
    for found in trn3.layers:
        assert sum(part.value for part in found.parts.values()) == pytest.approx(found.tpot.value)
        assert sum(part.value for part in found.prompt_parts.values()) == pytest.approx(found.ttft.value)


def test_classes_and_bands(trn3: Projection, trn4: Projection) -> None:
    assert trn3.layer("roofline").tpot.klass == "derived"
    assert trn3.layer("roofline").tpot.low is None
    calibrated = trn3.layer("calibrated").tpot
    assert calibrated.klass == "assumed"
    assert calibrated.low is not None
    assert calibrated.high is not None
    assert calibrated.low < calibrated.value < calibrated.high
    for found in trn4.layers:  # a projection is a band in every layer
        assert found.tpot.klass == "assumed"
        assert found.chip_rate.low is not None
    fitted = project("Llama-3.1-70B", "trn2", SIXTEEN, POINT, kernels=False, layers=("calibrated",))
    assert fitted.layers[0].layer.decode.fixed.klass == "fitted"


def test_the_band_spans_the_projections_variants(trn4: Projection) -> None:
    roofline = trn4.layer("roofline").tpot
    ends = [
        project("gpt-oss-120b", get_chip("trn4", variant), SIXTEEN, POINT, layers=("roofline",)).layers[0].tpot.value
        for variant in ("low", "central", "high")
    ]
    assert roofline.interval == (min(ends), max(ends))


def test_a_chosen_figure_holds_in_every_variant_of_the_band() -> None:
    chip = get_chip("trn4", figures={"bf16": "x1"})
    rates = [machine_at(Machine.of(chip), case).rates["bf16"] for case in ("fast", "central", "slow")]
    assert rates == [671e12] * 3
    found = project("gpt-oss-120b", chip, SIXTEEN, POINT, layers=("roofline",))
    assert found.layers[0].tpot.low is not None


@pytest.mark.parametrize(
    ("chip", "figures"),
    [("trn3", {"hbm_bandwidth": "NKI guide"}), ("trn4", {"bf16": "x1"}), ("trn2", {"power": "600 W"})],
)
def test_kernels_are_timed_with_the_chosen_figures(chip: str, figures: dict[str, str]) -> None:
    point = ServingPoint(batch=8, prompt=512)
    found = project("Llama-3.1-8B", get_chip(chip, figures=figures), Partitioning(tp=4), point)
    assert any(not used.entry.is_default for used in found.efficiencies)


def test_links_have_their_own_band() -> None:
    machine = Machine.of("trn3")
    link = machine.chip.scale_up.bandwidth
    assert machine_at(machine, "fast").fabric.domain.bandwidth.value == link.interval[1]
    assert machine_at(machine, "slow").fabric.domain.bandwidth.value == link.interval[0]
    assert machine_at(machine, "central") is machine


def test_energy_and_cost_are_power_and_price_over_throughput(trn3: Projection) -> None:
    power = get_chip("trn3").power
    assert power is not None
    for found in trn3.layers:
        assert found.energy is not None
        assert found.cost is not None
        assert (found.energy.unit, found.cost.unit) == ("J/token", "USD/Mtoken")
        assert found.energy.value == pytest.approx(power.value / found.chip_rate.value)
        assert found.cost.value == pytest.approx(3.6 / 3600 / found.chip_rate.value * 1e6)
    twice = project("gpt-oss-120b", "trn3", SIXTEEN, POINT, kernels=False, watts=100.0, pue=1.5, layers=("roofline",))
    energy = twice.layers[0].energy
    assert energy is not None
    assert energy.value == pytest.approx(150 / twice.layers[0].chip_rate.value)


def test_the_users_fixed_cost_and_exposure_take_the_place_of_the_layers_own(trn3: Projection) -> None:
    hidden = project("gpt-oss-120b", "trn3", SIXTEEN, POINT, kernels=False, exposed=0.0, fixed_seconds=1e-5)
    for name in ("efficiencies", "calibrated"):
        assert hidden.layer(name).parts["collectives"].value == 0  # type: ignore[arg-type]
    fixed = hidden.layer("calibrated").parts["fixed cost"]
    assert fixed.value == pytest.approx(36 * 1e-5)
    assert fixed.low is None
    assert hidden.layer("efficiencies").parts["fixed cost"].value == 0
    assert hidden.layer("roofline").tpot == trn3.layer("roofline").tpot
    assert not any("fixed cost" in note for note in hidden.all_notes)


def test_unknown_power_is_not_zero() -> None:
    found = project("Llama-3.1-8B", "trn1", Partitioning(tp=4), ServingPoint(batch=1, prompt=128), kernels=False)
    assert all(layer.energy is None for layer in found.layers)
    assert "power not known" in str(found)
    assert "no price given" in str(found)
    assert any("no power" in note for note in found.all_notes)


def test_kernels_fill_the_middle_layer_only() -> None:
    plain = project("Llama-3.1-8B", "trn2", Partitioning(tp=4), ServingPoint(batch=8, prompt=512), kernels=False)
    timed = project("Llama-3.1-8B", "trn2", Partitioning(tp=4), ServingPoint(batch=8, prompt=512))
    assert plain.efficiencies == ()
    assert {used.phase for used in timed.efficiencies} == {"decode", "prefill"}
    for name in ("roofline", "calibrated"):
        assert plain.layer(name).tpot == timed.layer(name).tpot  # type: ignore[arg-type]
    assert plain.layer("efficiencies").tpot != timed.layer("efficiencies").tpot


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "gpt-9"}, "model"),
        ({"chip": "trn2", "precision": "mxfp8"}, "matmul rate"),
        ({"precision": "fp5"}, "precision"),
        ({"kv": "fp5"}, "KV format"),
        ({"split": Partitioning(tp=5)}, "tp of gpt-oss-120b"),
        ({"chip": "h100", "split": Partitioning(tp=16)}, "tp on"),
        ({"model": "DeepSeek-V3", "precision": "bf16", "split": Partitioning(tp=2)}, "at least 11 chips"),
        ({"pue": 0.9}, "pue"),
        ({"watts": -1.0}, "watts"),
        ({"price_per_chip_hour": 0.0}, "price_per_chip_hour"),
        ({"layers": ("guess",)}, "layer"),
        ({"exposed": 1.5}, "exposed share"),
        ({"fixed_seconds": -1.0}, "fixed cost"),
    ],
)
def test_wrong_input_is_named(changes: dict[str, Any], message: str) -> None:
    model, chip, split = (
        changes.pop(name, default)
        for name, default in (("model", "gpt-oss-120b"), ("chip", "trn3"), ("split", SIXTEEN))
    )
    with pytest.raises(ModelError, match=message):
        project(model, chip, split, POINT, kernels=False, **changes)


@pytest.mark.parametrize("changes", [{"batch": 0}, {"prompt": -1}, {"answer": 1.5}, {"chunk": 0}, {"batch": True}])
def test_a_serving_point_takes_whole_numbers(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=next(iter(changes))):
        ServingPoint(**({"batch": 1, "prompt": 1} | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"pue": float("nan")}, "pue"), ({"pue": float("inf")}, "pue"), ({"exposed": float("nan")}, "exposed share"),
     ({"fixed_seconds": float("nan")}, "fixed cost per layer"), ({"fixed_seconds": float("inf")}, "fixed cost")],
)  # fmt: skip
def test_what_is_no_number_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        project("Llama-3.1-8B", "trn2", Partitioning(tp=8), ServingPoint(batch=1, prompt=64), kernels=False, **changes)


def test_where_efficiencies_come_from_is_in_every_form_of_the_result() -> None:
    """No kernel of ours reads a cache in FP8, so the default stands, for computing and for bytes, and says so."""
    found = project("Llama-3.1-8B", "trn2", Partitioning(tp=8), ServingPoint(batch=1, prompt=512), kv="fp8")
    decode = next(used for used in found.efficiencies if (used.phase, used.operator) == ("decode", "attention"))
    assert decode.entry.is_default
    assert decode.memory.value == fit_decode().weight_efficiency
    line = str(decode)
    assert "compute 0.31, HBM 0.88, default, no decode attention kernel of ours for fp8" in line
    assert line in str(found)
    assert escape(line) in found._repr_html_()
    notes = {row["layer"]: row["note"] for row in found.to_pandas().to_dict("records")}
    assert "default efficiency of decode, attention" in notes["efficiencies"]
    assert "default" not in notes["calibrated"]
    assert "factor of two" in notes["calibrated"]
    rows = json.loads(found.to_json())["efficiencies"]
    assert [row["default"] for row in rows] == [used.entry.is_default for used in found.efficiencies]
    assert next(row for row in rows if row["default"])["origin"] == decode.entry.origin


def test_only_operators_without_a_timed_kernel_are_padded_to_whole_rows() -> None:
    """Experts in W4A4 have no kernel of ours: their few tokens fill rows of 128, as they do without any kernel."""
    split, point = Partitioning(tp=4), ServingPoint(batch=8, prompt=128, answer=16)
    made = partial(project, "gpt-oss-20b", "trn4", split, point, precision="experts-mxfp4-a4", layers=["efficiencies"])
    timed, plain = (made(kernels=kernels).layers[0] for kernels in (True, False))
    assert timed.layer.decode.padded == {"experts"}
    assert plain.layer.decode.padded == {"dense", "experts"}
    assert timed.parts["experts"].value == pytest.approx(plain.parts["experts"].value)


def test_idle_replicas_are_noted() -> None:
    found = project("Llama-3.1-8B", "trn3", Partitioning(dp=4), ServingPoint(batch=2, prompt=64), kernels=False)
    assert any("idle" in note for note in found.notes)


def test_defaults_are_what_gpt_oss_ships_with_where_the_chip_multiplies_it() -> None:
    oss = get_model("gpt-oss-20b")
    names = [default_precision(oss, get_chip(chip)).name for chip in ("trn2", "trn3", "b200", "h100")]
    assert names == ["bf16", "experts-mxfp4-a8", "experts-mxfp4-a8", "experts-mxfp4-a16"]
    assert default_precision(get_model("Qwen3-32B"), get_chip("trn3")).name == "bf16"


def test_a_result_shows_itself_as_text_html_json_and_data_frame(trn3: Projection) -> None:
    text, html, data = str(trn3), trn3._repr_html_(), json.loads(trn3.to_json())
    for name in ("roofline", "efficiencies", "calibrated"):
        assert name in text
        assert f"<th>{name}</th>" in html
    assert "memory of a chip: weights 4.08 GB" in text  # 65.2 GB over 16 chips
    assert data["chips"] == 16
    assert data["partitioning"] == {"tp": 16, "ep": 1, "pp": 1, "dp": 1, "cp": 1}
    frame = trn3.to_pandas()
    assert len(frame) == len(data["records"])
    row = frame[(frame["layer"] == "calibrated") & (frame["quantity"] == "time per output token")].iloc[0]
    assert row["value"] == trn3.layer("calibrated").tpot.value
    assert row["unit"] == "s"
    assert row["class"] == "assumed"
    assert row["source"]


def test_html_is_escaped() -> None:
    from dataclasses import replace

    model = replace(get_model("Llama-3.1-8B"), name="<b>mine</b>")
    found = project(model, "trn3", Partitioning(), ServingPoint(batch=1, prompt=16), kernels=False)
    assert "<b>mine" not in found._repr_html_()
    assert "&lt;b&gt;mine" in found._repr_html_()


def test_a_plot_has_a_bar_per_layer_and_a_legend_entry_per_part(trn3: Projection) -> None:
    figure = trn3.plot()
    axes = figure.axes[0]
    assert len(axes.get_yticklabels()) == 3
    widths = {round(patch.get_y() + patch.get_height() / 2): 0.0 for patch in axes.patches}
    for patch in axes.patches:
        widths[round(patch.get_y() + patch.get_height() / 2)] += patch.get_width()
    expected = [found.tpot.value * 1e3 for found in trn3.layers]
    assert [widths[row] for row in range(3)] == pytest.approx(expected)
    assert {text.get_text() for text in figure.legends[0].get_texts()} == set(trn3.layers[0].parts)
    assert "milliseconds" in axes.get_xlabel()
