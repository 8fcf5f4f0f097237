"""`trnlab llm`, `trnlab sweep` and `trnlab validate projections` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trnlab.emulator.errors import TrnlabError
from trnlab.models.cli import app
from trnlab.models.quantity import ModelError
from trnlab.models.sweep.commands import whole_numbers

WIDE = {"COLUMNS": "220"}


def trnlab(*args: str, code: int = 0) -> str:
    result = CliRunner(env=WIDE).invoke(app, list(args))
    if code == 0 and result.exception is not None:
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def refused(*args: str) -> TrnlabError:
    result = CliRunner(env=WIDE).invoke(app, list(args))
    assert isinstance(result.exception, TrnlabError), result.output
    return result.exception


def test_llm_shows_three_layers_memory_and_the_partitioning_it_found(tmp_path: Path) -> None:
    data, picture = tmp_path / "point.json", tmp_path / "point.svg"
    text = trnlab(
        *("llm", "gpt-oss-120b", "--chip", "trn3", "--chips", "16", "--batch", "64", "--context", "8192"),
        *("--kv", "fp8", "--price", "3", "--no-kernels", "--json", str(data), "--plot", str(picture)),
    )
    for part in ("roofline", "efficiencies", "calibrated", "best partitioning found", "memory of a chip", "USD/Mtoken"):
        assert part in text
    found = json.loads(data.read_text())
    assert found["chips"] == 16
    assert (found["batch"], found["prompt"], found["answer"]) == (64, 8192, 1024)
    assert picture.read_text().lstrip().startswith("<?xml")


def test_llm_takes_degrees_and_says_where_efficiencies_come_from() -> None:
    text = trnlab("llm", "Llama-3.1-8B", "--chip", "trn2", "--tp", "4", "--batch", "8", "--context", "512")
    assert "TP4" in text
    assert "best partitioning" not in text
    assert "timeline of our matmul kernel" in text


def test_llm_takes_a_fixed_cost_and_a_share_of_collectives() -> None:
    text = trnlab("llm", "gpt-oss-20b", "--tp", "4", "--no-kernels", "--fixed-cost", "10", "--exposed", "0")
    row = next(line for line in text.splitlines() if "fixed cost" in line)
    assert "240 µs" in row  # 24 layers


def test_llm_reads_a_hugging_face_configuration(tmp_path: Path) -> None:
    fields = {
        "model_type": "llama",
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_attention_heads": 32,
        "num_hidden_layers": 16,
        "num_key_value_heads": 8,
        "vocab_size": 128_256,
        "tie_word_embeddings": True,
    }
    folder = tmp_path / "my-[red]llama"  # no markup, a name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(fields))
    text = trnlab("llm", str(folder / "config.json"), "--batch", "1", "--context", "128", "--no-kernels")
    assert "my-[red]llama on 1 x Trainium3" in text


def test_llm_takes_another_printed_figure_and_a_variant() -> None:
    text = trnlab("llm", "gpt-oss-20b", "--figure", "hbm_bandwidth=NKI guide", "--batch", "1", "--no-kernels")
    assert "hbm_bandwidth: NKI guide" in text
    assert "is a projection" in trnlab("llm", "gpt-oss-20b", "--chip", "trn4-low", "--batch", "1", "--no-kernels")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("llm", "gpt-9"), "gpt-oss-120b"),
        (("llm", "absent/config.json"), "No such file"),
        (("llm", "gpt-oss-20b", "--chip", "trn9"), "trn9"),
        (("llm", "gpt-oss-20b", "--precision", "fp1"), "precision"),
        (("llm", "gpt-oss-20b", "--chip", "trn2", "--precision", "mxfp8"), "matmul rate"),
        (("llm", "gpt-oss-20b", "--tp", "8", "--chips", "16"), "--chips"),
        (("llm", "gpt-oss-20b", "--tp", "8", "--tpot", "5"), "--tpot"),
        (("llm", "gpt-oss-20b", "--chips", "8", "--tpot", "0.001"), "goal for TPOT"),
        (("llm", "DeepSeek-V3", "--chips", "2"), "too much"),
        (("llm", "gpt-oss-20b", "--skew", "-1"), "skew"),
        (("llm", "gpt-oss-20b", "--no-kernels", "--plot", "point.xyz"), "ending of a picture"),
        (("sweep", "--model", "gpt-oss-20b", "--chip", "trn3", "--layer", "x"), "--layer"),
        (("sweep", "--model", "gpt-oss-20b", "--chip", "trn3", "--batch", "1:9"), "--batch"),
        (("sweep", "--model", "gpt-oss-20b", "--chip", "trn3", "--backend", "mpi"), "backend"),
    ],
)
def test_wrong_input_is_named(
    args: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in str(refused(*args))
    assert list(tmp_path.iterdir()) == []


def test_sweep_writes_its_table_and_prints_the_fronts(tmp_path: Path) -> None:
    import pandas as pd

    file = tmp_path / "sweep.parquet"
    text = trnlab(
        *("sweep", "--model", "gpt-oss-20b", "--chip", "trn2", "--chip", "trn3", "--chips", "1,4"),
        *("--batch", "1:64:x4", "--context", "1024,4096", "--show", "3", "--out", str(file)),
    )
    frame = pd.read_parquet(file)
    assert f"{len(frame):,} points" in text
    assert set(frame["batch"]) == {1, 4, 16, 64}
    assert set(frame["prompt"]) == {1024, 4096}
    assert set(frame["chips"]) == {1, 4}
    for chip in ("Trainium2", "Trainium3"):
        assert f"gpt-oss-20b on {chip}: no point beats these in both" in text


def test_trainium4_is_swept_as_a_band() -> None:
    text = trnlab(
        *("sweep", "--model", "gpt-oss-20b", "--chip", "trn4", "--chips", "1", "--batch", "1", "--context", "128")
    )
    for variant in ("low", "central", "high"):
        assert f"Trainium4 ({variant})" in text


def test_validate_projections_gives_data() -> None:
    assert json.loads(trnlab("validate", "projections", "--json"))["summary"]["cross-checks"] < 0.02
    assert "GEMM" in str(refused("validate", "projections", "--gemm", "absent"))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("8", [8]),
        ("1,8,64", [1, 8, 64]),
        ("1:9:4", [1, 5, 9]),
        ("1:10:4", [1, 5, 9]),
        ("1:1024:x2", [2**power for power in range(11)]),
        ("3:50:x3,7", [3, 9, 27, 7]),
        ("2,2", [2]),
    ],
)
def test_lists_and_ranges_of_whole_numbers(text: str, values: list[int]) -> None:
    assert whole_numbers(text, "--batch") == values


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "x", "1:2", "5:1:1", "1:9:0", "1:9:x1", "0:4:1", "1,,2"])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(ModelError, match="--batch"):
        whole_numbers(text, "--batch")


def test_train_shows_three_layers_memory_and_the_partitioning_it_found(tmp_path: Path) -> None:
    data, picture = tmp_path / "step.json", tmp_path / "step.svg"
    text = trnlab(
        *("train", "Llama-3.1-8B", "--chip", "trn2", "--chips", "8", "--batch", "32", "--context", "4096"),
        *("--json", str(data), "--plot", str(picture)),
    )
    for part in ("roofline", "efficiencies", "calibrated", "shortest step found", "optimizer", "bubble"):
        assert part in text
    assert json.loads(data.read_text())["batch"] == 32
    assert picture.read_text().lstrip().startswith("<?xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step.json", "step.svg"]


def test_train_takes_degrees_and_refuses_what_is_impossible(tmp_path: Path) -> None:
    given = ("train", "Llama-3.1-8B", "--chip", "trn2", "--batch", "8")
    assert "TP8 DP2" in trnlab(*given, "--tp", "8", "--dp", "2")
    assert "none, selective, full" in str(refused(*given, "--recompute", "half"))
    assert "too much" in str(refused("train", "Llama-3.1-405B", "--chip", "trn2", "--chips", "16"))
    assert "8 heads" not in str(refused(*given, "--tp", "5"))
    assert "divisors or multiples of 32 heads" in str(refused(*given, "--tp", "5"))
    assert "multiples of dp x micro_batch" in str(refused(*given, "--tp", "8", "--dp", "3"))
    assert ".svg, .png, .pdf" in str(refused(*given, "--tp", "8", "--plot", "step.bmp"))
    assert "mxfp8" in str(refused(*given, "--precision", "mxfp8", "--tp", "8"))
    missing = tmp_path / "nowhere" / "step.svg"
    assert "cannot write" in str(refused(*given, "--tp", "8", "--plot", str(missing)))
