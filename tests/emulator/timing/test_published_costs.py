"""Every formula that AWS printed, as a table of facts, against the rules at several sizes.

Sources: the NKI reference of SDK 2.20 to 2.26, "estimated instruction cost" (removed in 2.27); of SDK 2.32, nisa.topk
and "engine selection for operators supported on multiple engines". N is the number of elements per partition of the
named operand. Rules add to these the Vector Engine's static overhead, of the performance guide, and for the Scalar
Engine the start-up of an access, of the architecture guides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from trnlab.emulator import trace
from trnlab.emulator.dtypes import as_dtype
from trnlab.emulator.isa.registry import Call, OperandView
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.target import Engine, get_target
from trnlab.emulator.timing.cost import RULES, cost_of, signature_costs
from trnlab.emulator.timing.timeline import schedule
from trnlab.emulator.view_algebra import row_major

SBUF, PSUM = MemoryRegion.sbuf, MemoryRegion.psum
TENSOR, VECTOR, SCALAR, GPSIMD = Engine.TENSOR, Engine.VECTOR, Engine.SCALAR, Engine.GPSIMD
FP32, BF16, FP16, INT32 = "float32", "bfloat16", "float16", "int32"
MIN_II = 64  # cycles, "roughly"
GPSIMD_START = 150
MIN_II_DYNAMIC = 600
STATIC = {"trn1": 100, "trn2": 50}  # of the Vector Engine, added by the rules
SIZES = (1, 8, 63, 64, 65, 128, 511, 512, 1000, 4096)


def operand(
    elements: int, dtype: str = FP32, region: MemoryRegion = SBUF, indirect: str = "", partitions: int = 128
) -> OperandView:
    shape = (partitions, elements)
    return OperandView("", "read", region, as_dtype(dtype), shape, row_major(shape), indirect)


class Published(NamedTuple):
    """One printed formula: the opcode, where it applies, its operands at N elements, and cycles(N)."""

    opcode: str
    engine: Engine
    operands: Callable[[int], dict[str, OperandView]]
    cycles: Callable[[int], float]
    attributes: dict[str, Any] = {}  # noqa: RUF012  (never changed)
    generations: tuple[str, ...] = ("trn1", "trn2")


def one(name: str, dtype: str = FP32, into: str | None = None) -> Callable[[int], dict[str, OperandView]]:
    """One input and dst, both of N elements."""
    return lambda n: {name: operand(n, dtype), "dst": operand(n, into or dtype)}


def two(first: OperandView, second: OperandView) -> Callable[[int], dict[str, OperandView]]:
    """data1, data2 and dst of N elements, in the dtype and memory of the samples."""
    return lambda n: {
        "data1": operand(n, str(first.dtype), first.region),
        "data2": operand(n, str(second.dtype), second.region),
        "dst": operand(n, str(first.dtype)),
    }


def blend(data: str, operand1: str, operand0: str = FP32, dst: str = FP32) -> Callable[[int], dict[str, OperandView]]:
    """The operands of scalar_tensor_tensor; operand0 is one number per partition."""
    return lambda n: {
        "data": operand(n, data),
        "operand0": operand(1, operand0),
        "operand1": operand(n, operand1),
        "dst": operand(n, dst),
    }


def at_least(count: float) -> float:
    return max(MIN_II, count)


def n_cycles(n: int) -> float:
    return at_least(n)


def two_n_cycles(n: int) -> float:
    return at_least(2 * n)


IN_SBUF, IN_SBUF_BF16, IN_PSUM = operand(1), operand(1, BF16), operand(1, FP32, PSUM)
SUBTRACT_MULTIPLY = {"op0": "subtract", "op1": "multiply"}
READS_OUT = {"reduce_res": operand(1)}

FORMULAS = [
    Published("activation", SCALAR, one("data"), n_cycles, {"op": "exp"}),
    Published("activation", SCALAR, one("data", BF16), n_cycles, {"op": "reciprocal"}),
    Published("activation_reduce", SCALAR, lambda n: one("data")(n) | READS_OUT, lambda n: at_least(n) + MIN_II),
    Published("affine_select", GPSIMD, one("on_true_tile"), lambda n: GPSIMD_START + n),
    Published("iota", GPSIMD, one("dst", INT32), lambda n: GPSIMD_START + n),
    Published("bn_stats", VECTOR, one("data"), n_cycles),
    Published("bn_aggr", VECTOR, one("data"), lambda n: at_least(13 * (n / 3))),
    Published("dropout", VECTOR, one("data"), n_cycles),
    Published("max8", VECTOR, one("src"), n_cycles),  # printed without a floor
    Published("nc_find_index8", VECTOR, one("data"), n_cycles),  # printed without a floor
    Published("nc_match_replace8", VECTOR, one("data"), n_cycles),  # printed as a minimum; before 2.26 as N
    Published("memset", VECTOR, one("dst", BF16), lambda n: at_least(n / 2), {"value": 0.0}),
    Published("memset", VECTOR, one("dst", FP16), lambda n: at_least(n / 2), {"value": 0.0}),
    Published("memset", VECTOR, one("dst", FP32), n_cycles, {"value": 0.0}),
    Published("memset", VECTOR, one("dst", BF16), n_cycles, {"value": 1.0}),
    Published("nc_stream_shuffle", VECTOR, one("src"), n_cycles),
    Published("nc_transpose", VECTOR, one("data"), n_cycles),
    Published("range_select", VECTOR, one("on_true_tile"), n_cycles),
    # Active times of v2 leave no time for the printed 8 N there.
    Published("reciprocal", VECTOR, one("data"), lambda n: at_least(8 * n), generations=("trn2",)),
    Published("reciprocal", VECTOR, one("data"), lambda n: at_least(2.25 * n), generations=("trn1",)),
    Published("scalar_tensor_tensor", VECTOR, blend(FP32, FP32), two_n_cycles, SUBTRACT_MULTIPLY),
    Published("scalar_tensor_tensor", VECTOR, blend(BF16, BF16), two_n_cycles, {"op0": "add", "op1": "multiply"}),
    Published("scalar_tensor_tensor", VECTOR, blend(BF16, FP32), two_n_cycles, SUBTRACT_MULTIPLY),
    Published(
        "scalar_tensor_tensor",  # whatever the dtypes of operand0 and the result
        VECTOR,
        blend(BF16, BF16),
        lambda n: at_least(n if n % 2 == 0 else 2 * n),
        SUBTRACT_MULTIPLY,
    ),
    Published("tensor_copy", VECTOR, one("src"), n_cycles),
    Published("tensor_copy", SCALAR, one("src"), n_cycles, generations=("trn2",)),
    Published(
        "tensor_copy",  # tensor_copy_dynamic_src; the offset in SBUF
        VECTOR,
        lambda n: {"src": operand(n, indirect="scalar"), "dst": operand(n)},
        lambda n: max(MIN_II_DYNAMIC, n),
    ),
    Published(
        "tensor_copy",  # tensor_copy_dynamic_dst
        SCALAR,
        lambda n: {"src": operand(n), "dst": operand(n, indirect="scalar")},
        lambda n: max(MIN_II_DYNAMIC, n),
    ),
    Published(
        "tensor_copy",
        GPSIMD,
        lambda n: {"src": operand(n, indirect="scalar"), "dst": operand(n)},
        # At least the printed interval, and at least what any GpSimd instruction takes.
        lambda n: max(MIN_II_DYNAMIC, GPSIMD_START + n),
    ),
    Published(
        "tensor_copy_predicated",
        VECTOR,
        lambda n: {"src": operand(n), "predicate": operand(n, "uint32", PSUM), "dst": operand(n)},
        n_cycles,
    ),
    Published(
        "tensor_copy_predicated",
        VECTOR,
        lambda n: {"src": operand(n, FP32, PSUM), "predicate": operand(n, "uint32"), "dst": operand(n)},
        n_cycles,
    ),
    Published(
        "tensor_copy_predicated",
        VECTOR,
        lambda n: {"src": operand(n), "predicate": operand(n, "uint32"), "dst": operand(n)},
        two_n_cycles,
    ),
    Published("tensor_reduce", VECTOR, one("data"), n_cycles, {"op": "add"}),
    Published("tensor_reduce", VECTOR, one("data", BF16), lambda n: at_least(n / 2), {"op": "add"}),
    Published("tensor_reduce", VECTOR, one("data", BF16), lambda n: at_least(n / 2), {"op": "maximum"}),
    Published("tensor_reduce", VECTOR, one("data", BF16), n_cycles, {"op": "multiply"}),
    Published("tensor_reduce", VECTOR, one("data", BF16, FP32), n_cycles, {"op": "add"}),
    Published("tensor_scalar", VECTOR, one("data"), n_cycles, {"op0": "multiply"}),
    Published("tensor_scalar", SCALAR, one("data"), n_cycles, {"op0": "multiply"}),
    # rsqrt on GpSimd at a quarter of the Scalar Engine's throughput, which is one element per cycle of the same clock.
    Published("tensor_scalar", GPSIMD, one("data"), lambda n: GPSIMD_START + 4 * n, {"op0": "rsqrt"}),
    Published("tensor_scalar_reduce", VECTOR, lambda n: one("data")(n) | READS_OUT, lambda n: at_least(n) + MIN_II),
    Published("tensor_tensor", VECTOR, two(IN_SBUF, IN_PSUM), n_cycles, {"op": "add"}),
    Published("tensor_tensor", VECTOR, two(IN_PSUM, IN_SBUF), n_cycles, {"op": "divide"}),
    *(
        Published("tensor_tensor", VECTOR, two(IN_SBUF_BF16, IN_SBUF_BF16), n_cycles, {"op": op})
        for op in ("add", "multiply", "subtract")
    ),
    Published("tensor_tensor", VECTOR, two(IN_SBUF_BF16, IN_SBUF_BF16), two_n_cycles, {"op": "maximum"}, ("trn1",)),
    Published("tensor_tensor", VECTOR, two(IN_SBUF, IN_SBUF), two_n_cycles, {"op": "add"}),
    Published("tensor_tensor_scan", VECTOR, one("dst"), two_n_cycles, {"op0": "multiply", "op1": "add"}),
]
"""What was printed for the engines that stream elements; the Tensor Engine's formulas have two sizes, see below."""

NOT_PRINTED = {  # Opcodes for which no edition of the reference prints a cost, or prints none that can be used
    *("activate2", "nc_matmul_mx", "exponential", "quantize_mx", "rand2"),  # of v4
    *("rng", "set_rng_seed", "rand_set_state", "rand_get_state", "select_reduce", "tensor_scalar_cumulative"),
    *("tensor_partition_reduce", "nonzero_with_count", "sequence_bounds", "nc_n_gather", "dma_compute"),
    *("dma_copy", "dma_transpose", "register_move", "register_load", "register_store", "device_print"),
    "local_gather",  # printed, but as a division where only a product grows with the work; priced as assumed
}
PRINTED_ELSEWHERE = {"nc_matmul", "topk"}  # with tests of their own below


def test_the_table_covers_the_catalogue() -> None:
    assert {row.opcode for row in FORMULAS} | NOT_PRINTED | PRINTED_ELSEWHERE == RULES.keys()
    assert not NOT_PRINTED & {row.opcode for row in FORMULAS}


CASES = [(row, target) for row in FORMULAS for target in row.generations]


@pytest.mark.parametrize(
    ("row", "target"), CASES, ids=[f"{r.opcode}-{r.engine}-{t}-{i}" for i, (r, t) in enumerate(CASES)]
)
def test_rules_follow_the_printed_formulas(row: Published, target: str) -> None:
    static = STATIC[target] if row.engine is VECTOR else 0
    for n in SIZES:
        attributes = {"op0": None, "op1": None, "op": None} | row.attributes
        cost = cost_of(Call(row.opcode, row.operands(n), attributes, get_target(target), row.engine))
        assert cost.cycles == pytest.approx(row.cycles(n) + static, rel=1e-12), n


@pytest.mark.parametrize("row", FORMULAS, ids=[f"{r.opcode}-{i}" for i, r in enumerate(FORMULAS)])
def test_what_is_printed_is_not_called_assumed(row: Published) -> None:
    # GpSimd's rates are printed for iota, affine_select and rsqrt; for copies only the interval of run-time addresses.
    # range_select exists from v3 on.
    target = "trn2" if row.opcode == "range_select" else row.generations[0]
    attributes = {"op0": None, "op1": None, "op": None} | row.attributes
    cost = cost_of(Call(row.opcode, row.operands(512), attributes, get_target(target), row.engine))
    derived = row.opcode == "reciprocal" and target == "trn1"  # from counters that the printed formula contradicts
    assert cost.assumed == (derived or (row.opcode == "tensor_copy" and row.engine is GPSIMD))
    assert (cost.band == (1.0, 1.0)) == (not cost.assumed)


def test_a_run_time_address_is_printed_for_copies_alone() -> None:
    views = {"data": operand(128, indirect="scalar"), "dst": operand(128), "src": operand(128, indirect="scalar")}
    copy, other = (
        cost_of(Call(opcode, views, {"op0": "add"}, get_target("trn2"), VECTOR))
        for opcode in ("tensor_copy", "tensor_scalar")
    )
    assert copy.cycles == other.cycles == MIN_II_DYNAMIC + STATIC["trn2"]
    assert (copy.assumed, other.assumed) == (False, True)


@pytest.mark.parametrize("target", ["trn1", "trn2"])
@pytest.mark.parametrize(("dtype", "passes"), [(BF16, 1), (FP16, 1), ("float8_e4m3", 1), (FP32, 4)])
def test_nc_matmul(target: str, dtype: str, passes: int) -> None:
    for stationary in (1, 32, 63, 64, 128):
        for moving in (1, 32, 64, 65, 512):
            views = {
                "dst": operand(moving, FP32, PSUM, partitions=stationary),
                "stationary": operand(stationary, dtype),
                "moving": operand(moving, dtype),
            }
            cost = cost_of(Call("nc_matmul", views, {}, get_target(target), TENSOR))
            assert cost.cycles == passes * max(min(64, stationary), moving)


@pytest.mark.parametrize("target", ["trn1", "trn2"])
def test_nc_transpose_on_the_tensor_engine(target: str) -> None:
    for partitions in (1, 16, 64, 128):
        for free in (1, 32, 64, 128):
            views = {"data": operand(free, BF16, partitions=partitions), "dst": operand(partitions, BF16, PSUM)}
            cost = cost_of(Call("nc_transpose", views, {}, get_target(target), TENSOR))
            assert cost.cycles == max(partitions, min(64, free))


def test_topk_is_the_one_cost_that_the_reference_still_prints() -> None:
    for searched, found in ((8, 8), (1000, 64), (50000, 256)):
        views = {"src": operand(searched // 8, BF16), "val_dst": operand(found, BF16), "idx_dst": operand(found)}
        cost = cost_of(Call("topk", views, {"n": searched}, get_target("trn2"), GPSIMD))
        assert cost.cycles == 4 * searched + found


def test_the_zero_case_of_memset_is_seen_in_a_program_and_only_where_every_memset_is_zero() -> None:
    def filled(x: Any, values: tuple[float, ...]) -> Any:
        result = nl.ndarray((128, 512 * len(values)), dtype=nl.bfloat16, buffer=nl.shared_hbm)
        for place, value in enumerate(values):
            tile = nl.ndarray((128, 512), dtype=nl.bfloat16, buffer=nl.sbuf)
            nisa.memset(tile, value, engine=nisa.engine.vector)
            nisa.dma_copy(result[:, 512 * place : 512 * (place + 1)], tile)
        return result

    def cycles(*values: float) -> set[float]:
        seed = jax.ShapeDtypeStruct((1, 1), np.float32)  # type: ignore[no-untyped-call]
        program = trace(filled, seed, values, target="trn2")
        timed = schedule(program, get_target("trn2"))
        found = {cost.cycles for cost in signature_costs(program, get_target("trn2")) if cost.opcode == "memset"}
        assert {cost.cycles for cost in timed.costs if cost.opcode == "memset"} == found
        return found

    assert cycles(0.0) == cycles(0.0, 0.0, 0.0, 0.0) == {512 / 2 + STATIC["trn2"]}
    assert cycles(1.0) == cycles(0.0, 1.0) == cycles(*map(float, range(8))) == {512 + STATIC["trn2"]}
    assert cycles(0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0) == {512 + STATIC["trn2"]}
