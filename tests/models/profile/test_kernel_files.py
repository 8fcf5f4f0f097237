"""Kernels and arguments named on a command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from trnlab.emulator import Kernel, trace
from trnlab.models.profile.command import split_arguments
from trnlab.models.profile.kernel_files import KernelFileError, load_kernel, parse_arguments

SOURCE = """
import nki
import nki.isa as nisa
import nki.language as nl
from helper_next_door import WIDTH

@nki.jit
def copy(x):
    tile = nl.ndarray((128, WIDTH), dtype=x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=x)
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(dst=result, src=tile)
    return result

def plain(x):
    return copy(x)

NUMBER = 7
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "helper_next_door.py").write_text("WIDTH = 64\n")
    path = tmp_path / "my_kernel.py"
    path.write_text(SOURCE)
    return path


def test_a_kernel_of_a_file_imports_nki_and_its_neighbours(file: Path) -> None:
    for place in (f"{file}:copy", str(file), f"{file}:plain"):
        kernel = load_kernel(place)
        assert len(trace(kernel, **parse_arguments(["x=f32[128,64]"]), target="trn2")) == 2
    assert isinstance(load_kernel(str(file)), Kernel)


def test_a_kernel_of_a_module() -> None:
    from trnlab.kernels.matmul import matmul

    assert load_kernel("trnlab.kernels.matmul:matmul") is matmul


@pytest.mark.parametrize(
    ("name", "says"),
    [("copi", "did you mean 'copy'"), ("NUMBER", "allowed: copy"), ("nothing", "allowed: copy")],
)
def test_a_wrong_name_lists_the_kernels_of_the_file(file: Path, name: str, says: str) -> None:
    with pytest.raises(KernelFileError, match=says):
        load_kernel(f"{file}:{name}")


def test_no_such_file_and_no_such_module() -> None:
    with pytest.raises(KernelFileError, match="a Python file that exists"):
        load_kernel("no/such/file.py:kernel")
    with pytest.raises(KernelFileError, match=r"FILE\.py:kernel"):
        load_kernel("no_such_module_anywhere:kernel")


def test_several_kernels_must_be_named() -> None:
    with pytest.raises(KernelFileError, match="matmul_fp8"):
        load_kernel("trnlab.kernels.matmul")


@pytest.mark.parametrize(
    ("text", "dtype", "shape"),
    [
        ("x=bf16[4096,2048]", ml_dtypes.bfloat16, (4096, 2048)),
        ("x=float8_e4m3[128, 64]", ml_dtypes.float8_e4m3, (128, 64)),
        ("x=f32[8x16x2]", np.float32, (8, 16, 2)),
        ("x=u32[5]", np.uint32, (5,)),
        ("x=float8_e4m3fn_x4[128,32]", np.uint32, (128, 32)),
    ],
)
def test_tensors_without_values(text: str, dtype: Any, shape: tuple[int, ...]) -> None:
    value = parse_arguments([text])["x"]
    assert value.shape == shape
    assert value.dtype == np.dtype(dtype)


def test_literals_dtypes_and_words() -> None:
    assert parse_arguments(["a=0.5", "b=(1, 2)", "c=None", "d=bf16", "e=fast", "f=True", "g='x=y'"]) == {
        "a": 0.5, "b": (1, 2), "c": None, "d": "bfloat16", "e": "fast", "f": True, "g": "x=y",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bf16[4]", "NAME=DTYPE"),
        ("x=bf17[4]", "dtype of x: found 'bf17'"),
        ("x=bf16[]", "positive integers"),
        ("x=bf16[4,0]", "positive integers"),
        ("a b=1", "NAME=DTYPE"),
    ],
)
def test_bad_arguments(text: str, says: str) -> None:
    with pytest.raises(KernelFileError, match=says):
        parse_arguments([text])


def test_an_argument_given_twice() -> None:
    with pytest.raises(KernelFileError, match="twice"):
        parse_arguments(["x=1", "x=2"])


def test_one_option_may_carry_several_arguments() -> None:
    assert split_arguments(["a=bf16[4, 8] b=(1, 2)", "c=3"]) == ["a=bf16[4, 8]", "b=(1, 2)", "c=3"]
