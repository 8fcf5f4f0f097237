"""Sweeps: the same numbers as single points, complete, in order, on every back end, and fast."""

from __future__ import annotations

import csv
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trnlab.emulator.errors import TrnlabError
from trnlab.models.chips import get_chip
from trnlab.models.parallel.partitioning import Partitioning, partitionings
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.point import project
from trnlab.models.projection.serving_point import ServingPoint
from trnlab.models.quantity import ModelError
from trnlab.models.sweep import axes as axes_
from trnlab.models.sweep.axes import Axes
from trnlab.models.sweep.block import UNITS
from trnlab.models.sweep.run import sweep
from trnlab.models.sweep.search import frontier
from trnlab.models.sweep.table import SweepTable, check_table_path
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.parameters import parameters_of

SMALL = Axes(
    models=("gpt-oss-120b", "Llama-3.1-70B"),
    chips=("trn2", "trn3", "h100"),
    precisions=("bf16", "experts-mxfp4-a8"),
    batches=(1, 3, 64),
    prompts=(512, 9000),
    answer=300,
    chip_counts=(4, 8),
)


@pytest.fixture(scope="module")
def table() -> SweepTable:
    return sweep(SMALL)


def test_every_point_is_the_projection_of_that_point(table: SweepTable) -> None:
    """Every 37th point that fits, against `project` on its own."""
    usable = table.fitting()
    checked = 0
    for index in range(0, len(usable), 37):
        row = usable.row(index)
        split = Partitioning(*(row[name] for name in Partitioning._fields))
        chip = {"Trainium2": "trn2", "Trainium3": "trn3", "H100 SXM": "h100"}[row["chip"]]
        point = ServingPoint(batch=row["batch"], prompt=row["prompt"], answer=300)
        found = project(row["model"], chip, split, point, precision=row["precision"], layers=("calibrated",))
        layer = found.layers[0]
        for name, value in (
            ("ttft_seconds", layer.ttft),
            ("tpot_seconds", layer.tpot),
            ("tokens_per_second", layer.rate),
            ("tokens_per_second_per_chip", layer.chip_rate),
            ("mfu", layer.mfu),
            ("hbm_share", layer.hbm_share),
            ("joules_per_token", layer.energy),
            ("weight_bytes", found.weights),
            ("kv_bytes", found.kv),
        ):
            assert value is not None
            assert row[name] == pytest.approx(value.value, rel=1e-12), name
        checked += 1
    assert checked > 30


def test_every_possible_combination_is_there_once(table: SweepTable) -> None:
    expected = {
        (model, chip, precision, *split, batch, prompt)
        for model in ("gpt-oss-120b", "Llama-3.1-70B")
        for chip in ("trn2", "trn3", "h100")
        for precision in ("bf16", "experts-mxfp4-a8")
        if chip == "trn3" or precision == "bf16"  # the others do not multiply MXFP8
        for count in (4, 8)
        for split in partitionings(get_model(model), count, Machine.of(chip).fabric, axes=("tp", "ep", "pp", "dp"))
        for batch in (1, 3, 64)
        for prompt in (512, 9000)
    }
    names = {"Trainium2": "trn2", "Trainium3": "trn3", "H100 SXM": "h100"}
    columns = [
        table.column(name).tolist() for name in ("model", "chip", "precision", *Partitioning._fields, "batch", "prompt")
    ]
    found = [(row[0], names[row[1]], *row[2:]) for row in zip(*columns, strict=True)]
    assert len(found) == len(set(found)) == len(table)
    assert set(found) == expected


def test_whether_it_fits_is_what_a_single_point_says(table: SweepTable) -> None:
    rows = [table.row(index) for index in range(0, len(table), 97)]
    assert {row["fits"] for row in rows} == {True, False}
    for row in rows:
        assert row["fits"] == (row["weight_bytes"] + row["kv_bytes"] <= row["memory_bytes"])


def test_blocks_do_not_change_the_result(table: SweepTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(axes_, "BLOCK_POINTS", 24)
    again = sweep(SMALL)
    assert len(SMALL.jobs()) > 20
    for name in table.order:
        assert np.array_equal(again.column(name), table.column(name), equal_nan=name in UNITS), name


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_workers_return_the_same_table(table: SweepTable, backend: str) -> None:
    again = sweep(SMALL, backend=backend, workers=2)
    for name in table.order:
        assert np.array_equal(again.column(name), table.column(name), equal_nan=name in UNITS), name


def test_progress_counts_points_to_the_end() -> None:
    seen: list[tuple[int, int]] = []
    found = sweep(SMALL, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, len(found))
    assert seen[-1] == (len(found), len(found))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_given_partitionings_are_taken_where_they_are_possible() -> None:
    wanted = (Partitioning(tp=4), Partitioning(tp=4, ep=4), Partitioning(tp=2, dp=4))
    found = sweep(replace(SMALL, chip_counts=(), splits=wanted))
    splits = {
        (row["model"], *(row[name] for name in Partitioning._fields))
        for row in (found.row(index) for index in range(len(found)))
    }
    assert splits == {
        *(("gpt-oss-120b", *split) for split in wanted),
        *(("Llama-3.1-70B", *split) for split in wanted if split.ep == 1),  # it has no experts
    }


def test_unknown_power_is_not_a_number_and_never_zero() -> None:
    found = sweep(replace(SMALL, chips=("trn1",), precisions=("bf16",)))
    assert np.isnan(found.column("joules_per_token")).all()
    assert not np.isnan(found.column("tpot_seconds")).any()


def test_tables_are_written_whole_and_read_back(table: SweepTable, tmp_path: Path) -> None:
    import pandas as pd

    table.write(tmp_path / "sweep.parquet")
    table.write(tmp_path / "sweep.csv")
    parquet, text, direct = (
        pd.read_parquet(tmp_path / "sweep.parquet"),
        pd.read_csv(tmp_path / "sweep.csv"),
        table.to_pandas(),
    )
    for name in table.order:
        for frame in (parquet, text, direct):
            assert list(frame.columns) == list(table.order)
            assert np.array_equal(frame[name].to_numpy(), table.column(name), equal_nan=name in UNITS), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sweep.csv", "sweep.parquet"]


def test_what_is_not_known_is_an_empty_field(tmp_path: Path) -> None:
    sweep(replace(SMALL, chips=("trn1",), precisions=("bf16",), batches=(1,))).to_csv(tmp_path / "sweep.csv")
    with (tmp_path / "sweep.csv").open() as file:
        assert {row["joules_per_token"] for row in csv.DictReader(file)} == {""}


@pytest.mark.parametrize(
    ("module", "write"), [("pandas", "to_pandas"), ("pyarrow", "to_parquet"), ("joblib", "threading")]
)
def test_a_missing_package_is_named_with_what_installs_it(
    table: SweepTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, write: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    calls = {
        "to_pandas": table.to_pandas,
        "to_parquet": lambda: table.to_parquet(tmp_path / "t.parquet"),
        "threading": lambda: sweep(SMALL, backend="threading", workers=2),
    }
    with pytest.raises(TrnlabError, match=rf"{module}.*pip install trnlab\["):
        calls[write]()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ()}, "models"),
        ({"batches": (0,)}, "batches"),
        ({"prompts": (1.5,)}, "prompts"),
        ({"chip_counts": ()}, "exactly one"),
        ({"splits": (Partitioning(),)}, "exactly one"),
        ({"answer": 0}, "answer"),
        ({"layer": "dream"}, "layer"),
        ({"models": ("nobody",)}, "model"),
        ({"precisions": ("fp3",)}, "precision"),
        ({"parallelism": ("xp",)}, "kind of parallelism"),
        ({"chips": ("trn2",), "precisions": ("mxfp8",)}, "no possible combination"),
    ],
)
def test_wrong_axes_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        sweep(replace(SMALL, **changes))  # type: ignore[arg-type]


def test_wrong_back_ends_are_named() -> None:
    with pytest.raises(ModelError, match="sequential, loky, threading, dask, ray"):
        sweep(SMALL, backend="mpi")
    with pytest.raises(ModelError, match="workers"):
        sweep(SMALL, workers=0)


@pytest.mark.parametrize(("backend", "package"), [("ray", "ray"), ("dask", "distributed")])
def test_a_cluster_that_is_not_there_is_an_error(backend: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (package, f"{package}.util", f"{package}.util.joblib"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(TrnlabError, match=f"package {package}"):
        sweep(SMALL, backend=backend)


def test_an_unwritable_file_is_an_error_and_leaves_nothing(table: SweepTable, tmp_path: Path) -> None:
    with pytest.raises(TrnlabError, match="cannot write"):
        table.to_csv(tmp_path / "absent" / "sweep.csv")
    with pytest.raises(ModelError, match=r"\.csv, \.parquet"):
        table.write(tmp_path / "sweep.xlsx")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_column_lists_the_known_ones(table: SweepTable) -> None:
    with pytest.raises(ModelError, match="tpot_seconds"):
        table.column("latency")


def test_a_table_shows_itself(table: SweepTable) -> None:
    assert str(table).startswith(f"{len(table):,} points (2 models, 3 chips, 2 precisions, 1 layer)")
    html = table._repr_html_()
    assert html.count("<tr>") == 11
    assert "<th>tpot_seconds</th>" in html


def test_a_plot_has_a_line_per_front_with_its_points(table: SweepTable) -> None:
    figure = table.plot()
    axes = figure.axes[0]
    drawn = {line.get_label(): line for line in axes.get_lines()}
    usable = table.fitting()
    keys = {
        ", ".join(row) for row in zip(*(usable.column(name) for name in ("model", "chip", "precision")), strict=True)
    }
    assert drawn.keys() == keys
    mine = table.where((table.column("model") == "gpt-oss-120b") & (table.column("chip") == "Trainium2"))
    front = frontier(mine)
    line = drawn["gpt-oss-120b, Trainium2, bf16"]
    assert line.get_xdata().tolist() == front.column("tokens_per_second_per_user").tolist()
    assert line.get_ydata().tolist() == front.column("tokens_per_second_per_chip").tolist()
    assert "tokens/s per user" in axes.get_xlabel()
    assert "tokens/s per chip" in axes.get_ylabel()
    with pytest.raises(ModelError, match="points to draw"):
        table.where(~table.column("fits")).plot()


@pytest.mark.slow
def test_a_million_points_take_less_than_ten_seconds() -> None:
    """The goal is 10 s on two cores; processor time is what a busy machine cannot inflate."""
    large = Axes(
        models=("gpt-oss-120b", "Llama-3.1-70B", "DeepSeek-V3"),
        chips=("trn2", "trn3", get_chip("trn4")),
        batches=tuple(range(1, 1025, 16)),
        prompts=tuple(1024 * step for step in range(1, 65)),
        chip_counts=(8, 16),
    )
    started = time.process_time()
    found = sweep(large)
    used = time.process_time() - started
    assert len(found) > 1_000_000
    assert used * 1e6 / len(found) < 10


def test_every_row_says_what_its_layer_rests_on(table: SweepTable) -> None:
    notes = {chip: {row["note"] for row in map(table.row, np.flatnonzero(table.column("chip") == chip)[:3].tolist())}
             for chip in ("Trainium2", "Trainium3", "H100 SXM")}  # fmt: skip
    for chip, word in (("Trainium2", "factor of two"), ("Trainium3", "third-party"), ("H100 SXM", "no calibration")):
        assert len(notes[chip]) == 1
        assert word in next(iter(notes[chip]))
        assert any(word in note for note in table.notes)
    assert "no calibration" in table._repr_html_()
    assert "no calibration" not in sweep(replace(SMALL, layer="roofline")).notes[0]


def test_what_is_left_out_is_named() -> None:
    axes = replace(SMALL, precisions=("bf16", "mxfp8"), chip_counts=(8, 17))
    # 17 chips: 17 replicas or 17 stages are possible, so that nothing is left out but the rates.
    assert axes.left_out() == ("mxfp8 on Trainium2: no mxfp8 rate", "mxfp8 on H100 SXM: no mxfp8 rate")
    given = replace(SMALL, chip_counts=(), splits=(Partitioning(tp=3),), precisions=(None,))
    assert "gpt-oss-120b on 3 x Trainium2: no partitioning" in given.left_out()[0]
    with pytest.raises(ModelError, match="on 3 x H100 SXM: no partitioning"):
        given.jobs()


def test_numpys_whole_numbers_are_whole_numbers() -> None:
    axes = replace(SMALL, batches=np.array([1, 3, 64]), prompts=tuple(np.array([512, 9000])))  # type: ignore[arg-type]
    assert (axes.batches, axes.prompts) == ((1, 3, 64), (512, 9000))
    with pytest.raises(ModelError, match="batches"):
        replace(SMALL, batches=(1.5,))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="answer"):
        replace(SMALL, answer=0)


def test_what_does_not_fit_says_by_how_much() -> None:
    """405B in BF16 on one H100: 811.7 GB and the cache of a request, of 90 % of 80 GB."""
    axes = replace(SMALL, models=("Llama-3.1-405B",), chips=("h100",), precisions=("bf16",), chip_counts=(1,))
    found = sweep(replace(axes, batches=(1,), prompts=(724,), answer=300))
    expected = 2 * parameters_of(get_model("Llama-3.1-405B")).total + 1024 * 516_096 - 0.9 * 80e9
    assert found.shortfall() == pytest.approx([expected])
    with pytest.raises(ModelError, match=f"{expected / 1e9:,.1f} GB a chip short"):
        found.best()
    assert not sweep(replace(axes, models=("gpt-oss-20b",))).fitting().shortfall().any()


@pytest.mark.parametrize(
    ("name", "message"), [("table.txt", r"\.csv, \.parquet"), ("nowhere/table.csv", "no such folder")]
)
def test_where_a_table_cannot_go_is_known_before_it_is_computed(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(TrnlabError, match=message):
        check_table_path(tmp_path / name)
    assert not list(tmp_path.iterdir())
