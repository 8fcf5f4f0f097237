"""Finding the loops of a flat sequence of instructions, outermost first, on arrays.

Of everything that repeats (see `fold_periods`) loops are chosen that stand beside each other (see `fold_choice`); then
one copy of each body is searched for inner loops, whose instructions must also agree in how the outer loop advances
them. What is left unrolled because iterations differ in length is looked through once more (see `fold_merge`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np

from trnlab.emulator.fold_choice import loops_beside, separated
from trnlab.emulator.fold_columns import Columns, Effort, Loop, named_advances
from trnlab.emulator.fold_merge import merge_loops
from trnlab.emulator.fold_periods import intern
from trnlab.emulator.fold_tree import Item, Node, leaves_of, moved
from trnlab.emulator.fold_words import Stretch
from trnlab.emulator.repeats import Integers

_FEWEST = 4  # instructions among which irregular loops are looked for
_MERGING, _MERGING_EACH = 1 << 15, 12  # effort for irregular loops in a body
_SPARE = 4 / 3  # instructions left for one that differs from the others, at least, for such loops to be looked for


def find_loops(
    columns: Columns, begin: int, keys: Integers, merging: Effort, breaks: Sequence[int] = ()
) -> tuple[Item, ...]:
    """Instructions begin .. begin + len(keys) as runs of instructions and loops, in order.

    merging: work that may be spent on irregular loops
    breaks:  positions that no loop may reach across
    """
    different = _different(keys)
    if len(keys) <= 2 or different == len(keys):
        return (range(begin, begin + len(keys)),) if len(keys) else ()
    items: list[range | Node] = []
    position = begin
    for loop in loops_beside(separated(columns, begin, keys, breaks)):
        items += [range(position, loop.start)] if position < loop.start else []
        items.append(_with_body(columns, loop, keys[loop.start - begin :][: loop.period]))
        position = loop.start + loop.period * loop.trips
    end = begin + len(keys)
    items += [range(position, end)] if position < end else []
    if leaves_of(items) < max(_FEWEST, _SPARE * different):
        return tuple(items)
    regions = _regions(items, begin, keys, breaks)
    return tuple(item for region in regions for item in _merged(columns, begin, keys, region, merging))


def _different(keys: Integers) -> int:
    """How many different keys there are; cheap for the short bodies that most loops have."""
    return len(set(keys.tolist())) if len(keys) < 64 else len(np.unique(keys))


def _regions(
    items: Sequence[range | Node], begin: int, keys: Integers, breaks: Sequence[int]
) -> Iterator[list[range | Node]]:
    """The items cut at the breaks and around instructions that nothing equals."""
    alone = begin + np.flatnonzero(keys < 0)
    cuts = np.unique(np.concatenate([alone, alone + 1, np.asarray(breaks, np.int64)])).tolist()
    region: list[range | Node] = []
    for item in items:
        start, stop = item.start, _stop(item)
        for cut in cuts[bisect_left(cuts, start) : bisect_left(cuts, stop)]:
            region += [range(start, cut)] if start < cut else []
            yield region
            region, start = [], cut
        region.append(range(start, stop) if isinstance(item, range) else item)
    yield region


def _merged(
    columns: Columns, begin: int, keys: Integers, region: list[range | Node], merging: Effort
) -> tuple[Item, ...]:
    """A region with irregular loops found in it."""
    if leaves_of(region) < _FEWEST:
        return tuple(region)
    start, stop = region[0].start, _stop(region[-1])
    part = keys[start - begin : stop - begin]
    return merge_loops(region, Stretch(start, part, columns.hashes[start:stop]), _different(part), merging)


def _stop(item: range | Node) -> int:
    return item.stop if isinstance(item, range) else item.start + item.period * item.trips


def _with_body(columns: Columns, loop: Loop, keys: Integers) -> Node:
    """The loop with its first iteration searched for loops; their instructions must agree in the outer steps too."""
    whole = range(loop.start, loop.start + loop.period)
    if _different(keys) == len(keys):
        return Node(*loop, (whole,))
    starts = columns.starts[loop.start : loop.start + loop.period + 1]
    names = intern(keys, starts - starts[0], named_advances(columns.iterations(*loop)))
    body = names.tobytes() + columns.keys[whole.start : whole.stop].tobytes()
    if body not in columns.bodies:
        columns.bodies[body] = loop.start, _searched(columns, loop.start, names)
    start, items = columns.bodies[body]
    return Node(*loop, items if start == loop.start else tuple(moved(item, loop.start - start) for item in items))


def _searched(columns: Columns, begin: int, keys: Integers) -> tuple[Item, ...]:
    """The loops of a body, as far as that can be afforded."""
    if columns.searching.share(Effort.RUNS) < len(keys):
        return (range(begin, begin + len(keys)),)
    most = min(columns.merging.left, _MERGING + _MERGING_EACH * len(keys))
    merging = Effort(most)
    items = find_loops(columns, begin, keys, merging)
    columns.merging.spend(most - merging.left)
    return items
