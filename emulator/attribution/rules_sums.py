"""Wide rules of instructions that add up: matrix products, folds, scans, statistics, sums on the way through DMA."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from trnlab.emulator.attribution.operators import FOLDS, IDENTITIES, OPERATORS, apply
from trnlab.emulator.attribution.wide import Floats, Results, Rule, WideCall
from trnlab.emulator.dtypes import DType
from trnlab.emulator.isa.dma_compute import SOURCES
from trnlab.emulator.isa.matmul_limits import DOUBLE_ROW
from trnlab.emulator.isa.statistics import TRIPLE
from trnlab.emulator.numerics.microscaling_layout import gather_scales

GROUP: Final = 8
"""Partitions that share a scale."""

BIAS: Final = 127
NOT_A_NUMBER: Final = 255


def _nc_matmul(call: WideCall) -> Results:
    if call.math == "raw":
        return _picked_rows(call)
    stationary, moving = call.needed("stationary"), call.needed("moving")
    if call.attributes["perf_mode"] == DOUBLE_ROW:
        stationary, moving = (x.reshape(2 * x.shape[0], x.shape[1] // 2) for x in (stationary, moving))
    return (_accumulated(call, stationary.T @ moving),)


def _picked_rows(call: WideCall) -> Results:
    """Transpose mode: rows of the stationary, turned, where the 0/1 matrix `moving` says."""
    stationary, picks = call.needed("stationary"), call.needed("moving") != 0
    chosen = stationary[np.argmax(picks, axis=0)].T
    return (np.where(picks.any(axis=0), chosen, 0.0),)


def _accumulated(call: WideCall, product: Floats) -> Floats:
    return product + call.needed("dst") if call.attributes["accumulate"] else product


def _nc_matmul_mx(call: WideCall) -> Results:
    """Elements times the scales of the program: the pair stands for the number that was quantised, unrounded."""
    left, right = (_unscaled(call, name) for name in ("stationary", "moving"))
    return (_accumulated(call, left.T @ right),)


def _unscaled(call: WideCall, name: str) -> Floats:
    """[P, F, 4] elements with their scales applied, as [4 P, F]."""
    elements = call.needed(name)
    rows = gather_scales(call.needed(f"{name}_scale"), elements.shape[0])
    scales = np.repeat(power_of(rows, call.dtypes[f"{name}_scale"]), GROUP, axis=0)
    lanes: Floats = (elements * scales[:, :, None]).transpose(0, 2, 1)
    return lanes.reshape(-1, elements.shape[1])


def power_of(scales: Floats, dtype: DType) -> Floats:
    """The powers of two that scales stand for, stored as codes or as float8_e8m0fnu; NaN for code 255."""
    if dtype == "float8_e8m0fnu":
        return scales
    powers: Floats = np.ldexp(1.0, scales.astype(np.int64) - BIAS)
    return np.where(scales == NOT_A_NUMBER, np.nan, powers)


def _quantize_mx(call: WideCall) -> Results:
    """Source over the scale that the program chose: a power of two, so the pair still stands for the source."""
    source, scales = call.needed("src"), call.real["dst_scale"]
    rows = gather_scales(scales, source.shape[0])
    powers = np.repeat(power_of(rows, call.dtypes["dst_scale"]), GROUP, axis=0)
    return source.reshape(*powers.shape, -1) / powers[:, :, None], scales


# ----------------------------------------------------------------------------------------------------------- folds


def _tensor_reduce(call: WideCall) -> Results:
    op = call.attributes["op"]
    if op not in FOLDS:
        return None
    data = call.needed("data")
    folded = FOLDS[op](data.reshape(*data.shape[: call.attributes["axis"][0]], -1))
    return ((-folded if call.attributes["negate"] else folded).reshape(call.shapes["dst"]),)


def _tensor_partition_reduce(call: WideCall) -> Results:
    op = call.attributes["op"]
    return (FOLDS[op](call.needed("data").T).reshape(call.shapes["dst"]),) if op in FOLDS else None


def _dma_compute(call: WideCall) -> Results:
    shape = call.shapes["dst"]
    given = [call.values[name].reshape(shape) for name in SOURCES if name in call.values]
    return (np.sum(given, axis=0),)


def _recur(step: Any, start: Any, count: int, partitions: int) -> Floats:
    state = np.broadcast_to(start, (partitions, 1))[:, 0]
    columns = []
    for position in range(count):
        state = step(state, position)
        columns.append(state)
    return np.stack(columns, axis=1)


def _tensor_tensor_scan(call: WideCall) -> Results:
    first, second = call.needed("data0"), call.needed("data1")
    op0, op1, reverse0, reverse1 = (call.attributes[name] for name in ("op0", "op1", "reverse0", "reverse1"))

    def step(state: Floats, at: int) -> Floats:
        return apply(op1, apply(op0, first[:, at], state, reverse0), second[:, at], reverse1)

    return (_recur(step, call.needed("initial"), first.shape[1], first.shape[0]),)


def _tensor_scalar_cumulative(call: WideCall) -> Results:
    op0, op1, command = (call.attributes[name] for name in ("op0", "op1", "reduce_cmd"))
    if op0 not in OPERATORS:
        return None
    values = apply(op0, call.needed("src"), call.get("imm0"))
    start = {"reduce": call.get("accumulator"), "load_reduce": call.get("imm1")}.get(command)
    begun = IDENTITIES[op1] if start is None else start
    found = _recur(lambda state, at: apply(op1, values[:, at], state), begun, values.shape[1], values.shape[0])
    return found, found[:, -1:]


# ------------------------------------------------------------------------------------------------------ statistics


def _describe(x: Floats) -> list[Floats]:
    count = np.full(x.shape[0], float(x.shape[1]))
    if x.shape[1] == 0:
        return [count, count, count]
    return [count, x.mean(axis=1), x.var(axis=1) * x.shape[1]]


def _bn_stats(call: WideCall) -> Results:
    data = call.needed("data")
    return (np.stack(_describe(data[:, 0::2]) + _describe(data[:, 1::2]), axis=1),)


def _bn_aggr(call: WideCall) -> Results:
    counts, means, squares = (call.needed("data")[:, position::TRIPLE] for position in range(TRIPLE))
    count = counts.sum(axis=1)
    mean = (counts * means).sum(axis=1) / count
    within = (squares + counts * (means - mean[:, None]) ** 2).sum(axis=1)
    return (np.stack([mean, within / count], axis=1),)


RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "nc_matmul": _nc_matmul,
        "nc_matmul_mx": _nc_matmul_mx,
        "quantize_mx": _quantize_mx,
        "tensor_reduce": _tensor_reduce,
        "tensor_partition_reduce": _tensor_partition_reduce,
        "dma_compute": _dma_compute,
        "tensor_tensor_scan": _tensor_tensor_scan,
        "tensor_scalar_cumulative": _tensor_scalar_cumulative,
        "bn_stats": _bn_stats,
        "bn_aggr": _bn_aggr,
    }
)
