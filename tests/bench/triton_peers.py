"""The bench's kernels in Triton, tile for tile. Import it with TRITON_INTERPRET=1 set: Triton reads it when imported.

Triton's interpreter (3.9) multiplies the bit patterns of bfloat16 tiles as integers in `tl.dot`, so tiles are widened
to float32 before a product, which leaves every value as it was.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

ROWS, KEYS = 128, 512


@triton.jit
def _matmul(lhs, rhs, out, K, N, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for start in range(0, K, ROWS):
        k = start + tl.arange(0, ROWS)
        left = tl.load(lhs + row[:, None] * K + k[None, :])
        right = tl.load(rhs + k[:, None] * N + column[None, :])
        total = tl.dot(left.to(tl.float32), right.to(tl.float32), total)
    tl.store(out + row[:, None] * N + column[None, :], total.to(tl.bfloat16))


@triton.jit
def _softmax(x, out, rows, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, COLUMNS)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    place = row[:, None] * columns + column[None, :]
    data = tl.load(x + place, mask=inside, other=float("-inf"))
    largest = tl.max(data, axis=1)
    weights = tl.exp(data - tl.where(largest == float("-inf"), 0.0, largest)[:, None])
    total = tl.sum(weights, axis=1)
    tl.store(out + place, weights / tl.where(total == 0, 1.0, total)[:, None], mask=inside)


@triton.jit
def _attention(q, k, v, out, length, scale, ROWS: tl.constexpr, KEYS: tl.constexpr, WIDTH: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDTH)
    queries = tl.load(q + row[:, None] * WIDTH + column[None, :]).to(tl.float32)
    total = tl.zeros((ROWS, WIDTH), dtype=tl.float32)
    row_max = tl.full((ROWS,), float("-inf"), dtype=tl.float32)
    row_sum = tl.zeros((ROWS,), dtype=tl.float32)
    for start in range(0, length, KEYS):
        key = start + tl.arange(0, KEYS)
        place = key[:, None] * WIDTH + column[None, :]
        scores = scale * tl.dot(queries, tl.trans(tl.load(k + place).to(tl.float32)))
        largest = tl.maximum(row_max, tl.max(scores, axis=1))
        weights = tl.exp(scores - largest[:, None])
        decay = tl.exp(row_max - largest)
        row_sum = decay * row_sum + tl.sum(weights, axis=1)
        product = tl.dot(weights.to(tl.bfloat16).to(tl.float32), tl.load(v + place).to(tl.float32))
        total = decay[:, None] * total + product
        row_max = largest
    tl.store(out + row[:, None] * WIDTH + column[None, :], (total / row_sum[:, None]).to(tl.bfloat16))


def matmul(lhs: Any, rhs: Any) -> Any:
    """lhs[M, K] @ rhs[K, N] of bfloat16 torch tensors in tiles of 128 x 128 x 512, as bfloat16."""
    (m, k), n = lhs.shape, rhs.shape[1]
    out = torch.empty((m, n), dtype=torch.bfloat16)
    _matmul[(m // ROWS, n // KEYS)](lhs, rhs, out, k, n, ROWS, KEYS)
    return out


def softmax(x: Any) -> Any:
    """Softmax of the rows of a float32 torch tensor, 128 at a time."""
    rows, columns = x.shape
    out = torch.empty_like(x)
    _softmax[(triton.cdiv(rows, ROWS),)](x, out, rows, columns, ROWS, triton.next_power_of_2(columns))
    return out


def attention(q: Any, k: Any, v: Any) -> Any:
    """Flash attention, not causal, of bfloat16 torch tensors [length, width]: 128 queries by 512 keys."""
    length, width = q.shape
    out = torch.empty_like(q)
    _attention[(length // ROWS,)](q, k, v, out, length, width**-0.5, ROWS, KEYS, width)
    return out
