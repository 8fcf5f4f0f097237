"""Exports of a profile: the trace event format's rules, tables that read back, data that survives JSON, pictures."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trnlab.emulator import TrnlabError
from trnlab.emulator.timing.schedule_plan import DMA_ENGINE
from trnlab.models.profile.command import FORMATS, as_json, write_profiles
from trnlab.models.profile.event_table import COLUMNS, event_table
from trnlab.models.profile.kernel_files import KernelFileError
from trnlab.models.profile.picture import draw_timeline
from trnlab.models.profile.summary import Profile, compare
from trnlab.models.profile.trace_events import trace_events

Event = dict[str, Any]


@pytest.fixture(scope="module")
def trace(profile: Profile) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(trace_events(profile.timeline))
    return found


@pytest.fixture(scope="module")
def events(trace: dict[str, Any]) -> list[Event]:
    found: list[Event] = trace["traceEvents"]
    return found


# -- the trace event format ------------------------------------------------------------------------------------------

# What the format's document asks of each phase that we write, besides "ph".
REQUIRED = {
    "M": {"name": str, "pid": int, "tid": int, "args": dict},
    "X": {"name": str, "cat": str, "pid": int, "tid": int, "ts": (int, float), "dur": (int, float), "args": dict},
    "s": {"name": str, "cat": str, "pid": int, "tid": int, "ts": (int, float), "id": int},
    "f": {"name": str, "cat": str, "pid": int, "tid": int, "ts": (int, float), "id": int, "bp": str},
    "C": {"name": str, "pid": int, "tid": int, "ts": (int, float), "args": dict},
}


def test_the_object_form_and_the_fields_of_every_event(trace: dict[str, Any], events: list[Event]) -> None:
    assert trace["displayTimeUnit"] in ("ms", "ns")
    for event in events:
        for name, kind in REQUIRED[event["ph"]].items():
            assert isinstance(event[name], kind), (name, event)
        assert event.get("ts", 0) >= 0
        assert event.get("dur", 0) >= 0


def test_every_track_has_a_name(events: list[Event]) -> None:
    processes = {e["pid"] for e in events if e["ph"] == "M" and e["name"] == "process_name"}
    threads = {(e["pid"], e["tid"]) for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    assert {(e["pid"], e["tid"]) for e in events if e["ph"] == "X"} <= threads
    assert {e["pid"] for e in events} <= processes


def test_slices_of_a_track_follow_one_another(events: list[Event], profile: Profile) -> None:
    """Perfetto nests slices that lie inside one another and drops those that half overlap."""
    tracks: dict[tuple[int, int], list[Event]] = {}
    for event in events:
        if event["ph"] == "X":
            tracks.setdefault((event["pid"], event["tid"]), []).append(event)
    for slices in tracks.values():
        slices.sort(key=lambda e: e["ts"])
        for before, after in pairwise(slices):
            assert after["ts"] >= before["ts"] + before["dur"] - 1e-6


def test_one_slice_for_each_instruction_and_for_each_piece_of_a_transfer(events: list[Event], profile: Profile) -> None:
    slices = Counter(e["pid"] for e in events if e["ph"] == "X")
    transfers = int((profile.timeline.engine == DMA_ENGINE).sum())
    assert slices == {
        1: profile.instructions - transfers,
        2: transfers,
        3: len(profile.timeline.dma_spans.step),
    }


def test_flows_come_in_pairs_between_engines_and_never_run_backwards(events: list[Event], profile: Profile) -> None:
    starts = {e["id"]: e for e in events if e["ph"] == "s"}
    ends = {e["id"]: e for e in events if e["ph"] == "f"}
    edges = profile.timeline.edges
    engine = profile.timeline.engine
    assert starts.keys() == ends.keys()
    assert len(starts) == int((engine[edges.producers] != engine[edges.consumers]).sum())
    for number, start in starts.items():
        assert ends[number]["ts"] >= start["ts"] - 1e-6
        assert ends[number]["bp"] == "e"


def test_counters_are_the_memory_curves(events: list[Event], profile: Profile) -> None:
    for curve in profile.memory:
        name = f"{curve.memory.upper()} bytes per partition"
        values = [e["args"]["used"] for e in events if e["ph"] == "C" and e["name"] == name]
        assert values == curve.used_bytes.tolist()


# -- tables ----------------------------------------------------------------------------------------------------------


def test_csv_reads_back_as_the_timeline(profile: Profile) -> None:
    rows = list(csv.DictReader(io.StringIO(event_table(profile.timeline).to_csv())))
    assert list(rows[0]) == list(COLUMNS)
    assert [float(row["start_ns"]) for row in rows] == (profile.timeline.start_ps / 1000).tolist()
    assert [row["opcode"] for row in rows] == [event.opcode for event in profile.timeline.events()]
    assert [int(row["line"]) for row in rows] == [e.location.line for e in profile.timeline.events() if e.location]


def test_parquet_and_pandas_hold_the_same_rows(profile: Profile) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("pandas")
    table = event_table(profile.timeline)
    read = parquet.read_table(io.BytesIO(table.to_parquet())).to_pydict()
    frame = table.to_pandas()
    for name, column in table.columns.items():
        assert read[name] == column.tolist()
        assert frame[name].tolist() == column.tolist()


def test_without_the_libraries_the_extra_is_named(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pyarrow", "pandas", "matplotlib.figure"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    table = event_table(profile.timeline)
    with pytest.raises(TrnlabError, match=r"trnlab\[tables\]"):
        table.to_parquet()
    with pytest.raises(TrnlabError, match=r"trnlab\[tables\]"):
        table.to_pandas()
    with pytest.raises(TrnlabError, match=r"trnlab\[viz\]"):
        draw_timeline(profile)


# -- data ------------------------------------------------------------------------------------------------------------


def test_json_holds_what_the_profile_says(two_profiles: list[Profile]) -> None:
    read = json.loads(as_json(two_profiles))
    assert [entry["target"] for entry in read] == ["trn2", "trn3"]
    for entry, profile in zip(read, two_profiles, strict=True):
        assert entry["format"] == "trnlab-profile-1"
        assert entry["seconds"] == list(profile.seconds)
        assert [row["rule"] for row in entry["advice"]] == [item.rule for item in profile.advice]
        assert sum(entry["tensor_seconds"].values()) == pytest.approx(profile.seconds[1])


def test_a_kernel_without_matmuls_has_no_intensity_and_still_is_json() -> None:
    from tests.emulator.timing.insight import kernels
    from trnlab.models.profile.summary import profile_of

    data = profile_of(kernels.timed(kernels.copy, kernels.array((128, 512)))).to_dict()
    json.dumps(data, allow_nan=False)
    assert data["tensor_seconds"] == {}
    assert data["intensity"]["HBM"] == 0


def test_comparing_a_profile_with_itself_changes_nothing(two_profiles: list[Profile]) -> None:
    assert all(change.ratio in (None, 1.0) for change in compare(two_profiles[0], two_profiles[0]))
    total = compare(*two_profiles)[0]
    assert total.ratio == pytest.approx(two_profiles[1].seconds[1] / two_profiles[0].seconds[1])
    assert all(math.isfinite(change.after) for change in compare(*two_profiles))


# -- files -----------------------------------------------------------------------------------------------------------


def test_every_format_is_written_whole(two_profiles: list[Profile], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    written = write_profiles(two_profiles, tmp_path / "new" / "folder", FORMATS)
    assert sorted(path.name for path in written) == sorted(
        path.name for path in (tmp_path / "new" / "folder").iterdir()
    )
    per_target = {"csv", "trace.json", "png", "svg", "parquet"}
    expected = {f"flash_attention-{target}.{suffix}" for target in ("trn2", "trn3") for suffix in per_target}
    assert {path.name for path in written} == expected | {"profile.json", "profile.html"}
    assert (tmp_path / "new" / "folder" / "flash_attention-trn2.png").read_bytes().startswith(b"\x89PNG")


def test_svg_is_the_same_every_time(profile: Profile, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.svg" for number in range(2)]
    for path in paths:
        draw_timeline(profile, path)
    first, second = (path.read_text() for path in paths)
    assert "<dc:date>" not in first
    assert len(first) == len(second)


def test_unknown_formats_and_places_that_cannot_be_written(profile: Profile, tmp_path: Path) -> None:
    with pytest.raises(KernelFileError, match="html, json"):
        write_profiles([profile], tmp_path, ["docx"])
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrnlabError, match="cannot make the folder"):
        write_profiles([profile], tmp_path / "file", ["json"])
    with pytest.raises(TrnlabError, match=r"\.bmp"):
        draw_timeline(profile, tmp_path / "x.bmp")


def test_bars_of_the_picture_cover_the_busy_time(profile: Profile) -> None:
    axes = draw_timeline(profile).axes[0]
    drawn = sum(
        float(path.vertices[:, 0].max() - path.vertices[:, 0].min()) for c in axes.collections for path in c.get_paths()
    )
    timeline = profile.timeline
    assert drawn == pytest.approx(float(np.sum(timeline.end_ps - timeline.start_ps)) / 1e6, rel=1e-6)
