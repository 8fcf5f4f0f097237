"""A full call of every instruction, every optional operand given, taken on every generation that has the instruction.

Shapes lie at the limits where the limit is a multiple or a number: what a test varies is one step from the edge.
"""

from __future__ import annotations

from typing import Any

from tests.emulator.isa.limit_edges.calls import Example, Same, Tile
from trnlab.emulator.nki import isa as nisa, language as nl

T = Tile((8, 8))
ROW = Tile((8, 1))
SOURCES = {f"src{number}": Tile((8, 8), region="shared_hbm") for number in range(16)}
CMD = nisa.reduce_cmd


def _t(*shape: int, **facts: Any) -> Tile:
    return Tile(shape, **facts)


_ARGUMENTS: dict[str, dict[str, Any]] = {
    "nc_matmul": {
        "dst": _t(8, 16, region="psum"),
        "stationary": _t(32, 8, dtype="bfloat16"),
        "moving": _t(32, 16, dtype="bfloat16"),
    },
    "nc_matmul_mx": {
        "dst": _t(8, 16, region="psum"),
        "stationary": _t(64, 8, dtype="float8_e4m3fn_x4"),
        "moving": _t(64, 16, dtype="float8_e4m3fn_x4"),
        "stationary_scale": _t(36, 8, dtype="uint8"),
        "moving_scale": _t(36, 16, dtype="uint8"),
    },
    "nc_transpose": {"dst": _t(64, 48, region="psum"), "data": _t(48, 64)},
    "tensor_tensor": {"dst": T, "data1": T, "data2": T, "op": nl.add},
    "reciprocal": {"dst": T, "data": T},
    "tensor_scalar": {
        "dst": T,
        "data": T,
        "op0": nl.multiply,
        "operand0": ROW,
        "op1": nl.add,
        "operand1": ROW,
    },
    "scalar_tensor_tensor": {
        "dst": T,
        "data": T,
        "op0": nl.multiply,
        "operand0": ROW,
        "op1": nl.add,
        "operand1": T,
    },
    "tensor_copy": {"dst": T, "src": T},
    "memset": {"dst": T, "value": 0},
    "tensor_reduce": {"dst": ROW, "op": nl.add, "data": T, "axis": 1},
    "tensor_scalar_reduce": {
        "dst": T,
        "data": T,
        "op0": nl.multiply,
        "operand0": ROW,
        "reduce_op": nl.add,
        "reduce_res": ROW,
        "reduce_cmd": CMD.load_reduce,
        "reduce_init": ROW,
    },
    "exponential": {
        "dst": T,
        "src": T,
        "max_value": ROW,
        "reduce_res": ROW,
        "reduce_cmd": CMD.load_reduce,
        "reduce_init": ROW,
    },
    "range_select": {
        "dst": T,
        "on_true_tile": T,
        "comp_op0": nl.greater_equal,
        "comp_op1": nl.less,
        "bound0": ROW,
        "bound1": ROW,
        "reduce_res": ROW,
    },
    "select_reduce": {
        "dst": T,
        "predicate": _t(8, 8, dtype="uint8"),
        "on_true": T,
        "on_false": ROW,
        "reduce_res": ROW,
        "reduce_cmd": CMD.reset_reduce,
    },
    "tensor_copy_predicated": {"dst": T, "src": T, "predicate": _t(8, 8, dtype="uint8")},
    "quantize_mx": {
        "dst": _t(32, 1, dtype="float8_e4m3fn_x4"),
        "src": _t(32, 4, dtype="bfloat16"),
        "dst_scale": _t(32, 1, dtype="uint8"),
    },
    "tensor_tensor_scan": {
        "dst": T,
        "data0": T,
        "data1": T,
        "initial": ROW,
        "op0": nl.multiply,
        "op1": nl.add,
    },
    "tensor_scalar_cumulative": {
        "dst": T,
        "src": T,
        "op0": nl.multiply,
        "op1": nl.add,
        "imm0": ROW,
        "imm1": ROW,
        "reduce_cmd": CMD.load_reduce,
    },
    "bn_stats": {"dst": _t(8, 6), "data": _t(8, 9)},
    "bn_aggr": {"dst": _t(8, 2), "data": _t(8, 3)},
    "activation": {
        "dst": T,
        "op": nl.exp,
        "data": T,
        "bias": ROW,
        "scale": ROW,
        "reduce_op": nl.add,
        "reduce_res": ROW,
        "reduce_cmd": CMD.reset_reduce,
    },
    "activation_reduce": {
        "dst": T,
        "op": nl.exp,
        "data": T,
        "reduce_op": nl.add,
        "reduce_res": ROW,
        "bias": ROW,
        "scale": ROW,
    },
    "activate2": {
        "dst": T,
        "op": nl.prelu,
        "data": T,
        "imm0": ROW,
        "imm1": ROW,
        "op0": nl.multiply,
        "op1": nl.add,
        "relu_param": ROW,
        "reduce_op": nl.add,
        "reduce_res": ROW,
        "reduce_cmd": CMD.reset_reduce,
    },
    "iota": {"dst": _t(8, 8, dtype="int32"), "pattern": [[1, 8]]},
    "affine_select": {
        "dst": T,
        "pattern": [[1, 8]],
        "channel_multiplier": 1,
        "on_true_tile": T,
        "on_false_value": 0.0,
        "cmp_op": nl.less,
    },
    "tensor_partition_reduce": {"dst": _t(1, 8), "op": nl.add, "data": T},
    "max8": {"dst": _t(8, 8), "src": _t(8, 8)},
    "nc_find_index8": {"dst": _t(8, 8, dtype="uint32"), "data": _t(8, 8), "vals": _t(8, 8)},
    "nc_match_replace8": {
        "dst": _t(8, 64),
        "data": _t(8, 64),
        "vals": _t(8, 8),
        "imm": 0.0,
        "dst_idx": _t(8, 8, dtype="uint32"),
    },
    "topk": {
        "val_dst": _t(16, 2, dtype="bfloat16"),
        "idx_dst": _t(16, 2, dtype="uint32"),
        "src": _t(16, 2, dtype="bfloat16"),
        "n": 20,
    },
    "nonzero_with_count": {"dst": _t(16, 9, dtype="int32"), "src": _t(16, 8)},
    "sequence_bounds": {"dst": _t(1, 2, 8), "segment_ids": _t(1, 8)},
    "local_gather": {
        "dst": _t(16, 4),
        "src_buffer": _t(16, 8),
        "index": _t(16, 1, dtype="uint16"),
        "num_elem_per_idx": 2,
        "num_valid_indices": 2,
    },
    "nc_n_gather": {"dst": _t(8, 4), "data": T, "indices": _t(8, 4, dtype="uint32")},
    "nc_stream_shuffle": {"dst": _t(32, 8), "src": _t(32, 8), "shuffle_mask": [255, *range(1, 32)]},
    "rng": {"dst": _t(8, 8, dtype="uint32")},
    "rand2": {"dst": T, "min": ROW, "max": ROW},
    "dropout": {"dst": T, "data": T, "prob": ROW},
    "set_rng_seed": {"src_seeds": _t(1, 1, dtype="uint32")},
    "rand_set_state": {"src_seeds": _t(8, 6, dtype="uint32")},
    "rand_get_state": {"dst": _t(8, 6, dtype="uint32")},
    "dma_copy": {"dst": T, "src": T.of(region="shared_hbm")},
    "dma_transpose": {
        "dst": _t(128, 16, dtype="bfloat16"),
        "src": _t(16, 128, dtype="bfloat16", region="shared_hbm"),
    },
    "dma_compute": {"dst": T, **SOURCES, "reduce_op": nl.add},
    "register_move": {"dst": _t(1, region="register"), "src": _t(1, region="register")},
    "register_load": {"dst": _t(1, region="register"), "src": _t(1, 1, dtype="int32", region="shared_hbm")},
    "register_store": {"dst": _t(1, 1, dtype="int32", region="shared_hbm"), "src": _t(1, region="register")},
    "device_print": {"data": T},
}

EXAMPLES = {name: Example(name, arguments) for name, arguments in _ARGUMENTS.items()}
"""By instruction."""


def accumulating(**changes: Any) -> Example:
    """dma_compute that adds gathered rows to a tile: dst = dst + src1[rows]."""
    rows = _t(16, 1, dtype="uint32")
    arguments = {
        "dst": _t(16, 8),
        "src0": Same("dst"),
        "src1": _t(16, 8, region="shared_hbm", rows=rows),
        "reduce_op": nl.add,
    }
    return Example("dma_compute", {**arguments, **changes})


def gathering(**changes: Any) -> Example:
    """dma_transpose of rows that a vector of indices gathers."""
    rows = _t(16, 1, dtype="uint32")
    return EXAMPLES["dma_transpose"].having(src=EXAMPLES["dma_transpose"].tile("src").of(rows=rows), **changes)
