"""Names and keywords of older NKI releases: what replaces them, and the few that published kernels still use.

Source: NKI migration guides 0.1 to 0.6; for keywords that are still accepted, the kernels of nki-samples and of the NKI
Library that give them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from trnlab.emulator.memory import as_element

_SLICES: Final = "slices of integers, nl.ds, or NkiTensor.ap"
_GRID: Final = "kernel[lnc](...), with the number of cores of a logical NeuronCore"
_ADDRESS: Final = "nl.ndarray(..., address=(partition, byte))"
_SIMULATE: Final = "nki.simulate(kernel)(...)"
_COPY: Final = "nisa.tensor_copy with a view of NkiTensor.ap(scalar_offset=...)"

REMOVED_NAMES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "nki": {
            "baremetal": _SIMULATE,
            "benchmark": "trnlab.emulator.run(kernel, ...).timeline for the time a kernel would take",
            "profile": "trnlab.emulator.run(kernel, ...).timeline for where the time would go",
            "simulate_kernel": _SIMULATE,
            "trace": "trnlab.emulator.trace(kernel, ...) for the program",
            "compiler": _ADDRESS,
            "tensor": "nl.ndarray",
        },
        "nki.language": {
            "arange": _SLICES,
            "mgrid": _SLICES,
            "par_dim": "the first dimension: block dimensions were removed, lists of tiles stand for them",
            "loop_reduce": "a tile that every iteration adds to",
            "static_cast": "nl.copy(x, dtype=...)",
            "spmd_dim": _GRID,
            "nc": _GRID,
            "fp32": "numpy.finfo(numpy.float32)",
            "atomic_rmw": "nisa.dma_compute",
        },
        "nki.isa": {
            "tensor_copy_dynamic_src": _COPY,
            "tensor_copy_dynamic_dst": _COPY,
        },
    }
)
"""What replaces a name that a module no longer has."""

REMOVED_KEYWORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "mask": "slices that stay inside the tensor, as min() bounds them",
        "dst_rmw_op": "nisa.dma_compute(dst, [src, dst], reduce_op=...)",
        "use_gpsimd_dma": "dma_engine=nisa.dma_engine.gpsimd_dma",
        "num_channels": "channel_ids=[...]",
        "imm": "src=",
    }
)
"""What replaces a keyword that functions no longer take."""


def _without_dtype(subject: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The keywords without `dtype`: the result has the destination's dtype, whatever the call says (assumed).

    A kernel of nki-samples gives bfloat16 there for a float32 destination.
    """
    if "dtype" not in kwargs:
        return None
    as_element(subject, kwargs["dtype"])
    return {key: value for key, value in kwargs.items() if key != "dtype"}


STILL_TAKEN: Final = MappingProxyType({"tensor_copy": _without_dtype, "scalar_tensor_tensor": _without_dtype})
"""Functions of nki.isa that take a call of an older release, with what turns its keywords into today's."""
