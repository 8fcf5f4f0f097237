"""Tensors from files, quantised tensors into files: faults named on reading, results written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DTYPES, as_dtype
from trnlab.emulator.errors import TrnlabError
from trnlab.emulator.numerics.quantization_report import QuantizationReport
from trnlab.models.files import write_whole

MAGIC = b"\x93NUMPY"
_STORABLE = (dtypes.bfloat16, dtypes.float16, dtypes.float32)


class TensorFileError(TrnlabError, ValueError):
    """A file that holds no tensor to quantise; `path`, `found` and `allowed` are the data."""

    def __init__(self, path: Path, found: str, allowed: str) -> None:
        self.path, self.found, self.allowed = path, found, allowed
        super().__init__(f"{path}: found {found}; allowed: {allowed}")


def read_tensor(path: Path, dtype: str | None = None) -> NDArray[Any]:
    """The array of an .npy file, mapped into memory; Fortran order is kept.

    dtype: what the elements are, for files of bfloat16: NumPy stores those as two bytes of nothing in particular.

    Raises:
        TensorFileError: no such file, no .npy file, a file cut short, objects, or another dtype than named.
    """
    magic, array = _opened(path)
    if array is None:
        _refuse(path, "no .npy file" if magic else "an empty file", "a file that numpy.save wrote")
    return _retyped(path, array, dtype)


def _opened(path: Path) -> tuple[bytes, NDArray[Any] | None]:
    """The first bytes, and the array where they are those of an .npy file."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
        return magic, np.load(path, mmap_mode="r", allow_pickle=False) if magic == MAGIC else None
    except OSError as error:
        raise TensorFileError(path, error.strerror or str(error), "a readable .npy file") from error
    except (ValueError, EOFError) as error:
        raise TensorFileError(path, f"an array that NumPy refuses: {error}", "a whole .npy file of numbers") from error


def _retyped(path: Path, array: NDArray[Any], name: str | None) -> NDArray[Any]:
    allowed = ", ".join(_STORABLE)
    if name is not None and name not in _STORABLE:
        _refuse(path, f"dtype {name!r} asked for", allowed)
    stored = None if name is None else as_dtype(name).storage
    if array.dtype.kind == "V" and array.dtype.names is None and array.ndim:
        if stored is None or stored.itemsize != array.dtype.itemsize:
            _refuse(path, f"elements of {array.dtype.itemsize} bytes without a type", "--dtype bfloat16, if they are")
        return array.view(stored)
    if not array.dtype.isnative:
        _refuse(path, f"dtype {array.dtype} of the other byte order", f"{allowed} in native byte order")
    if stored is not None and stored != array.dtype:
        _refuse(path, f"dtype {array.dtype}", f"{name}, as asked for")
    if array.dtype not in [dtype.storage for dtype in DTYPES]:
        _refuse(path, f"dtype {array.dtype}", f"{allowed}; round wider ones first, two roundings are not one")
    return array


def _refuse(path: Path, found: str, allowed: str) -> NoReturn:
    raise TensorFileError(path, found, allowed)


def write_parts(path: Path, parts: Mapping[str, NDArray[Any]], report: QuantizationReport) -> None:
    """The quantised arrays as .npz, with the report as JSON text under `report`."""
    arrays: dict[str, Any] = {**parts, "report": np.array(report.to_json())}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)

    write_whole(path, write)
