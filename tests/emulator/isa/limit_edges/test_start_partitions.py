"""Where operands may start: up to 32 partitions in any quadrant, up to 64 in either half, more at the first one.

Source: NKI Trainium/Inferentia2 architecture guide, access patterns; for the scales of MX data, which start 0, 4, 8 or
12 partitions into a quadrant, NKI deep dive, MXFP matrix multiplication. The rule is the same on every generation.
"""

from __future__ import annotations

import pytest

from tests.emulator.isa.limit_edges.calls import Example, call_of, judge
from tests.emulator.isa.limit_edges.examples import EXAMPLES
from tests.emulator.isa.limit_edges.operands import every_instruction, tensors
from trnlab.emulator.errors import PartitionError
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.isa.validate import start_breach
from trnlab.emulator.memory import ON_CHIP_REGIONS
from trnlab.emulator.program import OperandSignature, Signature
from trnlab.emulator.target import Engine

OFFSETS = {(name, f"{data}_scale"): (0, 4, 8, 12) for name in ("nc_matmul_mx",) for data in ("stationary", "moving")}
OFFSETS["quantize_mx", "dst_scale"] = (0, 4, 8, 12)

FREE_TO_START = {name for name, spec in CATALOGUE.items() if set(spec.engines) <= {Engine.DMA, Engine.SYNC}}
"""DMA and the sequencers reach any partition."""


def may_start(count: int, start: int, offsets: tuple[int, ...] = (0,)) -> bool:
    """The published rule."""
    quadrant, into = start - start % 32, start % 32
    starts = (0,) if count > 64 else (0, 64) if count > 32 else (0, 32, 64, 96)
    return quadrant in starts and into in offsets


def on_chip(name: str) -> list[str]:
    return [operand for operand, facts, _ in tensors(name) if facts.regions & ON_CHIP_REGIONS]


# ------------------------------------------------------------------------------------------------- published calls


@every_instruction
def test_a_call_is_taken_where_its_operands_may_start(target, name):
    example = EXAMPLES[name]
    for operand in on_chip(name):
        tile = example.tile(operand)
        count = tile.shape[0]
        for start in (0, 1, 4, 12, 16, 31, 32, 33, 36, 48, 60, 63, 64, 65, 68, 95, 96, 97, 100, 108):
            if start + count > 128:
                continue
            found = judge(example.having(**{operand: tile.of(start=start)}), target)
            if name in FREE_TO_START or may_start(count, start, OFFSETS.get((name, operand), (0,))):
                assert found.error is None, (operand, start)
            else:
                assert type(found.error) is PartitionError, (operand, start, found.error)
                assert found.error.violation.operand == operand
                assert f"starting at partition {start}" in found.error.violation.found
                assert found.broken == ()


NO_MORE_PARTITIONS = {
    *("nc_matmul", "nc_matmul_mx", "nc_transpose"),  # partitions of one operand are columns of another
    *("quantize_mx", "topk", "local_gather"),  # multiples of 16 or 32
    *("tensor_partition_reduce", "sequence_bounds", "set_rng_seed"),  # one partition
    *FREE_TO_START,
}
"""Instructions whose operands do not all take 33 or 65 partitions: the rule for them is judged as data, below."""


def scaled(name: str, count: int) -> Example:
    """The example over another number of partitions."""
    example = EXAMPLES[name]
    return example.having(**{operand: example.tile(operand).with_partitions(count) for operand in on_chip(name)})


@every_instruction
def test_more_partitions_start_at_fewer_places(target, name):
    if name in NO_MORE_PARTITIONS:
        return
    for count, starts in ((32, (0, 32, 64, 96)), (33, (0, 32, 64)), (64, (0, 32, 64)), (65, (0, 32)), (128, (0,))):
        example = scaled(name, count)
        for operand in on_chip(name):
            for start in starts:
                error = judge(example.having(**{operand: example.tile(operand).of(start=start)}), target).error
                if may_start(count, start):
                    assert error is None, (operand, count, start)
                else:
                    assert type(error) is PartitionError, (operand, count, start)
                    assert error.violation.operand == operand


def test_the_instructions_left_out_are_those_that_cannot_be_scaled():
    for name in CATALOGUE:
        taken = [judge(scaled(name, count), "trn3").error is None for count in (33, 65)] if on_chip(name) else [False]
        assert all(taken) is (name not in NO_MORE_PARTITIONS) or name in FREE_TO_START


# -------------------------------------------------------------------------------------------------------- as data


@pytest.mark.parametrize("name", sorted(set(CATALOGUE) - FREE_TO_START))
def test_every_size_at_every_start(name):
    """As data, as programs that come from no trace are judged."""
    spec, call = CATALOGUE[name], call_of(EXAMPLES[name], "trn4")
    for operand in on_chip(name):
        view = call[operand]
        for count in (1, 31, 32, 33, 63, 64, 65, 127, 128):
            shape = (count, *view.shape[1:])
            record = OperandSignature(
                operand, view.access, view.region, shape, view.dtype, view.dtype, shape, view.strides, None
            )
            signature = Signature(name, spec.engines[0], (), (record,), ())
            for start in range(128):
                breach = start_breach(spec, signature, record, start)
                is_taken = may_start(count, start, OFFSETS.get((name, operand), (0,)))
                assert (breach is None) is is_taken, (operand, count, start)
                assert breach is None or (breach.error, breach.operand) == (PartitionError, operand)


def test_a_shuffle_is_bound_by_the_larger_of_its_tiles():
    """NKI reference, nisa.nc_stream_shuffle: num_active_partitions is that of the larger tile."""
    example = EXAMPLES["nc_stream_shuffle"].having(shuffle_mask=[0] * 32)
    src, dst = example.tile("src"), example.tile("dst")
    large = example.having(src=src.with_partitions(64), dst=dst.with_partitions(8))
    assert judge(large.having(dst=dst.with_partitions(8).of(start=64)), "trn3").error is None
    error = judge(large.having(dst=dst.with_partitions(8).of(start=32)), "trn3").error
    assert type(error) is PartitionError
    assert error.violation.operand == "dst"
    assert error.violation.allowed == "64 partitions start at 0, 64"
