"""Flash attention forward: out = softmax(scale * q @ k.T + mask) @ v, tile by tile, any length, grouped queries.

Query rows lie on the partitions. Keys go by in blocks of 512, a running row maximum and row sum rescale what has been
accumulated (the online softmax), so no row of scores is ever whole in memory. Causal masking skips the blocks above
the diagonal and masks the ones on it. After Dao et al., FlashAttention-2 (2023), section 3.1.
"""

from __future__ import annotations

from typing import Any

import nki
import nki.isa as nisa
import nki.language as nl

from trnlab.kernels.tiling import Tile, tiles

Q_TILE = 128
K_TILE = 128
K_BLOCK = 512
MASKED = -3.0e38  # finite, so that a row of masked scores less their maximum is 0 and never NaN


@nki.jit
def flash_attention(
    q: nl.NkiTensor,
    k: nl.NkiTensor,
    v: nl.NkiTensor,
    causal: bool = True,
    scale: float | None = None,
    block_k: int = K_BLOCK,
) -> nl.NkiTensor:
    """softmax(scale * q @ k.T) @ v for every query head.

    q: [heads, queries, head_dim]; k, v: [kv_heads, keys, head_dim], bfloat16, float16 or float32 in HBM, head_dim <=
    128, heads a multiple of kv_heads. Causal aligns the last query with the last key, and needs queries <= keys.
    scale defaults to head_dim ** -0.5; block_k keys go by at a time. Returns q's shape and dtype.
    """
    heads, queries, head_dim = q.shape
    kv_heads, keys, _ = k.shape
    assert head_dim <= nl.tile_size.pmax, f"head_dim is {head_dim}, at most {nl.tile_size.pmax} fits the partitions"
    assert heads % kv_heads == 0, f"{heads} query heads cannot share {kv_heads} key/value heads evenly"
    assert not causal or queries <= keys, f"causal attention of {queries} queries needs as many keys, found {keys}"
    assert block_k in (128, 256, 512), f"block_k is {block_k}; 128, 256 or 512 columns of scores fill a PSUM bank"
    scale = head_dim**-0.5 if scale is None else scale
    out = nl.ndarray(q.shape, dtype=q.dtype, buffer=nl.shared_hbm)
    for kv_head in range(kv_heads):
        key_columns, values = _load_keys_and_values(k, v, kv_head)
        for head in range(kv_head * heads // kv_heads, (kv_head + 1) * heads // kv_heads):
            for tile in tiles(queries, Q_TILE):
                reach = keys - queries + tile.stop if causal else keys
                query_columns = _load_transposed(q, head, tile)
                rows = _attend(query_columns, key_columns, values, tile, reach, keys - queries, causal, scale, block_k)
                nisa.dma_copy(dst=out[head, tile.start : tile.stop, :], src=_as_dtype(rows, q.dtype))
    return out


def _as_dtype(tile: nl.NkiTensor, dtype: Any) -> nl.NkiTensor:
    if tile.dtype == dtype:
        return tile
    result = nl.ndarray(tile.shape, dtype=dtype, buffer=nl.sbuf)
    nisa.tensor_copy(dst=result, src=tile)
    return result


def _load_transposed(matrix: nl.NkiTensor, head: int, rows: Tile) -> nl.NkiTensor:
    """[head_dim, rows] in SBUF: rows of one head, loaded and turned on the Tensor Engine."""
    head_dim = matrix.shape[2]
    loaded = nl.ndarray((rows.size, head_dim), dtype=matrix.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=loaded, src=matrix[head, rows.start : rows.stop, :])
    turned = nl.ndarray((head_dim, rows.size), dtype=matrix.dtype, buffer=nl.psum)
    nisa.nc_transpose(dst=turned, data=loaded)
    result = nl.ndarray((head_dim, rows.size), dtype=matrix.dtype, buffer=nl.sbuf)
    nisa.tensor_copy(dst=result, src=turned)
    return result


def _load_keys_and_values(k: nl.NkiTensor, v: nl.NkiTensor, head: int) -> tuple[nl.NkiTensor, list[nl.NkiTensor]]:
    """Keys as columns [head_dim, keys] in one tile, values as a list of [<= 128 keys, head_dim] tiles."""
    _, keys, head_dim = k.shape
    key_columns = nl.ndarray((head_dim, keys), dtype=k.dtype, buffer=nl.sbuf)
    values = []
    for tile in tiles(keys, K_TILE):
        nisa.tensor_copy(dst=key_columns[:, tile.start : tile.stop], src=_load_transposed(k, head, tile))
        value = nl.ndarray((tile.size, head_dim), dtype=v.dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=value, src=v[head, tile.start : tile.stop, :])
        values.append(value)
    return key_columns, values


def _attend(
    query_columns: nl.NkiTensor,
    key_columns: nl.NkiTensor,
    values: list[nl.NkiTensor],
    rows: Tile,
    reach: int,
    shift: int,
    causal: bool,
    scale: float,
    block_k: int,
) -> nl.NkiTensor:
    """The attention output [rows, head_dim] in float32 of one tile of queries over keys 0..reach."""
    head_dim = key_columns.shape[0]
    accumulator = nl.ndarray((rows.size, head_dim), dtype=nl.float32, buffer=nl.sbuf)
    row_max = nl.ndarray((rows.size, 1), dtype=nl.float32, buffer=nl.sbuf)
    row_sum = nl.ndarray((rows.size, 1), dtype=nl.float32, buffer=nl.sbuf)
    for block in tiles(reach, block_k):
        scores = nl.ndarray((rows.size, block.size), dtype=nl.float32, buffer=nl.psum)
        nisa.nc_matmul(dst=scores, stationary=query_columns, moving=key_columns[:, block.start : block.stop])
        if causal and block.stop > shift + rows.start + 1:
            scores = _masked(scores, shift + rows.start - block.start)
        weights, block_max, block_sum = _softmax_block(scores, row_max, values[0].dtype, scale, first=block.index == 0)
        product = _weighted_values(weights, values, block)
        if block.index == 0:
            row_max, row_sum = block_max, block_sum
            nisa.tensor_copy(dst=accumulator, src=product)
            continue
        decay = _decay(row_max, block_max, scale)
        row_max = block_max
        row_sum = _fused(row_sum, decay, block_sum)
        accumulator = _fused(accumulator, decay, product)
    inverse = nl.ndarray((rows.size, 1), dtype=nl.float32, buffer=nl.sbuf)
    nisa.reciprocal(dst=inverse, data=row_sum)
    result = nl.ndarray((rows.size, head_dim), dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_scalar(dst=result, data=accumulator, op0=nl.multiply, operand0=inverse)
    return result


def _masked(scores: nl.NkiTensor, diagonal: int) -> nl.NkiTensor:
    """Scores with every key after its query masked: keep column c of row r where diagonal + r - c >= 0."""
    rows, columns = scores.shape
    plain = nl.ndarray((rows, columns), dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_copy(dst=plain, src=scores)
    masked = nl.ndarray((rows, columns), dtype=nl.float32, buffer=nl.sbuf)
    nisa.affine_select(
        dst=masked,
        pattern=[[-1, columns]],
        channel_multiplier=1,
        offset=diagonal,
        on_true_tile=plain,
        on_false_value=MASKED,
        cmp_op=nl.greater_equal,
    )
    return masked


def _softmax_block(
    scores: nl.NkiTensor, row_max: nl.NkiTensor, dtype: Any, scale: float, first: bool
) -> tuple[nl.NkiTensor, nl.NkiTensor, nl.NkiTensor]:
    """(exp(scale * (scores - max)) in `dtype`, the new running maximum, the block's row sums)."""
    rows, columns = scores.shape
    block_max = nl.ndarray((rows, 1), dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_reduce(dst=block_max, op=nl.maximum, data=scores, axis=1)
    if not first:
        larger = nl.ndarray((rows, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_tensor(dst=larger, data1=block_max, data2=row_max, op=nl.maximum)
        block_max = larger
    shift = nl.ndarray((rows, 1), dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_scalar(dst=shift, data=block_max, op0=nl.multiply, operand0=-scale)
    weights = nl.ndarray((rows, columns), dtype=dtype, buffer=nl.sbuf)
    block_sum = nl.ndarray((rows, 1), dtype=nl.float32, buffer=nl.sbuf)
    nisa.activation_reduce(
        dst=weights, op=nl.exp, data=scores, reduce_op=nl.add, reduce_res=block_sum, bias=shift, scale=scale
    )
    return weights, block_max, block_sum


def _weighted_values(weights: nl.NkiTensor, values: list[nl.NkiTensor], block: Tile) -> nl.NkiTensor:
    """weights @ values[block] in PSUM; the weights are turned 128 keys at a time to contract along the partitions."""
    rows, columns = weights.shape
    product = nl.ndarray((rows, values[0].shape[1]), dtype=nl.float32, buffer=nl.psum)
    for tile in tiles(columns, K_TILE):
        turned = nl.ndarray((tile.size, rows), dtype=weights.dtype, buffer=nl.psum)
        nisa.nc_transpose(dst=turned, data=weights[:, tile.start : tile.stop])
        stationary = nl.ndarray((tile.size, rows), dtype=weights.dtype, buffer=nl.sbuf)
        nisa.tensor_copy(dst=stationary, src=turned, engine=_copy_engine())
        value = values[block.start // K_TILE + tile.index]
        nisa.nc_matmul(dst=product, stationary=stationary, moving=value[0 : tile.size, :], accumulate=tile.index > 0)
    return product


def _copy_engine() -> Any:
    """The Scalar Engine where it copies (NeuronCore-v3 on): the Vector Engine is the busier one in this kernel."""
    return nisa.engine.scalar if nisa.get_nc_version() > nisa.nc_version.gen2 else nisa.engine.vector


def _decay(old_max: nl.NkiTensor, new_max: nl.NkiTensor, scale: float) -> nl.NkiTensor:
    """exp(scale * (old_max - new_max)): what earlier blocks' weights shrink by."""
    difference = nl.ndarray(old_max.shape, dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_tensor(dst=difference, data1=old_max, data2=new_max, op=nl.subtract)
    decay = nl.ndarray(old_max.shape, dtype=nl.float32, buffer=nl.sbuf)
    nisa.activation(dst=decay, op=nl.exp, data=difference, scale=scale)
    return decay


def _fused(total: nl.NkiTensor, decay: nl.NkiTensor, addend: nl.NkiTensor) -> nl.NkiTensor:
    """total * decay + addend, the decay one number a row."""
    result = nl.ndarray(total.shape, dtype=nl.float32, buffer=nl.sbuf)
    nisa.scalar_tensor_tensor(dst=result, data=total, op0=nl.multiply, operand0=decay, op1=nl.add, operand1=addend)
    return result
