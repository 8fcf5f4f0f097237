"""Kernels as users write them, against float64: gathers, routing, sorting, scans, attention, quantised matmuls.

Each takes a shape that is no multiple of anything convenient where the kernel allows it. Tolerances are relative to the
largest expected value: float32 sums of up to 512 terms err by less than 512 * 2**-24 = 3e-5 of it, activation functions
by the 1e-6 or so that XLA's own do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import launch

Array = np.ndarray[Any, Any]
RANDOM = np.random.default_rng(2024)


def normal(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype(np.float32)


def wide(array: Array) -> Array:
    return array.astype(np.float64)


def sbuf(shape: Any, dtype: Any = nl.float32) -> Any:
    return nl.ndarray(shape, dtype=dtype, buffer=nl.sbuf)


def psum(shape: Any, dtype: Any = nl.float32) -> Any:
    return nl.ndarray(shape, dtype=dtype, buffer=nl.psum)


def result(shape: Any, dtype: Any = nl.float32) -> Any:
    return nl.ndarray(shape, dtype=dtype, buffer=nl.shared_hbm)


def stored(tile: Any) -> Any:
    out = result(tile.shape, tile.dtype)
    nl.store(out, tile)
    return out


def softmax(x: Array) -> Array:
    e = np.exp(wide(x) - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class Case(NamedTuple):
    """A kernel, its arguments, what it should give, and the error allowed, of the largest expected value."""

    kernel: Callable[..., Any]
    arguments: tuple[Any, ...]
    expected: tuple[Array, ...]
    tolerance: float = 1e-5


# -- rows of tables ----------------------------------------------------------------------------------------------------


def embedding(ids: Any, table: Any) -> Any:
    width = table.shape[1]
    out = result((ids.shape[0], width), table.dtype)
    for block in nl.affine_range(ids.shape[0] // 128):
        index, rows = sbuf((128, 1), nl.int32), sbuf((128, width), table.dtype)
        nisa.dma_copy(dst=index, src=ids[nl.ds(block * 128, 128)].reshape((128, 1)))
        picked = table.ap(pattern=[[width, 128], [1, width]], offset=0, vector_offset=index, indirect_dim=0)
        nisa.dma_copy(dst=rows, src=picked)
        nisa.dma_copy(dst=out[nl.ds(block * 128, 128), :], src=rows)
    return out


def cache_update(cache: Any, new: Any, position: Any) -> Any:
    width = cache.shape[1]
    row, where = nl.load(new), sbuf((1, 1), nl.int32)
    nisa.dma_copy(dst=where, src=position.reshape((1, 1)))
    place = cache.ap(pattern=[[width, 1], [1, width]], offset=0, scalar_offset=where, indirect_dim=0)
    nisa.dma_copy(dst=place, src=row)
    return cache


def paged_decode(q: Any, keys: Any, values: Any, table: Any, length: int) -> Any:
    """One query over pages of 16 tokens: scores by page, one softmax, one PSUM tile for the weighted sum."""
    d, pages = q.shape[1], table.shape[1]
    pages_used, query, scores = sbuf((1, pages), nl.int32), sbuf((d, 1)), sbuf((1, pages, 16))
    nisa.dma_copy(dst=pages_used, src=table)
    nisa.dma_copy(dst=query, src=q.reshape((d, 1)))
    page_values = []
    for page in range(pages):
        key, value = sbuf((16, d)), sbuf((16, d))
        for tile, pool in ((key, keys), (value, values)):
            number = pages_used[0:1, page : page + 1]
            view = pool.ap(pattern=[[d, 16], [1, d]], offset=0, scalar_offset=number, indirect_dim=0)
            nisa.dma_copy(dst=tile, src=view)
        page_values.append(value)
        turned, product = psum((d, 16)), psum((1, 16))
        nisa.nc_transpose(dst=turned, data=key)
        nisa.nc_matmul(dst=product, stationary=query, moving=nl.copy(turned))
        nisa.activation(dst=scores[:, page, :], op=nl.copy, data=product, scale=d**-0.5)
    flat = scores.reshape((1, pages * 16))
    nisa.affine_select(
        dst=flat,
        pattern=[[-1, pages * 16]],
        offset=length - 1,
        channel_multiplier=0,
        cmp_op=nl.greater_equal,
        on_true_tile=flat,
        on_false_value=-30000.0,
    )
    weights, total = nl.softmax(flat, axis=1), psum((1, d))
    for page in range(pages):
        column = psum((16, 1))
        nisa.nc_transpose(dst=column, data=weights[:, 16 * page : 16 * page + 16], engine=nisa.tensor_engine)
        nisa.nc_matmul(dst=total, stationary=nl.copy(column), moving=page_values[page], accumulate=page > 0)
    return stored(nl.copy(total))


def paged_case() -> Case:
    q, keys, values = normal(1, 64), normal(20, 16, 64), normal(20, 16, 64)
    table = RANDOM.permutation(20)[:5].astype(np.int32).reshape(1, 5)
    key, value = (wide(pool[table[0]].reshape(-1, 64)[:70]) for pool in (keys, values))
    return Case(paged_decode, (q, keys, values, table, 70), (softmax(q @ key.T / 8) @ value,))


# -- order -------------------------------------------------------------------------------------------------------------


def router(x: Any, w: Any) -> Any:
    tokens, hidden = x.shape
    experts = w.shape[1]
    product, logits = psum((tokens, experts)), sbuf((tokens, experts))
    for block in nl.affine_range(hidden // 128):
        turned = sbuf((128, tokens))
        nisa.dma_transpose(dst=turned, src=x[:, nl.ds(block * 128, 128)])
        nisa.nc_matmul(dst=product, stationary=turned, moving=nl.load(w[nl.ds(block * 128, 128), :]))
    nisa.tensor_copy(dst=logits, src=product)
    best, places = sbuf((tokens, 8)), sbuf((tokens, 8), nl.uint32)
    nisa.max8(dst=best, src=logits)
    nisa.nc_find_index8(dst=places, data=logits, vals=best)
    return stored(best), stored(places)


def router_case() -> Case:
    x, w = normal(61, 256), normal(256, 24)
    logits = wide(x) @ wide(w)
    places = np.argsort(-logits, axis=1)[:, :8]
    return Case(router, (x, w), (np.take_along_axis(logits, places, axis=1), places))


def sorted_rows(x: Any) -> Any:
    rest, out = nl.load(x), sbuf(x.shape)
    for first in range(0, x.shape[1], 8):
        nisa.max8(dst=out[:, first : first + 8], src=rest)
        nisa.nc_match_replace8(dst=rest, data=rest, vals=out[:, first : first + 8], imm=-3e38)
    return stored(out)


# -- scans and norms ---------------------------------------------------------------------------------------------------


def cumulative_sum(x: Any) -> Any:
    rows, columns = x.shape
    out, carry = result(x.shape), nl.zeros((rows, 1), nl.float32, buffer=nl.sbuf)
    ones = nl.ones((rows, 128), nl.float32, buffer=nl.sbuf)
    for block in nl.sequential_range(columns // 128):
        tile, sums = nl.load(x[:, nl.ds(block * 128, 128)]), sbuf((rows, 128))
        nisa.tensor_tensor_scan(dst=sums, data0=ones, data1=tile, initial=carry, op0=nl.multiply, op1=nl.add)
        nisa.tensor_copy(dst=carry, src=sums[:, 127:128])
        nl.store(out[:, nl.ds(block * 128, 128)], sums)
    return out


def layer_norm(x: Any, gamma: Any, beta: Any) -> Any:
    rows, width = x.shape
    longest = nl.tile_size.bn_stats_fmax
    tile, parts = nl.load(x), -(-width // longest)
    statistics, moments, scale = sbuf((rows, 6 * parts)), sbuf((rows, 2)), sbuf((rows, 1))
    for part in range(parts):
        columns = tile[:, part * longest : min(width, (part + 1) * longest)]
        nisa.bn_stats(dst=statistics[:, 6 * part : 6 * part + 6], data=columns)
    nisa.bn_aggr(dst=moments, data=statistics)
    epsilon = nl.full((rows, 1), 1e-5, nl.float32, buffer=nl.sbuf)
    nisa.activation(dst=scale, op=nl.rsqrt, data=moments[:, 1:2], bias=epsilon)
    nisa.tensor_scalar(dst=tile, data=tile, op0=nl.subtract, operand0=moments[:, 0:1], op1=nl.multiply, operand1=scale)
    weight, shift = (nl.broadcast_to(nl.load(row), (rows, width)) for row in (gamma, beta))
    return stored(nl.add(nl.multiply(tile, weight), shift))


def layer_norm_case() -> Case:
    x, gamma, beta = normal(120, 700), normal(1, 700), normal(1, 700)
    centred = wide(x) - wide(x).mean(axis=1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5) * gamma + beta
    return Case(layer_norm, (x, gamma, beta), (expected,))


def log_sum_exp(x: Any) -> Any:
    """Online: a running maximum and a running sum, tile by tile."""
    rows = x.shape[0]
    largest = nl.full((rows, 1), -3e38, nl.float32, buffer=nl.sbuf)
    total = nl.zeros((rows, 1), nl.float32, buffer=nl.sbuf)
    for block in nl.sequential_range(x.shape[1] // 64):
        tile = nl.load(x[:, nl.ds(block * 64, 64)])
        new = nl.maximum(largest, nl.max(tile, axis=1, keepdims=True))
        added = nl.sum(nl.exp(nl.subtract(tile, new)), axis=1, keepdims=True)
        nisa.tensor_copy(dst=total, src=nl.add(nl.multiply(total, nl.exp(nl.subtract(largest, new))), added))
        nisa.tensor_copy(dst=largest, src=new)
    return stored(nl.add(largest, nl.log(total)))


def rope_interleaved(x: Any, cosine: Any, sine: Any) -> Any:
    tile, c, s = nl.load(x), nl.load(cosine), nl.load(sine)
    even, odd, out = tile[:, 0::2], tile[:, 1::2], sbuf(x.shape)
    nisa.tensor_tensor(dst=out[:, 0::2], data1=nl.multiply(even, c), data2=nl.multiply(odd, s), op=nl.subtract)
    nisa.tensor_tensor(dst=out[:, 1::2], data1=nl.multiply(even, s), data2=nl.multiply(odd, c), op=nl.add)
    return stored(out)


def rope_case() -> Case:
    x, angle = normal(50, 64), normal(50, 32)
    c, s = np.cos(angle), np.sin(angle)
    pairs = (wide(x[:, 0::2]) + 1j * wide(x[:, 1::2])) * (wide(c) + 1j * wide(s))
    return Case(rope_interleaved, (x, c, s), (np.stack([pairs.real, pairs.imag], axis=2).reshape(50, 64),))


# -- matmuls -----------------------------------------------------------------------------------------------------------


def int8_blockwise(a: Any, quantized: Any, scales: Any) -> Any:
    """a.T @ (quantized * scales), one row of scales for each block of 128 rows."""
    rows, columns = a.shape[1], quantized.shape[1]
    total = nl.zeros((rows, columns), nl.float32, buffer=nl.sbuf)
    for block in range(a.shape[0] // 128):
        part = slice(128 * block, 128 * block + 128)
        narrow, scale, product = sbuf((128, columns), nl.bfloat16), sbuf((rows, columns)), psum((rows, columns))
        nisa.tensor_copy(dst=narrow, src=nl.load(quantized[part]))
        nisa.nc_matmul(dst=product, stationary=nl.load(a[part]), moving=narrow)
        nisa.dma_copy(dst=scale, src=scales.ap(pattern=[[0, rows], [1, columns]], offset=block * columns))
        nisa.tensor_tensor(dst=scale, data1=product, data2=scale, op=nl.multiply)
        nisa.tensor_tensor(dst=total, data1=total, data2=scale, op=nl.add)
    return stored(total)


def int8_case() -> Case:
    a, scales = normal(256, 33).astype(ml_dtypes.bfloat16), RANDOM.random((2, 40)).astype(np.float32)
    quantized = RANDOM.integers(-127, 128, (256, 40)).astype(np.int8)
    blocks = (wide(a[k : k + 128]).T @ wide(quantized[k : k + 128]) * scales[k // 128] for k in (0, 128))
    return Case(int8_blockwise, (a, quantized, scales), (sum(blocks),))


def convolution(x: Any, weights: Any) -> Any:
    """A 3x3 convolution as nine matmuls of shifted windows into one PSUM tile."""
    height, width, filters = x.shape[1] - 2, x.shape[2] - 2, weights.shape[3]
    image, total = nl.load(x), psum((filters, height, width))
    for row in range(3):
        for column in range(3):
            window = image[:, row : row + height, column : column + width]
            nisa.nc_matmul(dst=total, stationary=nl.load(weights[row, column]), moving=window)
    return stored(nl.copy(total))


def convolution_case() -> Case:
    x, weights = normal(16, 12, 10), normal(3, 3, 16, 24)
    windows = np.lib.stride_tricks.sliding_window_view(wide(x), (3, 3), axis=(1, 2))
    return Case(convolution, (x, weights), (np.einsum("chwij,ijco->ohw", windows, wide(weights)),))


def sliding_window(q: Any, k: Any, v: Any, window: int) -> Any:
    """Causal attention to the last `window` tokens: the mask is a range of columns, by row."""
    length, d = q.shape
    scores, masked = psum((length, length)), sbuf((length, length))
    nisa.nc_matmul(dst=scores, stationary=nl.load_transpose2d(q), moving=nl.load_transpose2d(k))
    first, end, largest = sbuf((length, 1)), sbuf((length, 1)), sbuf((length, 1))
    nisa.iota(dst=end, pattern=[[1, 1]], offset=1, channel_multiplier=1)
    nisa.tensor_scalar(dst=first, data=end, op0=nl.subtract, operand0=float(window))
    nisa.range_select(
        dst=masked,
        on_true_tile=scores,
        comp_op0=nl.greater_equal,
        comp_op1=nl.less,
        bound0=first,
        bound1=end,
        reduce_res=largest,
        reduce_op=nl.maximum,
        on_false_value=-3.4028235e38,
    )
    weights, turned, total = sbuf((length, length)), psum((length, length)), psum((length, d))
    nisa.tensor_scalar(dst=masked, data=masked, op0=nl.subtract, operand0=largest)
    nisa.activation(dst=weights, op=nl.exp, data=masked, scale=d**-0.5)
    nisa.nc_transpose(dst=turned, data=weights)
    nisa.nc_matmul(dst=total, stationary=nl.copy(turned), moving=nl.load(v))
    return stored(nl.divide(total, nl.sum(weights, axis=1, keepdims=True)))


def window_case() -> Case:
    q, k, v = normal(96, 32), normal(96, 32), normal(96, 32)
    row, column = np.arange(96)[:, None], np.arange(96)
    scores = np.where((column <= row) & (column > row - 20), wide(q) @ wide(k).T / 32**0.5, -np.inf)
    return Case(sliding_window, (q, k, v, 20), (softmax(scores) @ wide(v),))


def cases() -> dict[str, Case]:
    ids, table = RANDOM.integers(0, 301, 256).astype(np.int32), normal(301, 24)
    cache, new = normal(40, 24), normal(1, 24)
    x, long = normal(90, 64), normal(70, 512)
    updated = np.concatenate([cache[:17], new, cache[18:]])
    largest = wide(long).max(axis=1, keepdims=True)
    return {
        "embedding": Case(embedding, (ids, table), (table[ids],), 0),
        "cache update": Case(cache_update, (cache, new, np.asarray([17], np.int32)), (updated,), 0),
        "paged decode": paged_case(),
        "router": router_case(),
        "sorted rows": Case(sorted_rows, (x,), (-np.sort(-x, axis=1),), 0),
        "cumulative sum": Case(cumulative_sum, (long,), (np.cumsum(wide(long), axis=1),)),
        "layer norm": layer_norm_case(),
        "log sum exp": Case(
            log_sum_exp, (long,), (largest + np.log(np.exp(long - largest).sum(axis=1, keepdims=True)),)
        ),
        "rope": rope_case(),
        "int8 blockwise": int8_case(),
        "convolution": convolution_case(),
        "sliding window": window_case(),
    }


CASES = cases()


def arrays_of(outputs: Any) -> list[Array]:
    return [np.asarray(array) for array in (outputs if isinstance(outputs, tuple) else (outputs,))]


def copies(arguments: tuple[Any, ...]) -> list[Any]:
    return [argument.copy() if isinstance(argument, np.ndarray) else argument for argument in arguments]


@pytest.mark.parametrize("name", CASES)
def test_against_float64(name: str) -> None:
    case = CASES[name]
    run = launch.run(case.kernel, *copies(case.arguments), target="trn2", mode="reference")
    for found, expected in zip(arrays_of(run.outputs), case.expected, strict=True):
        allowed = case.tolerance * np.abs(expected).max()
        np.testing.assert_allclose(wide(found), expected, rtol=0, atol=allowed)
    assert run.findings == ()


@pytest.mark.slow
@pytest.mark.parametrize("target", ["trn2", "trn3", "trn4"])
@pytest.mark.parametrize("name", CASES)
def test_the_compiled_program_has_the_same_bits(name: str, target: str) -> None:
    case = CASES[name]
    compiled, reference = (
        launch.run(case.kernel, *copies(case.arguments), target=target, mode=mode).outputs
        for mode in ("compiled", "reference")
    )
    for found, expected in zip(arrays_of(compiled), arrays_of(reference), strict=True):
        assert found.tobytes() == expected.tobytes()
