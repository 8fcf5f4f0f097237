"""Wide rules of element-by-element instructions, with the accumulator registers that some of them feed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from trnlab.emulator.attribution.functions import FUNCTIONS
from trnlab.emulator.attribution.operators import FOLDS, IDENTITIES, OPERATORS, apply
from trnlab.emulator.attribution.wide import Floats, Results, Rule, WideCall

FP32_MIN: Final = -float(np.finfo(np.float32).max)
"""What range_select writes where the comparison fails."""


def with_accumulator(call: WideCall, result: Floats, op: str) -> Results:
    """The result, then reduce_res and the registers where the call has them (see `isa.accumulator`)."""
    if "accumulator" not in call:
        return (result,)
    command = call.attributes["reduce_cmd"]
    shape = call.shapes["accumulator"]
    after = call.get("accumulator") if command == "idle" else _begin(call, op, command, shape)
    if command in ("reduce", "reset_reduce", "load_reduce"):
        after = apply(op, after, FOLDS[op](result)[:, None])
    if "reduce_res" not in call:
        return result, after
    return result, (-after if call.attributes.get("reduce_res_negate") else after), after


def _begin(call: WideCall, op: str, command: str, shape: tuple[int, ...]) -> Floats:
    start: Any = {"reduce": call.get("accumulator"), "load_reduce": call.get("reduce_init")}.get(command)
    return np.broadcast_to(IDENTITIES[op] if start is None else start, shape)


def stages(call: WideCall, *parts: tuple[str, str, str]) -> Floats | None:
    """Data through the operators named by (op, operand, reverse) in turn; None where one has no wide form."""
    value: Floats = call.needed("data")
    for op_name, operand, reverse in parts:
        op = call.attributes.get(op_name)
        if op is not None and op not in OPERATORS:
            return None
        value = apply(op, value, call.get(operand), call.attributes.get(reverse, False)) if op else value
    return value


def _tensor_tensor(call: WideCall) -> Results:
    op = call.attributes["op"]
    if op not in OPERATORS or call.math == "raw":
        return None
    return (apply(op, call.needed("data1"), call.needed("data2")),)


def _tensor_scalar(call: WideCall) -> Results:
    found = stages(call, ("op0", "operand0", "reverse0"), ("op1", "operand1", "reverse1"))
    return None if found is None or call.math == "raw" else (found,)


def _scalar_tensor_tensor(call: WideCall) -> Results:
    found = stages(call, ("op0", "operand0", "reverse0"), ("op1", "operand1", "reverse1"))
    return None if found is None else (found,)


def _tensor_scalar_reduce(call: WideCall) -> Results:
    found = stages(call, ("op0", "operand0", "reverse0"))
    return None if found is None else with_accumulator(call, found, call.attributes["reduce_op"])


def _reciprocal(call: WideCall) -> Results:
    return (np.reciprocal(call.needed("data")),)


def _activation(call: WideCall) -> Results:
    bias = call.get("bias")
    value = call.needed("data") * call.needed("scale")
    result = FUNCTIONS[call.attributes["op"]](value if bias is None else value + bias)
    return with_accumulator(call, result, "add")


def _activate2(call: WideCall) -> Results:
    value = stages(call, ("op0", "imm0", "reverse0"), ("op1", "imm1", "reverse1"))
    if value is None:
        return None
    parameter = call.get("relu_param")
    function = FUNCTIONS[call.attributes["op"]]
    result = function(value) if parameter is None else function(value, parameter)
    return with_accumulator(call, result, call.attributes["reduce_op"] or "add")


def _exponential(call: WideCall) -> Results:
    return with_accumulator(call, np.exp(call.needed("src") - call.needed("max_value")), "add")


# ----------------------------------------------------------------------------------------------------- selections


def _range_select(call: WideCall) -> Results:
    data = call.needed("on_true_tile")
    index = call.immediates["range_start"] + np.arange(data.shape[1], dtype=np.float64)
    inside = [apply(call.attributes[f"comp_op{n}"], index, call.needed(f"bound{n}")) != 0 for n in (0, 1)]
    result = np.where(inside[0] & inside[1], data, FP32_MIN)
    return with_accumulator(call, result, call.attributes["reduce_op"])


def _holds(call: WideCall) -> Any:
    is_true = call.needed("predicate") != 0
    return ~is_true if call.attributes["reverse_pred"] else is_true


def _select_reduce(call: WideCall) -> Results:
    result = np.where(_holds(call), call.needed("on_true"), call.needed("on_false"))
    return with_accumulator(call, result, call.attributes["reduce_op"])


def _tensor_copy_predicated(call: WideCall) -> Results:
    holds = _holds(call)
    if call.dtypes["dst"].is_packed:
        if "src" not in call.values:
            return None  # a number that fills packed words is a pattern
        holds = holds[..., None]
    return (np.where(holds, call.needed("src"), call.needed("dst")),)


def _affine_select(call: WideCall) -> Results:
    data = call.needed("on_true_tile")
    free = np.zeros((), np.int64)
    for step, count in call.attributes["pattern"]:
        free = free[..., None] + np.arange(count, dtype=np.int64) * step
    channels = np.arange(data.shape[0], dtype=np.int64) * call.attributes["channel_multiplier"]
    total = channels[:, None] + free.reshape(-1) + int(call.immediates["offset"])
    wrapped = (total + 2**31) % 2**32 - 2**31  # 32-bit integer arithmetic
    holds = apply(call.attributes["cmp_op"], wrapped.astype(np.float64), 0.0) != 0
    return (np.where(holds, data, call.attributes["on_false_value"]),)


RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "tensor_tensor": _tensor_tensor,
        "tensor_scalar": _tensor_scalar,
        "scalar_tensor_tensor": _scalar_tensor_tensor,
        "tensor_scalar_reduce": _tensor_scalar_reduce,
        "reciprocal": _reciprocal,
        "activation": _activation,
        "activation_reduce": _activation,
        "activate2": _activate2,
        "exponential": _exponential,
        "range_select": _range_select,
        "select_reduce": _select_reduce,
        "tensor_copy_predicated": _tensor_copy_predicated,
        "affine_select": _affine_select,
    }
)
