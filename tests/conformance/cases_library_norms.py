"""Kernels of the NKI Library: normalisations."""

from __future__ import annotations

from tests.conformance.library import library

TEST_RMSNORM_TKG = "core.subkernels.test_rmsnorm_tkg:TestRmsNormTKGKernel.test_rmsnorm_tkg_unit"
TEST_LAYERNORM_TKG = "core.subkernels.test_layernorm_tkg:TestLayerNormTKGKernel.test_layernorm_tkg_unit"

RMSNORM = {
    "lnc_degree": 1,
    "batch": 1,
    "seqlen": 1,
    "hidden": 512,
    "hidden_actual": None,
    "hidden_dim_tp": False,
    "shard_on_h": False,
    "dtype": "@np.float16",
}
LAYERNORM = {"lnc_degree": 1, "batch": 1, "seqlen": 1, "hidden": 512, "shard_on_h": False, "dtype": "@np.float16"}

CASES = [
    library("rmsnorm-tkg", TEST_RMSNORM_TKG, "rmsnorm_tkg", RMSNORM),
    library(
        "rmsnorm-tkg-lnc2",
        TEST_RMSNORM_TKG,
        "rmsnorm_tkg",
        {**RMSNORM, "lnc_degree": 2, "batch": 2, "seqlen": 2, "hidden": 1024},
    ),
    library(
        "rmsnorm-tkg-padded",
        TEST_RMSNORM_TKG,
        "rmsnorm_tkg",
        {**RMSNORM, "seqlen": 4, "hidden": 2048, "hidden_actual": 1920},
    ),
    library(
        "rmsnorm-tkg-shard-h",
        TEST_RMSNORM_TKG,
        "rmsnorm_tkg",
        {**RMSNORM, "lnc_degree": 2, "batch": 1, "hidden": 3072, "shard_on_h": True},
    ),
    library("layernorm-tkg", TEST_LAYERNORM_TKG, "layernorm_tkg", LAYERNORM),
    library(
        "layernorm-tkg-lnc2",
        TEST_LAYERNORM_TKG,
        "layernorm_tkg",
        {**LAYERNORM, "lnc_degree": 2, "batch": 4, "seqlen": 2, "hidden": 1024},
    ),
    library(
        "rmsnorm-quant-row",
        "core.rmsnorm.test_rmsnorm_quant:TestRmsNormQuantKernel.test_rmsnorm_row_quant_sweep",
        "rmsnorm_quant_kernel",
        {"batch": 1, "seqlen": 128, "hidden": 1024, "lower_bound": 0.0},
        tier=2,
    ),
    library(
        "rmsnorm-quant-static",
        "core.rmsnorm.test_rmsnorm_quant:TestRmsNormQuantKernel.test_rmsnorm_quant_lnc_unit",
        "rmsnorm_quant_kernel",
        {"hidden": 1024},
        pick={"lnc_degree": 2},
        tier=2,
    ),
]
