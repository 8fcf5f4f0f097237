"""How numbers advance over the iterations of a loop nest: by steps, by tables, or not at all.

Values over a grid of iterations, one axis per loop, are written as the value of the first execution plus one term per
loop: `iteration * step`, or an entry of a table. Where no such sum fits, the loops that do not add up share one table.
Iterations that are not executed may have any value. Columns are independent of each other, and fitted all at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from trnlab.emulator.fold_periods import Mask
from trnlab.emulator.repeats import Integers

_LINES = 8  # a table whose entries no so many lines tell is shared with other loops


class Table(NamedTuple):
    """What a loop adds to one column: values[iteration], or with an axis per loop from the outermost to this one."""

    axis: int
    column: int
    values: Integers


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The terms of all columns: steps[loop, column], and the tables of those that have no constant step."""

    steps: Integers
    tables: list[Table] = field(default_factory=list)


class _Part(NamedTuple):
    """Columns that have the same axes left: values[pending ..., kept ..., column], and which cells are executed.

    pending: axes not looked at yet; kept: those that do not add up with the others
    """

    values: Integers
    ran: Mask | None
    pending: tuple[int, ...]
    kept: tuple[int, ...]
    columns: Integers


def fitted(values: Integers, ran: Mask) -> Fit:
    """The terms of values[iterations ..., column].

    ran: which iterations are executed; at least one
    """
    axes = values.ndim - 1
    fit = Fit(np.zeros((axes, values.shape[-1]), np.int64))
    origin = np.unravel_index(int(ran.argmax()), ran.shape)
    first = [int(index) for index in origin]
    columns = np.arange(values.shape[-1])
    parts = [_Part(values, None if ran.all() else ran, tuple(range(axes)), (), columns)] if len(columns) else []
    while parts:
        part = parts.pop()
        if part.pending:
            parts += _reduced(part, first, fit)
        elif part.kept:
            fit.tables.extend(_shared(part, first, axes))
    return fit


def _reduced(part: _Part, first: list[int], fit: Fit) -> Iterator[_Part]:
    """The rest when the first pending axis is explained, for the columns in which it adds up with the others."""
    axis, *pending = part.pending
    count, width = part.values.shape[0], part.values.shape[-1]
    inner = part.values.shape[1:-1]
    values = part.values.reshape(count, -1, width)
    ran = None if part.ran is None else part.ran.reshape(count, -1)
    line = values[:, 0] - values[first[axis], 0] if ran is None else _line(values, ran, first[axis])
    rest = values - line[:, None]
    if ran is None:
        once, same = rest[0], rest == rest[0]
    else:
        once = rest[ran.argmax(axis=0), np.arange(ran.shape[1])]
        same = (rest == once) | ~ran[..., None]
    adds = same.all(axis=(0, 1))
    if adds.any():
        executed = np.arange(count) if ran is None else np.flatnonzero(ran.any(axis=1))
        _explain(fit, axis, part.columns[adds], line[:, adds], executed, first[axis])
        left = None if part.ran is None else np.logical_or.reduce(part.ran, axis=0)
        yield _Part(once[:, adds].reshape(*inner, -1), left, tuple(pending), part.kept, part.columns[adds])
    if not adds.all():
        left = None if part.ran is None else np.moveaxis(part.ran, 0, -1)
        kept = np.moveaxis(part.values[..., ~adds], 0, -2)
        yield _Part(kept, left, tuple(pending), (*part.kept, axis), part.columns[~adds])


def _line(values: Integers, ran: Mask, first: int) -> Integers:
    """What the axis must add to the values, relative to its entry `first`, going by the lines along it that tell most.

    values: [iteration, line, column]
    """
    result = np.zeros((values.shape[0], values.shape[2]), np.int64)
    known = np.zeros(len(ran), bool)
    for _ in range(_LINES):
        missing = ran & ~known[:, None]
        if not missing.any():
            break
        news = np.count_nonzero(missing, axis=0)
        linked = np.logical_or.reduce(ran & known[:, None], axis=0)
        line = int(np.argmax(news + linked * len(ran)))
        here = np.flatnonzero(ran[:, line])
        anchor = here[known[here]][0] if linked[line] else here[0]
        new = here[~known[here]]
        result[new] = values[new, line] - values[anchor, line] + result[anchor]
        known[new] = True
    moved: Integers = result - result[first]
    return moved


def _explain(fit: Fit, axis: int, columns: Integers, line: Integers, executed: Integers, first: int) -> None:
    """Enter a step, or where none is constant a table, for every column of what an axis adds."""
    far = executed[-1] - executed[0]
    step = (line[executed[-1]] - line[executed[0]]) // max(int(far), 1)
    affine = (line[executed] == step * (executed - first)[:, None]).all(axis=0)
    constant = affine & ((step == 0) | (first == 0))  # a step must give 0 at the first execution
    fit.steps[axis, columns[constant]] = step[constant]
    for place in np.flatnonzero(~constant).tolist():
        entries = np.zeros(len(line), np.int64)
        entries[executed] = line[executed, place]
        fit.tables.append(Table(axis, int(columns[place]), entries))


def _shared(part: _Part, first: list[int], axes: int) -> Iterator[Table]:
    """Tables of columns over all axes that do not add up."""
    origin = tuple(first[axis] for axis in part.kept)
    moved = part.values - part.values[origin]
    if part.ran is not None:
        moved[~part.ran] = 0
    if len(part.kept) == 1:
        axis = part.kept[0]
        yield from (Table(axis, int(column), moved[:, place]) for place, column in enumerate(part.columns))
        return
    shape = [1] * axes
    for place, axis in enumerate(part.kept):
        shape[axis] = part.values.shape[place]
    for place, column in enumerate(part.columns.tolist()):
        yield Table(axes - 1, column, moved[..., place].reshape(shape))
