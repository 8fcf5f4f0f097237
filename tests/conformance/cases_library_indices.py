"""Kernels of the NKI Library: index and utility kernels."""

from __future__ import annotations

from tests.conformance.library import library

TEST_FIND_NONZERO_INDICES = (
    "experimental.benchmark.test_find_nonzero_indices_with_count:"
    "TestFindNonzeroIndicesWithCountKernel.test_find_nonzero_indices_unit"
)
TEST_CROSS_PARTITION_COPY = "core.utils.test_cross_partition_copy:TestCrossPartitionCopy.test_cross_partition_copy"
TEST_TP_BROADCAST = "core.utils.test_tp_broadcast:test_tp_broadcast"
TEST_DYNAMIC_ELEMENTWISE_ADD = (
    "experimental.dynamic_shapes.test_dynamic_elementwise_add:"
    "TestDynamicElementwiseAdd.test_dynamic_elementwise_add_fast"
)
TEST_TOPK_REDUCE = "experimental.subkernels.test_topk_reduce:TestTopkReduceKernel.test_topk_reduce"


CASES = [
    library(
        "indexed-flatten",
        "core.subkernels.test_indexed_flatten:TestIndexedFlattenKernel.test_indexed_flatten_fast",
        "indexed_flatten",
        {"T": 4096, "E": 1, "f_len": 128},
    ),
    library(
        "indexed-flatten-offset",
        "core.subkernels.test_indexed_flatten:TestIndexedFlattenKernel.test_indexed_flatten_row_offsets_start",
        "indexed_flatten",
        {"T": 4096, "E": 3, "f_len": 128, "N": 5, "row_offsets_start": 1},
    ),
    library(
        "find-nonzero",
        "core.subkernels.test_find_nonzero_indices:TestFindNonzeroIndicesKernel.test_find_nonzero_indices_fast",
        "find_nonzero_indices",
        {"T": 1024, "E": 16, "top_k": 2, "chunk_size": 1024, "in_dtype": "@nl.int32"},
        tier=2,
    ),
    library(
        "find-nonzero-columns",
        "core.subkernels.test_find_nonzero_indices:TestFindNonzeroIndicesKernel.test_find_nonzero_indices_with_col_start_fast",
        "find_nonzero_indices",
        {"T": 1024, "E": 16, "top_k": 2, "E_offset": 0, "E_local": 4, "chunk_size": 1024, "in_dtype": "@nl.int32"},
        tier=2,
    ),
    library(
        "nonzero-count-empty",
        TEST_FIND_NONZERO_INDICES,
        "find_nonzero_indices_with_count",
        {"T": 32, "pct_nonzero": 0.0},
    ),
    library(
        "nonzero-count-half",
        TEST_FIND_NONZERO_INDICES,
        "find_nonzero_indices_with_count",
        {"T": 128, "pct_nonzero": 0.5},
    ),
    library(
        "cross-partition-copy",
        TEST_CROSS_PARTITION_COPY,
        "cross_partition_copy",
        {"src_start": 3, "dst_start": 2, "num_partitions": 4, "free_dim_size": 8, "total_partitions": 32},
    ),
    library(
        "cross-partition-copy-wide", TEST_CROSS_PARTITION_COPY, "cross_partition_copy", pick={"total_partitions": 128}
    ),
    library(
        "tp-broadcast",
        TEST_TP_BROADCAST,
        "tp_broadcast",
        {"src_shape": (5, 7), "src_dim_to_broadcast": 0, "broadcast_count": 1, "src_select_index": None},
    ),
    library("tp-broadcast-2", TEST_TP_BROADCAST, "tp_broadcast", pick={}),
    library("tensor-view-slice", "core.utils.test_tensor_view:TestTensorView.test_slice", "TensorView", pick={}),
    library("tensor-view-permute", "core.utils.test_tensor_view:TestTensorView.test_permute", "TensorView", pick={}),
    library("tensor-view-chain", "core.utils.test_tensor_view:TestTensorView.test_chain", "TensorView", pick={}),
    library(
        "tensor-view-dynamic-select",
        "core.utils.test_tensor_view:TestDynamicTensorView.test_dynamic_select",
        "TensorView",
        pick={},
    ),
    library("dynamic-add-128", TEST_DYNAMIC_ELEMENTWISE_ADD, "dynamic_elementwise_add", {"m_dim": 128, "h_dim": 512}),
    library("dynamic-add-256", TEST_DYNAMIC_ELEMENTWISE_ADD, "dynamic_elementwise_add", {"m_dim": 256, "h_dim": 512}),
    library(
        "topk-reduce", TEST_TOPK_REDUCE, "topk_reduce", {"lnc_degree": 1, "src_ranks": 8, "T": 4, "K": 4, "H": 256}
    ),
    library(
        "topk-reduce-lnc2", TEST_TOPK_REDUCE, "topk_reduce", {"lnc_degree": 2, "src_ranks": 8, "T": 4, "K": 4, "H": 512}
    ),
]
