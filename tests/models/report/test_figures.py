"""The data of the report's figures against the functions and formulas that they come from."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from trnlab.emulator.target import get_target
from trnlab.models.chips import get_chip
from trnlab.models.claims import claims_table
from trnlab.models.claims.deployment import speedup
from trnlab.models.claims.serving import MAPPED, gpt_oss_map
from trnlab.models.claims.speedup_map import MEASURES
from trnlab.models.kernel_point import MEMORIES, Memory
from trnlab.models.parallel.partitioning import Partitioning
from trnlab.models.program_points import point_of_text
from trnlab.models.projection.constants import fixed_cost
from trnlab.models.projection.method import LAYERS, Case, LayerName
from trnlab.models.projection.point import project
from trnlab.models.projection.serving_point import ServingPoint
from trnlab.models.quantity import ModelError
from trnlab.models.report.breakdown import Breakdown, breakdown, projected
from trnlab.models.report.figure import Control, Figure
from trnlab.models.report.front import CHIPS, Fronts, claimed_points, fronts
from trnlab.models.report.heatmap import FACTORS, VARIANTS, maps
from trnlab.models.report.marks import claims_figure, short
from trnlab.models.report.roofline_figure import figure as roofline_figure, traces as roofline_traces
from trnlab.models.report.rooflines import KERNELS, panels
from trnlab.models.report.scenario import Scenario
from trnlab.models.report.tornado import Tornado, tornado
from trnlab.models.roofline import Roofline

SCENARIO = Scenario()
PARTS = ["dense weights", "experts", "attention and KV", "collectives", "fixed cost"]


@pytest.fixture(scope="module")
def steps() -> Breakdown:
    return breakdown(SCENARIO, batches=(1,), contexts=(1024,))


@pytest.fixture(scope="module")
def best() -> Fronts:
    return fronts(SCENARIO)


@pytest.fixture(scope="module")
def unknowns() -> Tornado:
    return tornado(SCENARIO)


def small_figures(steps: Breakdown, best: Fronts, unknowns: Tornado) -> list[Figure]:
    made = [steps.figure(), best.figure(), unknowns.figure(), maps(SCENARIO).figure()]
    return [*made, roofline_figure(panels()), claims_figure(claims_table())]


def test_what_every_figure_shows_first_passes_plotlys_own_schema(
    steps: Breakdown, best: Fronts, unknowns: Tornado
) -> None:
    go = pytest.importorskip("plotly.graph_objects")
    for figure in small_figures(steps, best, unknowns):
        go.Figure(data=[{k: v for k, v in trace.items() if k != "uid"} for trace in figure.shown], layout=figure.layout)


@pytest.mark.slow
def test_every_state_of_every_figure_passes_plotlys_own_schema(
    steps: Breakdown, best: Fronts, unknowns: Tornado
) -> None:
    go = pytest.importorskip("plotly.graph_objects")
    for figure in small_figures(steps, best, unknowns):
        for traces in figure.states.values():
            go.Figure(data=[{k: v for k, v in trace.items() if k != "uid"} for trace in traces], layout=figure.layout)


def test_every_numeric_axis_says_what_it_is(steps: Breakdown, best: Fronts, unknowns: Tornado) -> None:
    for figure in small_figures(steps, best, unknowns):
        titles = [axis["title"]["text"] for key, axis in figure.layout.items() if key.startswith("xaxis")]
        assert any(titles), figure.key
        if figure.key != "roofline":  # its upper panels share the lower ones' title
            assert all(titles), figure.key


def test_bars_are_the_projections_milliseconds_and_add_up_to_the_step(steps: Breakdown) -> None:
    figure = steps.figure()
    traces = figure.states[steps.batches.index(64), steps.contexts.index(8192)]
    point = ServingPoint(batch=64, prompt=8192, answer=1024)
    bars = {trace["name"]: trace["x"] for trace in traces if trace["type"] == "bar"}
    assert list(bars) == PARTS
    cases = [("trn2", "bf16", "bf16"), ("trn3", "experts-mxfp4-a8", "fp8"), ("trn4", "experts-mxfp4-a8", "fp8")]
    for number, (chip, precision, kv) in enumerate(cases):
        found = project("gpt-oss-120b", chip, Partitioning(tp=16), point, precision=precision, kv=kv, kernels=False)
        for row, layer in enumerate(LAYERS):
            column = 3 * number + row
            outcome = found.layer(layer)
            assert [bars[part][column] for part in PARTS] == [outcome.parts[part].value * 1e3 for part in PARTS]
            assert sum(bars[part][column] for part in PARTS) == pytest.approx(outcome.tpot.value * 1e3)
            band = traces[-1]["error_x"]
            assert traces[-1]["x"][column] + band["array"][column] == pytest.approx(outcome.tpot.interval[1] * 1e3)
            assert traces[-1]["x"][column] - band["arrayminus"][column] == pytest.approx(outcome.tpot.interval[0] * 1e3)


def test_a_deployment_that_does_not_fit_has_no_bar() -> None:
    # 810 GB of BF16 weights and a cache of 64 x 132,096 tokens x 2 x 126 layers x 8 x 128 x 2 B = 4.4 TB, in 1.6 TB
    large = breakdown(Scenario.of("Llama-3.1-405B", prompt=131_072), batches=(), contexts=())
    assert large.points[64, 131_072]["trn2"] is None
    assert large.points[64, 131_072]["trn4"] is not None  # 203 GB + 2.2 TB in 16 x 288 GiB
    (bars,) = [trace for trace in large.figure().shown if trace["name"] == "dense weights"]
    assert bars["x"][:3] == [None] * 3


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(("layer", "case"), MAPPED)
def test_the_first_heat_map_is_the_claims_own(measure: str, layer: LayerName, case: Case) -> None:
    figure = maps(SCENARIO).figure()
    expected = gpt_oss_map(layer, case)
    for variant in range(len(VARIANTS)):
        traces = figure.states[MEASURES.index(measure), MAPPED.index((layer, case)), variant]
        found = np.array(traces[0]["z"], float)
        np.testing.assert_array_equal(found, expected.values(measure))  # type: ignore[arg-type]
        assert traces[0]["x"] == [math.log2(batch) for batch in expected.batches]
        contours = [trace for trace in traces if trace["type"] == "contour"]
        assert {3.0, 4.0} <= {factor for factor, _ in FACTORS}
        assert [each["contours"]["start"] for each in contours] == [f for f, _ in FACTORS for _ in range(2)] * 2
        # Every white line lies on a dark one, which the bright end of the colours does not swallow.
        dark, white = contours[::2], contours[1::2]
        assert all(below["line"]["width"] > above["line"]["width"] for below, above in zip(dark, white, strict=True))
        assert {each["line"]["color"] for each in white} == {"#ffffff"}


def test_trainium4s_heat_map_is_that_of_its_assumption_set() -> None:
    found = maps(SCENARIO)
    layer = MAPPED.index(("roofline", "central"))
    for position, (variant, name) in enumerate(VARIANTS.items()):
        chip = get_chip("trn4", variant)
        (heat,) = [
            t for t in found.figure().states[1, layer, position] if t["type"] == "heatmap" and "x2" in t["xaxis"]
        ]
        assert heat["name"].startswith(chip.label)
        old, new = SCENARIO.deployment("trn3"), SCENARIO.deployment(name)
        assert heat["z"][3][12] == pytest.approx(float(speedup(old, new, "roofline", 64, 8192).latency))
    # Both chips of the second pair are taken at the fast end, Trainium2 of the first is not.
    assert found.maps["trn3", "trn4", "calibrated", "fast"].old_case == "fast"
    assert found.maps["trn2", "trn3", "calibrated", "fast"].old_case == "central"


def test_nothing_in_the_sweep_beats_a_point_of_a_front(best: Fronts) -> None:
    table = best.table.fitting()
    user, chip = table.columns["tokens_per_second_per_user"], table.columns["tokens_per_second_per_chip"]
    assert {front.chip for front in best.fronts[8192]} == set(CHIPS)
    for front in best.fronts[8192]:
        own = (table.column("chip") == front.label) & (table.column("precision") == front.precision)
        for x, y in zip(
            front.table.columns["tokens_per_second_per_user"],
            front.table.columns["tokens_per_second_per_chip"],
            strict=True,
        ):
            better = own & (user >= x) & (chip >= y) & ((user > x) | (chip > y))
            assert not better.any()


def test_the_announcements_arrow_is_four_and_three_times_trainium2(best: Fronts) -> None:
    (x0, y0), (x1, y1) = claimed_points(SCENARIO)
    assert (x1 / x0, y1 / y0) == pytest.approx((4, 3))
    point = ServingPoint(batch=512, prompt=8192, answer=1024)
    outcome = project("gpt-oss-120b", "trn2", Partitioning(tp=16), point, precision="bf16", kernels=False)
    assert x0 == pytest.approx(outcome.layer("calibrated").user_rate.value)
    assert y0 == pytest.approx(outcome.layer("calibrated").chip_rate.value)
    assert best.traces(8192)[-1]["x"] == [x0, x1]
    assert best.traces(1024)[-1]["x"] == [None]
    assert "announced" not in [trace["uid"] for trace in fronts(Scenario.of("Llama-3.1-70B")).traces(8192)]


def test_sensitivity_follows_from_what_is_moved(unknowns: Tornado) -> None:
    user = {row.swing.name: row.values for row in unknowns.rows["interactivity"]}
    quick, slow = user["fixed cost per layer"]
    assert quick is not None
    assert slow is not None
    # 36 layers, each with the ends of its fixed cost's band.
    cost = fixed_cost(get_chip("trn4"))
    assert cost is not None
    low, high = cost.interval
    assert low < high
    assert 1 / slow - 1 / quick == pytest.approx(36 * (high - low))
    energy = {row.swing.name: row.values for row in unknowns.rows["energy"]}
    assert energy["power"][1] == pytest.approx(2.5 * energy["power"][0])  # type: ignore[operator]
    assert user["power"] == user["HBM capacity"] == (unknowns.central["interactivity"],) * 2
    # Twice the requests: what is fixed in a step is shared, so more tokens a second and chip, not twice as many.
    chip = {row.swing.name: row.values for row in unknowns.rows["throughput"]}
    few, many = chip["running requests"]
    assert few is not None
    assert many is not None
    assert 1 < many / few < 4
    project_central = project(
        "gpt-oss-120b",
        get_chip("trn4"),
        Partitioning(tp=16),
        ServingPoint(batch=64, prompt=8192, answer=1024),
        precision="experts-mxfp4-a8",
        kv="fp8",
        kernels=False,
    )
    assert unknowns.central["throughput"] == project_central.layer("calibrated").chip_rate.value


def test_sensitivity_is_ordered_and_drawn_in_percent(unknowns: Tornado) -> None:
    for number, (measure, rows) in enumerate(unknowns.rows.items()):
        central = unknowns.central[measure]
        ends = [[central, *(value for value in row.values if value is not None)] for row in rows]
        widths = [max(values) - min(values) for values in ends]
        assert widths == sorted(widths, reverse=True)
        for end, trace in enumerate(unknowns.figure().states[number,][:2]):
            assert trace["x"] == [100 * (row.values[end] / central - 1) for row in rows]  # type: ignore[operator]
            assert trace["y"] == [row.swing.label for row in rows]


def test_ceilings_start_where_the_memory_slope_reaches_them() -> None:
    for panel in panels():
        for rate in panel.rates():
            ridge = panel.line.ridge_point(rate, "HBM").value
            slope = panel.line.hbm.bytes_per_second.value
            assert ridge * slope == pytest.approx(panel.line.peak(rate).value)
    shown = roofline_figure(panels()).states[0,]
    ceilings = [trace for trace in shown if "BF16" in trace["name"].split(", ") and trace["mode"].endswith("text")]
    assert [trace["y"][0] for trace in ceilings] == [panel.line.peak("bf16").value / 1e12 for panel in panels()]
    # On Trainium1 BF16 and FP8 share a line, so its legend differs; the others' is written once.
    assert [trace["showlegend"] for trace in ceilings] == [True, True, False, False]
    assert [trace["text"][1] for trace in ceilings][:2] == ["<b>BF16, FP8 91.8 TFLOP/s</b>", "<b>BF16 78.6 TFLOP/s</b>"]


@pytest.mark.parametrize("memory", MEMORIES)
def test_slopes_start_left_of_every_ridge_point_and_kernel(memory: Memory) -> None:
    traces = roofline_traces(panels(), memory)
    slopes = [trace for trace in traces if trace["name"] == "memory"]
    for panel, slope in zip(panels(), slopes, strict=True):
        rate = panel.line.roof(memory).bytes_per_second.value
        assert slope["y"][0] * 1e12 == pytest.approx(slope["x"][0] * rate)
        assert slope["x"][0] < min(panel.line.ridge_point(name, memory).value for name in panel.rates())
        assert all(slope["x"][0] < point.intensity(memory) for point in panel.points)


@pytest.mark.parametrize("memory", MEMORIES)
def test_trainium4s_ceilings_and_slope_have_the_band_of_its_assumption_sets(memory: Memory) -> None:
    variants = [Roofline.of_core("trn4", variant) for variant in ("low", "central", "high")]
    areas = {t["name"]: t for t in roofline_traces(panels(), memory) if t.get("fill") == "toself"}
    rates = [rate for rate in variants[0].peaks if rate != "sparse"]
    banded = [rate for rate in rates if len({line.peak(rate).value for line in variants}) > 1]
    assert set(areas) == {f"{memory} low to high", *(f"{rate.upper()} low to high" for rate in banded)}
    assert all(trace["xaxis"] == "x4" for trace in areas.values())  # none on a published generation
    for rate in banded:
        heights = [line.peak(rate).value / 1e12 for line in variants]
        area = areas[f"{rate.upper()} low to high"]
        assert (min(area["y"]), max(area["y"])) == pytest.approx((min(heights), max(heights)))
    slopes = [line.roof(memory).bytes_per_second.value for line in variants]
    area = areas[f"{memory} low to high"]
    edges = sorted({round(1e12 * y / x / min(slopes), 6) for x, y in zip(area["x"], area["y"], strict=True)})
    assert edges == pytest.approx([1, max(slopes) / min(slopes)])


def test_trainium4s_kernels_have_the_band_of_their_timelines() -> None:
    panel = panels()[-1]
    shown = roofline_traces(panels(), "HBM")
    for variant in ("low", "high"):
        target = get_target("trn4", variant)
        point = point_of_text("trnlab.kernels.matmul:matmul lhsT=bf16[2880,512] rhs=bf16[2880,2880]", target)
        low, high = panel.spans["BF16 matmul"]
        assert point.flops_per_second is not None
        assert low <= point.flops_per_second <= high
    (dot,) = [trace for trace in shown if trace["uid"] == "4-BF16-matmul"]
    assert dot["y"][0] + dot["error_y"]["array"][0] == pytest.approx(high / 1e12)
    assert dot["y"][0] - dot["error_y"]["arrayminus"][0] == pytest.approx(low / 1e12)
    (published,) = [trace for trace in shown if trace["uid"] == "3-BF16-matmul"]
    assert published["error_y"]["visible"] is False


def test_kernels_are_drawn_where_they_can_run_and_named_where_not() -> None:
    by_core = {panel.line.name: panel for panel in panels()}
    names = [name for name, *_ in KERNELS]
    assert [point.name for point in by_core["trn3 core"].points] == names
    assert [point.name for point in by_core["trn2 core"].points] == ["BF16 matmul", "FP8 matmul", "attention"]
    assert [text.partition(":")[0] for text in by_core["trn2 core"].missing] == ["MXFP8 matmul", "MXFP4 weights"]
    # 2 x 512 x 2880 x 2880 FLOP; at least both operands and the result move, in two bytes each.
    matmul = by_core["trn3 core"].points[0]
    assert matmul.total_flops == pytest.approx(2 * 512 * 2880 * 2880)
    assert matmul.hbm_bytes >= 2 * (512 * 2880 + 2880 * 2880 + 512 * 2880)
    (dot,) = [t for t in roofline_figure(panels()).shown if t["uid"] == "3-BF16-matmul"]
    assert dot["x"] == [matmul.total_flops / matmul.hbm_bytes]
    assert dot["y"] == [matmul.total_flops / matmul.time_seconds / 1e12]  # type: ignore[operator]


def test_every_computed_reading_of_every_claim_has_its_mark() -> None:
    claims = claims_table()
    marks = sorted(
        (name, x) for trace in claims_figure(claims).shown for name, x in zip(trace["y"], trace["x"], strict=True)
    )
    expected = sorted(
        (short(claim.statement), reading.computed.value / claim.claimed.value)
        for claim in claims
        for reading in claim.readings
        if reading.computed is not None
    )
    assert marks == expected
    assert len({short(claim.statement) for claim in claims}) == len(claims)  # no two claims share a row
    assert not any(short(claim.statement).endswith("…") for claim in claims)
    # One filled mark a claim: its plainest reading, the one that decides a verdict of arithmetic.
    filled = {
        (name, x)
        for trace in claims_figure(claims).shown
        for name, x, symbol in zip(trace["y"], trace["x"], trace["marker"]["symbol"], strict=True)
        if not symbol.endswith("-open")
    }
    first = {(short(c.statement), c.computed.value / c.claimed.value) for c in claims if c.computed is not None}
    assert filled == first


def test_a_figure_needs_traces_for_every_position_of_its_controls() -> None:
    control = Control(name="size", options=("1", "2"))
    with pytest.raises(ModelError, match=r"states of figure 'x'.*found 1"):
        Figure(key="x", title="", lead="", layout={}, states={(0,): []}, controls=(control,))


@pytest.mark.parametrize(("bad", "named"), [({"model": "gpt-5"}, "gpt-5"), ({"batch": 0}, "batch")])
def test_a_scenario_that_cannot_be_is_named(bad: dict[str, str], named: str) -> None:
    with pytest.raises(ModelError, match=named):
        Scenario.of(**{"model": "gpt-oss-120b"} | bad)  # type: ignore[arg-type]


def test_a_configuration_from_a_file_is_a_scenario(tmp_path: Path) -> None:
    folder = tmp_path / "tiny-llama"
    folder.mkdir()
    config = {
        "model_type": "llama",
        "hidden_size": 1024,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "intermediate_size": 4096,
        "vocab_size": 32_000,
    }
    (folder / "config.json").write_text(json.dumps(config))
    scenario = Scenario.of(str(folder / "config.json"))
    assert (scenario.model, scenario.shape.layers, scenario.is_gpt_oss) == ("tiny-llama", 4, False)
    # 8 heads: 16 is a multiple of them, so tensor parallelism of 16 divides a head among two chips.
    assert scenario.split == Partitioning(tp=16)
    found = projected(scenario, "trn3", 64, 8192)
    assert found is not None
    assert found.model == "tiny-llama"
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "hidden_size"}))
    with pytest.raises(ModelError, match=r"hidden_size in config\.json: found 'nothing'"):
        Scenario.of(str(folder / "config.json"))


def test_a_model_that_sixteen_does_not_divide_is_replicated() -> None:
    """Llama-2-13B has 40 heads: 16 does neither divide nor hold them, 8 does."""
    scenario = Scenario.of("Llama-2-13B")
    assert scenario.split == Partitioning(tp=8, dp=2)
    assert str(scenario).startswith("Llama-2-13B on 16 chips, TP8 DP2")
    found = projected(scenario, "trn2", 64, 8192)
    assert found is not None
    assert found.partitioning == scenario.split


def test_formats_are_those_that_each_generation_multiplies() -> None:
    for model in ("gpt-oss-20b", "Llama-3.1-70B"):
        scenario = Scenario.of(model)
        for chip in ("trn2", "trn3", "trn4"):
            assert scenario.precision(chip).rates
            assert set(scenario.precision(chip).rates) <= set(get_chip(chip).peaks)
        assert scenario.precision("trn2").name == "bf16"
        assert scenario.narrow.kv == "fp8"
