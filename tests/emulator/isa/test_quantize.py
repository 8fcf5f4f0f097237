"""quantize_mx: codes, words, quadrant placement, views, limits, against an independent NumPy version of the rule."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.emulator.isa.values import RNG, instructions, like, random, same
from trnlab.emulator import launch
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, GenerationError, PartitionError, ShapeError
from trnlab.emulator.nki import isa as nisa, language as nl

BF16, E4M3, E5M2 = ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2
LARGEST_EXPONENT = {E4M3: 8, E5M2: 15}
PACKED = {E4M3: "float8_e4m3fn_x4", E5M2: "float8_e5m2_x4"}
UNTOUCHED = 99


def quantised(source, element, reduction=1):
    """(words, codes) in float64: X = 2**(floor(log2 amax) - (E_max - reduction)), element = source / X.

    frexp gives floor(log2) without rounding; codes are one per group, [P / 8, F / 4].
    """
    values = source.astype(np.float64)
    partitions, free = values.shape
    groups = values.reshape(partitions // 8, 8, free // 4, 4)
    amax = np.abs(groups).max(axis=(1, 3))
    floor_log2 = np.frexp(amax)[1] - 1
    exponent = np.where(amax == 0, -127, floor_log2 - (LARGEST_EXPONENT[element] - reduction)).clip(-127, 127)
    scaled = np.ldexp(groups, -exponent[:, None, :, None])
    limit = float(ml_dtypes.finfo(element).max)
    elements = np.clip(scaled, -limit, limit).astype(np.float32).astype(element)
    words = elements.reshape(partitions, free).view(np.uint8).reshape(partitions, free // 4, 4)
    return words.copy().view("<u4")[..., 0], (exponent + 127).astype(np.uint8)


def placed(codes, rows, start=0):
    """The scale tensor: group g = 4 q + r of codes on partition 32 q + r, all else untouched."""
    tensor = np.full((rows, codes.shape[1]), UNTOUCHED, np.uint8)
    for group, row in enumerate(codes):
        tensor[start + 32 * (group // 4) + group % 4] = row
    return tensor


def blocks(partitions, free, dtype=BF16):
    """Values whose groups differ in magnitude by many binades; one group is zero."""
    values = RNG.standard_normal((partitions, free)) * np.exp2(
        RNG.integers(-14, 14, (partitions // 8, 1, free // 4, 1))
    ).repeat(8, axis=1).repeat(4, axis=3).reshape(partitions, free)
    values[0:8, 0:4] = 0
    return values.astype(np.float32).astype(dtype)


def quantise(element, rows=None, scale_dtype=nl.uint8, view=lambda scales: scales, **options):
    """A kernel body: words of the source, and a scale tensor of `rows` partitions filled with UNTOUCHED before."""

    def body(source):
        partitions, free = source.shape
        words = nl.ndarray((partitions, free // 4), dtype=nl.uint32)
        scales = nl.ndarray((rows or partitions, free // 4), dtype=nl.uint8)
        nisa.memset(scales, UNTOUCHED)
        nisa.quantize_mx(words.view(PACKED[element]), source, view(scales).view(scale_dtype))
        return words, scales

    return body


@pytest.mark.parametrize("dtype", [BF16, np.float16])
@pytest.mark.parametrize("element", [E4M3, E5M2])
def test_quantize_mx_follows_the_documented_rule(run, element, dtype):
    source = blocks(128, 32, dtype)
    words, scales = run(quantise(element), source).outputs
    expected_words, codes = quantised(source, element)
    same(words, expected_words)
    same(scales, placed(codes, 128))
    assert scales[0, 0] == 0  # the group of zeros: 2**-127
    assert len(np.unique(codes)) > 10


@pytest.mark.parametrize("amax", [1.0, 1.75, 1.875, 1.9921875, 448.0, 2.0**-126, 2.0**-120, 2.0**120])
@pytest.mark.parametrize("element", [E4M3, E5M2])
def test_quantize_mx_at_the_edges_of_binades(run, element, amax):
    source = np.full((32, 8), amax, BF16)
    source[:, 4:] = -np.asarray(amax, BF16) / 2
    words, scales = run(quantise(element, rows=4), source).outputs
    expected_words, codes = quantised(source, element)
    same(words, expected_words)
    same(scales, codes)


def test_quantize_mx_written_out_for_one_group(run):
    source = np.zeros((32, 4), BF16)
    source[0, 0], source[7, 3] = 6.0, -1.0
    words, scales = run(quantise(E4M3, rows=4), source).outputs
    # amax = 6, floor(log2 6) = 2, E_max - 1 = 7: X = 2**-5, code 122; 6 / X = 192 and -1 / X = -32.
    assert scales[:, 0].tolist() == [122, 0, 0, 0]
    assert words.view(E4M3).reshape(32, 4)[0].astype(float).tolist() == [192, 0, 0, 0]
    assert words.view(E4M3).reshape(32, 4)[7].astype(float).tolist() == [0, 0, 0, -32]


def test_quantize_mx_scale_rule_is_an_option_of_the_run(run):
    source = blocks(64, 16)
    executed = run(quantise(E4M3), source, mx_scale_rule="ocp_floor")
    words, codes = quantised(source, E4M3, reduction=0)
    same(executed.outputs[0], words)
    same(executed.outputs[1], placed(codes, 64))
    assert instructions(executed, "quantize_mx")[0].signature.attribute("scale_rule") == "ocp_floor"
    default = run(quantise(E4M3), source)
    assert instructions(default, "quantize_mx")[0].signature.attribute("scale_rule") == "nki"
    assert (default.outputs[1][0:4, 1:] == executed.outputs[1][0:4, 1:] + 1).all()  # twice the OCP scale
    with pytest.raises(ArgumentError, match="nki or ocp_floor"):
        launch.run(quantise(E4M3), source, mx_scale_rule="nearest")
    with pytest.raises(ArgumentError, match="hardware or aws_tutorial or aws_nki_library or torchao"):
        launch.jit(quantise(E4M3), mx_block_policy="device")


@pytest.mark.parametrize("partitions", [32, 64, 96, 128])
def test_quantize_mx_places_scales_in_the_quadrant_of_their_group(run, partitions):
    source = blocks(partitions, 8)
    words, scales = run(quantise(E5M2, scale_dtype=nl.float8_e8m0fnu), source).outputs
    expected_words, codes = quantised(source, E5M2)
    same(words, expected_words)
    same(scales, placed(codes, partitions))


def test_quantize_mx_packs_four_scale_tensors_into_one(run):
    sources = [blocks(128, 16) for _ in range(4)]

    def body(*tiles):
        packed = nl.ndarray((128, 4), dtype=nl.uint8)
        nisa.memset(packed, UNTOUCHED)
        for offset, tile in zip((0, 4, 8, 12), tiles, strict=True):
            words = nl.ndarray((128, 4), dtype=nl.float8_e4m3fn_x4)
            nisa.quantize_mx(words, tile, packed[offset:, :])
        return packed

    packed = run(body, *sources).outputs[0]
    expected = np.full((128, 4), UNTOUCHED, np.uint8)
    for offset, source in zip((0, 4, 8, 12), sources, strict=True):
        codes = quantised(source, E4M3)[1]
        for quadrant in range(4):
            first = 32 * quadrant + offset
            expected[first : first + 4] = codes[4 * quadrant : 4 * quadrant + 4]
    same(packed, expected)


def test_quantize_mx_takes_views_of_any_rank(run):
    source = blocks(32, 48)

    def body(tile):
        words, scales = nl.ndarray((32, 3, 4), dtype=nl.uint32), nl.ndarray((4, 24), dtype=nl.uint8)
        nisa.memset(scales, UNTOUCHED)
        nisa.quantize_mx(words.view(nl.float8_e4m3fn_x4), tile.reshape((32, 3, 16)), scales[:, 0:24:2])
        return words, scales

    words, scales = run(body, source).outputs
    expected_words, codes = quantised(source, E4M3)
    same(words.reshape(32, 12), expected_words)
    same(scales[:, 0::2], codes)
    assert (scales[:, 1::2] == UNTOUCHED).all()


def test_quantize_mx_scale_tensor_needs_every_group_s_row(run, reject):
    source = blocks(64, 8)
    codes = quantised(source, E4M3)[1]
    enough = run(quantise(E4M3, rows=36), source).outputs[1]  # 64 - 28: the last row is 32 + 3
    same(enough, placed(codes, 36))
    reject(
        ShapeError,
        quantise(E4M3, rows=35),
        source,
        at="quantize_mx.dst_scale",
        found="35 partitions for 36 rows",
        allowed="at least P - 28",
    )
    reject(
        ShapeError,
        quantise(E4M3, rows=3),
        blocks(32, 8),
        at="quantize_mx.dst_scale",
        found="3 partitions for 4 rows",
        allowed="P / 8",
    )


@pytest.mark.parametrize("target", ["trn1", "trn2"])
def test_quantize_mx_needs_neuroncore_v4(reject, target):
    def body(tile):
        nisa.quantize_mx(tile, tile, tile)

    reject(
        GenerationError,
        body,
        random(BF16, (32, 8)),
        at="quantize_mx",
        found="quantize_mx on NeuronCore",
        allowed="from NeuronCore-v4 (trn3) on",
        target=target,
    )


def test_quantize_mx_limits(reject):
    def call(
        partitions=32, free=8, source=BF16, words=nl.float8_e4m3fn_x4, scale=nl.uint8, width=None, scale_width=None
    ):
        def body(tile):
            packed = nl.ndarray((tile.shape[0], width or free // 4), dtype=words)
            scales = nl.ndarray((tile.shape[0], scale_width or free // 4), dtype=scale)
            nisa.quantize_mx(packed, tile, scales)

        return body, random(source, (partitions, free))

    at = "quantize_mx"
    reject(ShapeError, *call(partitions=48), at=f"{at}.src", found="partition count 48", allowed="a multiple of 32")
    reject(ShapeError, *call(free=10), at=f"{at}.src", found="free size 10", allowed="a multiple of 4")
    reject(DtypeError, *call(source=np.float32), at=f"{at}.src", found="float32", allowed="bfloat16, float16")
    reject(
        DtypeError,
        *call(words=nl.float4_e2m1fn_x4),
        at=f"{at}.dst",
        found="float4_e2m1fn_x4",
        allowed="float8_e4m3fn_x4, float8_e5m2_x4",
    )
    reject(DtypeError, *call(words=nl.uint32), at=f"{at}.dst", found="uint32", allowed="float8_e4m3fn_x4")
    reject(DtypeError, *call(scale=nl.int8), at=f"{at}.dst_scale", found="int8", allowed="float8_e8m0fnu, uint8")
    reject(ShapeError, *call(width=3), at=f"{at}.dst", found="3 elements", allowed="a quarter")
    reject(ShapeError, *call(scale_width=3), at=f"{at}.dst_scale", found="3 elements", allowed="a quarter")

    def fewer_words(tile):
        nisa.quantize_mx(nl.ndarray((32, 2), dtype=nl.float8_e4m3fn_x4), tile, like(tile, nl.uint8, shape=(64, 2)))

    reject(ShapeError, fewer_words, random(BF16, (64, 8)), at=f"{at}.dst", found="count 32", allowed="count 64")

    def from_psum(tile):
        source = like(tile, buffer=nl.psum)
        nisa.tensor_copy(source, tile)
        nisa.quantize_mx(nl.ndarray((32, 2), dtype=nl.float8_e4m3fn_x4), source, like(tile, nl.uint8, shape=(4, 2)))

    reject(BufferError, from_psum, random(BF16, (32, 8)), at=f"{at}.src", found="psum", allowed="sbuf")


def test_quantize_mx_start_partitions(run, reject):
    source = blocks(64, 8)

    def starting(src, scale):
        def body(tile):
            high = nl.ndarray((128, 8), dtype=nl.bfloat16)
            nisa.tensor_copy(high[64:128], tile)
            packed, scales = nl.ndarray((128, 2), dtype=nl.uint32), nl.ndarray((128, 2), dtype=nl.uint8)
            nisa.memset(packed, 0)
            nisa.memset(scales, UNTOUCHED)
            rows = slice(src, src + 64)
            nisa.quantize_mx(packed[rows].view(nl.float8_e4m3fn_x4), high[rows], scales[scale : scale + 36])
            return packed, scales

        return body

    packed, scales = run(starting(64, 68), source).outputs
    words, codes = quantised(source, E4M3)
    same(packed[64:128], words)
    same(scales, placed(codes, 128, start=68))
    reject(
        PartitionError,
        starting(64, 66),
        source,
        at="quantize_mx.dst_scale",
        found="starting at partition 66",
        allowed="each plus 0, 4, 8, 12",
    )
    reject(
        PartitionError,
        starting(64, 0),
        source,
        at="quantize_mx.dst_scale",
        found="starting at partition 0",
        allowed="partitions 64 to 95, the quadrant of src",
        everywhere=True,
    )
