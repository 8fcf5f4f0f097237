"""dma_transpose of rows gathered by a vector of indices, in both executors, and its documented constraints."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.emulator.isa.harness import accepted, hbm, load, random_bits, rejected, run_both, sbuf, store, words
from trnlab.emulator import launch
from trnlab.emulator.errors import ArgumentError, BoundsError, BufferError, DtypeError, GenerationError, ShapeError
from trnlab.emulator.nki import isa as nisa, language as nl

BF16 = ml_dtypes.bfloat16
MODE, SKIP = nisa.dge_mode, nisa.oob_mode.skip
AXES = {2: (1, 0), 3: (2, 1, 0), 4: (3, 1, 2, 0)}
RNG = np.random.default_rng(3)


def rows_of(tensor, index, count):
    """`count` rows of a tensor in HBM, placed by a vector of indices."""
    pattern = [[stride, size] for stride, size in zip(tensor.strides, (count, *tensor.shape[1:]), strict=True)]
    return tensor.ap(pattern, vector_offset=index, indirect_dim=0)


def gathered(x, i, count, **options):
    """A kernel's body: the transpose of `count` gathered rows, over zeros."""
    axes = AXES[x.ndim]
    shape = (count, *x.shape[1:])
    tile = sbuf(tuple(shape[axis] for axis in axes), x.dtype)
    nisa.memset(tile, 0)
    nisa.dma_transpose(tile, rows_of(x, load(i), count), **options)
    return store(tile)


def reference(data, index, count):
    """flat_indices = indices.T.flatten()[:rows]; dst = data[flat_indices] transposed."""
    return data[index.T.flatten()[:count]].transpose(AXES[data.ndim])


@settings(max_examples=6, deadline=None)  # each compiles its own shapes
@given(
    rank=st.sampled_from([2, 3, 4]),
    rows=st.sampled_from([16, 48, 128]),
    last=st.sampled_from([1, 7, 128]),
    dtype=st.sampled_from([BF16, np.float16, np.uint16]),
    seed=st.integers(0, 99),
)
def test_rows_are_gathered_then_transposed(rank, rows, last, dtype, seed):
    shape = (40, *((1, 3, 2)[4 - rank : 2] if rank > 2 else ()), last)
    data = random_bits(shape, dtype, seed)
    index = np.random.default_rng(seed).integers(0, 40, (rows, 1), dtype=np.uint32)
    found = run_both(lambda x, i: gathered(x, i, rows, dge_mode=MODE.swdge), data, index)
    assert (words(found) == words(np.ascontiguousarray(reference(data, index, rows)))).all()


@pytest.mark.parametrize("count", [256, 240])
def test_more_indices_than_partitions_are_walked_column_by_column(count):
    data, index = random_bits((300, 64), BF16, 1), RNG.integers(0, 300, (128, 2), dtype=np.uint32)
    found = run_both(lambda x, i: gathered(x, i, count, axes=(1, 0)), data, index)
    assert (words(found) == words(np.ascontiguousarray(reference(data, index, count)))).all()


def test_four_dimensions_as_in_the_documentation():
    data, index = random_bits((20, 2, 1, 32), BF16, 2), RNG.integers(0, 20, (128, 1), dtype=np.uint32)
    found = run_both(lambda x, i: gathered(x, i, 128, axes=(3, 1, 2, 0)), data, index)
    assert found.shape == (32, 2, 1, 128)
    assert (words(found) == words(np.ascontiguousarray(reference(data, index, 128)))).all()


def test_blocks_of_a_cache_as_aws_attention_loads_them():
    """k[block, 1, position, d] of the active blocks into [d, 1, position, block] of a wider tile."""
    blocks, length, width = 12, 4, 16
    data, index = random_bits((blocks, 1, length, width), BF16, 4), RNG.integers(0, blocks, (128, 1), dtype=np.uint32)

    def kernel(x, i):
        tile = sbuf((width, 2 * length * 128), x.dtype)
        nisa.memset(tile, 0.0)
        half = tile.reshape_dim(1, (2, length, 128)).select(1, 1).expand_dim(1)
        nisa.dma_transpose(half, rows_of(x, load(i), 128), axes=(3, 1, 2, 0), dge_mode=MODE.swdge)
        return store(tile)

    found = run_both(kernel, data, index)
    expected = reference(data, index, 128).reshape(width, -1)
    assert (words(found)[:, length * 128 :] == words(np.ascontiguousarray(expected))).all()
    assert not words(found)[:, : length * 128].any()


@pytest.mark.parametrize("rank", [2, 3, 4])
def test_rows_out_of_bounds_leave_their_columns_as_they_are(rank):
    shape = {2: (10, 5), 3: (10, 3, 5), 4: (10, 1, 3, 5)}[rank]
    data = random_bits(shape, np.uint16, 6)
    index = RNG.integers(0, 14, (16, 1), dtype=np.uint32)
    index[:2, 0] = 10, 2**32 - 1

    found = run_both(lambda x, i: gathered(x, i, 16, oob_mode=SKIP), data, index)
    inside = index[:, 0] < 10
    expected = reference(data, np.where(index < 10, index, 0), 16)
    assert (found == np.where(inside, expected, 0)).all()
    for mode in ("reference", "compiled"):
        with pytest.raises(BoundsError, match=r"nisa\.dma_transpose: .*run-time index"):
            launch.run(lambda x, i: gathered(x, i, 16), data, index, mode=mode)


def test_a_scalar_index_out_of_bounds_leaves_the_whole_tile():
    data = random_bits((64, 32), np.uint16, 7)

    def kernel(x, i):
        tile = sbuf((32, 16), x.dtype)
        nisa.memset(tile, 7)
        source = x.ap([[32, 16], [1, 32]], scalar_offset=load(i), indirect_dim=0)
        nisa.dma_transpose(tile, source, oob_mode=SKIP, dge_mode=MODE.swdge)
        return store(tile)

    assert (run_both(kernel, data, np.array([[3]], np.int32)) == data[3:19].T).all()
    assert (run_both(kernel, data, np.array([[64]], np.int32)) == 7).all()


# --------------------------------------------------------------------------------------------------------- limits


def transpose(shape=(64, 64), count=32, index=(32, 1), index_dtype=nl.uint32, dtype=nl.bfloat16, **options):
    def build():
        source = rows_of(hbm(shape, dtype), sbuf(index, index_dtype), count)
        permuted = tuple((count, *shape[1:])[axis] for axis in AXES[len(shape)])
        tile = sbuf((min(permuted[0], 128), *permuted[1:]), dtype)
        nisa.dma_transpose(tile, source, **options)

    return build


@pytest.mark.parametrize(
    ("build", "target"),
    [
        (transpose(), "trn2"),
        (transpose(dge_mode=MODE.swdge), "trn3"),
        (transpose((64, 128)), "trn2"),
        (transpose(count=16, index=(16, 1)), "trn2"),
        (transpose(count=112, index=(112, 1)), "trn2"),
        (transpose(count=112, index=(128, 4)), "trn2"),
        (transpose((64, 5, 6)), "trn2"),
        (transpose((64, 5, 1, 6)), "trn2"),
        (transpose(oob_mode=SKIP), "trn2"),
    ],
)
def test_taken_at_the_limit(build, target):
    assert accepted(build, target).count_by_opcode()["dma_transpose"] == 1


@pytest.mark.parametrize(
    ("error", "build", "operand", "found", "allowed", "target"),
    [
        (GenerationError, transpose(), "", "on NeuronCore-v2", "from NeuronCore-v3", "trn1"),
        (ArgumentError, transpose(dge_mode=MODE.hwdge), "dge_mode", "hwdge with a vector", "swdge or unknown", "trn2"),
        (ArgumentError, transpose(dge_mode=MODE.none), "dge_mode", "none with a vector", "swdge or unknown", "trn2"),
        (ShapeError, transpose((64, 2, 3, 8)), "src", "[32, 2, 3, 8]", "dimension 1 or 2 of size 1 in 4-D", "trn2"),
        (ShapeError, transpose((64, 1, 3, 129)), "src", "129]", "a last dimension of at most 128", "trn2"),
        (DtypeError, transpose(dtype=nl.float32), "src", "float32", "2 bytes with a vector of indices", "trn2"),
        (ShapeError, transpose(count=24), "src", "[24, 64]", "a multiple of 16 rows", "trn2"),
        (ShapeError, transpose(index=(32, 1, 1)), "src.index", "[32, 1, 1]", "2-D indices", "trn2"),
        (ShapeError, transpose(count=16, index=(24, 1)), "src.index", "[24, 1]", "a multiple of 16", "trn2"),
        (ShapeError, transpose(index=(64, 2)), "src.index", "[64, 2]", "128 partitions of indices", "trn2"),
        (DtypeError, transpose(index_dtype=nl.int32), "src.index", "int32", "uint32 indices", "trn2"),
    ],
)
def test_refused_past_the_limit(error, build, operand, found, allowed, target):
    rejected(error, build, instruction="dma_transpose", operand=operand, found=found, allowed=allowed, target=target)


@pytest.mark.parametrize("method", ["ap", "vector_select"])
def test_indices_lie_in_sbuf_one_for_each_row(method):
    def view(index, rows):
        source = hbm((64, 64), nl.bfloat16)
        return rows_of(source, index, rows) if method == "ap" else source.vector_select(0, index)

    with pytest.raises(BufferError, match=r"vector_offset .* in shared_hbm; allowed: .*in sbuf"):
        accepted(lambda: view(hbm((32, 1), nl.uint32), 32))
    if method == "ap":
        with pytest.raises(ArgumentError, match=r"vector_offset .*allowed: at least 48 integers"):
            accepted(lambda: view(sbuf((32, 1), nl.uint32), 48))
