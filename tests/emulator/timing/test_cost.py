"""The cost rules against the published formulas, written out here as arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from trnlab.emulator.dtypes import as_dtype
from trnlab.emulator.errors import CostError
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.isa.registry import Call, OperandView
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.target import TARGETS, Engine, get_target
from trnlab.emulator.timing.cost import RULES, Cost, Work, cost_of, rule_of
from trnlab.emulator.view_algebra import row_major

SBUF, PSUM, HBM = MemoryRegion.sbuf, MemoryRegion.psum, MemoryRegion.shared_hbm
TRN1, TRN2, TRN3 = get_target("trn1"), get_target("trn2"), get_target("trn3")
STATIC = 50  # cycles of the Vector Engine per instruction on v3, and assumed on v4
STATIC_V2 = 100  # on v2: NKI performance guide


def view(
    shape: tuple[int, ...],
    dtype: str = "float32",
    region: MemoryRegion = SBUF,
    access: str = "read",
    strides: tuple[int, ...] | None = None,
) -> OperandView:
    return OperandView("", access, region, as_dtype(dtype), shape, strides or row_major(shape))  # type: ignore[arg-type]


def out(shape: tuple[int, ...], dtype: str = "float32", region: MemoryRegion = SBUF, **facts: Any) -> OperandView:
    return view(shape, dtype, region, "write", **facts)


def price(opcode: str, engine: Engine, target: Any = TRN2, attributes: Any = None, **operands: OperandView) -> Cost:
    return cost_of(Call(opcode, operands, attributes or {}, get_target(target), engine))


def matmul(target: Any, dtype: str = "bfloat16", rows: int = 512, columns: int = 128, **attributes: Any) -> Cost:
    pair = (2,) if attributes.get("perf_mode") == "double_row" else ()
    return price(
        "nc_matmul",
        Engine.TENSOR,
        target,
        attributes,
        dst=out((columns, rows), "float32", PSUM),
        stationary=view((128, *pair, columns), dtype),
        moving=view((128, *pair, rows), dtype),
    )


def test_every_instruction_of_the_catalogue_has_a_rule_and_no_rule_is_left_over() -> None:
    assert RULES.keys() == CATALOGUE.keys()


def test_every_rule_says_its_formula_and_source() -> None:
    for opcode, rule in RULES.items():
        assert rule.formula, opcode
        assert rule.source, opcode
        assert rule.documented or rule.source.startswith("assumed"), opcode


def test_an_opcode_without_a_rule_is_an_error_never_a_zero() -> None:
    with pytest.raises(CostError, match="no_such_thing") as caught:
        cost_of(Call("no_such_thing", {}, {}, TRN2, Engine.VECTOR))
    assert caught.value.subject == "nisa.no_such_thing"
    with pytest.raises(CostError):
        rule_of("")


def test_an_engine_that_a_rule_does_not_price_is_an_error() -> None:
    tile = view((128, 512))
    with pytest.raises(CostError, match="engine tensor") as caught:
        price("reciprocal", Engine.TENSOR, data=tile, dst=out((128, 512)))
    assert caught.value.allowed == "vector"


# -- Tensor Engine ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "clock"),
    # v2 sustains 2.4 of 2.8 GHz (0.857); v3 and v4 run at 2.4 GHz.
    [("trn1", 0.857 * 2.8e9), ("trn2", 2.4e9), ("trn3", 2.4e9)],
)
def test_bf16_matmul_streams_one_moving_row_per_cycle(target: str, clock: float) -> None:
    cost = matmul(target)
    assert cost.cycles == 512
    assert cost.seconds == pytest.approx(512 / clock, rel=1e-12)
    assert cost.work.matmul_flops == {"bf16": 2 * 128 * 128 * 512}
    assert not cost.assumed


def test_matmul_modes_relative_to_bf16() -> None:
    assert matmul(TRN2, "float32").cycles == 4 * 512  # NKI reference 2.26: fp32 x4
    assert matmul(TRN2, "float8_e4m3").cycles == 512  # FP8 gains nothing by itself
    double = matmul(TRN2, "float8_e4m3", perf_mode="double_row")
    assert double.cycles == 512  # K = 256 in the time of K = 128
    assert double.work.matmul_flops == {"fp8": 2 * 256 * 128 * 512}
    assert double.work.flops / double.seconds == pytest.approx(TRN2.matmul_flops_per_second("fp8"))


@pytest.mark.parametrize(("target", "cycles_per_row"), [("trn1", 4), ("trn2", 2), ("trn3", 2)])
@pytest.mark.parametrize("hint", ["is_transpose", "is_stationary_onezero", "is_moving_onezero"])
def test_fp32_transposes_and_one_zero_operands_take_half_from_v3_on(
    target: str, cycles_per_row: int, hint: str
) -> None:
    assert matmul(target, "float32", **{hint: True}).cycles == cycles_per_row * 512
    assert matmul(target, "bfloat16", **{hint: True}).cycles == 512


def test_fp32_transposes_of_v2_take_what_two_profiles_of_one_matmul_differ_by() -> None:
    # NKIBench, add + RMSNorm + matmul 4096 x 1024 x 2048, transposes with is_moving_onezero: 1.2219 ms with each of
    # 32 x 8 tiles transposed for each of 4 column blocks (8.59 GFLOP), 1.0548 ms with each transposed once (2.147).
    profiled = (1.2219e-3 - 1.0548e-3) / (3 * 32 * 8)
    assert matmul("trn1", "float32", rows=128, is_moving_onezero=True).seconds == pytest.approx(profiled, rel=0.02)


def test_a_transpose_is_no_useful_work() -> None:
    cost = matmul(TRN2, "bfloat16", is_transpose=True)
    assert (cost.kind, cost.useful, cost.work.flops) == ("transpose", False, 0)
    assert cost.work.transpose_flops == 2 * 128 * 128 * 512


@given(st.integers(1, 128), st.integers(1, 512))
def test_short_matmuls_pay_for_the_stationary_operand(columns: int, rows: int) -> None:
    assert matmul(TRN2, rows=rows, columns=columns).cycles == max(min(64, columns), rows)


@pytest.mark.parametrize(("fp4", "rate"), [(False, "mxfp8"), (True, "mxfp4")])
def test_mx_matmul_contracts_512_in_the_time_of_128(fp4: bool, rate: str) -> None:
    dtype = "float4_e2m1fn_x4" if fp4 else "float8_e4m3fn_x4"
    for target in [item for item in TARGETS if item.generation >= 4]:
        cost = price(
            "nc_matmul_mx",
            Engine.TENSOR,
            target,
            dst=out((128, 512), "float32", PSUM),
            stationary=view((128, 128), dtype),
            moving=view((128, 512), dtype),
        )
        assert cost.work.matmul_flops == {rate: 2 * 512 * 128 * 512}
        # Full tiles run at peak; the projection's higher peak follows from its record.
        assert cost.work.flops / cost.seconds == pytest.approx(target.matmul_flops_per_second(rate))
    assert price("nc_matmul_mx", Engine.TENSOR, TRN3, **_mx_operands(dtype)).cycles == 512


def _mx_operands(dtype: str) -> dict[str, OperandView]:
    return {
        "dst": out((128, 512), "float32", PSUM),
        "stationary": view((128, 128), dtype),
        "moving": view((128, 512), dtype),
    }


def test_tiles_occupy_their_part_of_the_array() -> None:
    whole = matmul(TRN2, tile_position=(0, 0), tile_size=(128, 128))
    assert whole.tile is None
    quarter = matmul(TRN2, columns=64, tile_position=(64, 0), tile_size=(64, 64))
    assert quarter.tile is not None
    assert quarter.tile.share == 0.25
    # The grid is 4 x 4 tiles of 32: rows 2 and 3, columns 0 and 1.
    assert quarter.tile.cells == (8, 9, 12, 13)


@pytest.mark.parametrize(("partitions", "columns"), [(128, 128), (128, 32), (32, 128), (16, 16)])
def test_nc_transpose(partitions: int, columns: int) -> None:
    operands = {"dst": out((columns, partitions), "bfloat16", PSUM), "data": view((partitions, columns), "bfloat16")}
    tensor = price("nc_transpose", Engine.TENSOR, **operands)
    assert tensor.cycles == max(partitions, min(64, columns))
    assert tensor.kind == "transpose"
    vector = price("nc_transpose", Engine.VECTOR, **operands)
    assert vector.cycles == max(64, columns) + STATIC


# -- Vector, Scalar and GpSimd ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("regions", "dtype", "target", "passes"),
    [
        ((SBUF, SBUF), "float32", TRN2, 2),
        ((SBUF, PSUM), "float32", TRN2, 1),
        ((PSUM, PSUM), "float32", TRN2, 2),
        ((SBUF, SBUF), "bfloat16", TRN2, 1),
        ((SBUF, SBUF), "float16", TRN2, 1),
        ((SBUF, SBUF), "float16", TRN1, 2),
        ((SBUF, SBUF), "bfloat16", TRN1, 1),
    ],
)
def test_tensor_tensor(regions: tuple[MemoryRegion, ...], dtype: str, target: Any, passes: int) -> None:
    first, second = (view((128, 512), dtype, region) for region in regions)
    cost = price(
        "tensor_tensor", Engine.VECTOR, target, {"op": "add"}, dst=out((128, 512), dtype), data1=first, data2=second
    )
    assert cost.cycles == passes * 512 + (STATIC_V2 if target is TRN1 else STATIC)
    assert cost.work.elementwise_operations == 128 * 512


@pytest.mark.parametrize(
    ("engine", "source", "target_view", "target", "speedup"),
    [
        (Engine.VECTOR, view((128, 512), "bfloat16"), out((128, 512), "float16"), TRN2, 4),
        (Engine.VECTOR, view((128, 512), "bfloat16"), out((128, 512), "float16"), TRN1, 1),
        (Engine.VECTOR, view((128, 512), "bfloat16", strides=(1024, 2)), out((128, 512), "bfloat16"), TRN2, 2),
        (Engine.VECTOR, view((128, 512), "bfloat16", PSUM), out((128, 512), "bfloat16"), TRN2, 2),
        (Engine.VECTOR, view((128, 512), "float32"), out((128, 512), "bfloat16"), TRN2, 1),
        (Engine.SCALAR, view((128, 512), "bfloat16"), out((128, 512), "bfloat16"), TRN3, 2),
        (Engine.SCALAR, view((128, 512), "bfloat16"), out((128, 512), "bfloat16"), TRN2, 1),
    ],
)
def test_performance_modes_of_tensor_copy(
    engine: Engine, source: OperandView, target_view: OperandView, target: Any, speedup: int
) -> None:
    cost = price("tensor_copy", engine, target, src=source, dst=target_view)
    vector_static = STATIC_V2 if target is TRN1 else STATIC
    assert cost.cycles == 512 / speedup + (vector_static if engine is Engine.VECTOR else 0)
    assert cost.kind == "move"


@pytest.mark.parametrize(("stride", "factor"), [(1, 1), (3, 1), (4, 2), (100, 2)])
def test_strides_of_sixteen_bytes_halve_the_rate(stride: int, factor: int) -> None:
    source = view((128, 512), "float32", strides=(512 * stride, stride))
    cost = price("activation", Engine.SCALAR, data=source, dst=out((128, 512)))
    assert cost.cycles == 512 * factor


def test_vector_rates_of_trainium3() -> None:
    wide, narrow = view((128, 2048), "float32"), out((128, 2048), "bfloat16")
    exp = price("exponential", Engine.VECTOR, TRN3, src=wide, dst=narrow)
    assert exp.cycles == 2048 / 4 + STATIC  # four times the Scalar Engine, at the same 1.2 GHz
    quantize = price(
        "quantize_mx",
        Engine.VECTOR,
        TRN3,
        src=view((128, 2048), "bfloat16"),
        dst=out((128, 512), "float8_e4m3fn_x4"),
        dst_scale=out((128, 512), "uint8"),
    )
    assert quantize.cycles == 2048 / 4 + STATIC  # four elements per partition and cycle


def test_scalar_engine_alone_takes_its_latency_and_in_a_pipeline_does_not() -> None:
    cost = price("activation", Engine.SCALAR, TRN2, {"op": "exp"}, data=view((128, 4096)), dst=out((128, 4096)))
    assert cost.seconds == pytest.approx(4096 / 1.2e9)
    # AWS DMA overview, profile of example 1: exp of 4096 elements per partition lasts 3,708 ns (axis read to 20 ns).
    assert cost.seconds + cost.latency_seconds == pytest.approx(3708e-9, abs=20e-9)


@pytest.mark.parametrize(
    ("functions", "loads"),
    [
        (("exp", "log", "exp"), 1),  # AWS names a set natural_log_exp_and_others
        (("exp", "sqrt", "exp"), 3),
        (("reciprocal", "square", "copy", "relu", "abs", "sign", "reciprocal"), 1),  # in every set (assumed)
        (("copy", "identity"), 0),
    ],
)
def test_functions_of_one_set_share_a_table(functions: tuple[str, ...], loads: int) -> None:
    tile = {"data": view((128, 512)), "dst": out((128, 512))}
    tables = [price("activation", Engine.SCALAR, TRN2, {"op": name}, **tile).table for name in functions]
    needed = [table for table in tables if table]
    assert sum(new != old for old, new in zip(["", *needed], needed, strict=False)) == loads


def test_dependent_one_element_activations_take_189_ns_each_on_v2() -> None:
    cost = price("activation", Engine.SCALAR, TRN1, {"op": "copy"}, data=view((128, 1)), dst=out((128, 1)))
    # NKI performance guide: 189 ns per instruction of a dependent chain.
    assert cost.seconds + cost.chain_seconds == pytest.approx(189e-9, rel=0.01)
    assert cost.table == ""


@pytest.mark.parametrize("opcode", ["activation", "activation_reduce"])
def test_reading_out_the_accumulators_takes_64_cycles(opcode: str) -> None:
    operands = {"data": view((128, 512)), "dst": out((128, 512)), "reduce_res": out((128, 1))}
    assert price(opcode, Engine.SCALAR, **operands).cycles == 512 + 64


def test_gpsimd_starts_in_150_cycles_and_its_unpublished_rates_are_assumed() -> None:
    iota = price("iota", Engine.GPSIMD, dst=out((128, 512), "int32"))
    select = price("affine_select", Engine.GPSIMD, dst=out((128, 512)), on_true_tile=view((128, 512)))
    assert iota.cycles == select.cycles == 150 + 512
    assert not iota.assumed
    copy = price("tensor_copy", Engine.GPSIMD, src=view((128, 512)), dst=out((128, 512)))
    assert copy.cycles == 150 + 512
    assert copy.assumed


def test_prices_written_for_v2_and_v3_are_assumed_on_later_generations() -> None:
    operands = {"src": view((128, 512)), "dst": out((128, 8))}
    assumed = {target: price("max8", Engine.VECTOR, target, **operands).assumed for target in TARGETS}
    assert [assumed[target] for target in TARGETS] == [False, False, True, True, True, True]


def test_registers_take_one_interval_and_prints_nothing() -> None:
    assert price("register_move", Engine.SYNC).cycles == 64
    assert price("register_move", Engine.SYNC).assumed
    shown = price("device_print", Engine.SYNC, data=view((128, 512)))
    assert (shown.seconds, shown.latency_seconds) == (0, 0)


def test_traffic_counts_every_operand_in_its_memory() -> None:
    cost = price(
        "tensor_tensor",
        Engine.VECTOR,
        dst=out((128, 512), "bfloat16"),
        data1=view((128, 512), "float32", PSUM),
        data2=view((128, 512), "bfloat16"),
    )
    tile = 128 * 512
    assert (cost.work.sbuf_write_bytes, cost.work.psum_read_bytes, cost.work.sbuf_read_bytes) == (
        2 * tile,
        4 * tile,
        2 * tile,
    )
    assert cost.work.hbm_bytes == 0


counts = st.builds(
    Work,
    hbm_read_bytes=st.integers(0, 9),
    elementwise_operations=st.integers(0, 9),
    matmul_flops=st.dictionaries(st.sampled_from(["fp32", "bf16"]), st.integers(1, 9)),
)


@given(counts, counts, st.integers(0, 5))
def test_work_adds_up(first: Work, second: Work, times: int) -> None:
    total = first + times * second
    assert total.hbm_read_bytes == first.hbm_read_bytes + times * second.hbm_read_bytes
    assert total.flops == first.flops + times * second.flops
    assert first + second == second + first


# -- bands, exposed loads, performance modes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opcode", "target", "operands", "band"),
    [
        (
            "tensor_reduce",
            "trn2",
            {"data": view((128, 512)), "dst": out((128, 1))},
            (1.0, 1.0),
        ),  # printed for v2 and v3
        ("tensor_reduce", "trn3", {"data": view((128, 512)), "dst": out((128, 1))}, (0.8, 1.25)),  # kept from v3
        ("quantize_mx", "trn3", {"src": view((128, 512), "bfloat16")}, (1.0, 1.0)),  # the Trainium3 guide
        ("tensor_scalar_cumulative", "trn2", {"dst": out((128, 512))}, (0.5, 2.0)),  # nobody published it
    ],
)
def test_assumed_prices_have_a_band(opcode: str, target: str, operands: Any, band: tuple[float, float]) -> None:
    attributes = {"op0": "add", "op1": None, "op": "add"}
    cost = price(opcode, Engine.VECTOR, target, attributes, **operands)
    assert cost.band == band
    assert cost.assumed == (band != (1.0, 1.0))
    low, high = (cost.scaled(factor) for factor in band)
    assert (low.seconds, high.seconds) == pytest.approx((band[0] * cost.seconds, band[1] * cost.seconds))


def test_an_engine_beyond_the_source_has_the_wide_band_and_a_transfer_scales_its_descriptors() -> None:
    tile = view((128, 512))
    assert price("tensor_copy", Engine.GPSIMD, src=tile, dst=out((128, 512))).band == (0.5, 2.0)
    cast = price("dma_copy", Engine.DMA, src=view((128, 512), region=HBM), dst=out((128, 512), "bfloat16"))
    assert cast.band == (0.5, 2.0)
    assert cast.transfer is not None
    scaled = cast.scaled(2.0).transfer
    assert scaled is not None
    assert scaled.descriptor_seconds == 2 * cast.transfer.descriptor_seconds


def test_an_exposed_weight_load_is_a_quarter_of_the_stationary_columns() -> None:
    # AWS architecture guide: loading is up to four times faster than multiplying rows of the same number.
    assert matmul(TRN2).load_seconds == pytest.approx(128 / 4 / 2.4e9)
    assert matmul(TRN2, "float32").load_seconds == pytest.approx(4 * 128 / 4 / 2.4e9)
    # A short moving operand: 64 cycles between multiplications, more than the 32 of the load (performance guide).
    assert matmul(TRN2, rows=1).cycles == 64


@pytest.mark.parametrize(
    ("dtype", "regions", "fast"),
    [("bfloat16", (SBUF, SBUF), True), ("float32", (SBUF, SBUF), False), ("bfloat16", (PSUM, SBUF), True)],
)
def test_performance_modes_of_a_copy(dtype: str, regions: Any, fast: bool) -> None:
    source, destination = view((128, 512), dtype, regions[0]), out((128, 512), dtype, regions[1])
    assert price("tensor_copy", Engine.VECTOR, TRN2, src=source, dst=destination).fast == fast
    assert not price("tensor_copy", Engine.VECTOR, TRN1, src=source, dst=destination).fast
    assert not price("tensor_copy", Engine.SCALAR, TRN2, src=source, dst=destination).fast


@pytest.mark.parametrize(("dtype", "fast"), [("bfloat16", True), ("float32", False)])
def test_performance_mode_of_tensor_tensor(dtype: str, fast: bool) -> None:
    operands = {"data1": view((128, 512), dtype), "data2": view((128, 512), dtype), "dst": out((128, 512), dtype)}
    assert price("tensor_tensor", Engine.VECTOR, TRN2, {"op": "add"}, **operands).fast == fast
    in_psum = operands | {"data2": view((128, 512), dtype, PSUM)}
    assert not price("tensor_tensor", Engine.VECTOR, TRN2, {"op": "add"}, **in_psum).fast
