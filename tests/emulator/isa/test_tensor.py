"""Values of the Tensor Engine's instructions, against float64 and against the bits that went in."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.emulator.isa.harness import load, psum, random_bits, run, sbuf, store, wide, words
from trnlab.emulator import launch
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.target import Engine

E4M3, E5M2, E3M4, E4M3FN = (
    ml_dtypes.float8_e4m3,
    ml_dtypes.float8_e5m2,
    ml_dtypes.float8_e3m4,
    ml_dtypes.float8_e4m3fn,
)
BF16 = ml_dtypes.bfloat16


def draw(shape, dtype, seed=0, scale=1.0):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32).astype(dtype)


def whole_numbers(shape, dtype, seed=0, largest=3):
    """Small integers: their products and sums are exact in float32, in any order."""
    return np.random.default_rng(seed).integers(-largest, largest + 1, shape).astype(np.float32).astype(dtype)


# ------------------------------------------------------------------------------------------------------- nc_matmul


@pytest.mark.parametrize(
    ("left", "right", "target"),
    [
        (np.float32, np.float32, "trn2"),
        (BF16, BF16, "trn1"),
        (BF16, np.float16, "trn3"),
        (E4M3, E5M2, "trn2"),
        (E3M4, BF16, "trn1"),
        (E4M3FN, E5M2, "trn3"),
        (E4M3FN, E4M3FN, "trn4"),
    ],
)
def test_matmul_is_the_transposed_product_within_float32_rounding(left, right, target):
    a, b = draw((96, 40), left, 1), draw((96, 72), right, 2)

    def kernel(a, b):
        result = psum((40, 72))
        nisa.nc_matmul(result, load(a), load(b))
        return store(result)

    exact = wide(a).T @ wide(b)
    # K - 1 additions and one rounding per product: K u sum|a||b|, u = 2**-24.
    bound = 96 * 2.0**-24 * (abs(wide(a)).T @ abs(wide(b)))
    result = run(kernel, a, b, target=target)
    assert result.dtype == np.float32
    assert (abs(result - exact) <= bound).all()


@pytest.mark.parametrize("flags", [(None, None, None), (False, True, True)])
def test_accumulation_over_k_tiles_is_exact_on_whole_numbers(flags):
    a, b = whole_numbers((384, 64), BF16, 3), whole_numbers((384, 96), BF16, 4)

    def kernel(a, b):
        result = psum((64, 96))
        for tile, flag in enumerate(flags):
            rows = slice(tile * 128, (tile + 1) * 128)
            nisa.nc_matmul(result, load(a[rows]), load(b[rows]), accumulate=flag)
        return store(result)

    run_ = launch.run(kernel, a, b, target="trn2")
    assert (run_.outputs == wide(a).T @ wide(b)).all()
    matmuls = [i for i in run_.program if i.opcode == "nc_matmul"]
    assert [i.signature.attribute("accumulate") for i in matmuls] == [False, True, True]
    assert [i.signature.operand("dst").access for i in matmuls] == ["write", "update", "update"]


def test_overwriting_forgets_the_sum_before():
    a, b = whole_numbers((128, 32), BF16, 5), whole_numbers((128, 64), BF16, 6)

    def kernel(a, b):
        result = psum((32, 64))
        left, right = load(a), load(b)
        for flag in (False, True, False):
            nisa.nc_matmul(result, left, right, accumulate=flag)
        return store(result)

    assert (run(kernel, a, b) == wide(a).T @ wide(b)).all()


def test_bfloat16_psum_rounds_after_every_accumulation():
    a = whole_numbers((384, 16), BF16, 7, largest=15)
    b = whole_numbers((384, 32), BF16, 8, largest=15)

    def kernel(a, b):
        result = psum((16, 32), nl.bfloat16)
        for start in (0, 128, 256):
            nisa.nc_matmul(result, load(a[start : start + 128]), load(b[start : start + 128]))
        return store(result)

    parts = [wide(a[s : s + 128]).T @ wide(b[s : s + 128]) for s in (0, 128, 256)]  # whole numbers below 2**24: exact
    expected = parts[0].astype(np.float32).astype(BF16)
    for part in parts[1:]:
        expected = (expected.astype(np.float32) + part.astype(np.float32)).astype(BF16)
    result = run(kernel, a, b, target="trn3")
    assert (words(result) == words(expected)).all()
    rounded_once = sum(parts).astype(np.float32).astype(BF16)
    assert (words(result) != words(rounded_once)).any()


def test_float32_sum_rounds_once_per_accumulation():
    # 2**24 + 1 is not a float32, so adding 1 twice in turn leaves 2**24, and adding 2 at once gives 2**24 + 2.
    large, one = np.full((1, 1), 2.0**24, np.float32), np.ones((1, 1), np.float32)

    def kernel(large, one):
        result = psum((1, 1))
        ones = load(one)
        nisa.nc_matmul(result, load(large), ones)
        nisa.nc_matmul(result, ones, ones)
        nisa.nc_matmul(result, ones, ones)
        return store(result)

    assert run(kernel, large, one)[0, 0] == 2.0**24


@pytest.mark.parametrize(("dtype", "target"), [(E4M3, "trn2"), (E4M3FN, "trn3")])
def test_double_row_contracts_partitions_and_the_pair(dtype, target):
    a, b = whole_numbers((64, 2, 32), dtype, 9), whole_numbers((64, 2, 48), E5M2, 10)

    def kernel(a, b):
        result = psum((32, 48))
        nisa.nc_matmul(result, load(a), load(b), perf_mode=nisa.matmul_perf_mode.double_row)
        return store(result)

    expected = np.einsum("krm,krn->mn", wide(a), wide(b))
    assert (run(kernel, a, b, target=target) == expected).all()


def test_perf_mode_is_also_taken_by_its_published_value():
    a = whole_numbers((32, 2, 8), E4M3, 11)

    def kernel(a):
        result, tile = psum((8, 8)), load(a)
        nisa.nc_matmul(result, tile, tile, perf_mode="double_row")
        return store(result)

    assert (run(kernel, a, target="trn2") == np.einsum("krm,krn->mn", wide(a), wide(a))).all()


def test_column_and_row_tiles_compute_the_same_product():
    a, b = whole_numbers((32, 32), BF16, 12), whole_numbers((32, 64), BF16, 13)

    def kernel(a, b):
        result = psum((128, 64))
        left, right = load(a), load(b)
        for quadrant in range(4):
            rows = slice(32 * quadrant, 32 * quadrant + 32)
            nisa.nc_matmul(result[rows], left, right, tile_position=(32 * quadrant, 32 * quadrant), tile_size=(32, 32))
        return store(result)

    assert (run(kernel, a, b, target="trn2") == np.tile(wide(a).T @ wide(b), (4, 1))).all()


def test_free_dimensions_are_flattened_and_strides_followed():
    a, b = whole_numbers((16, 8), BF16, 14), whole_numbers((16, 4, 10), BF16, 15)

    def kernel(a, b):
        result = psum((8, 4, 20))
        nisa.nc_matmul(result[:, :, 0:20:2], load(a), load(b))
        nisa.nc_matmul(result[:, :, 1:20:2], load(a), load(b))
        return store(result)

    expected = np.repeat(np.einsum("km,kij->mij", wide(a), wide(b)), 2, axis=2)
    assert (run(kernel, a, b) == expected).all()


def test_onezero_hints_are_recorded_and_change_no_value():
    a, b = np.ones((1, 64), np.float32), draw((1, 32), np.float32, 16)

    def kernel(a, b):
        result = psum((64, 32))
        nisa.nc_matmul(result, load(a), load(b), is_stationary_onezero=True)
        return store(result)

    done = launch.run(kernel, a, b)
    (matmul,) = [i for i in done.program if i.opcode == "nc_matmul"]
    assert matmul.signature.attribute("is_stationary_onezero") is True
    assert matmul.signature.attribute("is_moving_onezero") is False
    assert (done.outputs == np.broadcast_to(b, (64, 32))).all()


# --------------------------------------------------------------------------------------- nc_matmul, transpose mode


@pytest.mark.parametrize("dtype", [np.float32, BF16, np.float16])
def test_transpose_mode_moves_bits(dtype):
    data = random_bits((64, 48), dtype, 17)

    def kernel(data, identity):
        result = psum((48, 64), data.dtype)
        nisa.nc_matmul(result, load(data), load(identity), is_transpose=True)
        return store(result)

    result = run(kernel, data, np.eye(64, dtype=np.float32).astype(dtype), target="trn2")
    assert (words(result) == words(data).T).all()


def test_transpose_mode_permutes_as_the_moving_says_and_fills_zeros():
    data = draw((16, 8), np.float32, 18)
    order = np.random.default_rng(19).permutation(16)
    moving = np.zeros((16, 17), np.float32)
    moving[order, np.arange(16)] = 1

    def kernel(data, moving):
        result = psum((8, 17))
        nisa.nc_matmul(result, load(data), load(moving), is_transpose=True)
        return store(result)

    result = run(kernel, data, moving, target="trn3")
    assert (result[:, :16] == data[order].T).all()
    assert (result[:, 16] == 0).all()


def test_transpose_without_the_mode_is_a_product_through_which_nan_spreads():
    data = draw((8, 4), BF16, 20)
    data[2, 1] = np.nan

    def kernel(data, identity):
        result = psum((4, 8))
        nisa.nc_matmul(result, load(data), load(identity), is_transpose=True)
        return store(result)

    result = run(kernel, data, np.eye(8, dtype=np.float32).astype(BF16), target="trn1")
    assert np.isnan(result[1]).all()  # NaN * 0 is NaN in every sum of that row
    assert (np.delete(result, 1, 0) == np.delete(wide(data).T, 1, 0)).all()


def test_a_second_transpose_to_the_same_place_overwrites():
    data = draw((8, 8), np.float32, 21)

    def kernel(data, identity):
        result, tile, unit = psum((8, 8)), load(data), load(identity)
        for _ in range(2):
            nisa.nc_matmul(result, tile, unit, is_transpose=True)
        return store(result)

    for target in ("trn1", "trn2"):
        assert (run(kernel, data, np.eye(8, dtype=np.float32), target=target) == data.T).all()


# ----------------------------------------------------------------------------------------------------- nc_transpose


@pytest.mark.parametrize("dtype", [np.float32, BF16, np.int32, np.uint16])
@pytest.mark.parametrize("shape", [(128, 128), (24, 40)])
def test_tensor_engine_transpose_moves_bits(dtype, shape):
    data = random_bits(shape, dtype, 22)

    def kernel(data):
        result = psum(shape[::-1], data.dtype)
        nisa.nc_transpose(result, load(data), engine=nisa.engine.tensor)
        return store(result)

    assert (words(run(kernel, data, target="trn2")) == words(data).T).all()


@pytest.mark.parametrize(("space", "target"), [(nl.sbuf, "trn1"), (nl.psum, "trn3")])
def test_vector_engine_transpose_moves_bits_in_either_memory(space, target):
    data = random_bits((32, 20), np.float32, 23)

    def kernel(data):
        result = nl.ndarray((20, 32), dtype=data.dtype, buffer=space)
        nisa.nc_transpose(result, load(data), engine=nisa.engine.vector)
        return store(result)

    assert (words(run(kernel, data, target=target)) == words(data).T).all()


def test_packed_words_are_transposed_as_a_whole():
    data = random_bits((64, 40), np.uint32, 24)

    def kernel(data):
        result = psum((40, 64), nl.float8_e4m3fn_x4)
        nisa.nc_transpose(result, load(data).view(nl.float8_e4m3fn_x4))
        return store(result.view(nl.uint32))

    assert (run(kernel, data) == data.T).all()


def test_one_byte_data_goes_to_every_second_byte_of_psum():
    data = random_bits((64, 40), np.uint8, 25).view(E4M3)

    def kernel(data):
        result = psum((40, 64, 2), data.dtype)
        nisa.nc_transpose(result[:, :, 0], load(data))
        kept = sbuf((40, 64), data.dtype)
        nisa.tensor_copy(kept, result[:, :, 0])
        return store(kept)

    assert (words(run(kernel, data, target="trn2")) == words(data).T).all()


def test_free_dimensions_are_flattened_before_the_transpose():
    data = draw((48, 4, 16), BF16, 26)

    def kernel(data):
        result = psum((64, 48), data.dtype)
        nisa.nc_transpose(result, load(data))
        return store(result)

    assert (words(run(kernel, data)) == words(data).reshape(48, 64).T).all()


def test_without_an_engine_small_tiles_go_to_the_vector_engine():
    def kernel(x):
        small, large = load(x)[:32, :32], load(x)
        nisa.nc_transpose(sbuf((32, 32), x.dtype), small)
        nisa.nc_transpose(psum((33, 64), x.dtype), large[:, :33])
        result = psum((32, 33), x.dtype)
        nisa.nc_transpose(result, load(x)[:33, :32])
        return store(result)

    program = launch.trace(kernel, np.zeros((64, 64), BF16), target="trn2")
    engines = [i.engine for i in program if i.opcode == "nc_transpose"]
    assert engines == [Engine.VECTOR, Engine.TENSOR, Engine.TENSOR]


@pytest.mark.parametrize("result_dtype", [nl.float32, nl.bfloat16])
def test_transpose_of_the_first_generation_is_a_product(result_dtype):
    data = draw((40, 36), BF16, 27)
    data[3, 5] = np.inf

    def kernel(data):
        result = psum((36, 40), result_dtype)
        nisa.nc_transpose(result, load(data))
        return store(result)

    result = wide(run(kernel, data, target="trn1"))
    assert np.isinf(result[5, 3])
    assert np.isnan(np.delete(result[5], 3)).all()  # infinity * 0 is NaN
    assert (np.delete(result, 5, 0) == np.delete(wide(data).T, 5, 0)).all()
