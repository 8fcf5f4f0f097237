"""The immediates of an instruction in the iterations of now: numbers, or one number per merged iteration."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jax import Array

from trnlab.emulator.backends.positions import Lookup, Scope, entries_of
from trnlab.emulator.backends.semantics import immediate
from trnlab.emulator.backends.widening import Axes
from trnlab.emulator.errors import BackendError
from trnlab.emulator.nest import Block
from trnlab.emulator.program import Program
from trnlab.emulator.repeats import Floats


class Immediate(NamedTuple):
    """An immediate by rounds, where it varies with them, and by the merged repeats that its last axes stand for."""

    values: np.ndarray[Any, Any]
    rounds: tuple[Block, ...]
    merged: tuple[Block, ...]


def immediates_of(program: Program, number: int, scope: Scope, *, raw: bool) -> list[tuple[Array, Axes]]:
    """Every immediate of an instruction, in signature order, and which merged repeats its axes stand for."""
    return [
        (Lookup(found.values, found.rounds).value(scope), Axes(found.merged))
        for found in known_immediates(program, number, scope, raw=raw)
    ]


def known_immediates(program: Program, number: int, scope: Scope, *, raw: bool) -> list[Immediate]:
    """Every immediate of an instruction, in signature order, without computing anything at run time."""
    first, last = int(program.immediate_starts[number]), int(program.immediate_starts[number + 1])
    tables = {
        table.number: table.values
        for repeat in program.repeats
        for table in (repeat.immediates if first < last else ())
        if first <= table.number < last
    }
    values = np.asarray(program.immediates[first:last])
    return [_known(tables.get(index, values[index - first]), scope, raw) for index in range(first, last)]


def _known(table: Floats, scope: Scope, raw: bool) -> Immediate:
    """table: an axis per repeat around, of size 1 where it does not matter; or one number."""
    entries, rounds, merged = entries_of(table, scope.items()) if table.ndim else (table, (), ())
    patterns = [immediate(value, raw) for value in entries.reshape(-1).tolist()]
    if len({pattern.dtype for pattern in patterns}) > 1:
        raise BackendError("an immediate that is whole in some iterations and not in others cannot be compiled")
    return Immediate(np.asarray(patterns).reshape(entries.shape), rounds, merged)
