"""Tensor indirection: gathering and scattering columns against NumPy, in both executors, and its documented rules."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.emulator.isa.harness import accepted, load, psum, random_bits, run_both, sbuf, store, words
from trnlab.emulator import launch
from trnlab.emulator.errors import (
    BoundsError,
)
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.program import Program
from trnlab.emulator.target import get_target
from trnlab.emulator.timing.cost import signature_costs

BF16 = ml_dtypes.bfloat16
VECTOR, SCALAR, GPSIMD = nisa.engine.vector, nisa.engine.scalar, nisa.engine.gpsimd
RNG = np.random.default_rng(21)
P = 64


def offsets(index, count, group=16):
    """Offset i comes from index[i % G, i // G]."""
    return np.array([index[i % group, i // group] for i in range(count)])


def scattered(base, values, where):
    """Columns written in order: of those at one offset the last stays."""
    result = base.copy()
    for column, offset in enumerate(where):
        result[:, offset] = values[:, column]
    return result


# ---------------------------------------------------------------------------------------------------------- values


@settings(max_examples=4, deadline=None)  # each compiles its own shapes
@given(
    partitions=st.sampled_from([16, 32, 64, 128]),
    row=st.integers(1, 40),
    places=st.integers(1, 3),
    dtype=st.sampled_from([np.float32, BF16, np.uint8, np.int32]),
    kind=st.sampled_from([np.uint16, np.int32, np.uint32]),
    engine=st.sampled_from([VECTOR, SCALAR]),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_copies_gather_and_scatter_columns(partitions, row, places, dtype, kind, engine, seed, data):
    count = data.draw(st.integers(1, 16 * places))
    rng = np.random.default_rng(seed)
    index = rng.integers(0, row, (partitions, places)).astype(kind)
    values = random_bits((partitions, row), dtype, seed)

    def kernel(x, i):
        tile, index = load(x), load(i)
        taken, spread = sbuf((partitions, count), x.dtype), sbuf(x.shape, x.dtype)
        nisa.tensor_copy(taken, tile.indirect(index, count), engine=engine)
        nisa.tensor_copy(spread, tile)
        nisa.tensor_copy(spread.indirect(index, count), tile.indirect(index, count)[...], engine=engine)
        nisa.memset(tile, 0)
        nisa.tensor_copy(tile.indirect(index, count), taken, engine=engine)
        return store(taken), store(spread), store(tile)

    taken, spread, tile = run_both(kernel, values, index)
    where, bits = offsets(index, count), words(values)
    assert (words(taken) == bits[:, where]).all()
    assert (words(spread) == bits).all()
    assert (words(tile) == scattered(np.zeros_like(bits), bits[:, where], where)).all()


def test_the_default_is_every_offset_of_the_index():
    """index.size offsets: what one group of partitions holds where the tile has as many partitions as a group."""
    values, index = random_bits((16, 9), np.uint16, 1), RNG.integers(0, 9, (16, 2), dtype=np.uint16)

    def kernel(x, i):
        view = load(x).indirect(load(i))
        assert view.shape == (16, 32)
        assert view.is_indirect()
        result = sbuf(view.shape, x.dtype)
        nisa.tensor_copy(result, view)
        return store(result)

    assert (run_both(kernel, values, index) == values[:, offsets(index, 32)]).all()


def test_offsets_count_elements_of_the_flattened_view():
    values, index = random_bits((P, 4, 3, 5), np.int32, 2), RNG.integers(0, 12, (P, 1), dtype=np.uint16)

    def kernel(x, i):
        tile, index = load(x), load(i)
        result = sbuf((P, 7), x.dtype)
        nisa.tensor_copy(result, tile[:, 1, :, :].indirect(index, 7))
        strided = sbuf((P, 7), x.dtype)
        nisa.tensor_copy(strided, tile.reshape((P, 60))[:, 2:60:5].indirect(index, 7))
        return store(result), store(strided)

    result, strided = run_both(kernel, values, index)
    where = offsets(index, 7)
    assert (result == values[:, 1].reshape(P, -1)[:, where]).all()
    assert (strided == values.reshape(P, -1)[:, 2::5][:, where]).all()


def test_every_elementwise_instruction_gathers_and_scatters():
    x, y = (RNG.standard_normal((P, 12)).astype(np.float32) for _ in range(2))
    index = np.tile(RNG.permutation(12)[:8].astype(np.uint16), (1, 2)).reshape(-1, 1)
    index = np.tile(index, (P // 16, 1))

    def gather(x, y, i):
        tile, other, index = load(x), load(y), load(i)
        taken, results = tile.indirect(index, 8), [sbuf((P, 8)) for _ in range(7)]
        nisa.tensor_tensor(results[0], taken, other[:, :8], nl.multiply)
        nisa.tensor_scalar(results[1], taken, nl.add, 1.5)
        nisa.activation(results[2], nl.copy, taken, scale=0.5)
        nisa.activation_reduce(results[3], nl.square, taken, nl.add, sbuf((P, 1)))
        nisa.exponential(results[4], taken, 0.25)
        nisa.tensor_scalar_reduce(results[5], taken, nl.subtract, 1.0, nl.maximum, sbuf((P, 1)))
        nisa.memset(results[6], 0.0)
        nisa.tensor_reduce(results[6][:, 0:1], nl.maximum, taken, axis=1)
        return tuple(map(store, results))

    where = offsets(index, 8)
    taken = x[:, where]
    expected = [taken * y[:, :8], taken + np.float32(1.5), taken * np.float32(0.5), taken * taken]
    expected += [np.exp(taken - np.float32(0.25)), taken - np.float32(1)]
    results = run_both(gather, x, y, index)
    for found, wanted in zip(results[:4], expected[:4], strict=True):
        assert (found == wanted).all()
    np.testing.assert_allclose(results[4], expected[4], rtol=1e-6)
    assert (results[5] == expected[5]).all()
    assert (results[6][:, 0] == taken.max(axis=1)).all()

    def scatter(x, y, i):
        tile, other, index = load(x), load(y), load(i)
        results = [sbuf((P, 12)) for _ in range(4)]
        for result in results:
            nisa.tensor_copy(result, other)
        nisa.tensor_tensor(results[0].indirect(index, 8), tile[:, :8], other[:, :8], nl.add)
        nisa.tensor_scalar(results[1].indirect(index, 8), tile[:, :8], nl.multiply, 2.0, engine=SCALAR)
        nisa.activation(results[2].indirect(index, 8), nl.copy, tile[:, :8])
        nisa.tensor_scalar_reduce(results[3].indirect(index, 8), tile[:, :8], nl.add, 1.0, nl.add, sbuf((P, 1)))
        return tuple(map(store, results))

    first = x[:, :8]
    written = [first + y[:, :8], first * np.float32(2), first, first + np.float32(1)]
    for found, wanted in zip(run_both(scatter, x, y, index), written, strict=True):
        assert (found == scattered(y, wanted, where)).all()


def test_a_predicate_and_its_destination_may_be_indirect():
    x, flags = random_bits((32, 10), np.uint16, 3), RNG.integers(0, 2, (32, 10)).astype(np.uint8)
    index = np.tile(RNG.permutation(10).astype(np.uint16)[:, None][[*range(10), *range(6)]], (2, 1))

    def kernel(x, p, i):
        tile, index = load(x), load(i)
        result = sbuf((32, 10), x.dtype)
        nisa.memset(result, 9)
        nisa.tensor_copy_predicated(result.indirect(index, 6), tile[:, :6], load(p).indirect(index, 6))
        return store(result)

    where, expected = offsets(index, 6), np.full((32, 10), 9, np.uint16)
    for column, offset in enumerate(where):
        chosen = flags[:, offset] != 0
        expected[chosen, offset] = x[chosen, column]
    assert (run_both(kernel, x, flags, index) == expected).all()


def test_the_tensor_engine_walks_groups_of_32():
    x, w = (RNG.integers(-4, 5, (128, n)).astype(BF16) for n in (24, 20))
    index = RNG.integers(0, 20, (128, 2), dtype=np.uint16)

    def kernel(x, w, i):
        stationary, moving, index = load(x), load(w), load(i)
        product, gathered = psum((24, 50)), psum((50, 20))
        nisa.nc_matmul(product, stationary, moving.indirect(index, 50))
        nisa.nc_matmul(gathered, stationary.indirect(index, 50), moving)
        spread = psum((24, 20))
        nisa.memset(spread, 1.0)
        nisa.nc_matmul(spread.indirect(index[:24], 16), stationary, moving[:, :16], accumulate=True)
        return store(product), store(gathered), store(spread)

    product, gathered, spread = run_both(kernel, x, w, index)
    where = offsets(index, 50, 32)
    wide, other = x.astype(np.float32), w.astype(np.float32)
    assert (product == wide.T @ other[:, where]).all()  # small integers: every order of additions is exact
    assert (gathered == wide[:, where].T @ other).all()
    sums = 1 + wide.T @ other[:, :16]
    assert (spread == scattered(np.ones((24, 20), np.float32), sums, offsets(index, 16, 32))).all()


def test_an_mx_operand_and_its_scales_share_an_index():
    data = RNG.integers(0, 2**32, (32, 12), dtype=np.uint32) & np.uint32(0x3F3F3F3F)  # small positive float8_e4m3fn
    scales = np.full((32, 12), 127, np.uint8)
    scales[:4] = RNG.integers(125, 130, (4, 12))
    index = RNG.integers(0, 12, (32, 1), dtype=np.uint16)

    def kernel(x, s, i, gathers):
        tile, scale, index = load(x).view(nl.float8_e4m3fn_x4), load(s), load(i)
        if gathers:
            stationary, factors = tile.indirect(index, 10), scale.indirect(index, 10)
        else:
            stationary, factors = tile, scale
        result = psum((stationary.shape[1], 12))
        nisa.nc_matmul_mx(result, stationary, tile, factors, scale)
        return store(result)

    whole = launch.run(kernel, data, scales, index, False, target="trn3").outputs
    assert (run_both(kernel, data, scales, index, True) == whole[offsets(index, 10, 32)]).all()


def test_offsets_beyond_the_row_are_an_error():
    values, index = random_bits((16, 9), np.uint16, 4), np.full((16, 1), 8, np.int32)
    index[3] = 9

    def kernel(x, i, count):
        result = sbuf((16, count), x.dtype)
        nisa.tensor_copy(result, load(x).indirect(load(i), count))
        return store(result)

    assert (run_both(kernel, values, index, 3) == values[:, 8:9]).all()
    for wrong in (9, -1):
        index[3] = wrong
        for mode in ("reference", "compiled"):
            with pytest.raises(BoundsError, match=rf"nisa\.tensor_copy: .*run-time index {wrong}; allowed: 0 to 8"):
                launch.run(kernel, values, index, 4, target="trn3", mode=mode)


def test_a_view_is_part_of_the_program():
    program = accepted(lambda: nisa.tensor_copy(sbuf((P, 20)), sbuf((P, 9)).indirect(sbuf((P, 2), nl.uint16), 20)))
    (source,) = (o for s in program.signatures for o in s.operands if o.indirection is not None)
    assert source.indirection == ("columns", 1, 9, 16)
    assert Program.from_json(program.to_json()) == program
    assert "columns@" in str(program)
    costs = dict(zip((s.opcode for s in program.signatures), signature_costs(program, get_target("trn3")), strict=True))
    assert costs["tensor_copy"].assumed
