"""Files of the checkouts that cannot run as they are published anywhere but on a Trainium host, or not at all.

They are run all the same: the table says what each does today, and why the fault is not the emulator's.
"""

from __future__ import annotations

from tests.conformance.case import Case
from tests.conformance.scripts import script

TORCH = "drives the device through torch_xla or torch_neuronx, which are not on a machine without it"
OLDER = "written for neuronxcc, the NKI before 0.1: its masks, grids and index tensors are gone"
NO_TORCH = (TORCH, "No module named 'torch_")
SDK = {
    "getting_started_torch.py": NO_TORCH,
    "average_pool2d/average_pool2d_torch.py": NO_TORCH,
    "fused_mamba/mamba_torch.py": NO_TORCH,
    "matrix_multiplication/matrix_multiplication_torch.py": NO_TORCH,
    "transpose2d/transpose2d_torch.py": NO_TORCH,
    "layout-dynamic-loop.py": ("a bracket is not closed: a syntax error", "SyntaxError: '(' was never closed"),
    "layout-loop.py": ("imports torch_neuronx, and stores through a name that it does not define", NO_TORCH[1]),
    "layout-violation.py": NO_TORCH,
}
SAMPLES = {
    "average_pool2d/average_pool2d_jax.py": (OLDER, "mgrid"),
    "average_pool2d/average_pool2d_nki_kernels.py": (OLDER, "mgrid"),
    "fused_mamba/mamba_nki_kernels.py": (OLDER, "par_dim"),
    "tensor_addition/spmd_multiple_nc_tensor_addition_jax.py": (OLDER, "spmd_dim"),
    "tensor_addition/spmd_tensor_addition_jax.py": (OLDER, "lnc: found (2, 2)"),
    "tensor_addition/tensor_addition_jax.py": (OLDER, "lnc: found (2, 2)"),
    "transpose2d/transpose2d_jax.py": (OLDER, "arange"),
    "attention_fwd_performance/test_attention.py": (OLDER, "par_dim"),
    "mxfp-matmul/mx_toplevel.py": NO_TORCH,
}
"""By file: why it cannot run, and what the message says then."""


def unrunnable(checkout: str, folder: str, file: str, why: tuple[str, str]) -> Case:
    """A file run as a script, with the reason why that fails."""
    name = f"{checkout}-unrunnable-{file.rpartition('/')[2].removesuffix('.py')}"
    known, symptom = why
    return script(name, checkout, f"{folder}/{file}", known=known, symptom=symptom, group=f"{checkout}/unrunnable")


CASES = [
    *(unrunnable("sdk", "nki/examples", file, why) for file, why in SDK.items()),
    unrunnable("sdk", "nki/deep-dives/src/mxfp-matmul", "mx_toplevel.py", NO_TORCH),
    *(unrunnable("samples", "src/nki_samples/tutorials", file, why) for file, why in SAMPLES.items()),
]
