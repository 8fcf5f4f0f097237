"""dma_compute: sums, gathering and scattering accumulation against NumPy, limits, both executors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.emulator.isa.harness import accepted, hbm, load, psum, rejected, run_both, sbuf, store, words
from trnlab.emulator import launch
from trnlab.emulator.errors import ArgumentError, BoundsError, BufferError, DtypeError, ShapeError
from trnlab.emulator.isa import dma_compute
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.target import get_target
from trnlab.emulator.timing.cost import signature_costs

BF16 = ml_dtypes.bfloat16
SKIP = nisa.oob_mode.skip
RNG = np.random.default_rng(11)


def normal(shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(np.float32).astype(dtype)


def added(*arrays):
    """Sums in order, each rounded to float32."""
    total = arrays[0].astype(np.float32)
    for array in arrays[1:]:
        total = total + array.astype(np.float32)
    return total


# ------------------------------------------------------------------------------------------------------------ sums


@settings(max_examples=8, deadline=None)
@given(
    count=st.integers(1, 16),
    dtypes=st.lists(st.sampled_from([np.float32, BF16, np.float16, np.int8]), min_size=16, max_size=16),
    into_hbm=st.booleans(),
    result=st.sampled_from([np.float32, BF16]),
)
def test_sources_are_added_in_order_and_cast_once(count, dtypes, into_hbm, result):
    arrays = [(normal((8, 5)) * 50).astype(dtype) for dtype in dtypes[:count]]

    def kernel(*inputs):
        sources = [load(x) if number % 2 else x for number, x in enumerate(inputs)]
        dst = (hbm if into_hbm else sbuf)((8, 5), result)
        nisa.dma_compute(dst, sources, nl.add, scales=[1.0] * count)
        return dst if into_hbm else store(dst)

    assert (words(run_both(kernel, *arrays)) == words(added(*arrays).astype(result))).all()


def test_a_source_may_be_dst_itself():
    data = normal((16, 6))

    def kernel(x):
        tile = load(x)
        nisa.dma_compute(tile, (tile, x, tile), nl.add, (1, 1, 1))
        return store(tile)

    assert (run_both(kernel, data) == added(data, data, data)).all()


def test_element_order_is_kept_between_shapes():
    x, y = normal((4, 6)), normal((2, 3, 4))

    def kernel(x, y):
        dst = sbuf((8, 3))
        nisa.dma_compute(dst, [x, y], nl.add)
        return store(dst)

    assert (run_both(kernel, x, y, target="trn1") == added(x.reshape(8, 3), y.reshape(8, 3))).all()


def test_infinities_and_signed_zeros_add_as_float32_does():
    special = np.array([[0.0, -0.0, np.inf, -np.inf, 3e38, 1e-45]], np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = added(special, special[:, ::-1].copy(), special)

    def kernel(x, y):
        dst = hbm(x.shape)
        nisa.dma_compute(dst, [x, y, x], nl.add)
        return dst

    found = run_both(kernel, special, special[:, ::-1].copy())
    assert (np.isnan(found) == np.isnan(expected)).all()
    normal_ones = ~np.isnan(expected) & (np.abs(expected) > 1e-38)
    assert (found[normal_ones] == expected[normal_ones]).all()


def test_the_body_gives_the_same_bits_alone_compiled_and_in_a_batch():
    arrays = jnp.asarray(normal((5, 3, 8, 6)))
    result = jax.ShapeDtypeStruct((6, 8), np.float32)

    def body(sources):
        absent = [None] * (dma_compute.MAX_SOURCES - 3)
        return dma_compute.dma_compute.body(result, *sources, *absent, reduce_op="add")

    together = jax.vmap(body)(arrays)
    for number, sources in enumerate(arrays):
        alone = words(np.asarray(body(sources)))
        assert (alone == words(np.asarray(jax.jit(body)(sources)))).all()
        assert (alone == words(np.asarray(together[number]))).all()


# -------------------------------------------------------------------------------------------- gather and scatter


def rows_of(tensor, index, count):
    width = tensor.shape[1]
    return tensor.ap([[width, count], [1, width]], vector_offset=index)


@pytest.mark.parametrize("first", [True, False])
def test_rows_gathered_from_hbm_are_added_to_a_tile(first):
    """AWS's topk_reduce: reduced += rows, the gathered source first."""
    data, start = normal((20, 7), BF16), normal((8, 7), BF16)
    index = RNG.permutation(20)[:8].astype(np.uint32)[:, None]

    def kernel(x, y, i):
        tile = load(y)
        pair = [rows_of(x, load(i), 8), tile]
        nisa.dma_compute(tile, pair if first else pair[::-1], nl.add, unique_indices=True)
        return store(tile)

    expected = added(start, data[index[:, 0]]).astype(BF16)
    assert (words(run_both(kernel, data, start, index)) == words(expected)).all()


def test_a_tile_is_added_to_rows_scattered_in_hbm():
    data, more = normal((20, 7)), normal((8, 7))
    index = RNG.permutation(20)[:8].astype(np.int32)[:, None]

    def kernel(x, y, i):
        result, tile, index = hbm(x.shape), load(y), load(i)
        nisa.dma_copy(result, x)
        nisa.dma_compute(rows_of(result, index, 8), [rows_of(result, index, 8), tile], nl.add)
        return result

    expected = data.copy()
    expected[index[:, 0]] += more
    assert (run_both(kernel, data, more, index) == expected).all()


@pytest.mark.parametrize("scatter", [True, False])
def test_rows_out_of_bounds_are_an_error_or_left_alone(scatter):
    data, more = normal((6, 5)), normal((4, 5))
    index = np.array([[2], [6], [0], [-1]], np.int32)

    def kernel(x, y, i, mode):
        tile, index, result = load(y), load(i), hbm(x.shape)
        nisa.dma_copy(result, x)
        rows = rows_of(result, index, 4)
        if scatter:
            nisa.dma_compute(rows, [rows, tile], nl.add, oob_mode=mode)
            return result
        nisa.dma_compute(tile, [rows, tile], nl.add, oob_mode=mode)
        return store(tile)

    expected = data.copy() if scatter else more.copy()
    for row, source in ((0, 2), (2, 0)):
        expected[source if scatter else row] = data[source] + more[row]
    assert (run_both(kernel, data, more, index, SKIP) == expected).all()
    for mode in ("reference", "compiled"):
        with pytest.raises(BoundsError, match=r"nisa\.dma_compute: .*run-time index"):
            launch.run(kernel, data, more, index, nisa.oob_mode.error, mode=mode)


# --------------------------------------------------------------------------------------------------------- limits


def compute(dst=sbuf, sources=2, op=nl.add, dtype=nl.float32, shape=(8, 8), make=hbm, **options):
    return lambda: nisa.dma_compute(dst((8, 8)), [make(shape, dtype) for _ in range(sources)], op, **options)


def gather(build, **options):
    """A gathering accumulation whose dst and sources `build(tile, rows)` arranges."""

    def call():
        tile, index = sbuf((8, 8)), sbuf((8, 1), nl.uint32)
        dst, sources = build(tile, rows_of(hbm((16, 8)), index, 8))
        nisa.dma_compute(dst, sources, nl.add, **options)

    return call


def same(tile, rows):
    return tile, [rows, tile]


@pytest.mark.parametrize(
    ("build", "target"),
    [
        (compute(), "trn1"),
        (compute(sources=1), "trn2"),
        (compute(hbm, 16, make=sbuf), "trn3"),
        (compute(scales=(1.0, 1)), "trn2"),
        (compute(unique_indices=False), "trn2"),
        (gather(same), "trn1"),
        (gather(same, oob_mode=SKIP, scales=[1.0, 1.0]), "trn2"),
        (gather(lambda tile, rows: (rows, [tile, rows])), "trn3"),
    ],
)
def test_taken_at_the_limit(build, target):
    assert accepted(build, target).count_by_opcode()["dma_compute"] == 1


FORMS = "two sources: dst in sbuf and a src in HBM"


@pytest.mark.parametrize(
    ("error", "build", "operand", "found", "allowed"),
    [
        (ArgumentError, compute(op=nl.multiply), "reduce_op", "multiply", "add"),
        (ShapeError, compute(shape=(8, 9)), "src0", "number of elements 72", "number of elements 64"),
        (DtypeError, compute(dtype=nl.float8_e5m2_x4), "src0", "float8_e5m2_x4", "bfloat16"),
        (BufferError, compute(make=psum), "src0", "in psum", "private_hbm, sbuf, shared_hbm"),
        (BufferError, compute(psum), "dst", "in psum", "private_hbm, sbuf, shared_hbm"),
        (ArgumentError, compute(oob_mode=SKIP), "oob_mode", "skip without", "oob_mode.error, or a vector offset"),
        (
            ArgumentError,
            lambda: nisa.dma_compute(sbuf((8, 8)), [hbm((16, 8))[nl.ds(nisa.register_alloc(1), 8)]], nl.add),
            "",
            "src0 float32[8, 8] in shared_hbm with a scalar offset",
            "known at compile time",
        ),
        (ArgumentError, gather(same, unique_indices=False), "unique_indices", "False with a vector", "True"),
        (ArgumentError, gather(lambda tile, rows: (tile, [rows])), "srcs", "1 sources", FORMS),
        (ArgumentError, gather(lambda tile, rows: (tile, [rows, tile, tile])), "srcs", "3 sources", FORMS),
        (ArgumentError, gather(lambda tile, rows: (tile, [rows, rows])), "srcs", "2 sources with a vector", FORMS),
        (ArgumentError, gather(lambda tile, rows: (rows, [tile, tile])), "srcs", "0 sources with a vector", FORMS),
        (ArgumentError, gather(lambda tile, rows: (sbuf((8, 8)), [rows, tile])), "srcs", "dst itself", FORMS),
        (
            ArgumentError,
            gather(lambda _, rows: (hbm((8, 8)), [rows, hbm((8, 8))])),
            "srcs",
            "no source that is dst itself",
            FORMS,
        ),
        (
            ArgumentError,
            gather(lambda _, rows: (rows, [rows, hbm((8, 8))])),
            "srcs",
            "src1 float32[8, 8] in shared_hbm in a scatter",
            FORMS,
        ),
    ],
)
def test_refused_past_the_limit(error, build, operand, found, allowed):
    rejected(error, build, instruction="dma_compute", operand=operand, found=found, allowed=allowed)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (compute(sources=17), r"srcs: found 17 sources; allowed: 1 to 16 sources"),
        (compute(sources=0), r"srcs: found 0 sources"),
        (lambda: nisa.dma_compute(sbuf((8, 8)), hbm((8, 8)), nl.add), r"srcs: .*a list of tensors"),
        (compute(scales=[1.0, 2.0]), r"scales: found \[1\.0, 2\.0\]; allowed: None, or 1\.0 for each of the 2 sources"),
        (compute(scales=[1.0]), r"scales: found \[1\.0\]"),
        (compute(scales=1.0), r"scales: found 1\.0"),
    ],
)
def test_arguments_refused_before_there_is_an_instruction(build, match):
    with pytest.raises(ArgumentError, match=rf"nisa\.dma_compute: {match}"):
        accepted(build)


def test_another_index_is_another_place():
    def build(tile, rows):
        other = rows_of(hbm((16, 8)), sbuf((8, 1), nl.uint32), 8)
        return other, [rows, tile]

    rejected(
        ArgumentError,
        gather(build),
        instruction="dma_compute",
        operand="srcs",
        found="no source that is dst itself",
        allowed=FORMS,
    )


# ----------------------------------------------------------------------------------------------------------- cost


def cost(build, target):
    program = accepted(build, target)
    costs = zip(program.signatures, signature_costs(program, get_target(target)), strict=True)
    return next(cost for signature, cost in costs if signature.opcode == "dma_compute")


def accumulate(count, in_place):
    def build():
        tile = sbuf((128, 4096), nl.bfloat16)
        others = [hbm((128, 4096), nl.bfloat16) for _ in range(count)]
        nisa.dma_compute(tile, [tile, *others] if in_place else others, nl.add)

    return build


def test_every_source_is_moved_but_the_one_in_place():
    nbytes = 128 * 4096 * 2
    assert cost(accumulate(3, False), "trn2").work.dma_bytes == 3 * nbytes
    assert cost(accumulate(1, True), "trn2").work.dma_bytes == nbytes
    assert cost(accumulate(3, False), "trn2").work.elementwise_operations == 2 * 128 * 4096


def test_memory_adds_at_the_full_rate_from_v4_on_and_at_half_of_it_before():
    """AWS Trainium3 guide, SBUF read-add-write: the throughput of a copy; 50 % of it before."""
    before, after = cost(accumulate(1, True), "trn2"), cost(accumulate(1, True), "trn3")
    targets = [get_target(name) for name in ("trn2", "trn3")]
    moved = [
        item.transfer.descriptor_seconds - target.dma_descriptor_overhead_ns * 1e-9
        for item, target in zip((before, after), targets, strict=True)
    ]
    rates = [target.dma_bytes_per_second_per_engine for target in targets]
    assert moved[0] * rates[0] / (moved[1] * rates[1]) == pytest.approx(2)
    assert not after.assumed
    assert cost(accumulate(2, False), "trn3").assumed
