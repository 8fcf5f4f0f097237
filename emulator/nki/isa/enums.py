"""The enums of nki.isa, with the published members and values."""

from __future__ import annotations

from enum import Enum


class engine(Enum):  # noqa: N801  (published name)
    """Neuron device engines."""

    tensor = 1
    vector = 5
    scalar = 2
    gpsimd = 3
    dma = 4
    sync = 6
    unknown = 0


tensor_engine = engine.tensor
vector_engine = engine.vector
scalar_engine = engine.scalar
gpsimd_engine = engine.gpsimd
unknown_engine = engine.unknown


class reduce_cmd(Enum):  # noqa: N801
    """Engine register reduce commands."""

    idle = 0
    reset = 1
    reduce = 2
    reset_reduce = 3
    load_reduce = 4


class dge_mode(Enum):  # noqa: N801
    """How DMA descriptors are generated."""

    unknown = 0
    swdge = 1
    hwdge = 2
    none = 3


class oob_mode(Enum):  # noqa: N801
    """What an out-of-bounds run-time access does: an error, or the access is skipped."""

    error = 0
    skip = 1


class matmul_perf_mode(Enum):  # noqa: N801
    """Performance mode of nc_matmul."""

    none = "none"
    double_row = "double_row"


class nc_version(Enum):  # noqa: N801
    """NeuronCore version; members compare by generation, with each other and with numbers (`get_nc_version() >= 3`).

    gen5, the Trainium4 projection, is trnlab's addition.
    """

    gen2 = 2
    gen3 = 3
    gen4 = 4
    gen5 = 5

    def __eq__(self, other: object) -> bool:
        number = _generation(other)
        return NotImplemented if number is None else self.value == number

    def __hash__(self) -> int:
        return hash(self.value)

    def __lt__(self, other: nc_version | int) -> bool:
        number = _generation(other)
        return NotImplemented if number is None else self.value < number

    def __le__(self, other: nc_version | int) -> bool:
        number = _generation(other)
        return NotImplemented if number is None else self.value <= number

    def __gt__(self, other: nc_version | int) -> bool:
        number = _generation(other)
        return NotImplemented if number is None else self.value > number

    def __ge__(self, other: nc_version | int) -> bool:
        number = _generation(other)
        return NotImplemented if number is None else self.value >= number


def _generation(value: object) -> int | None:
    if isinstance(value, nc_version):
        return int(value.value)
    return value if isinstance(value, int) else None


class dma_engine(Enum):  # noqa: N801
    """Which DMA engines carry a transfer between cores."""

    dma = 1
    gpsimd_dma = 2
