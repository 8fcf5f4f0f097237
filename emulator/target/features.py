"""The names that targets are told apart by: generations, engines and features, and the error for wrong ones."""

from __future__ import annotations

import difflib
from enum import Enum, IntEnum, StrEnum

from trnlab.emulator.errors import TrnlabError


class TargetError(TrnlabError, ValueError):
    """A target, variant, rate or engine clock that does not exist; `found` and `allowed` are the data."""

    def __init__(self, what: str, found: object, allowed: tuple[str, ...]) -> None:
        self.what, self.found, self.allowed = what, found, allowed
        nearest = difflib.get_close_matches(str(found).lower(), allowed, n=1, cutoff=0.4)
        self.nearest = nearest[0] if nearest else None
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        super().__init__(f"{what}: found {found!r}; allowed: {', '.join(allowed) or 'none'}{hint}")


class Generation(IntEnum):
    """NeuronCore generation; the number is that of the published `nc_version` (gen2 = 2, ...)."""

    V2 = 2
    V3 = 3
    V4 = 4
    V5 = 5

    @property
    def label(self) -> str:
        """The name for messages, such as "NeuronCore-v4 (trn3)"."""
        projection = ", projection" if self is Generation.V5 else ""
        return f"NeuronCore-v{self.value} (trn{self.value - 1}{projection})"


class Engine(StrEnum):
    """The engines of a NeuronCore, each with its own instruction stream, and its DMA engines."""

    TENSOR = "tensor"
    VECTOR = "vector"
    SCALAR = "scalar"
    GPSIMD = "gpsimd"
    SYNC = "sync"
    DMA = "dma"


class Feature(Enum):
    """What some generations have and others lack; the value is the first generation that has it.

    Sources: AWS NKI architecture guides; NKI reference 2.32, nki.isa. NATIVE_FP4 follows from the Trainium4
    announcement (6x FP4 but 3x FP8).
    """

    HARDWARE_DGE = ("descriptors generated in hardware", 3)
    DOUBLE_ROW = ("FP8 matmul with two rows per cycle", 3)
    SPARSITY = ("structured sparse matmul", 3)
    BIT_ACCURATE_TRANSPOSE = ("Tensor Engine transpose mode", 3)
    TILE_32 = ("32-row and 32-column tiles of the Tensor Engine", 3)
    RANGE_SELECT = ("range_select", 3)
    SCALAR_TENSOR_COPY = ("bit-accurate tensor_copy on the Scalar Engine", 3)
    ACTIVATION_SCALAR_BIAS = ("activation bias as a constant", 3)
    VECTOR_GPSIMD_SHARE_SBUF = ("Vector and GpSimd Engine access SBUF at once", 3)
    VECTOR_SCALAR_SHARE_PSUM = ("Vector and Scalar Engine access PSUM at once, in different banks", 3)
    GPSIMD_DMA = ("DMA engines inside the GpSimd Engine", 3)
    DMA_TRANSPOSE = ("transpose while moving data", 3)
    MX_MATMUL = ("nc_matmul_mx", 4)
    QUANTIZE_MX = ("quantize_mx", 4)
    PSUM_BFLOAT16 = ("matmul results and accumulation in bfloat16", 4)
    PSUM_ACCUMULATE_ANY = ("matmul accumulates on PSUM data of any origin", 4)
    VECTOR_EXPONENTIAL = ("exponential on the Vector Engine", 4)
    BACKGROUND_TRANSPOSE = ("transposes beside matmuls", 4)
    TENSOR_INDIRECTION = ("indirect addressing in compute instructions", 4)
    DMA_PRIORITY = ("DMA classes of service", 4)
    DMA_READ_ADD_WRITE = ("DMA accumulation into SBUF at full rate", 4)
    ACTIVATE2 = ("activate2", 4)
    XORWOW = ("XORWOW random numbers on the Vector Engine", 4)
    NATIVE_FP4 = ("FP4 multiplied without widening", 5)

    @property
    def first_generation(self) -> Generation:
        """The first generation that has the feature; later ones keep it."""
        return Generation(self.value[1])

    @property
    def description(self) -> str:
        """What the feature is, for messages."""
        return str(self.value[0])
