"""nki: the public face of NKI; `import nki` resolves here where AWS's own package is absent (`emulator.importer`)."""

from trnlab.emulator.launch import jit as jit, simulate as simulate
from trnlab.emulator.nki import (
    collectives as collectives,
    dtype as dtype,
    isa as isa,
    language as language,
    typing as typing,
)
from trnlab.emulator.nki.publishing import publish as _publish
from trnlab.emulator.nki.simulation import cpu_simulate as cpu_simulate

_publish("nki", "nki", globals())
