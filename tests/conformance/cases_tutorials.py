"""The tutorials that AWS's documentation and nki-samples both hold: matrix multiplication and microscaling formats."""

from __future__ import annotations

from typing import Any

from tests.conformance.case import Case
from tests.conformance.direct import direct
from tests.conformance.inputs import matmul, offline_quantized, quantized_on_device, strided

PRODUCT: dict[str, Any] = {"rtol": 2e-2, "atol": 1e-2, "elementwise": False}
MICROSCALED: dict[str, Any] = {"rtol": 5e-2, "atol": 5e-2, "elementwise": False, "generation": "trn3"}
BLOCKS = {"TILES_IN_BLOCK_M": 2, "TILES_IN_BLOCK_N": 2, "TILES_IN_BLOCK_K": 8}
PLACES = {
    "sdk": (
        "nki/examples/matrix_multiplication/matrix_multiplication_nki_kernels.py",
        "nki/deep-dives/src/mxfp-matmul/mx_kernels.py",
    ),
    "samples": (
        "src/nki_samples/tutorials/matrix_multiplication/matrix_multiplication_nki_kernels.py",
        "src/nki_samples/tutorials/mxfp-matmul/mx_kernels.py",
    ),
}


def matrix_products(checkout: str, path: str) -> list[Case]:
    """Each step of the matrix multiplication tutorial."""

    def step(name: str, kernel: str, make: Any, **more: Any) -> Case:
        return direct(
            f"{checkout}-matmul-{name}", checkout, path, kernel, make, group=f"{checkout}/matmul", **PRODUCT, **more
        )

    return [
        step("basic", "nki_matmul_basic_", matmul(128, 64, 512)),
        step("tiled", "nki_matmul_tiled_", matmul(256, 128, 512)),
        step("hoist", "nki_matmul_hoist_load_", matmul(256, 256, 512)),
        step("blocked", "nki_matmul_block_free_dimension_", matmul(256, 256, 1024)),
        step("full", "nki_matmul_fully_optimized_", matmul(1024, 256, 1024, **BLOCKS), tier=2),
    ]


def microscaled_products(checkout: str, path: str) -> list[Case]:
    """Each kernel of the microscaling deep dive, with both ways to lay out its data."""

    def step(name: str, kernel: str, make: Any) -> Case:
        return direct(f"{checkout}-mx-{name}", checkout, path, kernel, make, group=f"{checkout}/mx", **MICROSCALED)

    copied, packed = "kernel_copy_strided_quantize_matmul_mx", "kernel_copy_strided_quantize_matmul_mx_packed_scale"
    offline, on_device = "kernel_offline_quantized_mx_matmul", "kernel_on_device_quantize_matmul_mx"
    steps = [
        step("offline-fp8", offline, offline_quantized("float8_e5m2_x4")),
        step("offline-fp4", offline, offline_quantized("float4_e2m1fn_x4")),
        step("offline-e4m3", offline, offline_quantized("float8_e4m3fn_x4")),
        step("on-device", on_device, quantized_on_device("float8_e5m2_x4", "float8_e5m2_x4")),
        step("on-device-fp4", on_device, quantized_on_device("float4_e2m1fn_x4", "float8_e4m3fn_x4")),
        step("strided", copied, strided()),
        step("strided-dma", copied, strided(use_tensor_copy=False)),
    ]
    if checkout == "sdk":  # nki-samples has an older state of the file
        steps.append(step("strided-packed", packed, strided()))
        steps.append(step("strided-packed-dma", packed, strided("float8_e4m3fn_x4", use_tensor_copy=False)))
    return steps


CASES = [
    case
    for checkout, (products, microscaled) in PLACES.items()
    for case in [*matrix_products(checkout, products), *microscaled_products(checkout, microscaled)]
]
