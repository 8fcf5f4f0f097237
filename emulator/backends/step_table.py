"""The numbers that tell the steps of a stretch apart, as a table that is ready when its first step runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from trnlab.emulator.backends.positions import Lookup, Number, Scope, round_of
from trnlab.emulator.nest import Block
from trnlab.emulator.program import IndexArray

Words = np.ndarray[Any, Any]


class _Lookups(NamedTuple):
    """Tables of one shape, side by side on the axis after the rounds, and what they are added to."""

    tables: Lookup
    rows: IndexArray
    columns: IndexArray
    factors: Words


@dataclass(frozen=True, eq=False)
class Table:
    """32-bit numbers by step and column.

    values:  what is known beforehand
    rates:   what every round of a repeat adds
    lookups: what tables add
    """

    values: Words
    rates: tuple[tuple[Block, Words], ...]
    lookups: tuple[_Lookups, ...]

    def numbers(self, scope: Scope) -> Array:
        """The table in the rounds of now."""
        table = jnp.asarray(self.values)
        for block, rate in self.rates:
            table = table + jnp.asarray(rate) * round_of(block, scope)
        for tables, rows, columns, factors in self.lookups:
            table = table.at[rows, columns].add(tables.value(scope) * factors)
        return table


class TableBuilder:
    """Collects the cells of a table, which start at 0."""

    def __init__(self, steps: int, dtype: np.dtype[Any]) -> None:
        self._values = np.zeros((steps, 0), dtype)
        self._rates: dict[Block, list[tuple[int, int, int]]] = {}
        self._lookups: dict[tuple[tuple[Block, ...], tuple[int, ...]], list[tuple[int, int, int, Words]]] = {}

    def put(self, rows: IndexArray, column: int, values: Words) -> None:
        """values: one row per step, from the column on."""
        self._widen(column + values.shape[1])
        self._values[rows, column : column + values.shape[1]] = values

    def _widen(self, width: int) -> None:
        missing = width - self._values.shape[1]
        if missing > 0:
            self._values = np.pad(self._values, ((0, 0), (0, missing)))

    def add(self, row: int, column: int, factor: int, number: Number) -> None:
        """factor * number is added to the cell; to as many as its entries have elements where it is a table."""
        if not isinstance(number, Lookup):
            self._widen(column + 1)
            self._rates.setdefault(number, []).append((row, column, factor))
            return
        depth = len(number.rounds)
        self._widen(column + (number.entries.shape[depth:] or (1,))[0])
        entries = number.entries.reshape(*number.entries.shape[:depth], 1, -1)
        self._lookups.setdefault((number.rounds, entries.shape), []).append((row, column, factor, entries))

    def table(self) -> Table:
        """What was collected."""
        rates = tuple((block, self._rate(cells)) for block, cells in self._rates.items())
        found = []
        for (rounds, shape), cells in self._lookups.items():
            rows, columns, factors = (np.asarray(part)[:, None] for part in list(zip(*cells, strict=True))[:3])
            entries = np.concatenate([cell[3] for cell in cells], axis=-2)
            columns = columns + np.arange(shape[-1])
            found.append(_Lookups(Lookup(entries, rounds), rows, columns, factors.astype(self._values.dtype)))
        return Table(self._values, rates, tuple(found))

    def _rate(self, cells: Sequence[tuple[int, int, int]]) -> Words:
        rate = np.zeros_like(self._values)
        rows, columns, factors = np.asarray(cells).T
        np.add.at(rate, (rows, columns), factors.astype(rate.dtype))
        return rate
