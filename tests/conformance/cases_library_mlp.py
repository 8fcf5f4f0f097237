"""Kernels of the NKI Library: multilayer perceptrons and mixtures of experts."""

from __future__ import annotations

from tests.conformance.library import library

TEST_MOE_TKG_BFLOAT16 = "core.moe.moe_tkg.test_moe_tkg:TestMoeTkgKernel.test_moe_tkg_bfloat16"
TEST_MOE_BLOCKWISE_MM_KERNEL_LNC2 = (
    "core.moe.moe_cte.test_moe_cte:TestMoeBlockwiseMatMulLnc2.test_moe_blockwise_mm_kernel_lnc2"
)

MOE_TKG = {
    "vnc": 2,
    "tokens": 2,
    "hidden": 512,
    "intermediate": 128,
    "expert": 2,
    "top_k": 1,
    "act_fn": "@ActFnType.SiLU",
    "scale_mode": "@ExpertAffinityScaleMode.POST_SCALE",
    "all_expert": False,
    "q_dtype": None,
    "q_type": "@QuantizationType.NONE",
    "dtype": "@nl.bfloat16",
    "clamp": False,
    "bias": False,
}

CASES = [
    library(
        "mlp-cte",
        "core.mlp.test_mlp_cte:TestMlpCteKernel.test_mlp_cte_unit",
        "mlp",
        ranged=["seqlen-128"],
        change={"mlp_cte_config": {"hidden": 512, "intermediate": 256, "batch": 1, "seqlen": 128}},
        tier=2,
        limit=300,
    ),
    library(
        "mlp-tkg",
        "core.mlp.test_mlp_tkg:TestMlpTkgKernels.test_mlp_tkg_unit",
        "mlp",
        ranged=["manual"],
        change={"mlp_tkg_config": {"b": 1, "s": 1, "h": 1024, "i": 256}},
        tier=2,
        limit=300,
    ),
    library("moe-tkg-selective", TEST_MOE_TKG_BFLOAT16, "moe_tkg", MOE_TKG, tier=2, limit=300),
    library(
        "moe-tkg-all-expert",
        TEST_MOE_TKG_BFLOAT16,
        "moe_tkg",
        {**MOE_TKG, "all_expert": True, "tokens": 4, "top_k": None},
        tier=2,
        limit=300,
    ),
    library(
        "moe-cte-shard-i",
        TEST_MOE_BLOCKWISE_MM_KERNEL_LNC2,
        "moe_cte",
        {"hidden": 512, "tokens": 512, "expert": 2, "block_size": 256, "top_k": 1, "intermediate": 256},
        pick={"bwmm_func": "*SHARD_ON_INTERMEDIATE"},
        tier=3,
        limit=600,
    ),
    library(
        "moe-cte-shard-block",
        TEST_MOE_BLOCKWISE_MM_KERNEL_LNC2,
        "moe_cte",
        {"hidden": 512, "tokens": 512, "expert": 2, "block_size": 256, "top_k": 1, "intermediate": 256},
        pick={"bwmm_func": "*SHARD_ON_BLOCK"},
        tier=3,
        limit=600,
    ),
    library(
        "moe-block-tkg",
        "core.moe_block.test_moe_block_tkg:TestMoEBlockTkgKernel.test_moe_block_kernel_unit",
        "moe_block_tkg",
        {"hidden": 1024, "batch": 2},
        pick={"moe_weight_dtype": "*float16"},
        tier=3,
        limit=600,
    ),
    library(
        "moe-bwd",
        "experimental.moe.test_bwmm_bwd:TestMoeBlockwiseMatMulBwdShardHAffinityHDroplessLnc2.test_moe_blockwise_mm_bwd_shardH_affinityH_dropless_lnc2",
        "blockwise_mm_bwd",
        {"hidden": 1024, "tokens": 512, "expert": 2, "block_size": 256, "top_k": 1, "intermediate": 128},
        pick={},
        tier=3,
        limit=900,
    ),
]
