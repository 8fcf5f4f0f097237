"""One kernel for each instruction that has a wide rule, with arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import nki.isa as nisa
import nki.language as nl
import numpy as np

from tests.emulator.attribution.harness import load, store, tile

RNG = np.random.default_rng(11)
P, F = 32, 16

X = RNG.standard_normal((P, F)).astype(np.float32)
Y = RNG.standard_normal((P, F)).astype(np.float32)
POSITIVE = np.abs(X) + np.float32(0.5)
COLUMN = RNG.standard_normal((P, 1)).astype(np.float32)

Kernel = Callable[..., Any]
CASES: dict[str, tuple[Kernel, tuple[Any, ...]]] = {}


def case(opcode: str, *args: Any) -> Callable[[Kernel], Kernel]:
    def note(kernel: Kernel) -> Kernel:
        CASES[f"{opcode}-{kernel.__name__}"] = kernel, (opcode, *args)
        return kernel

    return note


@case("tensor_scalar", X, COLUMN)
def reversed_stages(x: Any, c: Any) -> Any:
    result = tile((P, F), dtype=nl.bfloat16)
    nisa.tensor_scalar(
        dst=result, data=load(x), op0=nl.subtract, operand0=load(c), reverse0=True, op1=nl.multiply, operand1=0.1
    )
    return store(result)


@case("scalar_tensor_tensor", X, Y)
def two_stages(x: Any, y: Any) -> Any:
    result = tile((P, F))
    nisa.scalar_tensor_tensor(
        dst=result, data=load(x), op0=nl.multiply, operand0=0.3, op1=nl.subtract, operand1=load(y), reverse1=True
    )
    return store(result)


@case("tensor_scalar_reduce", X)
def reduced(x: Any) -> Any:
    result, sums = tile((P, F)), tile((P, 1))
    nisa.tensor_scalar_reduce(
        dst=result, data=load(x), op0=nl.multiply, operand0=0.7, reduce_op=nl.maximum, reduce_res=sums
    )
    return store(result), store(sums)


@case("activation_reduce", X, COLUMN)
def summed(x: Any, c: Any) -> Any:
    result, sums = tile((P, F), dtype=nl.bfloat16), tile((P, 1))
    nisa.activation_reduce(
        dst=result, op=nl.exp, data=load(x), reduce_op=nl.add, reduce_res=sums, bias=load(c), scale=0.5
    )
    return store(result), store(sums)


@case("exponential", X, COLUMN)
def exponentials(x: Any, c: Any) -> Any:
    result, sums = tile((P, F)), tile((P, 1))
    nisa.exponential(
        dst=result, src=load(x), max_value=load(c), reduce_cmd=nisa.reduce_cmd.reset_reduce, reduce_res=sums
    )
    return store(result), store(sums)


@case("reciprocal", POSITIVE)
def inverses(x: Any) -> Any:
    result = tile((P, F))
    nisa.reciprocal(dst=result, data=load(x))
    return store(result)


@case("range_select", X, np.full((P, 1), 3, np.float32), np.full((P, 1), 9, np.float32))
def ranges(x: Any, low: Any, high: Any) -> Any:
    result, largest = tile((P, F)), tile((P, 1))
    nisa.range_select(
        dst=result,
        on_true_tile=load(x),
        comp_op0=nl.greater_equal,
        comp_op1=nl.less,
        bound0=load(low),
        bound1=load(high),
        reduce_cmd=nisa.reduce_cmd.reset_reduce,
        reduce_res=largest,
        reduce_op=nl.maximum,
        range_start=2,
    )
    return store(result), store(largest)


@case("select_reduce", X, (RNG.random((P, F)) < 0.5).astype(np.uint8))
def selected(x: Any, flags: Any) -> Any:
    result = tile((P, F))
    nisa.select_reduce(dst=result, predicate=load(flags), on_true=load(x), on_false=-1.5, reverse_pred=True)
    return store(result)


@case("tensor_copy_predicated", X, Y, (RNG.random((P, F)) < 0.5).astype(np.uint8))
def predicated(x: Any, y: Any, flags: Any) -> Any:
    result = load(y)
    nisa.tensor_copy_predicated(dst=result, src=load(x), predicate=load(flags))
    return store(result)


@case("affine_select", X)
def triangle(x: Any) -> Any:
    result = tile((P, F), dtype=nl.bfloat16)
    nisa.affine_select(
        dst=result,
        pattern=[[-1, F]],
        channel_multiplier=1,
        offset=-3,
        on_true_tile=load(x),
        on_false_value=-7.0,
        cmp_op=nl.greater_equal,
    )
    return store(result)


@case("nc_matmul", X, Y)
def accumulated(x: Any, y: Any) -> Any:
    left, right, bank = load(x), load(y), tile((F, F), buffer=nl.psum)
    nisa.nc_matmul(dst=bank, stationary=left, moving=right)
    nisa.nc_matmul(dst=bank, stationary=right, moving=left, accumulate=True)
    return store(bank)


@case("nc_matmul", *(RNG.standard_normal((P, 2, F)).astype(ml_dtypes.float8_e4m3) for _ in range(2)))
def double_row(x: Any, y: Any) -> Any:
    bank = tile((F, F), buffer=nl.psum)
    nisa.nc_matmul(dst=bank, stationary=load(x), moving=load(y), perf_mode=nisa.matmul_perf_mode.double_row)
    return store(bank)


WIDE = RNG.standard_normal((P, 4 * F)).astype(ml_dtypes.bfloat16)


def quantised(x: Any, element: Any = nl.float8_e4m3fn_x4) -> tuple[Any, Any]:
    words, scales = tile((P, F), element), tile((P // 8, F), nl.uint8)
    nisa.quantize_mx(dst=words, src=load(x), dst_scale=scales)
    return words, scales


@case("nc_matmul_mx", WIDE)
def microscaled(x: Any) -> Any:
    words, scales = quantised(x)
    bank = tile((F, F), buffer=nl.psum)
    nisa.nc_matmul_mx(dst=bank, stationary=words, moving=words, stationary_scale=scales, moving_scale=scales)
    return store(bank)


@case("nc_transpose", X)
def turned(x: Any) -> Any:
    bank = tile((F, P), buffer=nl.psum)
    nisa.nc_transpose(dst=bank, data=load(x))
    return store(bank)


@case("dma_transpose", X)
def turned_by_dma(x: Any) -> Any:
    result = tile((F, P))
    nisa.dma_transpose(dst=result, src=x, axes=(1, 0))
    return store(result)


@case("tensor_partition_reduce", X)
def over_partitions(x: Any) -> Any:
    result = tile((1, F))
    nisa.tensor_partition_reduce(dst=result, op=nl.add, data=load(x))
    return store(result)


@case("tensor_tensor_scan", 0.5 * X, Y)
def scanned(x: Any, y: Any) -> Any:
    result = tile((P, F))
    nisa.tensor_tensor_scan(dst=result, data0=load(x), data1=load(y), initial=0.5, op0=nl.multiply, op1=nl.add)
    return store(result)


@case("tensor_scalar_cumulative", X)
def cumulated(x: Any) -> Any:
    result = tile((P, F))
    nisa.tensor_scalar_cumulative(dst=result, src=load(x), op0=nl.multiply, op1=nl.subtract, imm0=0.5)
    return store(result)


@case("bn_stats", X)
def statistics(x: Any) -> Any:
    sums = tile((P, 6))
    nisa.bn_stats(dst=sums, data=load(x))
    return store(sums)


@case("bn_aggr", X)
def aggregated(x: Any) -> Any:
    sums, result = tile((P, 6)), tile((P, 2))
    nisa.bn_stats(dst=sums, data=load(x))
    nisa.bn_aggr(dst=result, data=sums)
    return store(result)


@case("dma_compute", X, Y)
def added_by_dma(x: Any, y: Any) -> Any:
    result = tile((P, F))
    nisa.dma_compute(dst=result, srcs=[x, y, x], reduce_op=nl.add)
    return store(result)


@case("memset")
def filled(x: Any) -> Any:
    result = tile((P, F), dtype=nl.bfloat16)
    nisa.memset(dst=result, value=0.1)
    return store(result)


@case("max8", X)
def largest(x: Any) -> Any:
    result = tile((P, 8))
    nisa.max8(dst=result, src=load(x))
    return store(result)


@case("nc_stream_shuffle", X)
def shuffled(x: Any) -> Any:
    result = load(x)
    mask = [(5 * p + 1) % 32 if p % 3 else 255 for p in range(32)]
    nisa.nc_stream_shuffle(dst=result, src=load(x), shuffle_mask=mask)
    return store(result)


@case("nc_n_gather", X, RNG.integers(0, F, (P, 5)).astype(np.uint32))
def gathered(x: Any, index: Any) -> Any:
    result = tile((P, 5))
    nisa.nc_n_gather(dst=result, data=load(x), indices=load(index))
    return store(result)


@case("local_gather", X, RNG.integers(0, F - 1, (P, 1)).astype(np.uint16))
def gathered_by_core(x: Any, index: Any) -> Any:
    result = tile((P, 2 * 6))
    nisa.local_gather(dst=result, src_buffer=load(x), index=load(index), num_elem_per_idx=2, num_valid_indices=6)
    return store(result)


@case("dma_copy", X, RNG.permutation(P)[:8].astype(np.int32).reshape(8, 1))
def rows_by_index(x: Any, index: Any) -> Any:
    result = tile((8, F), nl.bfloat16)
    nisa.dma_copy(dst=result, src=x.vector_select(0, load(index)))
    return store(result)


@case("tensor_copy", X)
def narrowed(x: Any) -> Any:
    result = tile((P, F), dtype=nl.float8_e5m2)
    nisa.tensor_copy(dst=result, src=load(x))
    return store(result)
