"""Fitting how numbers advance: steps where they are constant, tables where not, and always exact."""

from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st

from trnlab.emulator.fold_fit import Fit, fitted
from trnlab.emulator.repeats import Integers


def evaluated(fit: Fit, first: Integers, shape: tuple[int, ...]) -> Integers:
    """The formula in `fold_fit`, written out: the first value plus a term per loop."""
    result = np.broadcast_to(first, (*shape, len(first))).copy()
    for axis, size in enumerate(shape):
        counter = np.arange(size).reshape([-1 if other == axis else 1 for other in range(len(shape))])
        result += counter[..., None] * fit.steps[axis]
    for axis, column, values in fit.tables:
        along = [-1 if other == axis else 1 for other in range(len(shape))]
        result[..., column] += values.reshape(along) if values.ndim == 1 else values
    return result


def check(values: Integers, ran: np.ndarray) -> Fit:
    fit = fitted(values, ran)
    first = values[np.unravel_index(ran.argmax(), ran.shape)]
    assert np.array_equal(evaluated(fit, first, ran.shape)[ran], values[ran])
    return fit


def test_constant_steps_have_no_tables() -> None:
    i, j = np.meshgrid(np.arange(4), np.arange(5), indexing="ij")
    values = np.stack([7 * i - 3 * j + 100, np.full((4, 5), 9), j], axis=-1)
    fit = check(values, np.ones((4, 5), bool))
    assert fit.steps.tolist() == [[7, 0, 0], [-3, 0, 1]]
    assert fit.tables == []


def test_a_table_where_steps_vary() -> None:
    i, j = np.meshgrid(np.arange(4), np.arange(5), indexing="ij")
    fit = check((i * i + 2 * j)[..., None], np.ones((4, 5), bool))
    assert fit.steps.tolist() == [[0], [2]]
    ((axis, column, values),) = fit.tables
    assert (axis, column, values.tolist()) == (0, 0, [0, 1, 4, 9])


def test_a_table_over_both_loops_where_they_do_not_add_up() -> None:
    i, j, k = np.meshgrid(np.arange(3), np.arange(4), np.arange(2), indexing="ij")
    fit = check((i * j + 5 * k)[..., None], np.ones((3, 4, 2), bool))
    assert fit.steps.tolist() == [[0], [0], [5]]
    ((axis, _, values),) = fit.tables
    assert axis == 2
    assert values.tolist() == [[[i * j] for j in range(4)] for i in range(3)]


def test_what_is_not_executed_does_not_matter() -> None:
    i, j = np.meshgrid(np.arange(6), np.arange(5), indexing="ij")
    ran = j < i
    values = np.where(ran, 10 * i + j, -999)[..., None]
    fit = check(values, ran)
    # First executed at i == 1, where a step of i would not be 0: a table, relative to there.
    assert fit.steps.tolist() == [[0], [1]]
    ((axis, _, table),) = fit.tables
    assert (axis, table.tolist()) == (0, [0, 0, 10, 20, 30, 40])
    assert check(np.where(ran, 7 * j, -999)[..., None], ran).tables == []


def test_lines_that_know_different_entries_are_joined() -> None:
    # No i has all j; 0 and 1 share j == 1, 1 and 2 share j == 2: one table of j explains all.
    ran = np.asarray([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]], bool)
    table = np.asarray([0, 5, 3, 11])
    values = (1000 * np.arange(3)[:, None] + table)[..., None]
    fit = check(values, ran)
    assert fit.steps.tolist() == [[1000], [0]]
    ((axis, _, found),) = fit.tables
    assert (axis, found.tolist()) == (1, table.tolist())


shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@given(shapes, st.integers(0, 2**32 - 1), st.sampled_from(["affine", "additive", "any"]), st.floats(0.1, 1))
def test_any_values_are_explained(shape: tuple[int, ...], seed: int, kind: str, share: float) -> None:
    rng = np.random.default_rng(seed)
    ran = rng.random(shape) < share
    ran.reshape(-1)[rng.integers(ran.size)] = True
    values = rng.integers(-(2**40), 2**40, (*shape, 3))
    if kind != "any":
        grid = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
        terms = [rng.integers(-50, 50, (size, 3)) for size in shape]
        if kind == "affine":
            terms = [np.arange(len(term))[:, None] * term[:1] for term in terms]
        values = np.where(ran[..., None], sum(term[index] for term, index in zip(terms, grid, strict=True)), values)
    fit = check(values, ran)
    if kind == "affine" and ran.all():
        assert fit.tables == []
    if kind == "additive" and ran.all():
        assert all(table.values.ndim == 1 for table in fit.tables)
