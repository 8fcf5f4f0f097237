"""Sums, shares, larger kernels, and what the twin cannot follow."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from tests.emulator.attribution.harness import load, store, tile
from tests.emulator.reference import run
from trnlab.emulator import launch
from trnlab.emulator.attribution import Cause, ErrorKind, ErrorReport, LineError
from trnlab.emulator.target import NumericsPolicy, Stochastic
from trnlab.kernels import oracles
from trnlab.kernels.attention import flash_attention
from trnlab.kernels.matmul_mx import matmul_mxfp8

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


# -------------------------------------------------------------------------------------------------------- sums


@nki.jit
def narrow_sum(x: nl.NkiTensor) -> nl.NkiTensor:
    total = tile((x.shape[0], 8), nl.bfloat16)
    data = load(x)
    nisa.memset(dst=total, value=0.0)
    for step in range(x.shape[1] // 8):
        nisa.tensor_tensor(dst=total, data1=total, data2=data[:, 8 * step : 8 * step + 8], op=nl.add)  # the sum
    return store(total, nl.float32)


def test_a_bfloat16_accumulator_is_blamed_on_the_line_that_adds() -> None:
    x = np.abs(RNG.standard_normal((16, 8 * 32))).astype(np.float32)
    result = run(narrow_sum, x)
    report = result.error_report(lambda x: x.reshape(16, 32, 8).sum(axis=1), exact=True)
    adding = line(report, "# the sum")
    assert report.lines[0] == adding
    assert adding.kind is ErrorKind.ACCUMULATION
    assert dict(adding.opcodes) == {"tensor_tensor": 32}
    assert adding.share == pytest.approx(1.0, abs=1e-6)
    # Each addition rounds to 8 significant bits: the local error is about 2**-9. What was there is inherited.
    assert 2.0**-11 < adding.local < 2.0**-8
    assert adding.inherited > 0
    assert report.verdict.cause is Cause.PRECISION


def test_psum_in_bfloat16_accumulates_too() -> None:
    @nki.jit
    def kernel(a: nl.NkiTensor, b: nl.NkiTensor) -> nl.NkiTensor:
        bank = tile((a.shape[1], b.shape[1]), nl.bfloat16, nl.psum)
        left, right = load(a), load(b)
        for part in range(2):
            rows = slice(32 * part, 32 * part + 32)
            nisa.nc_matmul(dst=bank, stationary=left[rows], moving=right[rows], accumulate=part > 0)
        return store(bank)

    report = run(kernel, A, B, target="trn3").error_report(product)
    worst = report.lines[0]
    assert list(worst.opcodes) == ["nc_matmul"]
    assert worst.kinds[ErrorKind.ROUNDING] > 2.0**-10  # the first product, which is only written
    assert worst.kinds[ErrorKind.ACCUMULATION] > 2.0**-10  # the second one, which is added


# ----------------------------------------------------------------------------------------------- the identities


@nki.jit
def linear(x: nl.NkiTensor) -> nl.NkiTensor:
    data = load(x)
    one = tile(x.shape, nl.bfloat16)
    nisa.tensor_copy(dst=one, src=data)  # first
    two = tile(x.shape, nl.float8_e5m2)
    nisa.tensor_scalar(dst=two, data=data, op0=nl.multiply, operand0=0.75)  # second
    total = tile(x.shape)
    nisa.tensor_tensor(dst=total, data1=one, data2=two, op=nl.subtract)
    return store(total)


def test_shares_of_a_linear_kernel_follow_from_its_local_errors() -> None:
    x = A.astype(np.float64)
    first = A.astype(ml_dtypes.bfloat16).astype(np.float64) - x
    # A product by 0.75 in float32 first, for the program rounds twice; then the cast.
    scaled = (A * np.float32(0.75)).astype(ml_dtypes.float8_e5m2).astype(np.float64)
    second = scaled - 0.75 * x
    result = run(linear, A)
    third = np.asarray(result.outputs, np.float64) - (x + first - scaled)  # rounding of the difference itself
    report = result.error_report(exact=True)
    whole = first - second + third
    (output,) = report.outputs
    assert output.precision.rms == pytest.approx(math.sqrt(np.mean(whole**2)), rel=1e-9)
    for text, error in (("# first", first), ("# second", -second)):
        found = line(report, text)
        without = whole - error
        assert found.share == pytest.approx(1 - np.sum(without**2) / np.sum(whole**2), rel=1e-6)
    # Errors of different lines are uncorrelated here, so that the shares come near to 1 together.
    assert sum(one.share or 0.0 for one in report.lines) == pytest.approx(1.0, abs=0.1)


def test_errors_that_cancel_have_negative_shares() -> None:
    @nki.jit
    def cancelling(x: nl.NkiTensor) -> nl.NkiTensor:
        data = load(x)
        down = tile(x.shape, nl.bfloat16)
        nisa.tensor_copy(dst=down, src=data)  # there
        rest = tile(x.shape)
        nisa.tensor_tensor(dst=rest, data1=data, data2=down, op=nl.subtract)
        total = tile(x.shape)
        nisa.tensor_tensor(dst=total, data1=down, data2=rest, op=nl.add)  # and back, exactly
        rough = tile(x.shape, nl.float16)
        nisa.tensor_copy(dst=rough, src=total)  # what is left
        return store(rough)

    report = run(cancelling, A).error_report(exact=True)
    assert line(report, "# there").local > line(report, "# what is left").local
    assert line(report, "# what is left").share == pytest.approx(1.0, abs=1e-6)
    # Its error reaches the result on two ways and adds up to nothing: an estimate from local errors cannot know that.
    assert line(report, "# there").share == pytest.approx(0.0, abs=1e-6)
    assert line(report, "# there").estimate > 0.9


def test_overflow_is_counted_where_it_happens() -> None:
    @nki.jit
    def overflowing(x: nl.NkiTensor) -> nl.NkiTensor:
        narrow = tile(x.shape, nl.float8_e4m3)
        nisa.tensor_scalar(dst=narrow, data=load(x), op0=nl.multiply, operand0=100.0)  # beyond 240
        return store(narrow, nl.float32)

    report = run(overflowing, A).error_report(lambda x: 100 * x)
    expected = int(np.sum(np.abs(100 * A) >= 248))  # half way from 240 to the next step, 256
    assert expected > 0
    assert line(report, "# beyond 240").overflows == expected
    assert report.verdict.not_finite == expected
    assert f"{expected} elements of the results overflowed" in report.verdict.text


# --------------------------------------------------------------------------------------------------- larger kernels


def test_flash_attention() -> None:
    q, k, v = (RNG.standard_normal((1, 160, 32)).astype(ml_dtypes.bfloat16) for _ in range(3))
    result = launch.run(flash_attention, q, k, v)
    report = result.error_report(lambda q, k, v: oracles.attention(q, k, v, xp=np), exact=True)
    assert report.verdict.cause is Cause.PRECISION
    assert report.verdict.kernel_error is not None
    assert report.verdict.kernel_error < 1e-14
    assert (report.unlike_the_run, report.dropped) == (0, {})
    # Two casts to bfloat16 matter: that of the weights and that of the result, whose local errors are that format's.
    worst = report.lines[:2]
    assert {one.kind for one in worst} == {ErrorKind.ROUNDING}
    assert {next(iter(one.opcodes)) for one in worst} == {"activation_reduce", "tensor_copy"}
    assert all(2.0**-11 < one.local < 2.0**-8 for one in worst)
    assert sum(one.share or 0.0 for one in worst) == pytest.approx(1.0, abs=0.05)


def test_microscaled_operands_are_blamed_on_quantisation() -> None:
    a, b = (RNG.standard_normal((128, n)).astype(ml_dtypes.bfloat16) for n in (32, 32))
    report = launch.run(matmul_mxfp8, a, b, target="trn3").error_report(product)
    assert report.verdict.cause is Cause.PRECISION
    assert report.verdict.kernel_error is not None
    assert report.verdict.kernel_error < 1e-14  # scales cancel: the twin never rounded an element
    assert report.lines[0].kind is ErrorKind.QUANTISATION
    assert list(report.lines[0].opcodes) == ["quantize_mx"]
    assert report.integers == 0


def test_loops_with_run_time_bounds() -> None:
    @nki.jit
    def repeated(x: nl.NkiTensor, count: nl.NkiTensor) -> tuple[Any, Any]:
        data = load(x)
        total = tile(x.shape, nl.bfloat16)
        nisa.tensor_copy(dst=total, src=data)
        times = nisa.register_alloc()
        nisa.register_load(times, load(count))
        last = tile((1, 1), nl.int32)
        for counter in nl.dynamic_range(0, times):
            nisa.register_store(last, counter)
            nisa.tensor_scalar(dst=total, data=total, op0=nl.multiply, operand0=1.25)  # again
        return store(total), store(last)

    result = run(repeated, A[:8], np.array([[5]], np.int32))
    report = result.error_report(lambda x, count: (x * 1.25 ** int(count[0, 0]), count - 1))
    assert dict(line(report, "# again").opcodes) == {"tensor_scalar": 5}
    assert report.as_it_is == {"register_load": 1, "register_store": 5}
    assert (report.dropped, report.integers) == ({}, 0)
    assert report.verdict.cause is Cause.PRECISION
    assert report.unlike_the_run == 0


@pytest.mark.parametrize("rows", [(3, 1, 3, 0), (3, 0, 1, 9)], ids=["repeated", "skipped"])
def test_rows_that_are_not_written_are_no_errors(rows: tuple[int, ...]) -> None:
    @nki.jit
    def scattered(x: nl.NkiTensor, index: nl.NkiTensor) -> nl.NkiTensor:
        out = tile((4, x.shape[1]), buffer=nl.shared_hbm)
        nisa.dma_copy(dst=out, src=x)
        # Of rows with one index the last stays, and a row whose index is out of bounds is skipped.
        nisa.dma_copy(dst=out.vector_select(0, load(index)), src=load(x), oob_mode=nisa.oob_mode.skip)  # by index
        return out

    result = run(scattered, A[:4], np.array(rows, np.int32)[:, None])
    expected = A[:4].copy()
    for source, row in enumerate(rows):
        if row < 4:
            expected[row] = A[source]
    assert np.array_equal(result.outputs, expected)
    report = result.error_report(expected)
    assert line(report, "# by index").local == 0.0
    assert (report.verdict.kernel_error, report.verdict.precision_error) == (0.0, 0.0)


def test_while_loops() -> None:
    @nki.jit
    def summed(x: nl.NkiTensor, n: nl.NkiTensor) -> nl.NkiTensor:
        total, data, counter = tile(x.shape, nl.bfloat16), load(x), load(n)
        nisa.memset(dst=total, value=0.0)
        register = nisa.register_alloc()
        nisa.register_load(register, counter)

        def body(left: Any) -> Any:
            nisa.tensor_tensor(dst=total, data1=total, data2=data, op=nl.add)  # until the counter is 0
            nisa.tensor_scalar(dst=counter, data=counter, op0=nl.subtract, operand0=1.0)
            nisa.register_load(left, counter)
            return left

        nl.while_loop(register, body)
        return store(total)

    report = run(summed, A[:4], np.array([[7]], np.int32)).error_report(lambda x, n: 7 * x)
    assert dict(line(report, "# until").opcodes) == {"tensor_tensor": 7}
    assert line(report, "# until").kind is ErrorKind.ACCUMULATION
    assert (report.verdict.cause, report.unlike_the_run, report.integers) == (Cause.PRECISION, 0, 0)


def test_stochastic_rounding_is_a_cast_whichever_way_it_goes() -> None:
    policy = NumericsPolicy(rounding=Stochastic(seed=5))
    x = RNG.standard_normal((32, 64)).astype(np.float32)

    @nki.jit
    def halves(x: nl.NkiTensor) -> nl.NkiTensor:
        half = tile(x.shape, nl.bfloat16)
        nisa.tensor_scalar(dst=half, data=load(x), op0=nl.multiply, operand0=0.3)  # rounds at random
        return store(half)

    report = run(halves, x, numerics=policy).error_report()
    assert report.unlike_the_run == 0  # the walk draws the same bits
    assert report.numerics == "overflow to infinity, subnormals: keep, rounding: stochastic, seed 5"
    found = line(report, "# rounds at random")
    assert found.kinds[ErrorKind.ROUNDING] == pytest.approx(found.local)
    assert found.kinds[ErrorKind.ARITHMETIC] == 0.0
    # A step of bfloat16 is 2**-8 to 2**-7 of a value. Rounding to nearest errs by step / sqrt(12) in the mean, rounding
    # at random by step / sqrt(6).
    nearest = line(run(halves, x).error_report(), "# rounds at random").local
    assert found.local / nearest == pytest.approx(math.sqrt(2), rel=0.05)


# -------------------------------------------------------------------------------------- what the twin cannot follow


def test_bits_read_as_another_dtype_are_reported() -> None:
    @nki.jit
    def bits(x: nl.NkiTensor) -> nl.NkiTensor:
        narrow = tile(x.shape, nl.bfloat16)
        nisa.tensor_copy(dst=narrow, src=load(x))
        pattern = narrow.view(nl.int16)
        nisa.tensor_scalar(dst=pattern, data=pattern, op0=nl.bitwise_and, operand0=0x7FFF)
        return store(narrow)

    report = run(bits, A).error_report(np.abs(A.astype(np.float64)))
    assert report.as_it_is == {"tensor_scalar": 1}
    assert report.dropped == {"tensor_scalar": 1}
    assert "errors dropped on the way" in str(report)
    # The twin went on with the program's bits, and then has nothing to blame: it says so instead of guessing.
    assert report.outputs[0].precision.rms == 0.0


def test_integers_lose_nothing() -> None:
    @nki.jit
    def counted(x: nl.NkiTensor) -> nl.NkiTensor:
        data = load(x)
        nisa.tensor_scalar(dst=data, data=data, op0=nl.bitwise_xor, operand0=3)
        return store(data)

    values = np.arange(32, dtype=np.int32).reshape(4, 8)
    report = run(counted, values).error_report(lambda x: x ^ 3)
    assert report.as_it_is == {"tensor_scalar": 1}
    assert (report.dropped, report.integers) == ({}, 0)
    assert report.verdict.cause is Cause.PRECISION
    assert "moves the results by 0" in report.verdict.text
