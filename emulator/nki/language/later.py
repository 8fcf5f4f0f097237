"""Names of nki.language that trnlab does not implement yet; each raises NotYetSupportedError when called."""

from __future__ import annotations

from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.nki.unsupported import REQUIRED, unsupported

_RANDOM = "random numbers drawn on the host and passed in as a kernel argument"


def _later(name: str, instead: str, /, **parameters: object) -> object:
    return unsupported(__name__, "nl", name, parameters, instead)


rand = _later("rand", _RANDOM, shape=REQUIRED, dtype=REQUIRED, buffer=MemoryRegion.sbuf, name="")
random_seed = _later("random_seed", _RANDOM, seed=REQUIRED)
dropout = _later("dropout", _RANDOM, x=REQUIRED, rate=REQUIRED, dtype=None)
gather_flattened = _later(
    "gather_flattened",
    "nisa.dma_copy from a view with vector_offset, or nisa.nc_n_gather",
    data=REQUIRED,
    indices=REQUIRED,
    axis=0,
    dtype=None,
)
