"""nki.isa.quantize_mx, as published."""

from __future__ import annotations

from trnlab.emulator.errors import PartitionError
from trnlab.emulator.isa import quantize
from trnlab.emulator.numerics.microscaling_layout import QUADRANT
from trnlab.emulator.source import fail
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import NkiInstruction, current


def _quadrant(tensor: NkiTensor) -> int | None:
    """The quadrant a view starts in, or None while its buffer, placed by nobody yet, fits in several."""
    buffer = tensor._allocation.buffer
    is_placed = buffer.address is not None or buffer.shape[0] > 2 * QUADRANT
    return tensor.start_partition // QUADRANT if is_placed else None


def _check_quadrants(subject: str, src: NkiTensor, dst_scale: NkiTensor) -> None:
    """Scales lie in the quadrant of the partitions that they scale."""
    data, scale = _quadrant(src), _quadrant(dst_scale)
    if data is not None and scale is not None and data != scale:
        fail(
            PartitionError,
            subject,
            operand="dst_scale",
            found=f"{dst_scale.describe()} starting at partition {dst_scale.start_partition}",
            allowed=f"a start in partitions {QUADRANT * data} to {QUADRANT * data + QUADRANT - 1}, the quadrant of src",
            source="NKI deep dive, MXFP matrix multiplication: packing scale values",
        )


def quantize_mx(dst: NkiTensor, src: NkiTensor, dst_scale: NkiTensor, name: str | None = None) -> NkiInstruction:
    """dst = MXFP8 of src, dst_scale = the power-of-two scale of each 8 x 4 group, as its biased exponent. v4 on.

    src:       float16 or bfloat16 [P, F] in SBUF, P a multiple of 32, F of 4
    dst:       float8_e4m3fn_x4 or float8_e5m2_x4 [P, F / 4] in SBUF
    dst_scale: uint8 or float8_e8m0fnu in SBUF, F / 4 elements per partition. Group g's scale goes to partition
               32 * (g // 4) + g % 4 of this view, which may start 0, 4, 8 or 12 partitions into a quadrant; at
               least P - 28 partitions (4 for P = 32). Partitions in between keep what they hold.

    The scale is 2**(floor(log2 amax) - (E_max - 1)), or what the run's `mx_scale_rule` says; blocks of zeros,
    tiny blocks, NaN and infinities follow the run's `mx_block_policy`.

    Raises:
        GenerationError: before NeuronCore-v4.  PartitionError: scales in another quadrant than their data.
        ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.quantize_mx"
    trace = current(subject)
    if isinstance(src, NkiTensor) and isinstance(dst_scale, NkiTensor) and src.on_chip and dst_scale.on_chip:
        _check_quadrants(subject, src, dst_scale)
    return trace.emit(quantize.quantize_mx, (dst, src, dst_scale), trace.mx, name=name)
