"""Kernels as roofline points: the work is counted from the traced program."""

from __future__ import annotations

from pathlib import Path

import pytest

from trnlab.emulator.errors import GenerationError, TrnlabError
from trnlab.emulator.target import get_target
from trnlab.models.program_points import point_of_text
from trnlab.models.roofline import Roofline

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
MATMUL = f"{KERNELS / 'matmul.py'}:matmul"


def test_a_matmul_is_its_flop_and_bytes() -> None:
    point = point_of_text(f"{MATMUL} lhsT=bf16[256,128] rhs=bf16[256,512]", get_target("trn2"))
    assert point.name == "matmul"
    assert point.flops == {"bf16": 2 * 256 * 128 * 512}
    # Operands in and the result out, two bytes each, once.
    assert point.hbm_bytes == point.dma_bytes == 2 * (256 * 128 + 256 * 512 + 128 * 512)
    # DMA writes the operands into SBUF, the array reads them, the result is written to SBUF and read by DMA; results
    # are two bytes each there as in HBM, and every tile of 128 x 128 by 128 x 512 is read once.
    operands, result = 2 * (256 * 128 + 256 * 512), 2 * 128 * 512
    assert point.sbuf_bytes == 2 * operands + 2 * result
    bound = Roofline.of_core("trn2").bound(point)
    assert point.time_seconds is not None
    assert bound.percent_of_roofline is not None
    assert bound.percent_of_roofline == pytest.approx(100 * bound.time_seconds / point.time_seconds)
    assert 0 < bound.percent_of_roofline < 100
    assert bound.time_seconds == max(bound.times.values())


def test_what_cannot_be_traced_says_why() -> None:
    with pytest.raises(TrnlabError, match="kernel file"):
        point_of_text("absent.py:kernel", get_target("trn2"))
    with pytest.raises(TrnlabError, match="dtype of lhsT"):
        point_of_text(f"{MATMUL} lhsT=bf17[256,128]", get_target("trn2"))
    mx = f"{KERNELS / 'matmul_mx.py'}:matmul_mxfp8_weights"
    arguments = "lhsT=bf16[512,128] weights=u16[128,512] scales=u8[16,512]"
    with pytest.raises(GenerationError):
        point_of_text(f"{mx} {arguments}", get_target("trn2"))
