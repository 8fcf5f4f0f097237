"""The NKI Library's kernels, from a checkout that the user names; nothing of it is part of this project."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from tests.bench.rows import SkippedError
from trnlab.emulator import Kernel

FOLDER_VARIABLE = "NKI_LIBRARY_DIR"
MODULE = "nkilib_src.nkilib.core.attention.attention_cte"


def attention_cte(folder: str) -> Kernel:
    """The attention kernel for context encoding of the checkout (branch 2.29_release is the one it was written for).

    Raises SkippedError where no folder is given; FileNotFoundError where the folder is not such a checkout.
    """
    if not folder:
        raise SkippedError(f"no checkout of aws-neuron/nki-library: --nki-library DIR or {FOLDER_VARIABLE}")
    sources = Path(folder).resolve() / "src"
    wanted = sources / Path(*MODULE.split(".")).with_suffix(".py")
    if not wanted.exists():
        raise FileNotFoundError(f"{wanted} does not exist")
    if str(sources) not in sys.path:
        sys.path.insert(0, str(sources))
    kernel = importlib.import_module(MODULE).attention_cte
    return kernel if isinstance(kernel, Kernel) else Kernel(kernel, {})
