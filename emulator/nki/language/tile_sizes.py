"""`nl.tile_size`: the sizes of tiles on the current target.

Inside a kernel the target is the kernel's; outside it is the default target of a launch, so that kernels may read sizes
while their module is imported. Every number but two comes from the target; the table of targets holds its source.

Source: NKI reference, nki.language.tile_size.
"""

from __future__ import annotations

from trnlab.emulator.memory import MIN_ADDRESS_ALIGN
from trnlab.emulator.target import Target
from trnlab.emulator.tensor import NKIObject
from trnlab.emulator.trace import active

_FLOAT32_BYTES = 4


def _target() -> Target:
    trace = active()
    if trace is not None:
        return trace.target
    from trnlab.emulator.launch import default_target  # launch stands above the public face

    return default_target()


class TileSize(NKIObject):
    """Sizes of tiles, in elements unless the name says bytes."""

    @property
    def pmax(self) -> int:
        """Most partitions of a tile."""
        return _target().partitions

    @property
    def psum_bank_fmax(self) -> int:
        """Float32 elements of one partition of a PSUM bank."""
        return self.psum_bank_fmax_bytes // _FLOAT32_BYTES

    @property
    def psum_fmax(self) -> int:
        """The same as `psum_bank_fmax`, in spite of the name (deprecated by AWS)."""
        return self.psum_bank_fmax

    @property
    def psum_bank_fmax_bytes(self) -> int:
        """Bytes of one partition of a PSUM bank."""
        return _target().psum_bank_bytes

    @property
    def psum_num_banks(self) -> int:
        """PSUM banks of a partition."""
        return _target().psum_banks

    @property
    def psum_min_align(self) -> int:
        """Byte alignment of hand-given addresses in PSUM (assumed: AWS publishes the name, not the number)."""
        return MIN_ADDRESS_ALIGN

    @property
    def sbuf_min_align(self) -> int:
        """Byte alignment of hand-given addresses in SBUF (assumed: AWS publishes the name, not the number)."""
        return MIN_ADDRESS_ALIGN

    @property
    def sbuf_size_bytes(self) -> int:
        """Bytes of the whole SBUF, all partitions together."""
        return self.pmax * self.sbuf_fmax_bytes

    @property
    def sbuf_fmax(self) -> int:
        """Float32 elements of one SBUF partition."""
        return self.sbuf_fmax_bytes // _FLOAT32_BYTES

    @property
    def sbuf_fmax_bytes(self) -> int:
        """Bytes of one SBUF partition."""
        return _target().sbuf_bytes_per_partition

    @property
    def total_available_sbuf_size(self) -> int:
        """The same as `sbuf_fmax_bytes`, in spite of the name (deprecated by AWS)."""
        return self.sbuf_fmax_bytes

    @property
    def gemm_stationary_fmax(self) -> int:
        """Largest free dimension of the stationary operand of a matrix product."""
        return _target().matmul_stationary_free_max

    @property
    def gemm_moving_fmax(self) -> int:
        """Largest free dimension of the moving operand on every generation: one PSUM bank of float32."""
        return self.psum_bank_fmax

    @property
    def bn_stats_fmax(self) -> int:
        """Largest free dimension of nisa.bn_stats."""
        return _target().bn_stats_free_max

    def __repr__(self) -> str:
        return f"nl.tile_size on {_target().label}"


tile_size = TileSize()
"""The one object of its class; its properties read the current target."""
