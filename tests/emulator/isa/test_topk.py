"""topk against loops written from the documentation; limits, both modes."""

from __future__ import annotations

import functools

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.emulator.isa.harness import accepted, psum, rejected, sbuf, words
from tests.emulator.isa.modes import in_both_modes, in_every_transformation, in_reference
from tests.emulator.isa.values import f32, same
from trnlab.emulator import dtypes
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, PartitionError, ShapeError
from trnlab.emulator.isa import positions
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.target import get_target
from trnlab.emulator.timing.cost import signature_costs

BF16 = ml_dtypes.bfloat16
SPECIALS = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 1.0, 1.0, -2.0], np.float32)


def snake(tile, group, n):
    """Elements 0..n-1 of a group of 16 partitions: element i in partition i % 16, column i // 16."""
    return np.array([tile[16 * group + i % 16, i // 16] for i in range(n)])


def largest(values, k):
    """Indices of the k largest, ascending: NaN above all, 0.0 above -0.0, of equal values the first one highest."""

    def rank(i):
        value = values[i]
        return (1, 0.0, False, -i) if np.isnan(value) else (0, value, not np.signbit(value), -i)

    return sorted(range(len(values)), key=rank)[-k:]


def expected_topk(tile, k, n, values, indices):
    """The two results laid down as snakes over what the destinations held."""
    for group in range(tile.shape[0] // 16):
        elements = snake(tile, group, n)
        for j, i in enumerate(largest(f32(elements), k)):
            values[16 * group + j % 16, j // 16] = elements[i]
            indices[16 * group + j % 16, j // 16] = i
    return values, indices


def topk(x, k, n):
    values = nl.ndarray((x.shape[0], k), dtype=nl.bfloat16, buffer=nl.sbuf)
    indices = nl.ndarray((x.shape[0], k), dtype=nl.uint32, buffer=nl.sbuf)
    nisa.memset(values, -7.0)
    nisa.memset(indices, 77)
    nisa.topk(values, indices, x, n)
    return values, indices


def check_topk(runner, tile, k, n):
    found, places = runner(lambda x: topk(x, k, n), tile)
    untouched = np.full((tile.shape[0], k), -7, BF16), np.full((tile.shape[0], k), 77, np.uint32)
    values, indices = expected_topk(tile, k, n, *untouched)
    same(found, values)
    same(places, indices)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([(16, 3, 1), (32, 3, 8), (32, 5, 16), (48, 4, 21)]),
    kinds=st.integers(1, 60),
    short=st.sampled_from([0, 1, 15]),
)
def test_topk_ranks_the_snake_of_each_group(seed, shape, kinds, short):
    partitions, columns, k = shape
    rng = np.random.default_rng(seed)
    pool = np.concatenate([SPECIALS, rng.standard_normal(kinds).astype(np.float32)]).astype(BF16)
    check_topk(in_reference, rng.choice(pool, (partitions, columns)), k, 16 * columns - short)


@pytest.mark.parametrize(
    ("partitions", "columns", "k", "n"),
    [(128, 3, 8, 42), (16, 1, 8, 8), (16, 2, 32, 32), (32, 9, 1, 100), (128, 64, 128, 1024)],
)
def test_topk_in_both_modes(partitions, columns, k, n):
    tile = np.random.default_rng(n).standard_normal((partitions, columns)).astype(np.float32).astype(BF16)
    check_topk(in_both_modes, tile, k, n)


def test_topk_of_the_longest_snake():
    n, k = 65535, 300
    tile = np.random.default_rng(4).standard_normal((16, 4096)).astype(np.float32).astype(BF16)
    found, places = in_reference(lambda x: topk(x, k, n), tile)
    values = snake(tile, 0, n)
    order = np.lexsort((-np.arange(n), f32(values)))[-k:]  # no NaN and no zero here
    indices = snake(places, 0, k)
    same(indices, order.astype(np.uint32))
    same(snake(found, 0, k), values[order])


def test_topk_keeps_the_bits_of_what_it_selects():
    tile = np.zeros((16, 1), BF16)
    tile.view(np.uint16)[:3, 0] = [0x7FA5, 0xFFC1, 0x0001]  # NaNs with payload, a subnormal
    found, places = in_both_modes(lambda x: topk(x, 3, 16), tile)
    assert words(found)[:3, 0].tolist() == [0x0001, 0xFFC1, 0x7FA5]
    assert places[:3, 0].tolist() == [2, 1, 0]


@pytest.mark.slow
def test_the_body_gives_the_same_bits_under_every_transformation():
    rng = np.random.default_rng(0)
    tiles = rng.standard_normal((2, 32, 4)).astype(np.float32).astype(BF16)
    values, indices = np.zeros((2, 32, 7), BF16), np.zeros((2, 32, 7), np.uint32)
    search = functools.partial(positions.topk.body, n=61, dtypes={"src": dtypes.bfloat16})
    in_every_transformation(search, values, indices, tiles)


# ---------------------------------------------------------------------------------------------------------- limits


def call_topk(partitions=16, k=4, n=20, columns=2, dtype=nl.bfloat16, values=nl.bfloat16, indices=nl.uint32, more=0):
    def build():
        nisa.topk(
            sbuf((partitions, k), values), sbuf((partitions, k + more), indices), sbuf((partitions, columns), dtype), n
        )

    return build


@pytest.mark.parametrize(
    "build",
    [
        call_topk(128, 8, 42, 3),
        call_topk(16, 1, 8, 1),
        call_topk(16, 4, 65535, 4096),
        call_topk(16, 20000, 65535, 4096),  # the tiles of a larger k do not fit into the SBUF of NeuronCore-v2
        call_topk(16, 20, 20, 7),
    ],
)
@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
def test_accepted_at_the_limits(build, target):
    accepted(build, target)


@pytest.mark.parametrize(
    ("build", "error", "operand", "found", "allowed"),
    [
        (call_topk(24), ShapeError, "src", "count 24", "multiple of 16"),
        (call_topk(n=7), ArgumentError, "n", "7", "8 <= n < 65536"),
        (call_topk(n=65536, columns=4096), ArgumentError, "n", "65536", "8 <= n < 65536"),
        (call_topk(k=21), ShapeError, "val_dst", "K = 21 of n = 20", "K <= n"),
        (call_topk(16, 32768, 65535, 4096), ShapeError, "val_dst", "K = 32768", "K < 32768"),
        (call_topk(n=33), ShapeError, "src", "free size 2", "ceil(n / 16) = 3"),
        (call_topk(more=1), ShapeError, "idx_dst", "free size 5", "free size 4"),
        (call_topk(dtype=nl.float16), DtypeError, "src", "float16", "bfloat16"),
        (call_topk(values=nl.float32), DtypeError, "val_dst", "float32", "bfloat16"),
        (call_topk(indices=nl.int32), DtypeError, "idx_dst", "int32", "uint32"),
    ],
)
def test_rejected_past_the_limits(build, error, operand, found, allowed):
    rejected(error, build, instruction="topk", operand=operand, found=found, allowed=allowed)


def test_gpsimd_does_not_reach_psum():
    rejected(
        BufferError,
        lambda: nisa.topk(sbuf((16, 4), nl.bfloat16), sbuf((16, 4), nl.uint32), psum((16, 2), nl.bfloat16), 20),
        instruction="topk",
        operand="src",
        found="psum",
        allowed="sbuf",
    )


def test_groups_start_where_partitions_may():
    def build():
        tile = sbuf((64, 2), nl.bfloat16)
        nisa.topk(sbuf((16, 4), nl.bfloat16), sbuf((16, 4), nl.uint32), tile[16:32], 20)

    rejected(
        PartitionError, build, instruction="topk", operand="src", found="partition 16", allowed="start at 0, 32, 64, 96"
    )


@pytest.mark.parametrize("name", ["trn1", "trn2", "trn3"])
def test_cost_is_the_published_one(name):
    costs = signature_costs(accepted(call_topk(128, 8, 42, 3), name), get_target(name))
    cost = next(cost for cost in costs if cost.opcode == "topk")
    assert cost.cycles == 4 * 42 + 8
    assert not cost.assumed
