"""Runnable examples of AWS's documentation (folder nki/examples), against NumPy or against themselves."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from tests.conformance.direct import direct
from tests.conformance.inputs import added, exponential, pooled, scan, split, transposed
from tests.conformance.scripts import script

FOLDER = "nki/examples/"
POOLING = f"{FOLDER}average_pool2d/average_pool2d_nki_kernels.py"
TRANSPOSE = f"{FOLDER}transpose2d/transpose2d_nki_kernels.py"
MAMBA = f"{FOLDER}fused_mamba/mamba_nki_kernels.py"
BASIC: dict[str, Any] = {"group": "sdk/basic"}
SCAN: dict[str, Any] = {"group": "sdk/mamba", "rtol": 1e-3, "atol": 1e-4, "elementwise": False}
SCRIPT: dict[str, Any] = {"group": "sdk/scripts"}
ADD = "nki_tensor_add_kernel"

CASES = [
    script("sdk-simulate-quickstart", "sdk", f"{FOLDER}simulate/nki_simulate_example.py", **SCRIPT),
    direct(
        "sdk-getting-started-baremetal",
        "sdk",
        f"{FOLDER}getting_started_baremetal.py",
        ADD,
        added((4, 3), np.float16),
        rtol=2e-3,
        **BASIC,
    ),
    direct("sdk-getting-started-jax", "sdk", f"{FOLDER}getting_started_jax.py", ADD, added((128, 64)), **BASIC),
    direct(
        "sdk-getting-started-torch",
        "sdk",
        f"{FOLDER}getting_started_torch.py",
        ADD,
        added((16, 512), ml_dtypes.bfloat16),
        rtol=1e-2,
        atol=1e-2,
        **BASIC,
    ),
    direct(
        "sdk-tensor-add",
        "sdk",
        f"{FOLDER}tensor_addition/tensor_addition_nki_kernels.py",
        "nki_tensor_add",
        added((256, 1024)),
        **BASIC,
    ),
    direct("sdk-split-columns", "sdk", f"{FOLDER}index-case-1.py", "tensor_split_kernel_", split, **BASIC),
    direct("sdk-maxpool", "sdk", f"{FOLDER}index-case-3.py", "tensor_maxpool_kernel_", pooled(np.max), **BASIC),
    direct("sdk-exp", "sdk", f"{FOLDER}layout-pass.py", "tensor_exp_kernel_", exponential, rtol=1e-4, **BASIC),
    direct("sdk-transpose2d", "sdk", TRANSPOSE, "tensor_transpose2D_kernel_", transposed, **BASIC),
    direct("sdk-avgpool", "sdk", POOLING, "tensor_avgpool_kernel", pooled(np.mean), **BASIC),
    direct("sdk-mamba-v1", "sdk", MAMBA, "mamba_v1", scan(1, 128, 4, 64), **SCAN),
    direct("sdk-mamba-v2", "sdk", MAMBA, "mamba_v2", scan(1, 256, 4, 64), **SCAN),
    direct("sdk-mamba-v3", "sdk", MAMBA, "mamba_v3", scan(1, 128, 4, 1024), tier=2, **SCAN),
    script("sdk-avgpool-script", "sdk", POOLING, **SCRIPT),
    script("sdk-avgpool-jax", "sdk", f"{FOLDER}average_pool2d/average_pool2d_jax.py", **SCRIPT),
    script("sdk-transpose2d-jax", "sdk", f"{FOLDER}transpose2d/transpose2d_jax.py", **SCRIPT),
    script("sdk-mamba-script", "sdk", MAMBA, tier=2, **SCRIPT),
]
