"""Kernels and their arguments named on a command line: `FILE.py:kernel`, `lhsT=bf16[4096,2048]`, `scale=0.5`."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import jax
import numpy as np

from trnlab.emulator import DType, Kernel, TrnlabError, as_dtype
from trnlab.emulator.importer import install

SHORT_NAMES: Final[Mapping[str, str]] = {
    "bf16": "bfloat16",
    "f16": "float16",
    "fp16": "float16",
    "f32": "float32",
    "fp32": "float32",
    "fp8_e4m3": "float8_e4m3",
    "fp8_e4m3fn": "float8_e4m3fn",
    "fp8_e5m2": "float8_e5m2",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "u8": "uint8",
    "u16": "uint16",
    "u32": "uint32",
}
"""Accepted besides NKI's own names of dtypes."""

_SHAPE: Final = re.compile(r"(?P<dtype>\w+)\[(?P<sizes>[\d\s,x]*)\]")
_MEANT_AS_SHAPE: Final = re.compile(r"\w+\s*[\[(]")


class KernelFileError(TrnlabError, ValueError):
    """A kernel or an argument on a command line cannot be used; `what`, `found` and `allowed` are the data."""

    def __init__(self, what: str, found: str, allowed: str) -> None:
        self.what, self.found, self.allowed = what, found, allowed
        super().__init__(f"{what}: found {found}; allowed: {allowed}")


def load_kernel(place: str) -> Callable[..., Any]:
    """The kernel at `FILE.py:name` or `package.module:name`; `import nki` inside the file finds the emulator.

    Raises:
        KernelFileError: no such file, module or name, several kernels where none is named, or something that cannot
            be called.
    """
    source, _, name = place.rpartition(":") if ":" in place else (place, "", "")
    install()
    module = _module_of(source)
    return _only_kernel(module, place) if not name else _named(module, name, source)


def _module_of(source: str) -> ModuleType:
    if not source.endswith(".py"):
        try:
            return importlib.import_module(source)
        except ImportError as error:
            raise KernelFileError(
                "kernel", f"{source!r} ({error})", "FILE.py:kernel or package.module:kernel"
            ) from error
    path = Path(source)
    if not path.is_file():
        raise KernelFileError("kernel file", repr(source), "a Python file that exists")
    name = f"_trnlab_kernel_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


def _kernels(module: ModuleType) -> dict[str, Kernel]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Kernel)}


def _only_kernel(module: ModuleType, place: str) -> Callable[..., Any]:
    kernels = _kernels(module)
    if len(kernels) != 1:
        listed = ", ".join(f"{place}:{name}" for name in kernels) or f"{place}:NAME of a function"
        raise KernelFileError("kernel", f"{place!r}, which has {len(kernels)} functions under @nki.jit", listed)
    return next(iter(kernels.values()))


def _named(module: ModuleType, name: str, source: str) -> Callable[..., Any]:
    found = getattr(module, name, None)
    if not callable(found):
        kernels = [*_kernels(module)]
        close = get_close_matches(name, kernels, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise KernelFileError(f"kernel in {source}", repr(name), f"{', '.join(kernels) or 'a function'}{meant}")
    function: Callable[..., Any] = found
    return function


def parse_arguments(texts: Sequence[str]) -> dict[str, Any]:
    """Keyword arguments from texts: `lhsT=bf16[4096,2048]` is a tensor without values, `scale=0.5` a Python literal.

    Words that are no literal and no shape are dtypes (`out_dtype=bf16`) or, failing that, strings.

    Raises:
        KernelFileError: no `name=`, an unknown dtype, sizes that are no positive integers, a shape that does not end,
            or a name given twice.
    """
    arguments: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise KernelFileError("argument", repr(text), "NAME=DTYPE[SIZES] or NAME=VALUE, e.g. lhsT=bf16[4096,2048]")
        if name.strip() in arguments:
            raise KernelFileError("argument", f"{name.strip()!r} twice", "each argument once")
        arguments[name.strip()] = parse_value(name.strip(), value.strip())
    return arguments


def parse_value(name: str, text: str) -> Any:
    """One argument's value; see `parse_arguments`.

    Raises:
        KernelFileError: see `parse_arguments`.
    """
    shape = _SHAPE.fullmatch(text)
    if shape is not None:
        return _tensor(name, shape["dtype"], shape["sizes"])
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        if _MEANT_AS_SHAPE.match(text):
            allowed = "DTYPE[SIZES] of positive integers, e.g. bf16[4096,2048]; a string in quotes"
            raise KernelFileError(f"shape of {name}", repr(text), allowed) from None
        return _dtype(text) or text


def _tensor(name: str, dtype: str, sizes: str) -> jax.ShapeDtypeStruct:
    element = _dtype(dtype)
    if element is None:
        close = get_close_matches(dtype, [*SHORT_NAMES, *_names()], n=3)
        raise KernelFileError(f"dtype of {name}", repr(dtype), ", ".join(close or [*SHORT_NAMES.values()]))
    parts = [part.strip() for part in re.split(r"[,x]", sizes) if part.strip()]
    if not parts or not all(part.isdigit() and int(part) for part in parts):
        raise KernelFileError(f"shape of {name}", f"[{sizes}]", "positive integers, e.g. [4096,2048]")
    return jax.ShapeDtypeStruct(tuple(int(part) for part in parts), _array_dtype(element))  # type: ignore[no-untyped-call]


def _names() -> list[str]:
    from trnlab.emulator import DTYPES

    return [str(dtype) for dtype in DTYPES]


def _dtype(text: str) -> DType | None:
    try:
        return as_dtype(SHORT_NAMES.get(text, text))
    except TypeError:
        return None


def _array_dtype(dtype: DType) -> np.dtype[Any]:
    """The dtype of the host array: words for packed formats, which arrays know only by their width."""
    return dtype.storage
