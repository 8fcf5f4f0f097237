"""The table of systems against AWS's published totals, typed again here."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from trnlab.models.chips import get_system
from trnlab.models.cli import app
from trnlab.models.quantity import ModelError
from trnlab.models.systems_table import all_systems, peak_of, systems_data

# Chips, wiring, EFA in Gb/s, PFLOP/s of the narrowest format, HBM in GiB: AWS's instance and UltraServer pages.
PAGES = {
    "trn1.32xlarge": (16, "4x4 torus", 800, 16 * 0.190, 512),
    "trn2.48xlarge": (16, "4x4 torus", 3200, 16 * 1.299, 1536),
    "Trn2 UltraServer": (64, "4x4x4 torus", 12_800, 83.2, 6144),
    "Trn3 Gen1 UltraServer": (64, "switch of 64", 12_800, 161.088, 9216),
    "Trn3 Gen2 UltraServer": (144, "switch of 144", 28_800, 362.448, 20_736),
}


@pytest.mark.parametrize("name", PAGES)
def test_systems_are_those_of_the_pages(name: str) -> None:
    (system,) = [system for system in all_systems() if system.name == name]
    chips, wiring, gigabits, petaflops, gib = PAGES[name]
    assert (system.chips, system.topology.label) == (chips, wiring)
    assert system.efa_bandwidth is not None
    assert system.efa_bandwidth.value == pytest.approx(gigabits * 1e9 / 8)
    assert peak_of(system).value == pytest.approx(petaflops * 1e15)
    (row,) = [row for row in systems_data() if row["name"] == name]
    assert row["hbm_bytes"]["value"] == gib * 2**30
    assert row["kind"] in wiring


def test_every_chip_has_a_domain_and_every_row_its_source() -> None:
    rows = systems_data()
    chips = {row["chip"].partition(" (")[0] for row in rows}
    assert {"Trainium1", "Trainium2", "Trainium3", "Trainium4", "H100 SXM", "GB300", "TPU7x", "MI355X"} <= chips
    for row in rows:
        for key in ("link_bandwidth_one_direction", "step_latency", "hbm_bytes"):
            assert row[key]["source"], (row["name"], key)
    assert get_system("trn4").name in {row["name"] for row in rows}


def run(*args: str) -> str:
    done = CliRunner().invoke(app, ["chips", *args], env={"COLUMNS": "80"})
    if done.exception is not None:
        raise done.exception
    return done.stdout


def test_the_table_fits_80_columns_and_shows_what_is_not_known() -> None:
    text = run("--systems")
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    rows = {line.strip()[:22].strip(): line.split() for line in text.splitlines()}
    assert rows["Trn3 Gen2 UltraServer"][-5:] == ["144", "1,000a", "3,600", "362.4", "22.3"]
    # Of 1,280 GB/s in both directions 1,024 stay in the instance; nobody printed the network of an HGX board.
    assert rows["trn2.48xlarge"][-4:] == ["512d", "400", "20.78d", "1.65d"]
    assert rows["H100 SXM"][-3:-1] == ["-", "15.83d"]
    assert json.loads(run("--systems", "--json"))[0]["name"] == "trn1.2xlarge"


@pytest.mark.parametrize("more", [("trn2",), ("--figure", "link=chip page"), ("--toml",)])
def test_it_stands_alone(more: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match=r"--systems: .*alone or with --json"):
        run("--systems", *more)
