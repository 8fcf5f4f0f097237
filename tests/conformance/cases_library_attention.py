"""Kernels of the NKI Library: the router and attention."""

from __future__ import annotations

from tests.conformance.library import library

TEST_ROUTER_TOPK = "core.router_topk.test_router_topk:TestRouterTopkKernel.test_router_topk"
TEST_ATTENTION_CTE_NO_CP = (
    "core.attention.test_attention_cte:TestRangedAttentionCTEKernels.test_attention_cte_no_cp_unit"
)
TEST_ATTN_TKG = "core.attention.test_attention_tkg:TestAttentionTkgKernel.test_attn_tkg_fast"

ATTENTION_CTE = {
    "bs": 1,
    "seqlen_kv": 128,
    "seqlen_q": 128,
    "d": 64,
    "softmax_scale": 1.0,
    "dtype": "@nl.bfloat16",
    "causal_mask": True,
    "tp_q": True,
    "tp_out": False,
}
MASK = {
    "batch": 4,
    "q_head": 1,
    "s_ctx": 256,
    "s_active": 1,
    "sliding_window": 0,
    "s_prior_offset": 0,
    "fa_tile_size": 0,
    "lnc": 1,
}
ATTENTION_BWD = {
    "num_q_heads": 1,
    "num_kv_heads": 1,
    "head_dim": 128,
    "dtype": "@nl.bfloat16",
    "seqlens_list": [512],
    "causal": True,
    "num_sinks": 0,
    "sliding_window": None,
    "neg_case": None,
}

CASES = [
    library(
        "router-topk-softmax",
        TEST_ROUTER_TOPK,
        "router_topk",
        {"H": 512},
        pick={"T": 2, "act_fn": "*SOFTMAX", "x_input_in_sb": False},
    ),
    library(
        "router-topk-sigmoid",
        TEST_ROUTER_TOPK,
        "router_topk",
        {"H": 512},
        pick={"act_fn": "*SIGMOID", "x_input_in_sb": False},
    ),
    library(
        "router-topk-sbuf-in",
        TEST_ROUTER_TOPK,
        "router_topk",
        {"H": 512},
        pick={"T": 2, "act_fn": "*SOFTMAX", "x_input_in_sb": True},
    ),
    library(
        "router-topk-bias-prenorm",
        TEST_ROUTER_TOPK,
        "router_topk",
        {"H": 512},
        pick={"has_bias": True, "router_pre_norm": True},
    ),
    library("attention-cte-causal", TEST_ATTENTION_CTE_NO_CP, "attention_cte", ATTENTION_CTE, tier=2),
    library(
        "attention-cte-full-f32",
        TEST_ATTENTION_CTE_NO_CP,
        "attention_cte",
        {**ATTENTION_CTE, "causal_mask": False, "dtype": "@np.float32", "tp_out": True},
        tier=2,
    ),
    library(
        "attention-cte-lnc2",
        "core.attention.test_attention_cte:TestRangedAttentionCTEKernels.test_attention_cte_no_cp_vnc_unit",
        "attention_cte",
        {**ATTENTION_CTE, "vnc_degree": 2, "seqlen_kv": 256, "seqlen_q": 256, "sink": False, "sliding_window": 0},
        tier=2,
    ),
    library(
        "gen-mask-strided",
        "core.attention.test_gen_mask_tkg:TestGenMaskTkg.test_flat_kv_strided_mask_generation",
        "gen_mask_tkg",
        MASK,
    ),
    library(
        "gen-mask-flat",
        "core.attention.test_gen_mask_tkg:TestGenMaskTkg.test_flat_kv_nonstrided_mask_generation",
        "gen_mask_tkg",
        {**MASK, "s_active": 5},
    ),
    library(
        "gen-mask-block",
        "core.attention.test_gen_mask_tkg:TestGenMaskTkg.test_block_kv_mask_generation",
        "gen_mask_tkg",
        {**MASK, "s_active": 5, "block_len": 16},
    ),
    library(
        "gen-mask-hbm",
        "core.attention.test_gen_mask_tkg:TestGenMaskTkgHbm.test_flat_kv",
        "gen_mask_tkg_hbm",
        {"batch": 4, "q_head": 1, "s_ctx": 256, "s_active": 1, "strided_mm1": True, "lnc": 1},
    ),
    library(
        "attention-tkg-flat",
        TEST_ATTN_TKG,
        "attention_tkg",
        pick={"attn_cfg": "*bs=1, q_head=1, s_active=1, curr_sprior=128", "lnc": 1},
        tier=2,
    ),
    library(
        "attention-tkg-second",
        TEST_ATTN_TKG,
        "attention_tkg",
        pick={"attn_cfg": "*block_len=16", "lnc": 1},
        tier=3,
        limit=600,
    ),
    library(
        "attention-bwd-packed",
        "core.attention.test_attention_bwd:TestAttentionBwdKernel.test_attention_bwd_sequence_packing",
        "attention_bwd",
        ATTENTION_BWD,
        tier=3,
        limit=600,
    ),
    library(
        "attention-bwd-2048",
        "core.attention.test_attention_bwd:TestAttentionBwdKernel.test_attention_bwd_fast",
        "attention_bwd",
        {
            "batch_size": 1,
            "num_q_heads": 1,
            "num_kv_heads": 1,
            "seq_len": 2048,
            "head_dim": 128,
            "dtype": "@nl.float32",
            "causal": True,
            "sliding_window": None,
            "num_sinks": 0,
        },
        tier=3,
        limit=900,
    ),
]
