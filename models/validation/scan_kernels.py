"""The selective scan of AWS's Mamba tutorial, rebuilt from the description of its steps and loops.

For every tile of 128 channels and every state: exp(delta A) on the Scalar Engine, then on the Vector Engine a product
with B, the scan, a product with C and a sum over states. The compiler of the measurements decided three things that the
source does not say; the figures fit when they are built like this:

* B and C, one row each, are spread over the partitions by a matmul with a column of ones. The products read them from
  PSUM while a row fits one bank (512 values); longer rows are copied to SBUF first, by the Scalar Engine;
* delta u, the same for every state, is computed once where the state loop is the inner one;
* loads of one row go to partitions in turn.
"""

from __future__ import annotations

from typing import Any

from trnlab.emulator.nki import isa as nisa, language as nl

CHANNELS, BANK = 128, 512


def _tile(width: int, buffer: Any = None) -> Any:
    return nl.ndarray((CHANNELS, width), dtype=nl.float32, buffer=buffer or nl.sbuf)


def _loaded(source: Any) -> Any:
    tile = nl.ndarray(source.shape, dtype=source.dtype, buffer=nl.sbuf)
    nisa.dma_copy(tile, source)
    return tile


def _ones() -> Any:
    column = nl.ndarray((1, CHANNELS), dtype=nl.float32, buffer=nl.sbuf)
    nisa.memset(column, 1.0)
    return column


def _spread(row: Any, ones: Any) -> Any:
    """The row on every partition: in PSUM when it fits a bank, else in SBUF."""
    width = row.shape[1]
    if width <= BANK:
        bank = _tile(width, nl.psum)
        nisa.nc_matmul(bank, ones, row)
        return bank
    copied = _tile(width)
    for start in range(0, width, BANK):
        bank = _tile(BANK, nl.psum)
        nisa.nc_matmul(bank, ones, row[:, start : start + BANK])
        nisa.activation(copied[:, start : start + BANK], nl.copy, bank)
    return copied


def _product(left: Any, right: Any) -> Any:
    result = _tile(left.shape[1])
    nisa.tensor_tensor(result, left, right, nl.multiply)
    return result


def _state(total: Any, delta: Any, product: Any, a: Any, b: Any, c: Any, initial: Any = 0.0) -> Any:
    """Adds one state's share to `total`; returns the scan."""
    decay, scan = _tile(delta.shape[1]), _tile(delta.shape[1])
    nisa.activation(decay, nl.exp, delta, scale=a)
    driven = _product(product, b)
    nisa.tensor_tensor_scan(scan, decay, driven, initial, nl.multiply, nl.add)
    nisa.tensor_tensor(total, total, _product(scan, c), nl.add)
    return scan


def channels_inside(delta: Any, u: Any, a: Any, b: Any, c: Any) -> Any:
    """Version 1: states outside, channels inside; delta and u are loaded, and multiplied, again for every state."""
    result, ones = nl.ndarray(delta.shape, dtype=delta.dtype, buffer=nl.shared_hbm), _ones()
    tiles = range(0, delta.shape[0], CHANNELS)
    totals = {start: _tile(delta.shape[1]) for start in tiles}
    for total in totals.values():
        nisa.memset(total, 0.0)
    for state in range(a.shape[1]):
        for start, total in totals.items():
            mine = slice(start, start + CHANNELS)
            loaded_delta, loaded_u = _loaded(delta[mine]), _loaded(u[mine])
            rows = [_spread(_loaded(matrix[state : state + 1]), ones) for matrix in (b, c)]
            product = _product(loaded_delta, loaded_u)
            _state(total, loaded_delta, product, _loaded(a[mine, state : state + 1]), *rows)
    for start, total in totals.items():
        nisa.dma_copy(result[start : start + CHANNELS], total)
    return result


def states_inside(delta: Any, u: Any, a: Any, b: Any, c: Any, piece: int | None = None) -> Any:
    """Version 2: channels outside, delta and u loaded once. Version 3: the sequence in pieces of `piece` values."""
    result, ones = nl.ndarray(delta.shape, dtype=delta.dtype, buffer=nl.shared_hbm), _ones()
    width = piece or delta.shape[1]
    for start in range(0, delta.shape[0], CHANNELS):
        mine = slice(start, start + CHANNELS)
        total = _tile(delta.shape[1])
        nisa.memset(total, 0.0)
        loaded_delta, product = _loaded(delta[mine]), _tile(delta.shape[1])
        nisa.tensor_tensor(product, loaded_delta, _loaded(u[mine]), nl.multiply)
        for state in range(a.shape[1]):
            _pieces(total, loaded_delta, product, _loaded(a[mine, state : state + 1]), (b, c), state, width, ones)
        nisa.dma_copy(result[mine], total)
    return result


def _pieces(
    total: Any, delta: Any, product: Any, a: Any, matrices: tuple[Any, Any], state: int, width: int, ones: Any
) -> None:
    """One state over the whole sequence, each piece's scan starting where the one before it ended."""
    initial: Any = 0.0
    for first in range(0, delta.shape[1], width):
        part = slice(first, first + width)
        rows = [_spread(_loaded(matrix[state : state + 1, part]), ones) for matrix in matrices]
        scan = _state(total[:, part], delta[:, part], product[:, part], a, rows[0], rows[1], initial)
        if width < delta.shape[1]:
            initial = nl.ndarray((CHANNELS, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_copy(initial, scan[:, width - 1 : width])
