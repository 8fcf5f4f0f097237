"""Error reports of kernels whose errors are known: the right line, the right kind, the right verdict."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest
from rich.console import Console

from tests.emulator.attribution.harness import load, store, tile
from tests.emulator.reference import run
from trnlab.emulator import launch
from trnlab.emulator.attribution import Cause, ErrorKind, ErrorReport, LineError, attribute
from trnlab.emulator.errors import ArgumentError, ShapeError
from trnlab.emulator.program import Program

RNG = np.random.default_rng(3)
K, M, N = 64, 16, 24
A, B = (RNG.standard_normal((K, n)).astype(np.float32) for n in (M, N))


def line(report: ErrorReport, text: str) -> LineError:
    """The one line of the report whose source contains the text."""
    (found,) = [one for one in report.lines if one.location is not None and text in one.location.text]
    return found


def relative(actual: Any, expected: Any) -> float:
    error = np.asarray(actual, np.float64) - expected
    return float(np.sqrt(np.sum(error**2) / np.sum(expected**2)))


def product(a: Any, b: Any) -> Any:
    return a.T @ b


# ------------------------------------------------------------------------------------------------------------- casts


@nki.jit
def narrow_matmul(a: nl.NkiTensor, b: nl.NkiTensor) -> nl.NkiTensor:
    left = tile(a.shape, nl.float8_e4m3)
    right = tile(b.shape, nl.bfloat16)
    wide_left = load(a)
    wide_right = load(b)
    nisa.tensor_copy(dst=left, src=wide_left)  # to FP8
    nisa.tensor_copy(dst=right, src=wide_right)  # to bfloat16
    left_again = tile(a.shape, nl.bfloat16)
    nisa.tensor_copy(dst=left_again, src=left)  # exact
    bank = tile((a.shape[1], b.shape[1]), buffer=nl.psum)
    nisa.nc_matmul(dst=bank, stationary=left_again, moving=right)
    return store(bank)


def test_an_fp8_matmul_is_blamed_on_its_cast() -> None:
    report = run(narrow_matmul, A, B).error_report(product, exact=True)
    cast = line(report, "# to FP8")
    assert report.lines[0] == cast
    assert (cast.kind, dict(cast.opcodes)) == (ErrorKind.ROUNDING, {"tensor_copy": 1})
    # The local error is that of the cast, which ml_dtypes makes just as well.
    assert cast.local == pytest.approx(relative(A.astype(ml_dtypes.float8_e4m3), A.astype(np.float64)), rel=1e-9)
    assert cast.inherited == 0.0
    assert cast.worst == 2  # two loads before it
    # float8_e4m3 has 3 bits behind the point and bfloat16 7: the cast to bfloat16 adds a 1/256 of the squared error.
    assert cast.share is not None
    assert cast.share > 0.98
    assert line(report, "# exact").local == 0.0
    # The exact copy inherits that error, and nothing more; its own results are the rounded numbers.
    rounded = A.astype(ml_dtypes.float8_e4m3).astype(np.float64)
    assert line(report, "# exact").inherited == pytest.approx(relative(A, rounded), rel=1e-9)
    verdict = report.verdict
    assert verdict.cause is Cause.PRECISION
    assert "the kernel is right" in verdict.text
    assert "test_report.py" in verdict.worst
    assert report.unlike_the_run == 0


def test_the_figures_of_the_results_are_those_of_numpy() -> None:
    result = run(narrow_matmul, A, B)
    report = result.error_report(product)
    expected = A.astype(np.float64).T @ B.astype(np.float64)
    (output,) = report.outputs
    assert output.kernel is not None
    assert output.total is not None
    assert output.kernel.relative_rms < 1e-15  # the twin is the float64 product
    error = relative(result.outputs, expected)
    assert output.total.relative_rms == pytest.approx(error, rel=1e-9)
    assert output.precision.sqnr_db == pytest.approx(-20 * math.log10(error), rel=1e-9)


def test_without_an_oracle_nothing_is_called_right() -> None:
    report = run(narrow_matmul, A, B).error_report()
    assert report.verdict.cause is Cause.UNJUDGED
    assert report.verdict.kernel_error is None
    assert report.outputs[0].total is None
    assert all(one.share is None for one in report.lines)
    assert sum(one.estimate for one in report.lines) == pytest.approx(1.0)


# -------------------------------------------------------------------------------------------------- wrong and right


@nki.jit
def wrong_sign(x: nl.NkiTensor, y: nl.NkiTensor) -> nl.NkiTensor:
    total = tile(x.shape)
    nisa.tensor_tensor(dst=total, data1=load(x), data2=load(y), op=nl.subtract)
    return store(total, nl.float8_e5m2)


def test_a_wrong_sign_is_the_kernels_fault_and_not_the_formats() -> None:
    x, y = A, A[::-1].copy()
    report = run(wrong_sign, x, y).error_report(lambda x, y: x + y)
    assert report.verdict.cause is Cause.KERNEL
    wide = x.astype(np.float64)
    difference, total = wide - wide[::-1], wide + wide[::-1]
    assert report.verdict.kernel_error == pytest.approx(relative(difference, total), rel=1e-9)
    assert "computes something else" in report.verdict.text
    # The same kernel with the oracle that it does compute: only the cast to FP8 is left.
    right = run(wrong_sign, x, y).error_report(lambda x, y: x - y)
    assert right.verdict.cause is Cause.PRECISION
    assert right.lines[0].kind is ErrorKind.ROUNDING


def test_one_wrong_element_is_enough() -> None:
    expected = A.astype(np.float64) - A.astype(np.float64)[::-1]
    expected[5, 7] += 0.5
    report = run(wrong_sign, A, A[::-1].copy()).error_report(expected)
    assert report.verdict.cause is Cause.KERNEL


# ------------------------------------------------------------------------------------------------- arguments, faces


def test_arguments_that_the_kernel_writes_are_remembered() -> None:
    @nki.jit
    def in_place(x: nl.NkiTensor) -> None:
        data = load(x)
        narrow = tile(x.shape, nl.float16)
        nisa.tensor_scalar(dst=narrow, data=data, op0=nl.multiply, operand0=3.0)
        nisa.tensor_copy(dst=data, src=narrow)
        nisa.dma_copy(dst=x, src=data)

    x = A.copy()
    for mode in ("compiled", "reference"):
        x[...] = A
        report = launch.run(in_place, x, mode=mode).error_report(lambda x: 3 * x)
        assert not np.array_equal(x, A)
        assert (report.verdict.cause, report.outputs[0].name) == (Cause.PRECISION, "x")
        assert report.unlike_the_run == 0


def test_arguments_that_changed_since_are_noticed() -> None:
    a = A.copy()
    result = run(narrow_matmul, a, B)
    a[...] = 0
    report = result.error_report()
    assert report.unlike_the_run == M * N
    assert "have its arguments changed?" in str(report)


@pytest.mark.parametrize("kind", ["jax", "torch"])
def test_arrays_of_other_frameworks(kind: str) -> None:
    if kind == "jax":
        a, b = jnp.asarray(A, jnp.bfloat16), jnp.asarray(B)
    else:
        torch = pytest.importorskip("torch")
        a, b = torch.from_numpy(A).to(torch.bfloat16), torch.from_numpy(B)
    report = run(narrow_matmul, a, b).error_report(product)
    assert report.verdict.cause is Cause.PRECISION
    assert report.unlike_the_run == 0
    # bfloat16 operands have 8 significant bits, of which the cast to FP8 keeps 4.
    cast = A.astype(ml_dtypes.bfloat16).astype(np.float64)
    found = line(report, "# to FP8").local
    assert found == pytest.approx(relative(cast.astype(np.float32).astype(ml_dtypes.float8_e4m3), cast), rel=1e-9)


def test_a_program_from_a_file_is_as_good_as_a_run() -> None:
    result = run(narrow_matmul, A, B)
    program = Program.from_json(result.program.to_json())
    expected = A.astype(np.float64).T @ B.astype(np.float64)
    report = attribute(program, result.target, [A, B], expected=[expected])
    assert report.verdict.cause is Cause.PRECISION
    again = result.error_report(product)
    assert [one.local for one in report.lines] == [one.local for one in again.lines]


def test_faces(tmp_path: Path) -> None:
    report = run(narrow_matmul, A, B).error_report(product, exact=True)
    text = str(report)
    assert "error of narrow_matmul on trn3, by source line" in text
    assert "tensor_copy x1" in text
    assert "SQNR" in text
    assert "verdict: the kernel is right" in text
    console = Console(width=240, record=True, quiet=True)
    console.print(report)
    assert "<table>" in report._repr_html_()
    data = json.loads(report.to_json())
    assert data["verdict"]["cause"] == "precision"
    assert data["lines"][0]["kinds"]["rounding"] == pytest.approx(report.lines[0].local)
    figure = report.plot(tmp_path / "errors.png")
    assert (tmp_path / "errors.png").stat().st_size > 1000
    # The longest bar is the worst line's error, drawn at the top.
    widths = [patch.get_width() for patch in figure.axes[0].patches]
    assert max(widths) == pytest.approx(report.lines[0].local)


def test_refusals() -> None:
    result = run(narrow_matmul, A, B)
    with pytest.raises(ShapeError, match="2 arrays"):
        result.error_report(lambda a, b: (a, b))
    with pytest.raises(ShapeError, match="result of shape"):
        result.error_report(lambda a, b: a)
    seen = []

    def traced(a: Any) -> Any:
        seen.append(launch.run(narrow_matmul, a, jnp.asarray(B)))
        return seen[-1].outputs

    jax.jit(traced)(jnp.asarray(A))
    with pytest.raises(ArgumentError, match="under a JAX transformation"):
        seen[0].error_report()
