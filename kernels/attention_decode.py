"""Attention of one new token a sequence over its key/value cache: the kernel of token generation.

Keys lie on the partitions, so that every score of a sequence is one column step of a wide tile and neither scores nor
weights are ever turned: a block of the cache is the stationary operand of q @ k.T, and the weights that come out are
the stationary operand of weights @ v. Key p * n + t of a block of 128 * n sits in partition p, column step t; then each
partition reads one contiguous run of values. All scores stay in SBUF, four bytes a key and query head.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import nki
import nki.isa as nisa
import nki.language as nl

BLOCK = 4096
MASKED = -3.0e38  # finite, so that a masked score less the maximum never becomes NaN


class Part(NamedTuple):
    """Keys start ... start + rows * steps of the cache: `steps` neighbouring ones in each of `rows` partitions.

    column: where its scores begin, in steps, in the tile of all scores
    """

    start: int
    rows: int
    steps: int
    column: int


@nki.jit
def decode_attention(
    q: nl.NkiTensor,
    k: nl.NkiTensor,
    v: nl.NkiTensor,
    lengths: nl.NkiTensor | None = None,
    scale: float | None = None,
    block: int = BLOCK,
) -> nl.NkiTensor:
    """softmax(scale * q @ k) @ v for the newest token of every sequence.

    q: [sequences, heads, head_dim]; k: [sequences, kv_heads, head_dim, keys], a column for each key; v: [sequences,
    kv_heads, keys, head_dim]; bfloat16, float16 or float32 in HBM; head_dim <= 128, heads <= 128 and a multiple of
    kv_heads. lengths: float32[sequences, 1], how many keys of the cache count, at least 1; all without it. scale
    defaults to head_dim ** -0.5. About `block` keys are loaded at a time. Returns q's shape and dtype.
    """
    sequences, heads, head_dim = q.shape
    _, kv_heads, _, keys = k.shape
    assert head_dim <= nl.tile_size.pmax, f"head_dim is {head_dim}, at most {nl.tile_size.pmax} fits the partitions"
    assert heads % kv_heads == 0, f"{heads} query heads cannot share {kv_heads} key/value heads evenly"
    assert heads <= nl.tile_size.pmax, f"{heads} query heads, at most {nl.tile_size.pmax} fit the partitions"
    assert block >= nl.tile_size.pmax, f"block is {block}, at least {nl.tile_size.pmax} keys fill the partitions"
    assert v.shape == (sequences, kv_heads, keys, head_dim), f"v is {v.shape}, k is {k.shape}, q is {q.shape}"
    group, parts = heads // kv_heads, _parts(keys, block)
    scale = head_dim**-0.5 if scale is None else scale
    assert scale > 0, f"scale is {scale}; the largest score is taken for the largest exponent, so it must be positive"
    out = nl.ndarray(q.shape, dtype=q.dtype, buffer=nl.shared_hbm)
    ones = nl.ndarray((nl.tile_size.pmax, nl.tile_size.pmax), dtype=nl.float32, buffer=nl.sbuf)
    nisa.memset(dst=ones, value=1.0)
    waiting = None
    for sequence in range(sequences):
        query_columns = _query_columns(q, sequence)
        penalty = None if lengths is None else _penalty(lengths, sequence, parts)
        for kv_head in range(kv_heads):
            mine = query_columns[:, kv_head * group : (kv_head + 1) * group]
            scores = _scores(mine, k, sequence, kv_head, parts, penalty)
            # The scores of one head keep the Tensor Engine busy while the weights of the one before are made.
            if waiting is not None:
                _store(out, v, parts, ones, *waiting)
            waiting = (_weights(scores, ones, scale, v.dtype), sequence, kv_head)
    assert waiting is not None, f"{sequences} sequences of {kv_heads} key/value heads: nothing to attend to"
    _store(out, v, parts, ones, *waiting)
    return out


def _parts(keys: int, block: int) -> list[Part]:
    """The cache in blocks of full partitions; what is left over takes a partition each."""
    lanes = nl.tile_size.pmax
    parts, start, column = list[Part](), 0, 0
    while keys - start >= lanes:
        steps = min(block, keys - start) // lanes
        parts.append(Part(start, lanes, steps, column))
        start, column = start + lanes * steps, column + steps
    if start < keys:
        parts.append(Part(start, keys - start, 1, column))
    return parts


def _query_columns(q: nl.NkiTensor, sequence: int) -> nl.NkiTensor:
    """[head_dim, heads] in SBUF: the sequence's queries, turned on the Tensor Engine."""
    _, heads, head_dim = q.shape
    loaded = nl.ndarray((heads, head_dim), dtype=q.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=loaded, src=q[sequence])
    turned = nl.ndarray((head_dim, heads), dtype=q.dtype, buffer=nl.psum)
    nisa.nc_transpose(dst=turned, data=loaded)
    result = nl.ndarray((head_dim, heads), dtype=q.dtype, buffer=nl.sbuf)
    nisa.tensor_copy(dst=result, src=turned)
    return result


def _penalty(lengths: nl.NkiTensor, sequence: int, parts: list[Part]) -> nl.NkiTensor:
    """[128, steps]: 0 where a key counts, `MASKED` where it does not or where there is none."""
    lanes, steps = nl.tile_size.pmax, parts[-1].column + parts[-1].steps
    length = nl.ndarray((lanes, 1), dtype=nl.float32, buffer=nl.sbuf)
    nisa.dma_copy(dst=length, src=lengths.ap(pattern=[[0, lanes], [1, 1]], offset=sequence))
    number = nl.ndarray((lanes, steps), dtype=nl.float32, buffer=nl.sbuf)
    for part in parts:
        columns = number[:, part.column : part.column + part.steps]
        nisa.iota(dst=columns, pattern=[[1, part.steps]], offset=part.start, channel_multiplier=part.steps)
    penalty = nl.ndarray((lanes, steps), dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_scalar(
        dst=penalty, data=number, op0=nl.greater_equal, operand0=length, op1=nl.multiply, operand1=MASKED
    )
    return penalty


def _scores(
    query_columns: nl.NkiTensor,
    k: nl.NkiTensor,
    sequence: int,
    kv_head: int,
    parts: list[Part],
    penalty: nl.NkiTensor | None,
) -> nl.NkiTensor:
    """[128, steps, group] in float32: every score of one key/value head, `MASKED` where there is no key."""
    head_dim, group = query_columns.shape
    scores = nl.ndarray(
        (nl.tile_size.pmax, parts[-1].column + parts[-1].steps, group), dtype=nl.float32, buffer=nl.sbuf
    )
    if parts[-1].rows < nl.tile_size.pmax:
        nisa.memset(dst=scores[:, parts[-1].column, :], value=MASKED)
    most = nl.tile_size.gemm_moving_fmax // group
    for part in parts:
        size = part.rows * part.steps
        keys = nl.ndarray((head_dim, part.rows, part.steps), dtype=k.dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=keys.reshape((head_dim, size)), src=k[sequence, kv_head, :, part.start : part.start + size])
        for first in range(0, part.steps, most):
            count = min(most, part.steps - first)
            bank = nl.ndarray((part.rows, count, group), dtype=nl.float32, buffer=nl.psum)
            for step in range(count):
                nisa.nc_matmul(dst=bank[:, step, :], stationary=keys[:, :, first + step], moving=query_columns)
            begin = part.column + first
            place = scores[0 : part.rows, begin : begin + count, :]
            if penalty is None:
                nisa.tensor_copy(dst=place, src=bank)
            else:
                columns = penalty[0 : part.rows, begin : begin + count]
                wide = columns.reshape((part.rows, count, 1)).broadcast(2, group)
                nisa.tensor_tensor(dst=place, data1=bank, data2=wide, op=nl.add)
    return scores


def _weights(scores: nl.NkiTensor, ones: nl.NkiTensor, scale: float, dtype: Any) -> nl.NkiTensor:
    """exp(scale * (scores - the largest of each query head)) in `dtype`; the scores are overwritten."""
    lanes, steps, group = scores.shape
    by_lane = nl.ndarray((lanes, group), dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_reduce(dst=by_lane, op=nl.maximum, data=scores.permute((0, 2, 1)), axis=2)
    largest = _over_partitions(by_lane, ones)
    wide = largest.reshape((lanes, 1, group)).broadcast(1, steps)
    nisa.tensor_tensor(dst=scores, data1=scores, data2=wide, op=nl.subtract)
    weights = nl.ndarray((lanes, steps, group), dtype=dtype, buffer=nl.sbuf)
    nisa.activation(dst=weights, op=nl.exp, data=scores, scale=scale)
    return weights


def _over_partitions(values: nl.NkiTensor, ones: nl.NkiTensor) -> nl.NkiTensor:
    """[128, group], every row the largest of each column: reduced across partitions, then repeated by a matmul."""
    lanes, group = values.shape
    turned = nl.ndarray((group, lanes), dtype=nl.float32, buffer=nl.psum)
    nisa.nc_transpose(dst=turned, data=values)
    largest = nl.ndarray((group, 1), dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_reduce(dst=largest, op=nl.maximum, data=turned, axis=1)
    row = nl.ndarray((1, group), dtype=nl.float32, buffer=nl.psum)
    nisa.nc_transpose(dst=row, data=largest)
    single = nl.ndarray((1, group), dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_copy(dst=single, src=row)
    repeated = nl.ndarray((lanes, group), dtype=nl.float32, buffer=nl.psum)
    nisa.nc_matmul(dst=repeated, stationary=ones[0:1, :], moving=single)
    result = nl.ndarray((lanes, group), dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_copy(dst=result, src=repeated)
    return result


def _store(
    out: nl.NkiTensor,
    v: nl.NkiTensor,
    parts: list[Part],
    ones: nl.NkiTensor,
    weights: nl.NkiTensor,
    sequence: int,
    kv_head: int,
) -> None:
    """out of one key/value head's queries = weights @ values / the sum of the weights."""
    group, head_dim = weights.shape[2], v.shape[3]
    product = _weighted_values(weights, v, sequence, kv_head, parts)
    inverse = nl.ndarray((group, 1), dtype=nl.float32, buffer=nl.sbuf)
    nisa.reciprocal(dst=inverse, data=_sums(weights, ones))
    result = nl.ndarray((group, head_dim), dtype=out.dtype, buffer=nl.sbuf)
    nisa.tensor_scalar(dst=result, data=product, op0=nl.multiply, operand0=inverse)
    nisa.dma_copy(dst=out[sequence, kv_head * group : (kv_head + 1) * group, :], src=result)


def _weighted_values(
    weights: nl.NkiTensor, v: nl.NkiTensor, sequence: int, kv_head: int, parts: list[Part]
) -> nl.NkiTensor:
    """[group, head_dim] in float32 in PSUM: weights @ values."""
    group, head_dim = weights.shape[2], v.shape[3]
    product = nl.ndarray((group, head_dim), dtype=nl.float32, buffer=nl.psum)
    for part in parts:
        values = nl.ndarray((part.rows, part.steps, head_dim), dtype=v.dtype, buffer=nl.sbuf)
        block = v[sequence, kv_head, part.start : part.start + part.rows * part.steps, :]
        nisa.dma_copy(dst=values, src=block.reshape((part.rows, part.steps, head_dim)))
        for step in range(part.steps):
            column = part.column + step
            stationary = weights[0 : part.rows, column, :]
            nisa.nc_matmul(dst=product, stationary=stationary, moving=values[:, step, :], accumulate=column > 0)
    return product


def _sums(weights: nl.NkiTensor, ones: nl.NkiTensor) -> nl.NkiTensor:
    """[group, 1] in PSUM: the sum of each query head's weights, as they were rounded."""
    lanes, _, group = weights.shape
    by_lane = nl.ndarray((lanes, group), dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_reduce(dst=by_lane, op=nl.add, data=weights.permute((0, 2, 1)), axis=2)
    total = nl.ndarray((group, 1), dtype=nl.float32, buffer=nl.psum)
    nisa.nc_matmul(dst=total, stationary=by_lane, moving=ones[:, 0:1])
    return total
