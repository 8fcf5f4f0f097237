"""Sweeps of keyword arguments: the space, the results file, the front, and our own kernels' defaults."""

from __future__ import annotations

import importlib
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, strategies as st

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import ArgumentError, TrnlabError, get_target
from trnlab.emulator.tuning import Measured, ResultsFileError, Tuning, parse_space, settings, tune
from trnlab.emulator.tuning.workers import Workers
from trnlab.kernels.attention import flash_attention
from trnlab.kernels.matmul import matmul


def array(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.dtype(ml_dtypes.bfloat16))  # type: ignore[no-untyped-call]


def chunked(x: Any, width: int = 64) -> Any:
    """A copy in chunks of `width` columns, which must divide them."""
    rows, columns = x.shape
    assert columns % width == 0, f"width {width} does not divide {columns}"
    result = nl.ndarray((rows, columns), dtype=x.dtype, buffer=nl.shared_hbm)
    for start in range(0, columns, width):
        tile = nl.ndarray((rows, width), dtype=x.dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=tile, src=x[:, start : start + width])
        nisa.dma_copy(dst=result[:, start : start + width], src=tile)
    return result


ARGUMENTS = {"x": array(128, 1024)}
SPACE = {"width": [64, 128, 300, 1024]}


def keys(results: tuple[Measured, ...]) -> list[str]:
    return [result.key for result in results]


# -- the sweep -------------------------------------------------------------------------------------------------------


def test_defaults_come_first_and_refusals_are_kept_with_their_reason() -> None:
    tuning = tune(chunked, SPACE, ARGUMENTS, target="trn2")
    assert keys(tuning.results) == ["", "width=64", "width=128", "width=300", "width=1024"]
    assert [(r.key, r.refused) for r in tuning.refused] == [
        ("width=300", "AssertionError: width 300 does not divide 1024")
    ]
    assert tuning.default is not None
    assert tuning.default.seconds == tuning.results[1].seconds


def test_wider_chunks_are_faster_and_take_more_sbuf_so_both_ends_are_on_the_front() -> None:
    tuning = tune(chunked, SPACE, ARGUMENTS, target="trn2")
    assert tuning.best is not None
    assert tuning.best.key == "width=1024"
    assert tuning.best.sbuf_bytes == 2048
    assert tuning.pareto[0].key == "width=1024"


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=12))
def test_the_front_is_what_brute_force_says(pairs: list[tuple[int, int]]) -> None:
    results = tuple(
        Measured(setting={"n": n}, seconds=float(seconds), sbuf_bytes=sbuf) for n, (seconds, sbuf) in enumerate(pairs)
    )
    tuning = Tuning(target=get_target("trn2"), results=results)
    beaten = {
        pair for pair in pairs if any(other != pair and other[0] <= pair[0] and other[1] <= pair[1] for other in pairs)
    }
    assert {(r.seconds, r.sbuf_bytes) for r in tuning.pareto} == set(pairs) - beaten


def test_our_matmul_and_attention_have_settings_no_slower_than_their_defaults() -> None:
    found = tune(
        matmul, {"block_m": [256, 512], "block_n": [1024, 2048]}, {"lhsT": array(1024, 512), "rhs": array(1024, 2048)}
    )
    head = array(1, 512, 64)
    attention = tune(flash_attention, {"block_k": [128, 256, 512]}, {"q": head, "k": head, "v": head})
    for tuning in (found, attention):
        assert tuning.best is not None
        assert tuning.default is not None
        assert tuning.best.seconds is not None
        assert tuning.default.seconds is not None
        assert tuning.best.seconds <= tuning.default.seconds
        assert not tuning.refused


def test_a_fault_of_the_kernel_that_is_no_refusal_ends_the_sweep() -> None:
    def broken(x: Any, width: int = 1) -> Any:
        raise KeyError(width)

    with pytest.raises(KeyError):
        tune(broken, {"width": [1]}, ARGUMENTS)


def test_two_processes_find_what_one_finds() -> None:
    pytest.importorskip("joblib")
    operands = {"lhsT": array(256, 128), "rhs": array(256, 512)}
    space = {"block_n": [128, 256, 512]}
    assert tune(matmul, space, operands, workers=Workers(2)).results == tune(matmul, space, operands).results


# -- the results file ------------------------------------------------------------------------------------------------


def test_a_second_run_measures_only_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    tune(chunked, {"width": [64, 128]}, ARGUMENTS, results_file=path)
    measured: list[str] = []
    again = tune(chunked, SPACE, ARGUMENTS, results_file=path, progress=lambda result, *_: measured.append(result.key))
    assert measured == ["width=300", "width=1024"]
    assert again.results == tune(chunked, SPACE, ARGUMENTS).results
    assert len(path.read_text().splitlines()) == 1 + 5
    assert list(tmp_path.iterdir()) == [path]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


@pytest.mark.parametrize(
    ("damage", "line", "says"),
    [
        (lambda text: text[:-10], 3, "cut off"),
        (lambda text: text.replace("trnlab-tuning-1", "other"), 1, "format"),
        (lambda text: "# my notes\n" + text, 1, "no JSON"),
        (lambda text: text.replace('"seconds"', '"secs"'), 2, "fields"),
        (lambda text: text + "[1]\n", 4, "a JSON list"),
        (lambda text: "", 1, "no JSON"),
        (lambda text: re.sub(r'"seconds": [^,]+', '"seconds": "fast"', text, count=1), 2, "seconds 'fast'"),
        (lambda text: re.sub(r'"seconds": [^,]+', '"seconds": NaN', text, count=1), 2, "seconds nan"),
        (lambda text: re.sub(r'"seconds": [^,]+', '"seconds": null', text, count=1), 2, "one of them"),
        (lambda text: re.sub(r'"sbuf_bytes": \d+', '"sbuf_bytes": -1', text, count=1), 2, "sbuf_bytes -1"),
        (lambda text: text.replace('{"width": 64}', '{"width": [64]}'), 3, "setting"),
        (lambda text: text.replace('{"width": 64}', "7"), 3, "setting 7"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused_by_line_and_left_alone(
    tmp_path: Path, damage: Any, line: int, says: str
) -> None:
    path = tmp_path / "results.jsonl"
    tune(chunked, {"width": [64]}, ARGUMENTS, results_file=path)
    path.write_text(damage(path.read_text()))
    before = path.read_bytes()
    with pytest.raises(ResultsFileError, match=says) as caught:
        tune(chunked, SPACE, ARGUMENTS, results_file=path)
    assert caught.value.line == line
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("change", [{"target": "trn3"}, {"arguments": {"x": array(128, 2048)}}])
def test_the_file_of_another_sweep_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "results.jsonl"
    same: dict[str, Any] = {"target": "trn2", "arguments": ARGUMENTS}
    tune(chunked, {"width": [64]}, results_file=path, **same)
    with pytest.raises(ResultsFileError, match=next(iter(change))):
        tune(chunked, {"width": [64]}, results_file=path, **(same | change))


def test_a_changed_helper_or_a_changed_model_is_another_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper, kernel, path = tmp_path / "helper_of_sweep.py", tmp_path / "kernel_of_sweep.py", tmp_path / "results.jsonl"
    helper.write_text("WIDTH = 64\n")
    kernel.write_text(
        textwrap.dedent("""
            from helper_of_sweep import WIDTH
            import helper_of_sweep as again
            from tests.emulator.tuning.test_tuning import chunked

            def kernel(x, width=WIDTH):
                return chunked(x, width)
        """)
    )
    for name in ("helper_of_sweep", "kernel_of_sweep"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    function = importlib.import_module("kernel_of_sweep").kernel
    tune(function, {"width": [64]}, ARGUMENTS, results_file=path)
    tune(function, {"width": [64, 128]}, ARGUMENTS, results_file=path)
    helper.write_text("WIDTH = 128\n")
    with pytest.raises(ResultsFileError, match="source_sha256"):
        tune(function, {"width": [64]}, ARGUMENTS, results_file=path)
    helper.write_text("WIDTH = 64\n")
    monkeypatch.setattr("trnlab.emulator.tuning.sweep.model_digest", lambda: "another model")
    with pytest.raises(ResultsFileError, match="model_sha256"):
        tune(function, {"width": [64]}, ARGUMENTS, results_file=path)


def test_a_kernel_without_a_file_counts_by_its_code(tmp_path: Path) -> None:
    def typed(text: str) -> Any:
        names: dict[str, Any] = {"chunked": chunked, "__name__": "typed_into_a_notebook"}
        exec(compile(f"def kernel(x, width=64):\n    return chunked(x, {text})", "<cell 1>", "exec"), names)
        return names["kernel"]

    path = tmp_path / "results.jsonl"
    tune(typed("width"), {"width": [64]}, ARGUMENTS, results_file=path)
    tune(typed("width"), {"width": [64, 128]}, ARGUMENTS, results_file=path)
    with pytest.raises(ResultsFileError, match="source_sha256"):
        tune(typed("2 * width"), {"width": [64]}, ARGUMENTS, results_file=path)


def test_values_that_a_results_file_cannot_give_back_are_refused_before_the_sweep(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with pytest.raises(ArgumentError, match="width: found \\(64, 64\\)"):
        tune(chunked, {"width": [(64, 64)]}, ARGUMENTS, results_file=path)
    assert not path.exists()


def test_a_folder_is_no_results_file(tmp_path: Path) -> None:
    with pytest.raises(TrnlabError, match="no file"):
        tune(chunked, {"width": [64]}, ARGUMENTS, results_file=tmp_path)


def test_an_interrupted_sweep_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    tune(chunked, {"width": [64]}, ARGUMENTS, results_file=path)

    def stop(result: Measured, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(chunked, SPACE, ARGUMENTS, results_file=path, progress=stop)
    assert all(json.loads(line) for line in _lines(path))
    assert len(tune(chunked, SPACE, ARGUMENTS, results_file=path).results) == 5


# -- the space -------------------------------------------------------------------------------------------------------


def test_spaces_in_text() -> None:
    assert parse_space(["a=1,2", "b=4:16:4", "c=512:4096:*2", "d=1:3", "e=fast,'x y',None,0.5"]) == {
        "a": [1, 2],
        "b": [4, 8, 12, 16],
        "c": [512, 1024, 2048, 4096],
        "d": [1, 2, 3],
        "e": ["fast", "x y", None, 0.5],
    }


def test_the_last_argument_varies_fastest() -> None:
    assert settings({"a": [1, 2], "b": ["x", "y"]}) == [
        {"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"},
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["a", "a=", "=1", "a b=1", "a=1:2:3:4", "a=0:4", "a=1:8:*1", "a=x:y", "a=1:4:-1"])
def test_bad_spaces_are_refused(text: str) -> None:
    with pytest.raises(ArgumentError):
        parse_space([text])


def test_too_many_settings_empty_values_and_repeated_names_are_refused() -> None:
    with pytest.raises(ArgumentError, match="1,000,000"):
        settings({name: list(range(101)) for name in "abc"})
    with pytest.raises(ArgumentError, match="no values"):
        settings({"a": []})
    with pytest.raises(ArgumentError, match="twice"):
        parse_space(["a=1", "a=2"])


@pytest.mark.parametrize("options", [{"backend": "slurm"}, {"jobs": 0}, {"jobs": -2}, {"scheduler": "tcp://x"}])
def test_bad_workers_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        Workers(**options)


def test_a_cluster_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("joblib")
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(TrnlabError, match="pip install 'trnlab\\[tune\\]' ray"):
        tune(chunked, {"width": [64]}, ARGUMENTS, workers=Workers(backend="ray"))
