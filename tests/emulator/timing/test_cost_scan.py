"""The cost rules of scans, statistics, predicated copies, the fold over partitions and activate2."""

from __future__ import annotations

import pytest

from tests.emulator.timing.test_cost import PSUM, SBUF, STATIC, TRN1, TRN2, TRN3, out, price, view
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.target import Engine

OPERATORS = {"op0": "multiply", "op1": "add"}


@pytest.mark.parametrize(("elements", "cycles"), [(1, 64), (32, 64), (33, 66), (1024, 2048)])
def test_a_scan_takes_two_cycles_for_each_element(elements: int, cycles: int) -> None:
    tile = (128, elements)
    scan = price(
        "tensor_tensor_scan", Engine.VECTOR, TRN2, OPERATORS, dst=out(tile), data0=view(tile), data1=view(tile)
    )
    assert scan.cycles == cycles + STATIC
    assert scan.work.elementwise_operations == 2 * 128 * elements
    assert not scan.assumed
    cumulation = price("tensor_scalar_cumulative", Engine.VECTOR, TRN2, OPERATORS, dst=out(tile), src=view(tile))
    assert cumulation.cycles == scan.cycles
    assert cumulation.assumed  # AWS prints no cost


def test_prices_are_assumed_beyond_the_generations_they_were_printed_for() -> None:
    tile = (128, 512)
    costs = [
        price("tensor_tensor_scan", Engine.VECTOR, target, OPERATORS, dst=out(tile), data0=view(tile), data1=view(tile))
        for target in (TRN1, TRN2, TRN3)
    ]
    assert [cost.assumed for cost in costs] == [False, False, True]


@pytest.mark.parametrize(("elements", "cycles"), [(6, 64), (64, 64), (65, 65), (512, 512)])
def test_bn_stats_streams_its_data(elements: int, cycles: int) -> None:
    cost = price("bn_stats", Engine.VECTOR, TRN2, dst=out((128, 6)), data=view((128, elements)))
    assert cost.cycles == cycles + STATIC


@pytest.mark.parametrize(("triples", "cycles"), [(2, 64), (4, 64), (5, 65), (16, 208)])
def test_bn_aggr_takes_13_cycles_for_each_triple(triples: int, cycles: int) -> None:
    cost = price("bn_aggr", Engine.VECTOR, TRN2, dst=out((128, 2)), data=view((128, 3 * triples)))
    assert cost.cycles == pytest.approx(cycles + STATIC)


@pytest.mark.parametrize(
    ("source", "predicate", "passes"), [(SBUF, SBUF, 2), (PSUM, SBUF, 1), (SBUF, PSUM, 1), (None, SBUF, 1)]
)
def test_a_predicated_copy_passes_twice_over_two_tiles_in_sbuf(
    source: MemoryRegion | None, predicate: MemoryRegion, passes: int
) -> None:
    tile = (128, 512)
    inputs = {"predicate": view(tile, "uint8", predicate)}
    if source is not None:
        inputs["src"] = view(tile, "float32", source)
    cost = price("tensor_copy_predicated", Engine.VECTOR, TRN2, dst=out(tile), **inputs)
    assert cost.cycles == 512 * passes + STATIC
    assert cost.assumed == (source is None)  # the printed formula is for two tiles
    assert cost.kind == "move"
    assert cost.work.elementwise_operations == 0


def test_the_fold_over_partitions_is_priced_as_iota() -> None:
    fold = price(
        "tensor_partition_reduce", Engine.GPSIMD, TRN2, {"op": "add"}, dst=out((1, 300)), data=view((128, 300))
    )
    assert fold.cycles == 150 + 300
    assert fold.assumed


def test_activate2_is_priced_as_activation_and_counts_its_stages() -> None:
    tile = (128, 512)
    attributes = {"op": "gelu", "op0": "multiply", "op1": "bypass", "reduce_op": "add", "reduce_cmd": "idle"}
    plain = price("activate2", Engine.SCALAR, TRN3, attributes, dst=out(tile), data=view(tile))
    activation = price("activation", Engine.SCALAR, TRN3, {"op": "gelu"}, dst=out(tile), data=view(tile))
    assert plain.cycles == activation.cycles
    assert plain.table == activation.table == "gelu"
    assert plain.assumed
    assert plain.work.elementwise_operations == 2 * 128 * 512  # multiply and gelu; idle folds nothing
    reduces = attributes | {"reduce_cmd": "reduce", "op1": "add"}
    folded = price("activate2", Engine.SCALAR, TRN3, reduces, dst=out(tile), data=view(tile), reduce_res=out((128, 1)))
    assert folded.cycles == plain.cycles + 64
    assert folded.work.elementwise_operations == 4 * 128 * 512
