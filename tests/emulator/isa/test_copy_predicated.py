"""tensor_copy_predicated: elements bit for bit, everything else as it was; predicates, numbers, limits."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.emulator.isa.agreement import run_both, same_in_every_form
from tests.emulator.isa.conftest import run_tiles
from tests.emulator.isa.harness import random_bits, words
from tests.emulator.isa.values import F, P, f32, instructions, like, random, same
from trnlab.emulator import dtypes, launch
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, ShapeError
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.target import Engine

STORAGE = [
    np.float32,
    ml_dtypes.bfloat16,
    np.float16,
    ml_dtypes.float8_e4m3,
    ml_dtypes.float8_e5m2,
    np.int32,
    np.uint32,
    np.int16,
    np.uint8,
]
PREDICATES = [np.uint8, np.uint16, np.uint32, np.bool_]


def chosen(old, new, truth):
    """Where truth, the bits of new, else those of old."""
    return np.where(truth, words(new), words(old)).view(old.dtype)


@settings(max_examples=14)
@given(
    shape=st.tuples(st.integers(1, 128), st.integers(1, 40)),
    dtype=st.sampled_from(STORAGE),
    predicate=st.sampled_from(PREDICATES),
    reverse=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_elements_are_copied_where_the_predicate_holds(shape, dtype, predicate, reverse, seed):
    old, new = random_bits(shape, dtype, seed % 1000), random_bits(shape, dtype, seed % 1000 + 1)
    truth = np.random.default_rng(seed).integers(0, 3, shape).astype(predicate)  # true values that are not 1 among them

    def body(target, source, flags):
        nisa.tensor_copy_predicated(target, source, flags, reverse)
        return target

    found = run_tiles(body, old, new, truth).outputs[0]
    same(found, chosen(old, new, (truth != 0) ^ reverse))


def test_high_bits_of_a_predicate_count(run):
    old, new = random(np.float32), random(np.float32)
    truth = np.zeros((P, F), np.uint32)
    truth[:, 3] = 2**31
    truth[:, 5] = 2**8

    def body(target, source, flags):
        nisa.tensor_copy_predicated(target, source, flags)
        return target

    same(run(body, old, new, truth).outputs[0], chosen(old, new, truth != 0))


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2])
@pytest.mark.parametrize("number", [0.1, -np.inf, 2.0, -0.0, 3, np.float32(1e30)])
def test_a_number_is_rounded_once_to_a_float_destination(run, dtype, number):
    old, truth = random_bits((P, F), dtype), random(np.uint8) % 2

    def body(target, flags):
        nisa.tensor_copy_predicated(target, number, flags)
        return target

    with np.errstate(over="ignore"):
        filled = np.full((P, F), number, np.float32).astype(dtype)
    same(run(body, old, truth).outputs[0], chosen(old, filled, truth != 0))


@pytest.mark.parametrize(
    ("dtype", "number"),
    [(np.int32, 2**24 + 1), (np.int32, -(2**31)), (np.uint32, 2**32 - 1), (np.int8, -128), (np.uint16, 65535)],
)
def test_a_number_is_exact_in_an_integer_destination(run, dtype, number):
    old, truth = random(dtype), random(np.uint8) % 2

    def body(target, flags):
        nisa.tensor_copy_predicated(target, number, flags)
        return target

    same(run(body, old, truth).outputs[0], chosen(old, np.full((P, F), number, dtype), truth != 0))


def test_a_loop_over_numbers_repeats_one_signature(run):
    old, truth = random(np.float32), random(np.uint8) % 2

    def body(target, flags):
        for number in (1.0, 2.5, -3.0):
            nisa.tensor_copy_predicated(target, number, flags)
        return target

    ran = run(body, old, truth)
    calls = instructions(ran, "tensor_copy_predicated")
    assert [call.immediates["src"] for call in calls] == [1.0, 2.5, -3.0]
    assert len({call.signature for call in calls}) == 1
    same(ran.outputs[0], chosen(old, np.full_like(old, -3.0), truth != 0))


@pytest.mark.parametrize("in_psum", ["src", "predicate", "dst"])
def test_one_source_may_be_in_psum(in_psum):
    old, new, truth = random(np.float32), random(np.float32), random(np.uint8) % 2

    def body(target, source, flags):
        tiles = {"dst": target, "src": source, "predicate": flags}
        moved = like(tiles[in_psum], buffer=nl.psum)
        nisa.tensor_copy(moved, tiles[in_psum])
        tiles[in_psum] = moved
        nisa.tensor_copy_predicated(**tiles)
        return tiles["dst"]

    ran = run_both(body, old, new, truth)
    same(ran.outputs[0], chosen(old, new, truth != 0))
    assert instructions(ran, "tensor_copy_predicated")[0].engine is Engine.VECTOR


def test_strided_views_of_different_ranks():
    old, new, truth = random(np.float32, (P, 4, 6)), random(np.float32, (P, 12)), random(np.uint8, (P, 2, 6)) % 2

    def body(target, source, flags):
        nisa.tensor_copy_predicated(target[:, 0:4:2, :], source, flags)
        return target

    expected = old.copy()
    expected[:, 0:4:2] = np.where(truth, new.reshape(P, 2, 6), old[:, 0:4:2])
    same(run_both(body, old, new, truth).outputs[0], expected)


def test_copied_words_may_be_packed(run):
    old, new, truth = random(np.uint32), random(np.uint32), random(np.uint8) % 2

    def body(target, source, flags):
        views = (tile.view(dtypes.float8_e5m2_x4) for tile in (target, source))
        nisa.tensor_copy_predicated(*views, flags)
        nisa.tensor_copy_predicated(target[:, 0:2].view(dtypes.float8_e4m3fn_x4), 0, flags[:, 0:2], True)
        return target

    expected = np.where(truth, new, old)
    expected[:, 0:2] = np.where(truth[:, 0:2], expected[:, 0:2], 0)
    same(run(body, old, new, truth).outputs[0], expected)


def test_what_is_not_copied_need_not_have_been_written():
    truth = np.ones((P, F), np.uint8)

    def kernel(flags):
        mask, target = like(flags, nl.uint8), like(flags, nl.float32)
        nisa.dma_copy(mask, flags)
        nisa.tensor_copy_predicated(target, 1.5, mask)
        result = nl.ndarray((P, F), dtype=nl.float32, buffer=nl.shared_hbm)
        nisa.dma_copy(result, target)
        return result

    assert (launch.run(kernel, truth, target="trn2").outputs == np.float32(1.5)).all()


@pytest.mark.slow
def test_the_copy_has_one_meaning():
    old, new, truth = random(ml_dtypes.bfloat16), random(ml_dtypes.bfloat16), random(np.uint16) % 2

    def body(target, source, flags):
        nisa.tensor_copy_predicated(target, source, flags)
        nisa.tensor_copy_predicated(target, 2.0, flags, reverse_pred=True)
        nisa.tensor_copy_predicated(flags, 7, flags)
        return target, flags

    ran = run_both(body, old, new, truth)
    same(ran.outputs[0], chosen(np.full_like(old, 2), new, truth != 0))
    same(ran.outputs[1], np.where(truth, np.uint16(7), np.uint16(0)))
    same_in_every_form(ran, "tensor_copy_predicated")


def test_tensor_copy_predicated_limits(reject):
    values, truth, at = random(np.float32), random(np.uint8), "tensor_copy_predicated"

    def call(source=lambda x: x, flags=lambda p: p, target=like):
        def body(x, p):
            nisa.tensor_copy_predicated(target(x), source(x), flags(p))

        return body

    for dtype in (np.int8, np.int16, np.int32, np.float32):
        flags = truth.astype(dtype)
        reject(DtypeError, call(), values, flags, at=f"{at}.predicate", found=np.dtype(dtype).name, allowed="uint32")
    other = random(ml_dtypes.bfloat16)
    mixed = call(target=lambda x: like(x, nl.float32))
    reject(DtypeError, mixed, other, truth, at=f"{at}.src", found="dtype bfloat16", allowed="dtype float32")
    shorter = call(source=lambda x: x[:, :3])
    reject(ShapeError, shorter, values, truth, at=f"{at}.dst", found="free size 24", allowed="free size 3")
    fewer = call(flags=lambda p: p[:, :3])
    reject(ShapeError, fewer, values, truth, at=f"{at}.predicate", found="free size 3", allowed="free size 24")
    lower = call(flags=lambda p: p[:32])
    reject(ShapeError, lower, values, truth, at=f"{at}.predicate", found="count 32", allowed="count 64")

    def both_in_psum(x, p):
        data, flags = like(x, buffer=nl.psum), like(p, buffer=nl.psum)
        nisa.tensor_copy(data, x)
        nisa.tensor_copy(flags, p)
        nisa.tensor_copy_predicated(x, data, flags)

    reject(BufferError, both_in_psum, values, truth, at=f"{at}.predicate", found="both in psum", allowed="at most one")
    for wrong in (None, "x"):
        reject(
            ArgumentError,
            call(source=lambda x, wrong=wrong: wrong),
            values,
            truth,
            at=f"{at}.src",
            found=repr(wrong),
            allowed="number",
            everywhere=True,
        )


@pytest.mark.parametrize("number", [0.5, 128, -129, np.inf])
def test_an_integer_destination_takes_integers_in_range(reject, number):
    def body(x, p):
        nisa.tensor_copy_predicated(x, number, p)

    reject(
        ArgumentError,
        body,
        random(np.int8),
        random(np.uint8),
        at="tensor_copy_predicated.src",
        found=repr(number),
        allowed="from -128 to 127",
        everywhere=True,
    )


def test_the_published_example(run):
    values = np.random.default_rng(0).random((128, 512)).astype(np.float32) * 100
    others = np.random.default_rng(1).random((128, 512)).astype(np.float32) * 100

    def body(source, target, flags):
        nisa.tensor_copy_predicated(src=source, dst=target, predicate=flags)
        return target

    truth = values <= 80
    result = run(body, values, others, truth).outputs[0]
    same(result, np.where(truth, values, others))
    assert 0 < f32(truth).mean() < 1
