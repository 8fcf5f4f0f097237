"""What the array strategies draw, and that they shrink to the smallest shape and the simplest values."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, find, given, settings, strategies as st

from trnlab.emulator.dtypes import DTYPES, as_dtype, element_of
from trnlab.emulator.errors import ArgumentError, DtypeError
from trnlab.emulator.target import TARGETS, get_target
from trnlab.emulator.testing import arrays, decode, kernel_arguments, ordered, round_to, tile_shapes
from trnlab.emulator.testing.distributions import DISTRIBUTIONS, applies, bits, block_numbers

SOME = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
SAME = settings(SOME, derandomize=True, database=None, max_examples=20)  # for what must occur among the draws
FLOATS = [dtype for dtype in DTYPES if not dtype.is_packed and not dtype.is_integer]
BLOCK = (2, 4)


def cases() -> list[Any]:
    onto = as_dtype("float8_e4m3")
    kinds = ("float32", "bfloat16", "float8_e4m3", "float8_e4m3fn", "float4_e2m1fn", "float8_e8m0fnu")
    return [
        (name, as_dtype(dtype)) for name in DISTRIBUTIONS for dtype in kinds if applies(name, as_dtype(dtype), onto)
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@SOME
@given(data=st.data())
def test_arrays_of_every_dtype(dtype: str, data: st.DataObject) -> None:
    found = data.draw(arrays(dtype, (3, 5), distribution="stress"))
    element = as_dtype(dtype)
    assert found.shape == (3, 5)
    # bool and tfloat32 have no storage of their own.
    assert as_dtype(found.dtype) == dtype or found.dtype == element.storage
    values = decode(found, element)
    assert np.isfinite(values).all()
    assert values.shape == ((3, 5, 4) if element.is_packed else (3, 5))
    if not element.is_packed:
        assert np.array_equal(round_to(values, element), values)  # tfloat32 keeps its low bits zero


@pytest.mark.parametrize(("name", "dtype"), cases())
def test_each_distribution_is_what_it_says(name: str, dtype: Any) -> None:
    facts = dtype.format

    @SOME
    @given(found=arrays(dtype, (4, 8), distribution=name, block=BLOCK))
    def check(found: np.ndarray) -> None:
        values = decode(found, dtype)
        size = np.abs(values)
        blocks = size.reshape(2, 2, 2, 4).swapaxes(1, 2).reshape(4, 8)  # rows: blocks of 2 x 4
        match name:
            case "bits":
                return
            case "specials":
                assert (np.sum(~np.isfinite(blocks), axis=1) == 1).all()
                return
            case "subnormal":
                assert (size < facts.smallest_normal).all()
            case "signed_zeros":
                assert (size == 0).all()
            case "near_overflow":
                largest = ordered(np.array([facts.max]).astype(np.float32).astype(dtype.storage), dtype)[0]
                steps = largest - np.abs(ordered(found, dtype))
                assert (steps >= 0).all()
                assert (steps <= 3).all()
            case "constant":
                assert (blocks == blocks[:, :1]).all()
            case "outlier":
                largest, rest = blocks.max(axis=1), np.sort(blocks, axis=1)[:, -2]
                assert (largest >= rest).all()
            case "ties":
                assert (size > 0).all()
            case "window":
                assert (size >= facts.smallest_normal).all()
        assert np.isfinite(values).all()

    check()


def test_outliers_stand_out_by_binades_anywhere_in_their_block() -> None:
    places = set()

    @SAME
    @given(arrays("float32", (4, 8), distribution="outlier", block=BLOCK))
    def check(found: np.ndarray) -> None:
        blocks = np.abs(found.astype(np.float64)).reshape(2, 2, 2, 4).swapaxes(1, 2).reshape(4, 8)
        ordered = np.sort(blocks, axis=1)
        # One binade above the window at least, significands between 1 and 2: more than the largest of the others.
        assert (ordered[:, -1] > ordered[:, -2]).all()
        assert (ordered[:, -2] < 8 * ordered[:, 0]).all()  # a window of three binades
        places.update(np.argmax(blocks, axis=1).tolist())

    check()
    assert len(places) > 4


def test_ties_are_ties_or_their_neighbours() -> None:
    seen = set()

    @SAME
    @given(arrays("float16", (4, 8), distribution="ties", onto="float8_e5m2"))
    def check(found: np.ndarray) -> None:
        for value in found.astype(np.float64).reshape(-1):
            exponent = np.floor(np.log2(abs(value)))
            step = 2.0 ** (exponent - 2)  # of float8_e5m2, which has two bits behind the point
            away = abs(abs(value) / step - np.floor(abs(value) / step) - 0.5) * step
            assert away in (0.0, 2.0 ** (exponent - 10))  # on the tie, or one step of float16 beside it
            seen.add(away == 0)

    check()
    assert seen == {True, False}


def test_words_of_the_formats_width_give_every_code_once() -> None:
    for dtype in FLOATS:
        if dtype.format.bits <= 16:
            count = 2**dtype.format.bits
            words = np.arange(count, dtype=np.uint32)
            assert np.array_equal(np.sort(bits(words, dtype.format, None)), np.arange(count)), dtype  # type: ignore[arg-type]


def test_simple_words_are_simple_values() -> None:
    words = np.arange(5, dtype=np.uint32)
    codes = bits(words, as_dtype("bfloat16").format, None)  # type: ignore[arg-type]
    assert decode(codes.astype(np.uint16).view(as_dtype("bfloat16").storage)).tolist() == [0.0, 1.0, 2.0, 0.5, 4.0]


def test_blocks_tile_the_trailing_axes() -> None:
    # 3 x 5 in tiles of 2 x 4: the last row and the last column are tiles of their own.
    assert block_numbers((3, 5), (2, 4)).reshape(3, 5).tolist() == [[0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [2, 2, 2, 2, 3]]
    assert block_numbers((2, 2, 3), (2,)).reshape(4, 3).tolist() == [[0, 0, 1], [2, 2, 3], [4, 4, 5], [6, 6, 7]]


# ------------------------------------------------------------------------------------------------------- shrinking


def shapes(largest: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(1, largest), st.integers(1, largest))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float8_e4m3", "float8_e4m3fn_x4", "int8", "bool"])
def test_anything_shrinks_to_one_zero(dtype: str) -> None:
    found = find(arrays(dtype, shapes(9)), lambda _: True)
    assert found.shape == (1, 1)
    assert not decode(found, dtype).any()


def test_a_condition_shrinks_to_its_simplest_witness() -> None:
    found = find(arrays("bfloat16", shapes(6)), lambda a: bool((decode(a) > 3).any()))
    assert found.shape == (1, 1)
    assert float(found[0, 0]) == 4.0  # the power of two next to 1 that does
    negative = find(arrays("float8_e4m3", shapes(6)), lambda a: bool((decode(a) < 0).any()))
    assert negative.astype(np.float32).tolist() == [[-1.0]]
    assert find(arrays("int8", shapes(6)), lambda a: bool((a < -5).any())).tolist() == [[-6]]


def test_large_arrays_shrink_to_zeros_and_few_others() -> None:
    side = 64  # more elements than there are drawn bytes
    assert not decode(find(arrays("float16", (side, side)), lambda _: True)).any()
    ones = find(arrays("float16", (side, side)), lambda a: bool((decode(a) == 1).any()))
    assert set(np.unique(ones.astype(np.float32))) <= {0.0, 1.0}


# ------------------------------------------------------------------------------------------------ shapes and arguments


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("region", ["sbuf", "psum"])
def test_tiles_fit_the_chip(target: str, region: str) -> None:
    chosen = get_target(target)
    capacity = chosen.psum_bytes_per_partition if region == "psum" else chosen.sbuf_bytes_per_partition
    strategy = tile_shapes(target, dtype="float32", region=region, max_free=10**6, partition_multiple=32)

    @SOME
    @given(strategy)
    def check(shape: tuple[int, int]) -> None:
        assert shape[0] % 32 == 0
        assert 32 <= shape[0] <= chosen.partitions
        assert 1 <= shape[1] * 4 <= capacity

    check()
    assert find(strategy, lambda _: True) == (32, 1)
    assert find(strategy, lambda shape: shape[1] * 4 == capacity) == (32, capacity // 4)


def test_arguments_share_their_named_sizes() -> None:
    shape = {"lhsT": ("K", "M"), "rhs": ("K", "N"), "bias": (1, "N")}
    dtypes = {"lhsT": "float8_e4m3", "rhs": "bfloat16", "bias": "float32"}
    strategy = kernel_arguments(shape, dtypes, sizes={"N": 3, "K": st.sampled_from([2, 4])})

    @SOME
    @given(strategy)
    def check(found: dict[str, np.ndarray]) -> None:
        assert {name: str(array.dtype) for name, array in found.items()} == dtypes
        assert found["rhs"].shape == (found["lhsT"].shape[0], 3)
        assert found["bias"].shape == (1, 3)
        assume(found["lhsT"].shape[0] != 4)
        assert found["lhsT"].shape[0] == 2

    check()
    smallest = find(strategy, lambda _: True)
    assert smallest["lhsT"].shape == (2, 1)
    assert not any(decode(array).any() for array in smallest.values())


# ---------------------------------------------------------------------------------------------------------- refusals


def test_refusals() -> None:
    with pytest.raises(ArgumentError, match="stress, finite, bits"):
        arrays("float32", 3, distribution="gaussian")
    with pytest.raises(DtypeError, match="onto nl"):
        arrays("float8_e4m3", 3, distribution="ties")
    with pytest.raises(DtypeError, match="subnormal of"):
        arrays("float8_e8m0fnu", 3, distribution="subnormal")
    with pytest.raises(DtypeError, match="float64"):
        arrays("float64", 3)
    with pytest.raises(ArgumentError, match="positive sizes"):
        arrays("float32", 3, block=0)
    with pytest.raises(ArgumentError, match="sbuf or psum"):
        tile_shapes(region="hbm")
    with pytest.raises(ArgumentError, match="at most 128 partitions"):
        tile_shapes(partition_multiple=256)
    with pytest.raises(ArgumentError, match="sizes: found 'J'"):
        kernel_arguments({"x": ("K",)}, "float32", sizes={"J": 3})
    with pytest.raises(ArgumentError, match="none for y"):
        kernel_arguments({"x": ("K",), "y": ("K",)}, {"x": "float32"})
    assert element_of(as_dtype("float4_e2m1fn_x4")) == "float4_e2m1fn"


def test_only_strategies_need_hypothesis() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import trnlab.emulator.testing as testing\n"
        "from trnlab.emulator import TrnlabError\n"
        "assert testing.ulp_distance(1.0, 1.5, 'bfloat16') == 64\n"
        "try: testing.arrays('float32', 3)\n"
        "except TrnlabError as error: assert 'trnlab[testing]' in str(error)\n"
        "else: raise AssertionError('no error')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
