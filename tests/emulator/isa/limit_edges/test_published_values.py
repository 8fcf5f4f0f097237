"""Numbers and values of the catalogue's limits against the published ones, so that no edge is generated from a slip."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.emulator.isa.limit_edges import edges
from tests.emulator.isa.limit_edges.calls import TARGETS, exists
from tests.emulator.isa.limit_edges.coverage import edges_on
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.isa.limits import AttributeIn
from trnlab.emulator.target import get_target

NUMBERS = {
    ("bn_stats", "data", "MaxFree"): 512,
    ("bn_stats", "dst", "ExactFree"): 6,
    ("bn_aggr", "data", "FreeMultipleOf"): 3,
    ("bn_aggr", "dst", "ExactFree"): 2,
    ("exponential", "src", "MaxDims"): 4,
    ("exponential", "dst", "MaxDims"): 4,
    ("quantize_mx", "src", "PartitionsMultipleOf"): 32,
    ("quantize_mx", "src", "FreeMultipleOf"): 4,
    ("max8", "src", "MaxDims"): 3,
    ("max8", "dst", "MaxDims"): 2,
    ("max8", "src", "MinFree"): 8,
    ("max8", "src", "MaxFree"): 16384,
    ("max8", "dst", "ExactFree"): 8,
    ("nc_find_index8", "data", "MaxDims"): 3,
    ("nc_find_index8", "vals", "MaxDims"): 3,
    ("nc_find_index8", "dst", "MaxDims"): 2,
    ("nc_find_index8", "data", "MinFree"): 8,
    ("nc_find_index8", "data", "MaxFree"): 16384,
    ("nc_find_index8", "vals", "ExactFree"): 8,
    ("nc_find_index8", "dst", "ExactFree"): 8,
    ("nc_match_replace8", "vals", "MaxDims"): 3,
    ("nc_match_replace8", "data", "MaxFree"): 16384,
    ("nc_match_replace8", "vals", "ExactFree"): 8,
    ("nc_match_replace8", "dst_idx", "ExactFree"): 8,
    ("topk", "src", "PartitionsMultipleOf"): 16,
    ("local_gather", "src_buffer", "PartitionsMultipleOf"): 16,
    ("sequence_bounds", "segment_ids", "MaxPartitions"): 1,
    ("sequence_bounds", "dst", "MaxPartitions"): 1,
    ("tensor_partition_reduce", "dst", "MaxPartitions"): 1,
    ("rand_set_state", "src_seeds", "MaxDims"): 2,
    ("rand_get_state", "dst", "MaxDims"): 2,
}
"""NKI reference, the pages of the instructions: the same on every generation."""


@pytest.mark.parametrize("target", TARGETS)
def test_numbers_are_the_published_ones(target):
    core = get_target(target)
    measured = [(name, edge.limit) for name, found in edges_on(target).items() for edge in found]
    found = {
        (name, limit.operand, type(limit).__name__): limit.bound(core) if callable(limit.bound) else limit.bound
        for name, limit in measured
        if type(limit) in edges.PAST
    }
    assert found == {key: number for key, number in NUMBERS.items() if exists(key[0], core)}


VALUES = {
    ("tensor_scalar_reduce", "reduce_op"): "add multiply maximum minimum",
    ("tensor_scalar_reduce", "reduce_cmd"): "reset_reduce reduce load_reduce",
    ("exponential", "reduce_cmd"): "idle reset_reduce reduce load_reduce",
    ("range_select", "comp_op0"): "equal less less_equal greater greater_equal",
    ("range_select", "comp_op1"): "equal less less_equal greater greater_equal",
    ("range_select", "reduce_op"): "maximum",
    ("range_select", "reduce_cmd"): "idle reset reduce reset_reduce",
    ("select_reduce", "reduce_op"): "maximum",
    ("select_reduce", "reduce_cmd"): "idle reduce reset_reduce",
    ("tensor_scalar_cumulative", "op1"): "add subtract multiply maximum minimum",
    ("tensor_scalar_cumulative", "reduce_cmd"): "reset_reduce load_reduce reduce",
    ("activation", "reduce_op"): "add",
    ("activation", "reduce_cmd"): "idle reset reduce reset_reduce",
    ("activation_reduce", "reduce_op"): "add",
    ("activate2", "reduce_op"): "add maximum minimum abs_max abs_min",
    ("activate2", "reduce_cmd"): "idle reset reduce reset_reduce",
    ("affine_select", "cmp_op"): "equal not_equal greater_equal greater less_equal less",
    ("tensor_partition_reduce", "op"): "add average maximum bitwise_or bitwise_and",
    ("local_gather", "num_elem_per_idx"): "1 2 4 8 16 32",
    ("dma_copy", "priority"): "0 1 2 3",
    ("dma_transpose", "priority"): "0 1 2 3",
    ("dma_compute", "reduce_op"): "add",
}
"""NKI reference, the pages of the instructions, where the page itself lists the values."""


@pytest.mark.parametrize(("name", "attribute"), VALUES)
def test_values_are_the_published_ones(name, attribute):
    limits = [limit for limit in CATALOGUE[name].limits if isinstance(limit, AttributeIn)]
    listed = [limit.values for limit in limits if limit.attribute == attribute]
    assert [Counter(map(str, values)) for values in listed] == [Counter(VALUES[name, attribute].split())]
