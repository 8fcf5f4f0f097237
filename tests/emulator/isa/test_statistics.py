"""bn_stats and bn_aggr: against float64 statistics, limits, and the two together on long rows."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.emulator.isa.agreement import run_both, same_in_every_form
from tests.emulator.isa.conftest import run_tiles
from tests.emulator.isa.values import UNIT, P, f32, f64, instructions, like, random, same
from trnlab.emulator.errors import BufferError, DtypeError, ShapeError
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.target import Engine

DTYPES = [np.float32, ml_dtypes.bfloat16, np.float16, ml_dtypes.float8_e4m3, np.int8, np.uint16, np.int32]


def tile(rows, columns, dtype=nl.float32, buffer=nl.sbuf):
    return nl.ndarray((rows, columns), dtype=dtype, buffer=buffer)


def described(values):
    """(count, mean, variance * count) of each row in float64; zeros for an empty row."""
    count = values.shape[1]
    mean = values.mean(axis=1) if count else np.zeros(len(values))
    return np.stack([np.full(len(values), float(count)), mean, ((values - mean[:, None]) ** 2).sum(axis=1)], axis=1)


def statistics(values):
    return np.concatenate([described(f64(values)[:, 0::2]), described(f64(values)[:, 1::2])], axis=1)


def close(found, exact, values, roundings=40):
    """Within a number of roundings of the data's magnitude, for a mean, or of its square, for a variance * count."""
    size = np.abs(f64(values)).max(axis=1)
    bound = roundings * UNIT * np.stack([size * 0, size, values.shape[1] * size**2] * 2, axis=1)
    assert (np.abs(f64(found) - exact) <= bound).all()


# ------------------------------------------------------------------------------------------------------- bn_stats


@pytest.mark.slow
@settings(max_examples=14)
@given(
    rows=st.integers(1, 128),
    columns=st.integers(1, 512),
    dtype=st.sampled_from(DTYPES),
    offset=st.sampled_from([0.0, 3.0, -50.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_bn_stats_describes_even_and_odd_elements(rows, columns, dtype, offset, seed):
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal((rows, columns)) * 4 + offset).astype(np.float32).astype(dtype)

    def body(x):
        result = tile(rows, 6)
        nisa.bn_stats(result, x)
        return result

    found = run_tiles(body, values).outputs[0]
    close(found, statistics(values), values)
    same(found[:, 0::3], np.broadcast_to(np.float32([-(-columns // 2), columns // 2]), (rows, 2)).copy())


def test_bn_stats_of_one_element_has_no_odd_ones(run):
    values = random(np.float32, (P, 1))

    def body(x):
        result = tile(P, 6)
        nisa.bn_stats(result, x)
        return result

    zeros = np.zeros((P, 1), np.float32)
    expected = np.concatenate([zeros + 1, values, zeros, zeros, zeros, zeros], axis=1)
    same(run(body, values).outputs[0], expected)


def test_bn_stats_computes_in_float32_and_rounds_once(run):
    values = (np.arange(512) % 7 + np.zeros((P, 1))).astype(ml_dtypes.bfloat16)  # small integers: float32 is exact

    def body(x):
        wide, narrow = tile(P, 6), tile(P, 6, nl.bfloat16)
        nisa.bn_stats(wide, x)
        nisa.bn_stats(narrow, x)
        return wide, narrow

    wide, narrow = run(body, values).outputs
    close(wide, statistics(values), values)
    same(narrow, wide.astype(ml_dtypes.bfloat16))


def test_bn_stats_does_not_cancel_in_the_variance(run):
    values = (4096 + random(np.float32, (P, 256), 0.25)).astype(np.float32)

    def body(x):
        result = tile(P, 6)
        nisa.bn_stats(result, x)
        return result

    # The mean of squares less the square of the mean would err by about 4096**2 u * 128 = 128.
    found, exact = run(body, values).outputs[0], statistics(values)
    np.testing.assert_allclose(found[:, 2::3], exact[:, 2::3], rtol=1e-3)


def test_bn_stats_takes_free_dimensions_in_element_order(run):
    values = random(np.float32, (P, 3, 5))

    def body(x):
        result = nl.ndarray((P, 2, 3), dtype=nl.float32, buffer=nl.psum)
        nisa.bn_stats(result, x)
        flat = tile(P, 6)
        nisa.bn_stats(flat, x.reshape((P, 15)))
        return result, flat

    result, flat = run(body, values).outputs
    close(flat, statistics(values.reshape(P, 15)), values.reshape(P, 15))
    same(result.reshape(P, 6), flat)


@pytest.mark.parametrize("special", [np.inf, np.nan])
def test_bn_stats_passes_special_values_on(run, special):
    values = random(np.float32, (P, 8))
    values[:, 2] = special

    def body(x):
        result = tile(P, 6)
        nisa.bn_stats(result, x)
        return result

    found = run(body, values).outputs[0]
    assert (found[:, 0] == 4).all()
    same(found[:, 1], np.full(P, special, np.float32))
    assert np.isnan(found[:, 2]).all()
    assert np.isfinite(found[:, 3:]).all()


def test_bn_stats_limits(reject):
    def call(columns, rows=P, **more):
        def body(x):
            nisa.bn_stats(tile(rows, columns, **more), x)

        return body

    values, at = random(np.float32, (P, 512)), "bn_stats"
    run_tiles(lambda x: call(6)(x) or x, values)  # 512 elements per partition are taken
    longer = random(np.float32, (P, 513))
    for target in ("trn1", "trn2", "trn3"):
        reject(
            ShapeError, call(6), longer, at=f"{at}.data", found="free size 513", allowed="at most 512", target=target
        )
    for columns in (5, 7, 12):
        reject(ShapeError, call(columns), values, at=f"{at}.dst", found=f"free size {columns}", allowed="exactly 6")
    reject(ShapeError, call(6, rows=32), values, at=f"{at}.dst", found="count 32", allowed="count 64")
    reject(BufferError, call(6, buffer=nl.shared_hbm), values, at=f"{at}.dst", found="shared_hbm", allowed="psum")
    reject(DtypeError, call(6, dtype=nl.float8_e4m3fn_x4), values, at=f"{at}.dst", found="x4", allowed="bfloat16")


# -------------------------------------------------------------------------------------------------------- bn_aggr


def aggregated(triples):
    """Mean and variance in float64 of what triples (count, mean, variance * count) describe."""
    counts, means, squares = (f64(triples)[:, position::3] for position in range(3))
    total = counts.sum(axis=1)
    mean = (counts * means).sum(axis=1) / total
    spread = (squares + counts * (means - mean[:, None]) ** 2).sum(axis=1)
    return np.stack([mean, spread / total], axis=1)


@settings(max_examples=7)  # each compiles its own shapes
@given(
    rows=st.integers(1, 128),
    sets=st.integers(1, 20),
    dtype=st.sampled_from([np.float32, ml_dtypes.bfloat16, np.float16]),
    seed=st.integers(0, 2**32 - 1),
)
def test_bn_aggr_joins_sets(rows, sets, dtype, seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 257, (rows, sets))
    counts[:, 0] += counts.sum(axis=1) == 0
    means, squares = rng.standard_normal((2, rows, sets)) * 3
    triples = np.stack([counts, means, np.abs(squares) * counts], axis=2).reshape(rows, 3 * sets).astype(dtype)

    def body(x):
        result = tile(rows, 2)
        nisa.bn_aggr(result, x)
        return result

    size = np.abs(means).max() + np.abs(squares).max()
    bound = 40 * UNIT * np.array([size, size + 4 * size**2])
    assert (np.abs(f64(run_tiles(body, triples).outputs[0]) - aggregated(triples)) <= bound).all()


def test_bn_aggr_of_one_set_is_that_set(run):
    triples = np.float32([[8.0, 2.5, 4.0], [1.0, -3.0, 0.0]])

    def body(x):
        result = tile(2, 2)
        nisa.bn_aggr(result, x)
        return result

    same(run(body, triples).outputs[0], np.float32([[2.5, 0.5], [-3.0, 0.0]]))


def test_sets_of_no_elements_weigh_nothing(run):
    triples = np.float32([[4.0, 1.0, 2.0, 0.0, 99.0, 0.0], [0.0] * 6])

    def body(x):
        result = tile(2, 2)
        nisa.bn_aggr(result, x)
        return result

    same(run(body, triples).outputs[0], np.float32([[1.0, 0.5], [np.nan, np.nan]]))


def test_bn_aggr_rounds_once_to_its_destination(run):
    triples = np.float32([[4.0, 1 / 3, 2.0, 4.0, 1 / 7, 1.0]])

    def body(x):
        wide, narrow = tile(1, 2), tile(1, 2, nl.bfloat16, nl.psum)
        nisa.bn_aggr(wide, x)
        nisa.bn_aggr(narrow, x)
        return wide, narrow

    wide, narrow = run(body, triples).outputs
    same(narrow, wide.astype(ml_dtypes.bfloat16))


def test_bn_aggr_limits(reject):
    def call(columns, rows=P):
        def body(x):
            nisa.bn_aggr(tile(rows, columns), x)

        return body

    triples, at = random(np.float32, (P, 12)), "bn_aggr"
    for columns in (10, 11, 13):
        source = random(np.float32, (P, columns))
        reject(ShapeError, call(2), source, at=f"{at}.data", found=f"free size {columns}", allowed="a multiple of 3")
    for columns in (1, 3):
        reject(ShapeError, call(columns), triples, at=f"{at}.dst", found=f"free size {columns}", allowed="exactly 2")
    reject(ShapeError, call(2, rows=32), triples, at=f"{at}.dst", found="count 32", allowed="count 64")


# -------------------------------------------------------------------------------------------------- both together


@pytest.mark.parametrize(
    ("length", "dtype"), [(128, np.float32), (1024, ml_dtypes.bfloat16), (1300, np.float32), (1300, ml_dtypes.bfloat16)]
)
def test_mean_and_variance_of_long_rows(length, dtype):
    values = (random(np.float32, (P, length)) * 10 + 20).astype(dtype)
    pieces = -(-length // nl.tile_size.bn_stats_fmax)

    def body(x):
        stats, result = tile(P, 6 * pieces), tile(P, 2)
        for piece in range(pieces):
            part = x[:, piece * 512 : min(length, (piece + 1) * 512)]
            nisa.bn_stats(stats[:, nl.ds(6 * piece, 6)], part)
        nisa.bn_aggr(result, stats)
        return result

    ran = run_both(body, values)
    np.testing.assert_allclose(ran.outputs[0][:, 0], f64(values).mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(ran.outputs[0][:, 1], f64(values).var(axis=1), rtol=1e-5)
    for opcode in ("bn_stats", "bn_aggr"):
        assert {item.engine for item in instructions(ran, opcode)} == {Engine.VECTOR}


@pytest.mark.slow
def test_statistics_have_one_meaning():
    values = random(np.float32, (P, 33))

    def body(x):
        stats, result = like(x, shape=(P, 6)), like(x, shape=(P, 2), dtype=nl.bfloat16)
        nisa.bn_stats(stats, x)
        nisa.bn_aggr(result, stats)
        return stats, result

    ran = run_both(body, values)
    same_in_every_form(ran, "bn_stats")
    same_in_every_form(ran, "bn_aggr")
    assert np.isfinite(f32(ran.outputs[1])).all()
