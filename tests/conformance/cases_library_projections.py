"""Kernels of the NKI Library: projections."""

from __future__ import annotations

from tests.conformance.library import library

TEST_OUTPUT_PROJ_TKG = "core.output_projection.test_output_proj_tkg:TestOutputProjTkgKernel.test_output_proj_tkg_unit"
TEST_OUTPUT_PROJ_CTE_BF16 = (
    "core.output_projection.test_output_proj_cte:TestOutputProjCteKernel.test_output_proj_cte_bf16_unit"
)
TEST_QKV_TKG_ACCURACY = "core.qkv.test_qkv_tkg:TestQkvTkgKernel.test_qkv_tkg_accuracy_unit"
TEST_QKV_CTE_ACCURACY = "core.qkv.test_qkv_cte:TestQkvCteKernel.test_qkv_cte_accuracy_unit"

OUTPUT_TKG = {
    "B": 4,
    "n_heads": 2,
    "S_tkg": 1,
    "d_head": 32,
    "H": 512,
    "quantization_type": "@QuantizationType.NONE",
    "test_bias": True,
    "transpose_out": False,
}
OUTPUT_CTE = {"batch": 1, "seqlen": 128, "hidden": 512, "n_head": 1, "d_head": 128, "test_bias": False}
QKV_TKG = {
    "lnc_degree": 1,
    "batch": 1,
    "seqlen": 1,
    "hidden_dim": 128,
    "hidden_actual": None,
    "fused_qkv_dim": 512,
    "n_q_heads": 2,
    "n_kv_heads": 1,
    "d_head": 128,
    "norm_type": "@NormType.NO_NORM",
    "quantization_type": "@QuantizationType.NONE",
    "fused_add": False,
    "norm_bias": False,
    "qkv_bias": False,
    "eps": 1e-06,
    "output_layout": "@QKVOutputLayout.BSD",
}
QKV_CTE = {
    "vnc_degree": 1,
    "batch": 1,
    "seqlen": 128,
    "hidden_dim": 512,
    "hidden_actual": None,
    "fused_qkv_dim": 512,
    "dtype": "@np.float32",
    "norm_type": "@NormType.RMS_NORM",
    "fused_add": False,
    "norm_bias": False,
    "eps": 1e-06,
}

CASES = [
    library("output-proj-tkg", TEST_OUTPUT_PROJ_TKG, "output_projection_tkg", OUTPUT_TKG, tier=2),
    library(
        "output-proj-tkg-transposed",
        TEST_OUTPUT_PROJ_TKG,
        "output_projection_tkg",
        {**OUTPUT_TKG, "transpose_out": True, "d_head": 64, "H": 1024},
        tier=2,
    ),
    library("output-proj-cte", TEST_OUTPUT_PROJ_CTE_BF16, "output_projection_cte", OUTPUT_CTE, tier=2),
    library(
        "output-proj-cte-bias",
        TEST_OUTPUT_PROJ_CTE_BF16,
        "output_projection_cte",
        {**OUTPUT_CTE, "n_head": 2, "d_head": 64, "test_bias": True},
        tier=2,
    ),
    library(
        "output-proj-cte-fp8",
        "core.output_projection.test_output_proj_cte:TestOutputProjCteKernel.test_output_proj_cte_static_fp8_unit",
        "output_projection_cte",
        OUTPUT_CTE,
        tier=2,
    ),
    library("qkv-tkg", TEST_QKV_TKG_ACCURACY, "qkv_tkg", QKV_TKG, tier=2),
    library(
        "qkv-tkg-rmsnorm",
        TEST_QKV_TKG_ACCURACY,
        "qkv_tkg",
        {**QKV_TKG, "hidden_dim": 512, "seqlen": 4, "norm_type": "@NormType.RMS_NORM", "lnc_degree": 2},
        tier=2,
    ),
    library("qkv-cte-rmsnorm", TEST_QKV_CTE_ACCURACY, "qkv", QKV_CTE, tier=2),
    library(
        "qkv-cte-add",
        TEST_QKV_CTE_ACCURACY,
        "qkv",
        {**QKV_CTE, "fused_add": True, "norm_type": "@NormType.NO_NORM"},
        tier=2,
    ),
]
