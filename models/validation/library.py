"""Kernels of the NKI Library, traced from a checkout that the user names; nothing of it is part of this project."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from trnlab.emulator import Kernel
from trnlab.emulator.errors import TrnlabError


class LibraryError(TrnlabError):
    """The folder is no checkout of the NKI Library."""


_ATTENTION: Final = "nkilib_src.nkilib.core.attention.attention_cte"
_FULL: Final = {"scale": 0.5, "causal_mask": False, "tp_q": True, "tp_out": False}
_CAUSAL: Final = _FULL | {"scale": 1.0, "causal_mask": True}
_TURNED: Final = _CAUSAL | {"tp_q": False}

_RMSNORM: Final = "nkilib_src.nkilib.core.rmsnorm.rmsnorm_quant"


def _row_quantisation(norm: str, module: ModuleType) -> Mapping[str, Any]:
    """The kernel's argument object: the normalisation of that name, then FP8 with a scale for each row."""
    kinds = importlib.import_module("nkilib_src.nkilib.core.utils.common_types")
    arguments = module.RmsNormQuantKernelArgs(
        lower_bound=0.0, norm_type=kinds.NormType[norm], quantization_type=kinds.QuantizationType.ROW
    )
    return {"kargs": arguments}


Options = Mapping[str, Any] | Callable[[ModuleType], Mapping[str, Any]]

KERNELS: Final[Mapping[str, tuple[str, str, Options]]] = {
    "attention_cte": (_ATTENTION, "attention_cte", _FULL),
    "attention_cte causal": (_ATTENTION, "attention_cte", _CAUSAL),
    "attention_cte causal, d by queries": (_ATTENTION, "attention_cte", _TURNED),
    "attention_cte causal, out turned, d by queries": (_ATTENTION, "attention_cte", _TURNED | {"tp_out": True}),
    "rmsnorm_quant": (_RMSNORM, "rmsnorm_quant_kernel", partial(_row_quantisation, "RMS_NORM")),
    "quant": (_RMSNORM, "rmsnorm_quant_kernel", partial(_row_quantisation, "NO_NORM")),
}
"""Module, function and options of each library kernel; options, or what makes them, are those of its own tests."""


def load(name: str, checkout: Path) -> Callable[..., Any]:
    """The kernel of that name as a function of its arrays.

    Raises:
        LibraryError: the checkout does not have it.
    """
    module, function, options = KERNELS[name]
    sources = checkout.resolve() / "src"
    wanted = sources / Path(*module.split(".")).with_suffix(".py")
    if not wanted.exists():
        raise LibraryError(f"{checkout} is no checkout of aws-neuron/nki-library: {wanted} does not exist")
    if str(sources) not in sys.path:
        sys.path.insert(0, str(sources))
    imported = importlib.import_module(module)
    found = getattr(imported, function)
    chosen = options(imported) if callable(options) else options
    return partial(found.function if isinstance(found, Kernel) else found, **chosen)
