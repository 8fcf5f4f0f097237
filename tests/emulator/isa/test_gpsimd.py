"""GpSimd instructions: affine patterns in 32-bit integers, the selection by one, and every documented limit."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.emulator.isa.harness import accepted, load, psum, rejected, run, sbuf, store, words
from trnlab.emulator import launch
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, ShapeError
from trnlab.emulator.nki import isa as nisa, language as nl

BF16 = ml_dtypes.bfloat16


def pattern_values(partitions, pattern, offset, multiplier):
    """The published loops, in Python integers, wrapped to 32 bits at the end."""
    rows = []
    for channel in range(partitions):
        values = [offset + channel * multiplier]
        for step, count in pattern:
            values = [value + index * step for value in values for index in range(count)]
        rows.append(values)
    return np.array(rows, object)


def wrapped(values):
    return np.array([[(v + 2**31) % 2**32 - 2**31 for v in row] for row in values], np.int64)


def iota(shape, pattern, dtype=nl.int32, **options):
    def kernel():
        tile = sbuf(shape, dtype)
        nisa.iota(tile, pattern, **options)
        return store(tile)

    return kernel


# ------------------------------------------------------------------------------------------------------------ iota


@pytest.mark.parametrize(
    ("shape", "pattern", "offset", "multiplier"),
    [
        ((128, 12), [[1, 12]], 0, 0),
        ((64, 12), [[-3, 4], [100, 3]], 7, -5),
        ((3, 24), [[1, 2], [10, 3], [0, 2], [-7, 2]], -1, 1000),
        ((1, 4), [[2**30, 4]], 2**31 - 1, 0),  # wraps around
        ((128, 2), [[1, 2]], -(2**31), 2**31 - 1),  # wraps around
    ],
)
def test_iota_evaluates_the_published_loops(shape, pattern, offset, multiplier):
    result = run(iota(shape, pattern, offset=offset, channel_multiplier=multiplier))
    assert (result == wrapped(pattern_values(shape[0], pattern, offset, multiplier))).all()


def test_iota_fills_free_dimensions_in_row_major_order():
    result = run(iota((4, 3, 5), [[1, 15]], channel_multiplier=15))
    assert (result == np.arange(60).reshape(4, 3, 5)).all()


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (nl.float32, lambda v: v.astype(np.float32)),
        (nl.bfloat16, lambda v: v.astype(np.float32).astype(BF16)),
        (nl.float8_e5m2, lambda v: v.astype(np.float32).astype(ml_dtypes.float8_e5m2)),
        (nl.uint8, lambda v: np.clip(v, 0, 255).astype(np.uint8)),
        (nl.int16, lambda v: np.clip(v, -(2**15), 2**15 - 1).astype(np.int16)),
        (nl.uint32, lambda v: np.clip(v, 0, 2**32 - 1).astype(np.uint32)),
        (nl.bool_, lambda v: (v != 0).astype(np.uint8)),
    ],
)
def test_iota_casts_from_int32(dtype, expected):
    pattern, offset = [[11_184_811, 12]], -33_554_433  # -(2**25 + 1) and on: beyond 2**24, so that float32 rounds
    values = pattern_values(2, pattern, offset, 33_554_433).astype(np.int64)
    assert values.min() < -(2**24)
    assert values.max() > 2**26
    assert (values == 0).any()
    result = run(iota((2, 12), pattern, dtype, offset=offset, channel_multiplier=33_554_433))
    assert (words(result) == words(expected(values))).all()


def test_iota_with_another_offset_is_the_same_signature():
    def kernel():
        tile = sbuf((4, 4), nl.int32)
        for offset in range(5):
            nisa.iota(tile, [[1, 4]], offset=offset)
        return store(tile)

    done = launch.run(kernel)
    assert len([s for s in done.program.signatures if s.opcode == "iota"]) == 1
    assert (done.outputs == np.arange(4, 8)).all()


# --------------------------------------------------------------------------------------------------- affine_select

COMPARE = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
}


@pytest.mark.parametrize("name", COMPARE)
def test_affine_select_compares_with_zero(name):
    data = np.random.default_rng(1).standard_normal((32, 40)).astype(np.float32)

    def kernel(x):
        result = sbuf(x.shape, x.dtype)
        nisa.affine_select(result, [[-1, 40]], 1, load(x), -1e30, cmp_op=getattr(nl, name), offset=3)
        return store(result)

    predicate = COMPARE[name](pattern_values(32, [[-1, 40]], 3, 1).astype(np.int64), 0)
    assert (run(kernel, data) == np.where(predicate, data, np.float32(-1e30))).all()


def test_the_default_comparison_is_equal():
    def kernel(ones):
        result = sbuf((8, 8))
        nisa.affine_select(result, [[-1, 8]], 1, load(ones), 0.0)
        return store(result)

    assert (run(kernel, np.ones((8, 8), np.float32)) == np.eye(8)).all()


def test_a_difference_beyond_float32_is_still_told_apart():
    # 2**24 + 1 rounds to 2**24 in float32, where the comparison would be with zero.
    def kernel(ones):
        result = sbuf((1, 2))
        nisa.affine_select(result, [[2**24, 2]], 0, load(ones), 0.0, cmp_op=nl.equal, offset=-(2**24) - 1)
        return store(result)

    assert (run(kernel, np.ones((1, 2), np.float32)) == 0).all()


def test_selected_elements_of_the_same_dtype_keep_their_bits():
    bits = np.random.default_rng(2).integers(0, 2**16, (8, 16), dtype=np.uint16)

    def kernel(x):
        result = sbuf(x.shape, x.dtype)
        nisa.affine_select(result, [[1, 16]], 0, load(x), 2.5, cmp_op=nl.greater_equal, offset=-8)
        return store(result)

    result = run(kernel, bits.view(BF16))
    assert (words(result)[:, 8:] == bits[:, 8:]).all()
    assert (result[:, :8].astype(np.float32) == 2.5).all()


@pytest.mark.parametrize(("source", "target"), [(np.int32, BF16), (np.float32, np.int8)])
def test_another_dtype_goes_through_float32(source, target):
    data = (np.arange(64).reshape(4, 16) * 5_592_405 - 2**26).astype(source)

    def kernel(x):
        result = sbuf(x.shape, target)
        nisa.affine_select(result, [[1, 16]], 0, load(x), 3.6, cmp_op=nl.less, offset=-10)
        return store(result)

    middle = np.where(np.arange(16) < 10, data.astype(np.float32), np.float32(3.6))
    expected = np.clip(np.rint(middle), -128, 127).astype(np.int8) if target == np.int8 else middle.astype(target)
    assert (words(run(kernel, data)) == words(expected)).all()


# --------------------------------------------------------------------------------------------------------- limits


def select(shape=(8, 8), on_true=None, pattern=((1, 8),), dst=None, cmp_op=nl.less, **options):
    def build():
        tile = dst() if dst else sbuf(shape)
        source = on_true() if on_true else sbuf(shape)
        nisa.affine_select(tile, pattern, 0, source, 0.0, cmp_op=cmp_op, **options)

    return build


def fill(shape=(8, 8), pattern=((1, 8),), dtype=nl.int32, place=sbuf, **options):
    return lambda: nisa.iota(place(shape, dtype), pattern, **options)


@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3", "trn4"])
@pytest.mark.parametrize(
    "build",
    [
        fill((128, 8)),
        fill((8, 16), [[1, 2]] * 4),
        fill(offset=-(2**31), channel_multiplier=2**31 - 1),
        fill(dtype=nl.float16, pattern=[(np.int64(2), np.int32(8))]),
        select(),
        select(on_true=lambda: sbuf((8, 4, 2), nl.uint8)),
        select(cmp_op=nl.not_equal, offset=2**31 - 1),
    ],
)
def test_taken_at_the_limit(build, target):
    accepted(build, target)


@pytest.mark.parametrize(
    ("error", "build", "instruction", "operand", "found", "allowed"),
    [
        (ArgumentError, fill((8, 32), [[1, 2]] * 5), "iota", "pattern", "[1, 2], [1, 2]]", "one to four pairs"),
        (ArgumentError, fill(pattern=[]), "iota", "pattern", "[]", "one to four pairs"),
        (ArgumentError, fill(pattern=[[1, 0]]), "iota", "pattern", "[[1, 0]]", "every num at least 1"),
        (ShapeError, fill(pattern=[[1, 9]]), "iota", "pattern", "9 values for dst int32[8, 8]", "8 values"),
        (BufferError, fill(place=psum), "iota", "dst", "in psum", "sbuf"),
        (DtypeError, fill(dtype=nl.float8_e5m2_x4), "iota", "dst", "float8_e5m2_x4", "int32"),
        (ShapeError, select(pattern=[[1, 7]]), "affine_select", "pattern", "7 values", "8 values"),
        (
            ShapeError,
            select(on_true=lambda: sbuf((4, 8))),
            "affine_select",
            "on_true_tile",
            "partition count 4",
            "partition count 8",
        ),
        (
            ShapeError,
            select(on_true=lambda: sbuf((8, 9))),
            "affine_select",
            "on_true_tile",
            "free size 9",
            "free size 8",
        ),
        (BufferError, select(on_true=lambda: psum((8, 8))), "affine_select", "on_true_tile", "in psum", "sbuf"),
        (BufferError, select(dst=lambda: psum((8, 8))), "affine_select", "dst", "in psum", "sbuf"),
        (ArgumentError, select(cmp_op=nl.add), "affine_select", "cmp_op", "add", "greater_equal"),
    ],
)
def test_refused_past_the_limit(error, build, instruction, operand, found, allowed):
    rejected(error, build, instruction=instruction, operand=operand, found=found, allowed=allowed, target="trn2")


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (fill(pattern=8), r"pattern: found 8; allowed: a list of \[step, num\] pairs"),
        (fill(pattern=[1, 8]), r"pattern: found 1; allowed: a list of \[step, num\] pairs"),
        (fill(pattern=[[0.5, 8]]), "pattern: found 0.5; allowed: a compile-time integer"),
        (fill(offset=2**31), "offset: found 2147483648; allowed: an int32"),
        (fill(channel_multiplier=-(2**31) - 1), "channel_multiplier: found -2147483649; allowed: an int32"),
        (select(cmp_op=None), "cmp_op: found None; allowed: an operator of nki.language"),
        (
            lambda: nisa.affine_select(sbuf((8, 8)), [[1, 8]], 0, sbuf((8, 8)), sbuf((8, 1)), cmp_op=nl.less),
            "on_false_value: found NkiTensor.*; allowed: a compile-time number",
        ),
    ],
)
def test_arguments_of_another_form_are_refused(build, text):
    with pytest.raises(ArgumentError, match=text):
        accepted(build)
