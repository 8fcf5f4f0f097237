"""Kernels of the NKI Library: convolutions and the cross-entropy loss."""

from __future__ import annotations

from tests.conformance.library import library

TEST_CONV1D_BASIC = "experimental.conv.test_conv1d:TestConv1DKernel.test_conv1d_basic"
TEST_DEPTHWISE_CONV1D = "experimental.conv.test_depthwise_conv1d:TestDepthwiseConv1d.test_depthwise_conv1d_fast"

CONV1D = {
    "batch": 1,
    "in_channels": 16,
    "out_channels": 32,
    "sequence_length": 20,
    "filter_size": 3,
    "stride": 1,
    "pad_left": 0,
    "pad_right": 0,
    "dilation": 1,
    "use_bias": False,
    "activation_fn": None,
    "lnc_shard": False,
    "dtype": "@nl.float32",
}
LOSS = {"B": 1, "T": 2, "V": 2048, "PB": 2, "CS": 1024}

CASES = [
    library("conv1d", TEST_CONV1D_BASIC, "conv1d", CONV1D),
    library(
        "conv1d-bias-silu",
        TEST_CONV1D_BASIC,
        "conv1d",
        {**CONV1D, "use_bias": True, "activation_fn": "@ActFnType.SiLU"},
    ),
    library(
        "conv1d-pad-stride",
        TEST_CONV1D_BASIC,
        "conv1d",
        {**CONV1D, "stride": 2, "pad_left": 1, "pad_right": 1, "filter_size": 5, "sequence_length": 33},
    ),
    library(
        "depthwise-conv1d",
        TEST_DEPTHWISE_CONV1D,
        "depthwise_conv1d_implicit_gemm",
        {
            "batch": 1,
            "channels": 16,
            "width": 512,
            "kernel_size": 3,
            "stride": (1, 1),
            "padding": ((0, 0), (0, 0)),
            "dtype": "@nl.bfloat16",
        },
    ),
    library(
        "depthwise-conv1d-pad",
        TEST_DEPTHWISE_CONV1D,
        "depthwise_conv1d_implicit_gemm",
        {
            "batch": 1,
            "channels": 8,
            "width": 256,
            "kernel_size": 4,
            "stride": (1, 1),
            "padding": ((0, 0), (1, 1)),
            "dtype": "@nl.bfloat16",
        },
    ),
    library(
        "cross-entropy-forward",
        "experimental.loss.test_cross_entropy_forward:TestCrossEntropyForwardSweep.test_switch_transformers_fast",
        "cross_entropy_forward",
        ranged=["ce_config"],
        change={"ce_config": LOSS},
        tier=2,
    ),
    library(
        "cross-entropy-backward",
        "experimental.loss.test_cross_entropy_backward:TestCrossEntropyBackwardSweep.test_switch_transformers_fast",
        "cross_entropy_backward",
        ranged=["ce_config"],
        change={"ce_config": LOSS},
        tier=2,
    ),
]
