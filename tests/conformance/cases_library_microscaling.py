"""Kernels of the NKI Library: microscaling formats, on Trainium3."""

from __future__ import annotations

from tests.conformance.library import library

TEST_QUANTIZE_MX_HW = "core.utils.test_quantize_to_mx:TestQuantizeToMxHardware.test_quantize_mx_hw"
NAMED_TYPES = "the reference looks its dtype up by name, which only the NumPy types of AWS's neuron_dtypes answer to"

CASES = [
    library(
        "quantize-mx-e4m3",
        TEST_QUANTIZE_MX_HW,
        "quantize_mx_kernel",
        {"P": 32, "F": 64, "out_x4_dtype": "@nl.float8_e4m3fn_x4", "input_dtype": "@nl.bfloat16"},
        generation="trn3",
        known=NAMED_TYPES,
        symptom="Unsupported out_x4_dtype",
    ),
    library(
        "quantize-mx-e5m2",
        TEST_QUANTIZE_MX_HW,
        "quantize_mx_kernel",
        {"P": 128, "F": 64, "out_x4_dtype": "@nl.float8_e5m2_x4", "input_dtype": "@nl.bfloat16"},
        generation="trn3",
        known=NAMED_TYPES,
        symptom="Unsupported out_x4_dtype",
    ),
    library(
        "rmsnorm-mx-quantize",
        "core.subkernels.test_rmsnorm_mx_quantize_tkg:TestRmsNormQuantizeMxTKGKernel.test_rmsnorm_mx_quantize_tkg",
        "rmsnorm_mx_quantize_tkg",
        pick={},
        generation="trn3",
        tier=2,
    ),
    library(
        "mlp-proj-mxfp4-gate",
        "core.mlp.test_mlp_proj_mxfp4:TestMlpProjMxfp4Kernel.test_mxfp4_gate_up_proj_unit",
        "gate_up_projection_mx_tp_shard_H",
        pick={},
        generation="trn3",
        tier=3,
        limit=600,
    ),
]
