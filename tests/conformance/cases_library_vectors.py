"""Kernels of the NKI Library: cumulative sums, rotary embeddings, maximum, top-k."""

from __future__ import annotations

from tests.conformance.library import library

TEST_CUMSUM = "core.cumsum.test_cumsum:TestCumsumKernel.test_cumsum_fast"
TEST_ROPE = "core.embeddings.test_rope:TestRopeKernel.test_rope_fast"
TEST_ROPE_HF_LNC = "core.embeddings.test_rope_hf:TestRopeHFKernel.test_rope_hf_lnc"
TEST_CASCADED_MAX = "core.max.test_cascaded_max:TestCascadedMaxKernel.test_cascaded_max_unit"
TEST_TOPK = "core.topk.test_topk:TestTopKKernel.test_topk_unit"

ROPE_HF = {
    "batch_size": 1,
    "num_q_heads": 2,
    "num_kv_heads": 1,
    "seq_len": 256,
    "head_dim": 64,
    "dtype": "@nl.float32",
    "backward": False,
}

CASES = [
    library(
        "cumsum-2d-f32",
        TEST_CUMSUM,
        "cumsum",
        {"batch": 1, "hidden": 256, "ndim": 2, "seq_len": 1, "dtype": "@np.float32"},
    ),
    library(
        "cumsum-3d-bf16",
        TEST_CUMSUM,
        "cumsum",
        {"batch": 40, "hidden": 512, "ndim": 3, "seq_len": 4, "dtype": "@ml_dtypes.bfloat16"},
    ),
    library(
        "cumsum-two-tiles",
        TEST_CUMSUM,
        "cumsum",
        {"batch": 3, "hidden": 2304, "ndim": 2, "seq_len": 1, "dtype": "@np.float32"},
    ),
    library(
        "rope-d64",
        TEST_ROPE,
        "RoPE",
        {"d_head": 64, "B": 1, "n_heads": 1, "S": 16, "contiguous_layout": True, "relayout_in_sbuf": False},
    ),
    library(
        "rope-d128-strided",
        TEST_ROPE,
        "RoPE",
        {"d_head": 128, "B": 2, "n_heads": 2, "S": 16, "contiguous_layout": False, "relayout_in_sbuf": False},
    ),
    library(
        "rope-d64-relayout",
        TEST_ROPE,
        "RoPE",
        {"d_head": 64, "B": 1, "n_heads": 2, "S": 32, "contiguous_layout": False, "relayout_in_sbuf": True},
    ),
    library("rope-hf-lnc1", TEST_ROPE_HF_LNC, "rope_hf", {**ROPE_HF, "seq_len": 128, "lnc_count": 1}),
    library("rope-hf-lnc2-backward", TEST_ROPE_HF_LNC, "rope_hf", {**ROPE_HF, "backward": True, "lnc_count": 2}),
    library(
        "rope-hf-cache-bf16",
        "core.embeddings.test_rope_hf:TestRopeHFKernel.test_rope_hf_cache",
        "rope_hf",
        {**ROPE_HF, "dtype": "@nl.bfloat16"},
    ),
    library(
        "cascaded-max-lnc1",
        TEST_CASCADED_MAX,
        "cascaded_max",
        {"lnc_degree": 1, "batch": 1, "seqlen": 1, "vocab_size": 3168, "dtype": "@nl.float32"},
    ),
    library(
        "cascaded-max-lnc2",
        TEST_CASCADED_MAX,
        "cascaded_max",
        {"lnc_degree": 2, "batch": 3, "seqlen": 1, "vocab_size": 512, "dtype": "@nl.float32"},
    ),
    library(
        "folded-load-store",
        "core.max.test_cascaded_max_utils:TestCascadedMaxUtils.test_folded_load_store_full_batch",
        "predicated_folded_load",
        pick={},
    ),
    library(
        "folded-load-partial",
        "core.max.test_cascaded_max_utils:TestCascadedMaxUtils.test_folded_load_store_partial_batch",
        "predicated_folded_load",
        pick={},
    ),
    library(
        "topk-k1",
        TEST_TOPK,
        "rotational_topk",
        {"lnc_degree": 1, "batch": 1, "seqlen": 1, "vocab_size": 256, "K": 1, "dtype": "@nl.float32"},
    ),
    library(
        "topk-k8-lnc2",
        TEST_TOPK,
        "rotational_topk",
        {"lnc_degree": 2, "batch": 2, "seqlen": 1, "vocab_size": 3168, "K": 8, "dtype": "@nl.float32"},
    ),
    library(
        "topk-unsorted-k16",
        "core.topk.test_topk:TestTopKKernel.test_topk_unsorted",
        "rotational_topk",
        {"lnc_degree": 2, "batch": 1, "seqlen": 1, "vocab_size": 3168, "K": 16, "dtype": "@nl.float32"},
    ),
]
