"""More instructions for random kernels: state between instructions, several results, run-time addresses, odd views.

Each function emits one statement of a recipe (see `random_kernels`): `run` is the trace, `item` the operation, `rows`
how many partitions it takes, and then come the places of a destination and of two sources.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl

if TYPE_CHECKING:
    from tests.emulator.backends.random_kernels import Run
    from tests.emulator.backends.random_recipes import Operation, Place

Statement = Callable[["Run", "Operation", int, "Place", "Place", "Place"], None]
COMMANDS = (nisa.reduce_cmd.reduce, nisa.reduce_cmd.reset_reduce, nisa.reduce_cmd.reduce, nisa.reduce_cmd.idle)


def _command(run: Run, item: Operation) -> Any:
    return COMMANDS[(item.row.start + (sum(run.counters) if item.varies else 0)) % len(COMMANDS)]


def _number(run: Run, item: Operation) -> float:
    return item.value + (0.25 * sum(run.counters) if item.varies else 0)


# -- the Vector Engine -----------------------------------------------------------------------------------------------


def scan(run: Run, item: Operation, rows: int, dst: Place, first: Place, second: Place) -> None:
    """A running product and sum, from a number or from a column of the first operand."""
    a, b = run.floats(first, rows), run.floats(second, rows)
    initial = run.single(first, rows, 1) if item.varies else item.value
    nisa.tensor_tensor_scan(run.floats(dst, rows), a, b, initial, nl.multiply, nl.add)


def cumulate(run: Run, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
    command = COMMANDS[item.row.start % 2]
    to, data = run.single(dst, rows), run.single(src, rows)
    nisa.tensor_scalar_cumulative(to, data, item.operator, nl.add, _number(run, item), reduce_cmd=command)


def statistics(run: Run, item: Operation, rows: int, dst: Place, src: Place, other: Place) -> None:
    partial = nl.ndarray((rows, 12), dtype=nl.float32)
    nisa.bn_stats(partial[:, 0:6], run.floats(src, rows))
    nisa.bn_stats(partial[:, 6:12], run.floats(other, rows))
    nisa.bn_aggr(run.floats(dst, rows, 2), partial)


def select(run: Run, item: Operation, rows: int, dst: Place, src: Place, other: Place) -> None:
    predicate = nl.ndarray((rows, 4), dtype=nl.uint8)
    nisa.tensor_scalar(predicate, run.floats(other, rows), nl.greater, 0.0)
    result = run.single(other, rows, 1) if item.own else None
    nisa.select_reduce(
        run.floats(dst, rows),
        predicate,
        run.floats(src, rows),
        run.single(src, rows, 1) if item.varies else item.value,
        reduce_res=result,
        reduce_cmd=_command(run, item) if result is not None else nisa.reduce_cmd.idle,
    )


def predicated(run: Run, item: Operation, rows: int, dst: Place, src: Place, other: Place) -> None:
    """What is not copied stays."""
    predicate = nl.ndarray((rows, 4), dtype=nl.uint16)
    nisa.tensor_scalar(predicate, run.floats(other, rows), nl.less, item.value)
    source = run.single(src, rows) if item.own else item.value
    nisa.tensor_copy_predicated(run.single(dst, rows), source, predicate, reverse_pred=item.varies)


def triangular(run: Run, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
    """A mask whose offset may be another in every iteration, which makes each a signature of its own."""
    offset = item.row.start - 3 + (run.counters[-1] if item.varies and run.counters else 0)
    data = run.floats(src, rows)
    nisa.affine_select(run.floats(dst, rows), [[-1, 4]], 1, data, -2.5, cmp_op=nl.greater_equal, offset=offset)


def count(run: Run, item: Operation, rows: int, dst: Place, *_: Place) -> None:
    nisa.iota(run.window(dst, rows), [[2, 4]], offset=item.row.start, channel_multiplier=3)


def largest(run: Run, item: Operation, rows: int, dst: Place, src: Place, other: Place) -> None:
    """The eight largest, and where they are, or the data without them."""
    data, found = run.single(src, rows, 8), nl.ndarray((rows, 8), dtype=nl.float32)
    nisa.max8(found, data)
    if item.varies:
        places = nl.ndarray((rows, 8), dtype=nl.uint32)
        nisa.nc_find_index8(places, data, found)
        nisa.tensor_copy(run.floats(dst, rows, 4), places[:, 2:6])
    else:
        nisa.nc_match_replace8(run.single(other, rows, 8), data, found, item.value)
        nisa.tensor_copy(run.floats(dst, rows, 4), found[:, 0:4])


def three(run: Run, item: Operation, rows: int, dst: Place, first: Place, second: Place) -> None:
    scalar = run.single(second, rows, 1) if item.varies else item.value
    a, b = run.floats(first, rows), run.floats(second, rows)
    nisa.scalar_tensor_tensor(run.floats(dst, rows), a, nl.multiply, scalar, item.operator, b)


def columns(run: Run, item: Operation, rows: int, dst: Place, first: Place, second: Place) -> None:
    """A tensor_scalar whose scalars are columns, in place or not."""
    data = run.floats(dst if item.varies else first, rows)
    column = run.single(second, rows, 1)
    nisa.tensor_scalar(run.floats(dst, rows), data, item.operator, column, op1=nl.maximum, operand1=column)


def reduced(run: Run, item: Operation, rows: int, dst: Place, src: Place, total: Place) -> None:
    """Two results, one of which goes on from where the engine's registers are."""
    nisa.tensor_scalar_reduce(
        run.floats(dst, rows),
        run.floats(src, rows),
        nl.multiply,
        _number(run, item),
        nl.add,
        reduce_res=run.single(total, rows, 1) if item.own else None,
        reduce_cmd=COMMANDS[item.row.start % 2],
    )


def random_numbers(run: Run, item: Operation, rows: int, dst: Place, *_: Place) -> None:
    """The state of a generator is carried from one to the next."""
    data = nl.ndarray((rows, 4), dtype=nl.uint32)
    nisa.rng(data)
    nisa.tensor_scalar(data, data, nl.bitwise_and, 15)
    nisa.tensor_copy(run.floats(dst, rows), data)


# -- the Scalar and the Tensor Engine --------------------------------------------------------------------------------


def activate_all(run: Run, item: Operation, rows: int, dst: Place, src: Place, other: Place) -> None:
    column, data = run.single(other, rows, 1), run.floats(src, rows)
    nisa.activation(run.floats(dst, rows), nl.sigmoid, data, bias=column, scale=column if item.own else 0.5)


def exponentiate(run: Run, item: Operation, rows: int, dst: Place, src: Place, total: Place) -> None:
    result = run.single(total, rows, 1) if item.own else None
    command = _command(run, item)
    data, top = run.floats(src, rows), run.single(src, rows, 1) if item.varies else 1.0
    nisa.exponential(run.floats(dst, rows), data, top, result, command)


def accumulate(run: Run, item: Operation, rows: int, dst: Place, left: Place, right: Place) -> None:
    """Products whose first one is found out: `accumulate=None` adds to what was written since the bank was new."""
    bank = nl.ndarray((4, 4), dtype=nl.float32, buffer=nl.psum)
    trips = 1 + item.row.start % 3
    for number in range(trips):
        operands = (run.single(left, 4), run.single(right, 4, offset=number))
        nisa.nc_matmul(bank, *operands)
    nisa.tensor_copy(run.window(dst, rows), bank[0:rows])


# -- views and addresses ---------------------------------------------------------------------------------------------


def _pattern(run: Run, item: Operation, rows: int, place: Place) -> Any:
    """Four elements of each row, backwards, one under another, or in two overlapping pairs."""
    tile = run.tile(place)
    first = place.column(run.counters, 10)
    kind = (item.row.start + place.step) % 4
    inside, shift = (([[-1, 4]], 3), ([[0, 4]], 0), ([[1, 2], [1, 2]], 0), ([[3, 2], [-2, 2]], 2))[kind]
    return tile.ap([[tile.shape[1], rows], *inside], offset=first + shift)


def patterned(run: Run, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
    source = _pattern(run, item, rows, src) if item.varies else run.window(src, rows)
    target = run.window(dst, rows) if item.own else _pattern(run, item, rows, dst)
    if source.shape != target.shape:
        source, target = (view if view.ndim == 3 else view.reshape((rows, 2, 2)) for view in (source, target))
    nisa.tensor_copy(target, source)


def moved(run: Run, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
    """A register decides which columns of a tile, or rows in memory."""
    register = nisa.register_alloc(run.small[item.row.start % 4 : item.row.start % 4 + 1])
    if item.own:
        nisa.tensor_copy(run.floats(dst, rows), run.tile(src)[0:rows, nl.ds(register, 4)])
    elif item.varies:
        nisa.tensor_copy(run.tile(dst)[0:rows, nl.ds(register, 4)], run.window(src, rows))
    else:
        nisa.dma_copy(run.window(dst, rows), run.outs[0][nl.ds(register, rows), 4:8])


def gather_columns(run: Run, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
    indices = nl.ndarray((rows, 4), dtype=nl.uint32)
    nisa.iota(indices, [[1, 4]], channel_multiplier=1)
    if item.varies:
        nisa.tensor_tensor(indices, indices, run.small[0:rows].broadcast(1, 4), nl.bitwise_xor)
    nisa.nc_n_gather(run.single(dst, rows), run.single(src, rows, 16), indices)


def turn_in_memory(run: Run, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
    nisa.dma_transpose(
        run.single(dst, 4), run.single(src, 4) if item.varies else run.memory(run.x, item, 4, src.column)
    )


def add_in_memory(run: Run, item: Operation, rows: int, dst: Place, src: Place, other: Place) -> None:
    """Memory is read and written by one instruction."""
    to = run.memory(run.outs[0], item, rows, dst.column) if item.own else run.single(dst, rows)
    sources = [to, run.single(src, rows)] if item.varies else [run.single(other, rows), run.single(src, rows)]
    nisa.dma_compute(to, sources, nl.add)


def bytes_of(run: Run, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
    """Bytes move between tiles of two dtypes, in place in one of them where the places meet."""
    to, other = (run.tile(place).view(nl.uint8) for place in (dst, src))
    a, b = dst.column(run.counters, 16), src.column(run.counters, 16)
    nisa.tensor_copy(to[0:rows, a : a + 7], other[0:rows, b : b + 7])


def narrow(run: Run, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
    """Through a tile of eight-bit floats that is kept, in part."""
    first = 4 * src.column(run.counters, 4)
    nisa.tensor_copy(run.narrow[0:rows, first : first + 4], run.floats(src, rows))
    nisa.tensor_copy(run.floats(dst, rows), run.narrow[0:rows, 4:8])


FURTHER: dict[str, Statement] = {
    function.__name__: function
    for function in (
        *(scan, cumulate, statistics, select, predicated, triangular, count, largest, three, columns, reduced),
        *(random_numbers, activate_all, exponentiate, accumulate, patterned, patterned, moved, gather_columns),
        *(turn_in_memory, add_in_memory, bytes_of, narrow),
    )
}
