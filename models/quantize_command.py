"""`trnlab quantize`: what quantising the tensor of a file loses, as text, data, picture; and the quantised tensor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trnlab.emulator.errors import TrnlabError
from trnlab.emulator.numerics.quantization import quantize_tensor
from trnlab.models.files import write_whole
from trnlab.models.quantize_files import read_tensor, write_parts
from trnlab.models.quantize_tables import draw_report, print_report


def quantize(
    file: Annotated[Path, typer.Argument(metavar="FILE.npy", help="float32, float16 or bfloat16.")],
    format: Annotated[str, typer.Option(help="mxfp4, mxfp8_e4m3, mxfp8_e5m2, nvfp4, float8_e4m3, ...")],
    axis: Annotated[int, typer.Option(help="Along which the blocks lie: a matmul's contraction.")] = -1,
    rule: Annotated[str | None, typer.Option(help="MX block scales: nki or ocp_floor.")] = None,
    policy: Annotated[
        str, typer.Option(help="MX blocks of zeros or NaN: hardware, aws_tutorial, aws_nki_library, torchao.")
    ] = "hardware",
    dtype: Annotated[str | None, typer.Option(help="The file's dtype: bfloat16, which NumPy does not record.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.npz", help="Write the quantised tensor.")] = None,
    picture: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Write histograms.")] = None,
    as_data: Annotated[bool, typer.Option("--json", help="Print the report as JSON instead.")] = False,
) -> None:
    """What quantising a tensor to a format loses: SQNR overall and by block, what is clipped and flushed."""
    for written in (out, picture):
        if written is not None and (written.absolute() == file.absolute() or not written.absolute().parent.is_dir()):
            raise TrnlabError(f"cannot write {written}: no such folder, or the tensor itself")
    tensor = read_tensor(file, dtype)
    done = quantize_tensor(tensor, format, axis=axis, rule=rule, policy=policy, keep=out is not None)
    if picture is not None:
        write_whole(picture, lambda path: draw_report(done.report, path))
    if out is not None:
        write_parts(out, done.parts, done.report)
    if as_data:
        sys.stdout.write(done.report.to_json() + "\n")
    else:
        print_report(done.report, Console())
