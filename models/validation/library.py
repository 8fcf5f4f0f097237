"""Kernels of the NKI Library, traced from a checkout that the user names; nothing of it is part of this project."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from trnlab.emulator import Kernel
from trnlab.emulator.errors import TrnlabError


class LibraryError(TrnlabError):
    """The folder is no checkout of the NKI Library."""


_ATTENTION: Final = "nkilib_src.nkilib.core.attention.attention_cte"
_FULL: Final = {"scale": 0.5, "causal_mask": False, "tp_q": True, "tp_out": False}

KERNELS: Final[Mapping[str, tuple[str, str, Mapping[str, Any]]]] = {
    "attention_cte": (_ATTENTION, "attention_cte", _FULL),
    "attention_cte causal": (_ATTENTION, "attention_cte", _FULL | {"scale": 1.0, "causal_mask": True}),
}
"""Module, function and options of each library kernel; options are those of the library's own test."""


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
    found = getattr(importlib.import_module(module), function)
    return partial(found.function if isinstance(found, Kernel) else found, **options)
