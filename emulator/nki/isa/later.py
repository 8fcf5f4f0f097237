"""Instructions of nki.isa that trnlab does not implement yet, as a table; each raises NotYetSupportedError when called.

Parameters and defaults are those of the NKI reference 2.32, nki.isa.
"""

from __future__ import annotations

from trnlab.emulator.nki.isa import enums
from trnlab.emulator.nki.unsupported import REQUIRED, unsupported

_TWO_CORES = "a kernel on one core; kernels on two cores are not supported yet"


def _later(name: str, instead: str, **parameters: object) -> object:
    return unsupported(__name__, "nisa", name, parameters | {"name": None}, instead)


core_barrier = _later("core_barrier", _TWO_CORES, data=REQUIRED, cores=REQUIRED, engine=enums.engine.gpsimd)
sendrecv = _later(
    "sendrecv",
    _TWO_CORES,
    src=REQUIRED,
    dst=REQUIRED,
    send_to_rank=REQUIRED,
    recv_from_rank=REQUIRED,
    pipe_id=REQUIRED,
    dma_engine=enums.dma_engine.dma,
)
