"""`trnlab roofline`, `trnlab chips` and `trnlab claims`: what they print, write, and refuse."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from trnlab.emulator.errors import TrnlabError
from trnlab.models.chips import chip_names
from trnlab.models.claims.serving import MAPPED, gpt_oss_map
from trnlab.models.cli import app

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
MATMUL = f"{KERNELS / 'matmul.py'}:matmul lhsT=bf16[256,128] rhs=bf16[256,512]"
MX = f"{KERNELS / 'matmul_mx.py'}:matmul_mxfp8_weights lhsT=bf16[512,128] weights=u16[128,512] scales=u8[16,512]"


def trnlab(*args: str) -> str:
    """What the command prints on a terminal of 80 columns."""
    done = run(*args)
    if done.exception is not None:
        raise done.exception
    return done.stdout


def run(*args: str) -> Result:
    return CliRunner().invoke(app, list(args), env={"COLUMNS": "80"})


def test_rooflines_are_printed_for_chips_and_cores() -> None:
    text = trnlab("roofline", "--chip", "trn3", "--chip", "h100")
    assert "Trainium3, one chip: HBM 4.9 TB/s, DMA 4.22 TB/s, SBUF 105 TB/s" in text
    # 2517 / 4.9, and 989.4 / 3.35.
    assert "514 FLOP/B" in text
    assert "295 FLOP/B" in text
    assert "the vendor's data sheet" in text
    core = trnlab("roofline", "--chip", "trn2", "--core")
    assert "one NeuronCore-v3" in core
    assert "217 FLOP/B" in core
    assert max(map(len, (text + core).splitlines())) <= 80


def test_the_roofline_as_data_has_kernels_and_what_did_not_run() -> None:
    data = json.loads(trnlab("roofline", "--chip", "trn2", "--kernel", MATMUL, "--kernel", MX, "--json"))
    (line,) = data
    assert line["name"] == "trn2 core"
    assert line["peaks"]["bf16"]["value"] == pytest.approx(2 * 128 * 128 * 2.4e9)
    for rate, ridges in line["ridge_points"].items():
        for memory, ridge in ridges.items():
            peak, roof = line["peaks"][rate]["value"], line["roofs"][memory]["value"]
            assert ridge["value"] == pytest.approx(peak / roof)
    (kernel,) = line["kernels"]
    assert kernel["flops"] == {"bf16": 2 * 256 * 128 * 512}
    assert kernel["speed_of_light_seconds"] == max(kernel["resource_seconds"].values())
    share = 100 * kernel["speed_of_light_seconds"] / kernel["timeline_seconds"]
    assert kernel["percent_of_roofline"] == pytest.approx(share)
    assert len(line["not_run"]) == 1
    assert "matmul_mxfp8_weights does not run on trn2 core" in line["not_run"][0]


def test_kernels_are_a_table_and_a_point_in_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "roofline.svg"
    text = trnlab("roofline", "--chip", "trn2", "--kernel", MATMUL, "--kernel", MX, "--picture", str(picture))
    assert "Kernels on trn2 core" in text
    assert "% of speed of light" in text
    assert "does not run on trn2 core" in text
    assert "<svg" in picture.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["roofline.svg"]


def test_a_chosen_figure_moves_the_core_and_its_kernels() -> None:
    (line,) = json.loads(
        trnlab("roofline", "--chip", "trn3", "--kernel", MATMUL, "--figure", "hbm_bandwidth=NKI guide", "--json")
    )
    assert line["name"] == "trn3 (hbm_bandwidth: NKI guide) core"
    (kernel,) = line["kernels"]
    assert kernel["resource_seconds"]["HBM"] == pytest.approx(kernel["bytes"]["HBM"] / (4.7e12 / 8))


def test_a_users_chip_has_a_roofline(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "Mine"\nvendor = "me"\nsource = "a guess"\nclass = "assumed"\ncores = 1\nhbm_bytes = "1 GiB"\n'
        'hbm_bandwidth = "1 TB/s"\nlink_bandwidth = "1 GB/s"\n[peaks]\nbf16 = "123 TFLOP/s"\n'
        '[scale_up]\nkind = "switch"\nshape = [2]\nstep_latency = "1 us"\n'
    )
    assert "123 FLOP/B" in trnlab("roofline", "--chip", str(path))
    assert "peak BF16 123 TFLOP/s assumed" in " ".join(trnlab("chips", str(path)).split())


def test_all_chips_are_a_table_of_80_columns() -> None:
    text = trnlab("chips")
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    (trn3,) = [line.split() for line in text.splitlines() if line.strip().startswith("Trainium3")]
    assert trn3 == ["Trainium3", "671", "2517", "2517", "155", "4.9", "1000a", "692a", "switch", "of", "144"]
    assert len(json.loads(trnlab("chips", "--json"))) == len(chip_names())


def test_one_chip_is_its_spec_sheet_with_sources_and_conflicts() -> None:
    text = " ".join(trnlab("chips", "trn3").split())
    for words in (
        "144 GiB",
        "not on the chip page",
        "4.7 TB/s published hbm_bandwidth=NKI guide",
        "1.28 TB/s derived link=chip page",
    ):
        assert words in text
    chosen = json.loads(trnlab("chips", "trn3", "--figure", "link=chip page", "--figure", "power=1000 W", "--json"))
    figures = {row["key"]: row["quantity"] for row in chosen[0]["figures"]}
    assert figures["scale_up.bandwidth"]["value"] == 1.28e12
    assert figures["power"]["value"] == 1000
    assert "not printed" in trnlab("chips", "tpu-v6e")


def test_names_of_a_users_chip_are_no_markup(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    text = trnlab("chips", "h100", "--toml").replace("H100 SXM", "[red]X[/red]").replace("NVIDIA H100", "[/dim] [b]")
    path.write_text(text)
    sheet = trnlab("chips", str(path))
    assert "[red]X[/red]" in sheet
    assert "[/dim] [b]" in sheet
    assert "[red]X[/red]" in trnlab("roofline", "--chip", str(path))


def test_the_map_is_printed_and_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "map.png"
    text = trnlab("claims", "--map", "roofline", "--picture", str(picture))
    rows = [line.split() for line in text.splitlines() if line.strip().startswith("1,024")]
    # Batch 1 and 1,024 tokens, throughput and then latency; 13 batches each.
    assert [len(row) for row in rows] == [14, 14]
    value = math.floor(10 * gpt_oss_map("roofline").throughput[0, 0]) / 10
    assert 3 <= value < 4
    assert rows[0][1] == f"{value:.1f}+"
    assert max(map(len, text.splitlines())) <= 80
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_claims_as_data_hold_maps_without_nan(tmp_path: Path) -> None:
    path = tmp_path / "claims.json"
    text = trnlab("claims", "--json", str(path))
    data = json.loads(path.read_text())
    assert [(each["layer"], each["case"]) for each in data["maps"]] == list(MAPPED)
    for each in data["maps"]:
        values = [value for row in each["throughput"] for value in row]
        assert len(values) == len(each["prompts"]) * len(each["batches"])
        assert any(value is None for value in values)
        assert all(value is None or math.isfinite(value) for value in values)
    assert len(data["consequences"]) == 4 * (6 + 7)
    assert "holds at prompt x requests of roofline" in " ".join(text.split())
    # Under each of the two claims of GPT-OSS the map, at both ends of Trainium3's fixed cost.
    assert " ".join(text.split()).count("columns: requests") == 4
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("roofline", "--chip", "trn9"), "chip: found 'trn9'"),
        (("roofline", "--chip", "h100", "--core"), "chip with NeuronCores: found 'H100 SXM'"),
        (("roofline", "--chip", "h100", "--kernel", MATMUL), "chip with NeuronCores: found 'H100 SXM'"),
        (("roofline", "--memory", "PSUM"), "--memory: found 'PSUM'; allowed: HBM, DMA, SBUF"),
        (("roofline", "--picture", "roofline.gif"), "--picture: found 'roofline.gif'; allowed: FILE.png"),
        (("roofline", "--picture", "absent/roofline.png"), "no such folder"),
        (("roofline", "--chip", "h100", "--memory", "SBUF", "--picture", "x.png"), "found 'SBUF'; allowed: HBM"),
        (("roofline", "--kernel", "absent.py:k"), "kernel file"),
        (("roofline", "--chip", "absent.toml"), "absent.toml: file: found No such file"),
        (("chips", "trn3", "--figure", "link"), "--figure: found 'link'; allowed: TOPIC=NAME"),
        (("chips", "trn3", "--figure", "link=a", "--figure", "link=b"), "each topic once"),
        (("chips", "--figure", "link=chip page"), "one chip: name it"),
        (("chips", "trn4-mid"), "variant of"),
        (("claims", "--map", "guess"), "--map: found 'guess'; allowed: roofline, efficiencies, calibrated"),
        (("claims", "--picture", "map.txt"), "--picture: found 'map.txt'"),
        (("claims", "--json", "absent/claims.json"), "cannot write absent/claims.json: no such folder"),
    ],
)
def test_wrong_input_is_refused_by_name(args: tuple[str, ...], message: str) -> None:
    error = run(*args).exception
    assert isinstance(error, TrnlabError)
    assert message in str(error)
