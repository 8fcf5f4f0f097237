"""max8, nc_find_index8 and nc_match_replace8 against loops written from the documentation; every limit, both modes."""

from __future__ import annotations

import functools

import jax
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.emulator.isa.harness import accepted, random_bits, rejected, sbuf, words
from tests.emulator.isa.modes import in_both_modes, in_every_transformation, in_reference
from tests.emulator.isa.values import f32, same
from tests.repetition import everyday
from trnlab.emulator import launch
from trnlab.emulator.errors import ArgumentError, DtypeError, ShapeError
from trnlab.emulator.isa import search
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.target import get_target
from trnlab.emulator.timing.cost import signature_costs

NAN = np.float32(np.nan)
SPECIALS = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 3e-45, 1.0, 1.0, -2.0, 3.4e38], np.float32)
DTYPES = [np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3, np.int8, np.float16, np.int32, np.uint16]


def sort_key(value):
    """NaN first, then by value from above, and 0.0 before -0.0."""
    return (0,) if np.isnan(value) else (1, -value, np.signbit(value))


def eight_largest(row):
    return sorted(row, key=sort_key)[:8]


def paired(row, vals, order):
    """For each value, in this order, the first equal element not yet taken; None where there is none."""
    left, found = list(range(len(row))), [None] * 8
    for slot in order:
        match = next((place for place in left if row[place] == vals[slot]), None)
        if match is not None:
            left.remove(match)
            found[slot] = match
    return found, left


def canonical(array):
    """The array with every NaN as the canonical one, as the executor writes it."""
    if array.dtype.kind in "iu":
        return array
    return np.where(np.isnan(f32(array)), NAN.astype(array.dtype), array)


def draw(dtype, shape, seed, kinds):
    """Elements of few kinds, so that they repeat; special ones among floats."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        pool = rng.integers(info.min, info.max, kinds, dtype=dtype, endpoint=True)
    else:
        with np.errstate(over="ignore"):
            pool = np.concatenate([SPECIALS, rng.standard_normal(kinds).astype(np.float32)]).astype(dtype)
    return rng.choice(pool, shape)


# ------------------------------------------------------------------------------------------------------------ max8


def max8(x, dtype=None):
    result = nl.ndarray((x.shape[0], 8), dtype=dtype or x.dtype, buffer=nl.sbuf)
    nisa.max8(result, x)
    return result


@pytest.mark.parametrize("dtype", everyday(4, DTYPES))
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kinds=st.integers(1, 40))
def test_max8_sorts_and_keeps_duplicates(dtype, seed, kinds):
    values = draw(dtype, (5, 3, 11), seed, kinds)
    (found,) = in_reference(max8, values)
    expected = [eight_largest(row) for row in f32(values).reshape(5, 33)]
    with np.errstate(over="ignore"):
        same(found, canonical(np.array(expected, np.float32).astype(dtype)))


def test_max8_example_of_the_reference():
    """The published example: 32 x 128 random values, rows that descend."""
    values = np.random.default_rng(0).random((32, 128), np.float32)
    (found,) = in_both_modes(max8, values)
    same(found, -np.sort(-values, axis=1)[:, :8])
    assert (np.diff(found, axis=1) <= 0).all()


def test_max8_compares_as_float32_and_casts_the_results():
    values = np.array([[2**24 + 1, 2**24, -5, 300, 7, 0, 1, 2, 3, 70000]], np.int32)
    (found,) = in_both_modes(lambda x: max8(x, nl.int32), values)
    # float32 cannot hold 2**24 + 1, and rounds it to even.
    same(found, np.array([[2**24, 2**24, 70000, 300, 7, 3, 2, 1]], np.int32))
    (found,) = in_both_modes(lambda x: max8(x, nl.uint16), values)
    same(found, np.array([[65535, 65535, 65535, 300, 7, 3, 2, 1]], np.uint16))
    (found,) = in_both_modes(lambda x: max8(x, nl.bfloat16), values)
    same(found, np.array([[2**24, 2**24, 70000, 300, 7, 3, 2, 1]], np.float32).astype(ml_dtypes.bfloat16))


def test_max8_of_exactly_eight_is_a_sort():
    values = random_bits((128, 8), np.float32, seed=3)
    (found,) = in_both_modes(max8, values)
    expected = np.array([eight_largest(row) for row in values], np.float32)
    same(found, canonical(expected))


def test_max8_of_the_longest_row():
    values = np.random.default_rng(5).permutation(2 * 16384).astype(np.float32).reshape(2, 16384)
    (found,) = in_both_modes(max8, values)
    same(found, -np.sort(-values, axis=1)[:, :8])


# -------------------------------------------------------------------------------------------------- nc_find_index8


def find(data, vals, dtype=nl.uint32):
    result = nl.ndarray((data.shape[0], 8), dtype=dtype, buffer=nl.sbuf)
    nisa.nc_find_index8(result, data, vals)
    return result


@pytest.mark.parametrize(
    ("dtype", "index"),
    everyday(6, [*((dtype, np.uint32) for dtype in DTYPES[:2]), *((dtype, np.uint16) for dtype in DTYPES)]),
)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kinds=st.integers(1, 12))
def test_find_index8_pairs_duplicates_in_order(dtype, index, seed, kinds):
    data, vals = draw(dtype, (4, 2, 20), seed, kinds), draw(dtype, (4, 8), seed, kinds)
    (found,) = in_reference(lambda d, v: find(d, v, index), data, vals)
    rows = zip(f32(data).reshape(4, 40), f32(vals), strict=True)
    expected = [paired(row, wanted, range(8))[0] for row, wanted in rows]
    all_ones = np.iinfo(index).max
    same(found, np.array([[all_ones if place is None else place for place in row] for row in expected], index))


def test_find_index8_finds_what_max8_found():
    values = np.random.default_rng(1).random((32, 128), np.float32)
    (found,) = in_both_modes(lambda x: find(x, max8(x)), values)
    same(found, np.argsort(-values, axis=1, kind="stable")[:, :8].astype(np.uint32))


def test_find_index8_of_one_value_broadcast_finds_its_occurrences():
    """A view that repeats one element, as AWS's kernels pass vals."""
    data = np.zeros((4, 12), np.float32)
    data[:, [3, 5, 10]] = 2.0

    def body(x):
        largest = nl.ndarray((4, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_reduce(largest, nl.maximum, x, axis=1)
        return find(x, largest.ap([[1, 4], [0, 8]]))

    (found,) = in_both_modes(body, data)
    same(found, np.tile(np.array([3, 5, 10] + [2**32 - 1] * 5, np.uint32), (4, 1)))


def test_find_index8_compares_different_dtypes_as_float32():
    data = np.array([[3, -1, 5, 3, 200, -7, 0, 9]], np.int32)
    vals = np.array([[3, 5, 3, 9, 4294967295, 0, 200, 1]], np.uint32)
    (found,) = in_both_modes(find, data, vals)
    same(found, np.array([[0, 2, 3, 7, 2**32 - 1, 6, 4, 2**32 - 1]], np.uint32))


# ----------------------------------------------------------------------------------------------- nc_match_replace8


def replace(data, vals, imm, dtype=None, index=nl.uint32):
    result = nl.ndarray(data.shape, dtype=dtype or data.dtype, buffer=nl.sbuf)
    places = nl.ndarray((data.shape[0], 8), dtype=index, buffer=nl.sbuf)
    nisa.nc_match_replace8(result, data, vals, imm, dst_idx=places)
    return result, places


def replaced(data, vals, imm):
    """The replaced rows as float32, and the index of each value, all ones where it finds nothing."""
    rows, indices = f32(data).reshape(data.shape[0], -1), []
    for row, wanted in zip(rows, f32(vals).reshape(data.shape[0], 8), strict=True):
        found, left = paired(row, wanted, reversed(range(8)))
        indices.append([2**32 - 1 if place is None else place for place in found])
        row[[place for place in range(len(row)) if place not in left]] = imm
    return rows.reshape(data.shape), np.array(indices, np.uint32)


@pytest.mark.parametrize("dtype", everyday(4, DTYPES))
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kinds=st.integers(1, 12), imm=st.sampled_from([0.0, -np.inf, 1.0, -2.5, 3e38]))
def test_match_replace8_takes_values_from_the_last_to_the_first(dtype, seed, kinds, imm):
    data, vals = draw(dtype, (4, 2, 3, 5), seed, kinds), draw(dtype, (4, 2, 4), seed, kinds)
    found, places = in_reference(lambda d, v: replace(d, v, imm, nl.float32), data, vals)
    expected, indices = replaced(data, vals, np.float32(imm))
    same(found, canonical(expected))
    same(places, indices)


def test_match_replace8_example_of_the_reference():
    data = np.array([[1, 2, 3, 4, 8, 8, 8, 8, 8, 8, 8]], np.float32)
    vals = np.array([[3, 8, 8, 8, 8, 8, 8, 8]], np.float32)
    found, places = in_both_modes(lambda d, v: replace(d, v, -1.0), data, vals)
    same(places, np.array([[2, 10, 9, 8, 7, 6, 5, 4]], np.uint32))
    same(found, np.array([[1, 2, -1, 4, *[-1] * 7]], np.float32))


def test_match_replace8_and_find_index8_pair_duplicates_in_opposite_order():
    data = np.array([[5, 7, 5, 5, 1, 7, 5, 2, 5]], np.float32)
    vals = np.array([[5, 5, 7, 5, 9, 7, 5, 1]], np.float32)
    places, indices = in_both_modes(lambda d, v: (replace(d, v, 0.0)[1], find(d, v)), data, vals)
    none = 2**32 - 1
    same(places, np.array([[6, 3, 5, 2, none, 1, 0, 4]], np.uint32))
    same(indices, np.array([[0, 2, 1, 3, none, 5, 6, 4]], np.uint32))


def test_match_replace8_does_not_match_what_it_replaced():
    data, vals = np.full((1, 10), -np.inf, np.float32), np.full((1, 8), -np.inf, np.float32)
    _, places = in_both_modes(lambda d, v: replace(d, v, -np.inf), data, vals)
    same(places, np.array([[7, 6, 5, 4, 3, 2, 1, 0]], np.uint32))


def test_match_replace8_sorts_in_place():
    """Repeated max8 and replacement by -inf, as AWS's kernels sort."""
    values = np.random.default_rng(2).permutation(6 * 32).astype(np.float32).reshape(6, 32)

    def body(x):
        ordered = nl.ndarray((6, 32), dtype=nl.float32, buffer=nl.sbuf)
        places = nl.ndarray((6, 32), dtype=nl.uint16, buffer=nl.sbuf)
        for start in range(0, 32, 8):
            now = nl.ds(start, 8)
            nisa.max8(ordered[:, now], x)
            nisa.nc_match_replace8(x, x, ordered[:, now], -np.inf, places[:, now])
        return ordered, places, x

    ordered, places, left = in_both_modes(body, values)
    same(ordered, -np.sort(-values, axis=1))
    same(places, np.argsort(-values, axis=1).astype(np.uint16))
    assert (left == -np.inf).all()


def test_match_replace8_without_indices_and_from_psum():
    values = np.arange(16, dtype=np.float32).reshape(1, 16)

    def body(x):
        source, result = nl.ndarray((1, 16), nl.float32, nl.psum), nl.ndarray((1, 16), nl.bfloat16, nl.psum)
        nisa.tensor_copy(source, x)
        nisa.nc_match_replace8(result, source, max8(source), np.float32(0.5))
        return result

    (found,) = in_both_modes(body, values, target="trn1")
    same(found, np.array([[*range(8), *[0.5] * 8]], np.float32).astype(ml_dtypes.bfloat16))


def test_match_replace8_with_another_constant_is_the_same_signature():
    def kernel():
        data, vals = sbuf((2, 8)), sbuf((2, 8))
        nisa.memset(data, 1.0)
        nisa.memset(vals, 1.0)
        for imm in (2.0, 3.5):
            nisa.nc_match_replace8(data, data, vals, imm)
        result = nl.ndarray((2, 8), nl.float32, nl.shared_hbm)
        nisa.dma_copy(result, data)
        return result

    done = launch.run(kernel)
    assert len([s for s in done.program.signatures if s.opcode == "nc_match_replace8"]) == 1
    assert (done.outputs == 2.0).all()


# ------------------------------------------------------------------------------------- modes and transformations


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.int32])
def test_compiled_equals_reference_on_random_bits(dtype):
    data = random_bits((128, 64), dtype, seed=1)
    data[:, 40:] = data[:, :24]

    def body(x):
        largest = max8(x)
        return (largest, find(x, largest, nl.uint16), *replace(x, largest, 2.5))

    largest, *_ = in_both_modes(body, data)
    assert np.dtype(dtype).kind in "iu" or np.isnan(f32(largest)).any()
    assert np.dtype(dtype) != ml_dtypes.bfloat16 or set(words(largest)[np.isnan(f32(largest))].tolist()) == {0x7FC0}


@pytest.mark.slow
def test_bodies_give_the_same_bits_under_every_transformation():
    data = np.stack([draw(np.float32, (4, 20), seed, 6) for seed in range(2)])
    vals = np.stack([draw(np.float32, (4, 8), seed, 6) for seed in range(2)])
    indices = jax.ShapeDtypeStruct((4, 8), np.dtype(np.uint32))
    in_every_transformation(search.max8.body, data)
    in_every_transformation(functools.partial(search.nc_find_index8.body, indices), data, vals)

    def match(values, wanted, imm):
        return search.nc_match_replace8.body(values, wanted, indices, imm=imm)

    in_every_transformation(match, data, vals, np.float32([0, -np.inf]))


# ---------------------------------------------------------------------------------------------------------- limits


def call_max8(source=(4, 8), target=(4, 8), dtype=nl.float32):
    return lambda: nisa.max8(sbuf(target), sbuf(source, dtype))


def call_find(data=(4, 8), vals=(4, 8), dst=(4, 8), dtype=nl.uint32):
    return lambda: nisa.nc_find_index8(sbuf(dst, dtype), sbuf(data), sbuf(vals))


def call_match(data=(4, 8), vals=(4, 8), dst=None, idx=None, dtype=nl.uint32, imm=0.0):
    def build():
        places = None if idx is None else sbuf(idx, dtype)
        nisa.nc_match_replace8(sbuf(dst or data), sbuf(data), sbuf(vals), imm, places)

    return build


@pytest.mark.parametrize(
    "build",
    [
        call_max8(),
        call_max8((128, 16384), (128, 8)),
        call_max8((4, 4, 2)),
        call_find(),
        call_find((128, 16384), (128, 8), (128, 8)),
        call_find((4, 4, 2), (4, 2, 4), dtype=nl.uint16),
        call_match((4, 1)),
        call_match((4, 16384), idx=(4, 8)),
        call_match((4, 1, 2, 2, 2), (4, 2, 4), (4, 8), idx=(4, 2, 4)),
    ],
)
@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
def test_accepted_at_the_limits(build, target):
    accepted(build, target)


@pytest.mark.parametrize(
    ("build", "error", "instruction", "operand", "found", "allowed"),
    [
        (call_max8((4, 7)), ShapeError, "max8", "src", "free size 7", "at least 8"),
        (call_max8((4, 16385)), ShapeError, "max8", "src", "free size 16385", "at most 16384"),
        (call_max8((4, 2, 2, 2)), ShapeError, "max8", "src", "dimensions 4", "at most 3"),
        (call_max8(target=(4, 9)), ShapeError, "max8", "dst", "free size 9", "exactly 8"),
        (call_max8(target=(4, 2, 4)), ShapeError, "max8", "dst", "dimensions 3", "at most 2"),
        (call_max8(target=(5, 8)), ShapeError, "max8", "dst", "count 5", "count 4"),
        (call_max8(dtype=nl.float8_e4m3fn_x4), DtypeError, "max8", "src", "x4", "float32"),
        (call_find((4, 7)), ShapeError, "nc_find_index8", "data", "free size 7", "at least 8"),
        (call_find((4, 16385)), ShapeError, "nc_find_index8", "data", "free size 16385", "at most 16384"),
        (call_find((4, 2, 2, 2)), ShapeError, "nc_find_index8", "data", "dimensions 4", "at most 3"),
        (call_find(vals=(4, 7)), ShapeError, "nc_find_index8", "vals", "free size 7", "exactly 8"),
        (call_find(vals=(4, 2, 2, 2)), ShapeError, "nc_find_index8", "vals", "dimensions 4", "at most 3"),
        (call_find(vals=(3, 8)), ShapeError, "nc_find_index8", "vals", "count 3", "count 4"),
        (call_find(dst=(4, 16)), ShapeError, "nc_find_index8", "dst", "free size 16", "exactly 8"),
        (call_find(dst=(4, 2, 4)), ShapeError, "nc_find_index8", "dst", "dimensions 3", "at most 2"),
        (call_find(dtype=nl.int32), DtypeError, "nc_find_index8", "dst", "int32", "uint16, uint32"),
        (call_match((4, 16385)), ShapeError, "nc_match_replace8", "data", "free size 16385", "at most 16384"),
        (call_match(vals=(4, 9)), ShapeError, "nc_match_replace8", "vals", "free size 9", "exactly 8"),
        (call_match(vals=(4, 2, 2, 2)), ShapeError, "nc_match_replace8", "vals", "dimensions 4", "at most 3"),
        (call_match(dst=(4, 9)), ShapeError, "nc_match_replace8", "dst", "free size 9", "free size 8"),
        (call_match(idx=(4, 4)), ShapeError, "nc_match_replace8", "dst_idx", "free size 4", "exactly 8"),
        (call_match(idx=(2, 8)), ShapeError, "nc_match_replace8", "dst_idx", "count 2", "count 4"),
        (call_match(idx=(4, 8), dtype=nl.float32), DtypeError, "nc_match_replace8", "dst_idx", "float32", "uint16"),
    ],
)
def test_rejected_past_the_limits(build, error, instruction, operand, found, allowed):
    rejected(error, build, instruction=instruction, operand=operand, found=found, allowed=allowed)


def test_the_constant_is_a_number():
    with pytest.raises(ArgumentError, match=r"imm.*compile-time number"):
        accepted(call_match(imm="0"))
    with pytest.raises(ArgumentError, match=r"imm.*compile-time number"):
        accepted(lambda: nisa.nc_match_replace8(sbuf((4, 8)), sbuf((4, 8)), sbuf((4, 8)), sbuf((1, 1))))


@pytest.mark.parametrize(("build", "opcode"), [(call_max8((4, 640)), "max8"), (call_find((4, 640)), "nc_find_index8")])
def test_cost_is_one_element_per_cycle(build, opcode):
    for name, is_assumed in (("trn2", False), ("trn3", True)):
        target = get_target(name)
        program = accepted(build, name)
        costs = {cost.opcode: cost for cost in signature_costs(program, target)}
        assert costs[opcode].cycles == 640 + target.vector_static_cycles
        assert costs[opcode].assumed is is_assumed


def test_cost_of_a_short_replacement_is_the_initiation_interval():
    target = get_target("trn2")
    costs = {cost.opcode: cost for cost in signature_costs(accepted(call_match((4, 8)), "trn2"), target)}
    assert costs["nc_match_replace8"].cycles == 64 + target.vector_static_cycles
