"""What quantising a tensor loses: every figure of the report against its definition, in float64 and by hand."""

from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.emulator.numerics.mx_blocks import EMAX
from trnlab.emulator.dtypes import float4_e2m1fn_x4, float8_e4m3fn_x4
from trnlab.emulator.errors import ArgumentError, DtypeError, ShapeError
from trnlab.emulator.numerics import quantization
from trnlab.emulator.numerics.microscaling_checkpoints import pack_checkpoint
from trnlab.emulator.numerics.microscaling_host import unpack_operand
from trnlab.emulator.numerics.microscaling_layout import LaneOrder
from trnlab.emulator.numerics.nvfp4 import Nvfp4, dequantize_nvfp4, quantize_nvfp4
from trnlab.emulator.numerics.quantization import quantize_tensor
from trnlab.emulator.numerics.quantization_formats import FORMATS

Array = NDArray[Any]
MX = {"mxfp4": "float4_e2m1fn", "mxfp8_e4m3": "float8_e4m3fn", "mxfp8_e5m2": "float8_e5m2"}


def mx_decoded(x: Array, element: str, extra: int) -> Array:
    """x [..., K] in float64 through MX blocks of the last axis: scale floor(log2 amax) - E_max + extra."""
    grouped = x.astype(np.float64).reshape(*x.shape[:-1], -1, 32)
    amax = np.abs(grouped).max(axis=-1, keepdims=True)
    exponent = np.where(amax > 0, np.frexp(amax)[1] - 1 - EMAX[element] + extra, -127)
    largest = float(ml_dtypes.finfo(element).max)
    scaled = np.clip(np.ldexp(grouped, -exponent), -largest, largest).astype(np.float32)
    return np.ldexp(scaled.astype(getattr(ml_dtypes, element)).astype(np.float64), exponent).reshape(x.shape)


def decibels(x: Array, decoded: Array, axis: Any = None) -> Any:
    with np.errstate(divide="ignore"):
        return 10 * np.log10((x**2).sum(axis=axis) / ((decoded - x) ** 2).sum(axis=axis))


@pytest.fixture(scope="module")
def x() -> Array:
    """[6, 128] whose rows differ in size by many binades, a block of zeros among them."""
    generator = np.random.default_rng(3)
    values = generator.standard_normal((6, 128)) * 2.0 ** generator.integers(-8, 8, (6, 128))
    values[2, 32:64] = 0
    return np.asarray(values, np.float32)


@pytest.mark.parametrize("rule", ["nki", "ocp_floor"])
@pytest.mark.parametrize("name", MX)
def test_mx_figures_by_their_definitions(x: Array, name: str, rule: str) -> None:
    if name == "mxfp4" and rule == "nki":
        with pytest.raises(ArgumentError, match="'nki' for mxfp4; allowed: ocp_floor"):
            quantize_tensor(x, name, rule=rule)
        return
    report = quantize_tensor(x, name, rule=rule).report
    element = MX[name]
    decoded, wide = mx_decoded(x, element, extra=int(rule == "nki")), x.astype(np.float64)
    assert report.sqnr_db == pytest.approx(decibels(wide, decoded), rel=1e-12)
    assert report.largest_error == np.abs(decoded - wide).max()
    assert report.flushed == ((decoded == 0) & (wide != 0)).sum()
    blocks, quantised = wide.reshape(-1, 32), decoded.reshape(-1, 32)
    largest = np.abs(blocks).max(axis=1, keepdims=True)
    scale = 2.0 ** (np.frexp(np.where(largest > 0, largest, 1))[1] - 1 - EMAX[element] + (rule == "nki"))
    assert report.clipped == (np.abs(blocks) > scale * float(ml_dtypes.finfo(element).max)).sum()
    live = np.flatnonzero(largest[:, 0])
    sqnr = np.sort(decibels(blocks[live], quantised[live], axis=1))
    assert report.block_sqnr_db[0] == pytest.approx(sqnr[0])
    assert report.block_sqnr_db[50] == pytest.approx(sqnr[(len(live) - 1) // 2])
    assert report.block_sqnr_db[100] == pytest.approx(sqnr[-1])
    assert (report.blocks, report.zero_blocks, report.non_finite_blocks) == (24, 1, 0)
    assert sum(report.block_sqnr_counts.values()) == np.isfinite(sqnr).sum()
    worst = live[np.argmin(decibels(blocks[live], quantised[live], axis=1))]
    assert report.worst is not None
    assert report.worst.start == (worst // 4, worst % 4 * 32)
    assert report.worst.scale == scale[worst, 0]
    assert report.worst.largest == largest[worst, 0]
    assert sum(binade.elements for binade in report.binades) == np.count_nonzero(x)
    assert report.bits_per_element == (4 if name == "mxfp4" else 8) + 8 / 32


def test_binades_say_where_elements_go() -> None:
    """amax = 7: scale 1, so 7 is clipped to 6, 0.25 ties to zero and 0.3 rounds to 0.5; 1 and 1.5 share a binade."""
    x = np.zeros((1, 32), np.float32)
    x[0, :5] = [7.0, 0.25, 0.3, 1.0, -1.5]
    report = quantize_tensor(x, "mxfp4").report
    assert [tuple(binade) for binade in report.binades] == [(-2, 2, 1, 0), (0, 2, 0, 0), (2, 1, 0, 1)]
    assert (report.clipped, report.flushed) == (1, 1)
    assert report.largest_error == 1.0
    assert report.sqnr_db == pytest.approx(10 * np.log10((x.astype(float) ** 2).sum() / (1 + 0.25**2 + 0.2**2)), 1e-6)


@pytest.mark.parametrize("dtype", ["float8_e4m3", "float8_e4m3fn", "float8_e5m2", "float8_e3m4", "float16", "bfloat16"])
def test_plain_casts_clip_and_round_once(x: Array, dtype: str) -> None:
    done = quantize_tensor(x, dtype, keep=True)
    storage = np.dtype(getattr(ml_dtypes, dtype, dtype))
    largest = float(ml_dtypes.finfo(storage).max)
    expected = np.clip(x, -largest, largest).astype(storage)
    np.testing.assert_array_equal(done.parts["elements"].view(storage), expected)
    decoded = expected.astype(np.float64)
    assert done.report.sqnr_db == pytest.approx(decibels(x.astype(np.float64), decoded))
    assert done.report.clipped == (np.abs(x) > largest).sum()
    assert done.report.flushed == ((decoded == 0) & (x != 0)).sum()
    assert done.report.bits_per_element == 8 * storage.itemsize


def test_nvfp4_is_the_host_functions(x: Array) -> None:
    done = quantize_tensor(x, "nvfp4", keep=True)
    expected = quantize_nvfp4(x)
    np.testing.assert_array_equal(done.parts["packed"], expected.packed)
    np.testing.assert_array_equal(done.parts["scales"], expected.scales.view(np.uint8))
    scales = done.parts["scales"].view(ml_dtypes.float8_e4m3fn)
    kept = Nvfp4(done.parts["packed"], scales, done.parts["tensor_scales"][0])
    assert done.report.sqnr_db == pytest.approx(decibels(x.astype(float), dequantize_nvfp4(kept).astype(float)))
    assert done.report.bits_per_element == 4.5
    assert done.report.source.endswith("assumed")


@pytest.mark.parametrize("name", FORMATS)
def test_axis_memory_order_and_chunks_do_not_matter(x: Array, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = quantize_tensor(x, name, keep=True)
    columns = quantize_tensor(np.ascontiguousarray(x.T), name, axis=0, keep=True)
    fortran = quantize_tensor(np.asfortranarray(x), name, axis=1, keep=True)
    monkeypatch.setattr(quantization, "CHUNK", 300)  # two rows at a time
    chunked = quantize_tensor(x, name, keep=True)
    for done in (columns, fortran, chunked):
        assert done.report.sqnr_db == pytest.approx(expected.report.sqnr_db, rel=1e-12)
        assert done.report.block_sqnr_db == expected.report.block_sqnr_db
        assert done.report.binades == expected.report.binades
        for part in expected.parts:
            np.testing.assert_array_equal(done.parts[part], expected.parts[part])
    assert expected.report.worst is not None
    assert columns.report.worst is not None
    assert columns.report.worst.start == expected.report.worst.start[::-1]


@pytest.mark.parametrize(("name", "dtype"), [("mxfp4", float4_e2m1fn_x4), ("mxfp8_e4m3", float8_e4m3fn_x4)])
def test_what_is_kept_is_a_checkpoint(x: Array, name: str, dtype: Any) -> None:
    parts = quantize_tensor(x, name, keep=True, rule="ocp_floor").parts
    words, scales = pack_checkpoint(parts["blocks"], parts["scales"], dtype)
    found = unpack_operand(words, scales, dtype, order=LaneOrder.CONSECUTIVE)
    np.testing.assert_array_equal(found.T, mx_decoded(x, MX[name], extra=0))


def test_leading_axes_stay(x: Array) -> None:
    cube = np.stack([x, 2 * x]).transpose(2, 0, 1)  # [128, 2, 6]
    done = quantize_tensor(cube, "mxfp4", axis=0, keep=True)
    assert done.parts["blocks"].shape == (2, 6, 4, 16)
    assert done.report.worst is not None
    start = done.report.worst.start
    assert len(start) == 3
    assert start[0] % 32 == 0
    block = np.abs(cube[start[0] : start[0] + 32, start[1], start[2]])
    assert block.max() == done.report.worst.largest


def test_blocks_that_are_not_finite_are_counted_and_left_out(x: Array) -> None:
    spoilt = x.copy()
    spoilt[0, 3], spoilt[5, 127] = np.nan, -np.inf
    clean = x.copy()
    clean[0, :32], clean[5, 96:] = 0, 0
    report, expected = (quantize_tensor(values, "mxfp8_e5m2").report for values in (spoilt, clean))
    assert report.non_finite_blocks == 2
    assert report.zero_blocks == expected.zero_blocks - 2
    assert report.sqnr_db == expected.sqnr_db
    assert report.block_sqnr_db == expected.block_sqnr_db
    with pytest.raises(ArgumentError, match="infinity"):
        quantize_tensor(spoilt, "nvfp4")


def test_policies_change_the_blocks_they_name() -> None:
    x = np.full((1, 32), 2.0**-125, np.float32)
    hardware = quantize_tensor(x, "mxfp8_e4m3", rule="ocp_floor", keep=True)
    tutorial = quantize_tensor(x, "mxfp8_e4m3", rule="ocp_floor", policy="aws_tutorial", keep=True)
    assert hardware.report.sqnr_db == np.inf
    assert hardware.parts["scales"].tolist() == [[0]]
    assert tutorial.parts["scales"].tolist() == [[250]]
    assert tutorial.report.flushed == 32
    assert tutorial.report.sqnr_db == 0  # the whole signal is lost


def test_an_exact_tensor_has_no_noise_and_json_says_null() -> None:
    report = quantize_tensor(np.ones((1, 32), np.float32), "mxfp4").report
    assert report.sqnr_db == np.inf
    data = json.loads(report.to_json())
    assert data["sqnr_db"] is None
    assert data["block_sqnr_db"]["50"] is None
    assert data["worst"]["start"] == [0, 0]
    assert data["flushed"] == 0
    assert data["binades"] == [{"exponent": 0, "elements": 32, "flushed": 0, "clipped": 0}]


def test_nothing_but_zeros_or_nan() -> None:
    for value, zeros, broken in ((0.0, 2, 0), (np.nan, 0, 2)):
        report = quantize_tensor(np.full((2, 32), value, np.float32), "mxfp8_e4m3").report
        assert (report.zero_blocks, report.non_finite_blocks) == (zeros, broken)
        assert report.worst is None
        assert json.loads(report.to_json())["sqnr_db"] is None


ONES = np.ones((2, 64), np.float32)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((ONES, "mxfp5"), {}, ArgumentError, "did you mean mxfp4"),
        ((ONES, "nvfp4"), {"rule": "nki"}, ArgumentError, "no rule makes its scales"),
        ((ONES, "mxfp4"), {"policy": "torch"}, ArgumentError, "did you mean torchao"),
        ((ONES, "bfloat16"), {"policy": "torchao"}, ArgumentError, "for MX formats"),
        ((ONES, "mxfp4"), {"axis": 2}, ArgumentError, "from -2 to 1"),
        ((ONES, "mxfp4"), {"axis": 0}, ShapeError, "2 along axis 0.*multiple of 32"),
        ((ONES[:, :48], "mxfp4"), {}, ShapeError, "48 along axis -1"),
        ((ONES[:, :0], "mxfp4"), {}, ShapeError, "something in it"),
        ((ONES[0, 0, ...], "mxfp4"), {}, ShapeError, "at least one axis"),
        ((ONES.astype(np.float64), "mxfp4"), {}, DtypeError, "float64"),
        ((ONES.astype(">f4"), "mxfp4"), {}, DtypeError, "native byte order"),
        ((ONES.astype(np.int8), "mxfp4"), {}, DtypeError, "int8"),
    ],
)
def test_what_is_refused(arguments: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        quantize_tensor(*arguments, **options)
