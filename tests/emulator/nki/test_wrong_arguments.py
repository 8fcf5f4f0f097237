"""Arguments of every wrong kind, for every published function: accepted, or refused with an error that names them.

A raw TypeError, AttributeError or ValueError from inside the emulator says nothing to the author of a kernel.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import KernelError, trace
from trnlab.emulator.nki import collectives

X = np.ones((4, 8), np.float32)


class Stranger:
    """An object of no kind that NKI knows."""


def things() -> dict[str, Any]:
    """A value of every kind that a call may be given, right or wrong, made inside a kernel."""
    return {
        "text": "a",
        "none": None,
        "fraction": 0.5,
        "nan": float("nan"),
        "negative": -3,
        "huge": 10**12,
        "flag": True,
        "stranger": Stranger(),
        "list": [1, 2],
        "pair of kinds": (1, "x"),
        "dict": {},
        "array": np.zeros((2, 2)),
        "class": int,
        "dtype": nl.bfloat16,
        "operator": nl.add,
        "register": nisa.register_alloc(1),
        "tile": nl.zeros((4, 8), nl.float32),
        "column": nl.zeros((4, 1), nl.float32),
        "integers": nl.zeros((4, 8), nl.uint32),
        "psum": nl.ndarray((4, 8), nl.float32, buffer=nl.psum),
        "tensor": nl.ndarray((4, 8), nl.float32, buffer=nl.shared_hbm),
    }


SENSIBLE: dict[str, Any] = {
    "axis": 1,
    "axes": 0,
    "body_fun": lambda register: None,
    "buffer": nl.sbuf,
    "constant": np.ones((2, 2), np.float32),
    "dtype": nl.float32,
    "epsilon": 1e-6,
    "fill_value": 1.0,
    "lower": 0,
    "n": 4,
    "name": "n",
    "op": nl.add,
    "op0": nl.add,
    "op1": nl.add,
    "operand0": 1.0,
    "operand1": 1.0,
    "pattern": [[1, 8]],
    "print_prefix": "p",
    "rate": 0.5,
    "reduce_op": nl.add,
    "shape": (4, 8),
    "size": 2,
    "start": 0,
    "step": 1,
    "stop": 4,
    "upper": 2,
    "value": 1.0,
}
IN_HBM = {("load", "src"), ("load_transpose2d", "src"), ("store", "dst")}
METHODS = {
    "permute": {"dims": (0, 2, 1)},
    "broadcast": {"dim": 1, "size": 1},
    "expand_dim": {"dim": 1},
    "squeeze_dim": {"dim": 1},
    "reshape_dim": {"dim": 2, "shape": (2, 2)},
    "flatten_dims": {"start_dim": 1, "end_dim": 2},
    "reshape": {"shape": (4, 8)},
    "rearrange": {"src_pattern": ("a", "b", "c"), "dst_pattern": ("a", "c", "b"), "fixed_sizes": {}},
    "slice": {"dim": 1, "start": 0, "end": 1, "step": 1},
    "select": {"dim": 1, "index": 0},
    "vector_select": {"dim": 0, "vector_offset": None},
    "ap": {
        "pattern": [[8, 4], [1, 8]],
        "offset": 0,
        "scalar_offset": None,
        "vector_offset": None,
        "indirect_dim": 0,
        "dtype": None,
    },
    "view": {"dtype": nl.int32},
    "indirect": {"index": None, "num_elem": None},
    "__getitem__": {"key": 0},
    "__setitem__": {"key": 0, "value": 1.0},
}


def functions(module: Any) -> list[str]:
    return sorted(name for name, value in vars(module).items() if inspect.isfunction(value) and name[0] != "_")


def sensible(function: Any, made: dict[str, Any]) -> dict[str, Any]:
    """A value for every parameter without default: right for most functions, refused by some."""
    arguments = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is inspect.Parameter.empty:
            otherwise = made["tensor" if (function.__name__, name) in IN_HBM else "tile"]
            arguments[name] = SENSIBLE.get(name, otherwise) if name != "value" or function is nisa.memset else otherwise
    return arguments


def attempts(call: Any) -> None:
    """Call `call(made, wrong)` with each kind of thing; only errors of the hierarchy, at the caller's line, come."""

    def kernel(x: Any) -> Any:
        made = things()
        nl.store(made["tensor"], nl.load(x))
        for wrong in made.values():
            try:
                call(made, wrong)
            except KernelError as error:
                location = error.violation.location
                assert location is None or location.file == __file__
        return made["tensor"]

    assert len(trace(kernel, X, target="trn3")) > 1


@pytest.mark.parametrize("name", functions(nl))
def test_functions_of_nki_language(name: str) -> None:
    function = getattr(nl, name)
    for parameter in inspect.signature(function).parameters:
        attempts(lambda made, wrong, at=parameter: function(**(sensible(function, made) | {at: wrong})))


@pytest.mark.parametrize("name", functions(nisa))
def test_instructions(name: str) -> None:
    function = getattr(nisa, name)
    for parameter in inspect.signature(function).parameters:
        attempts(lambda made, wrong, at=parameter: function(**(sensible(function, made) | {at: wrong})))


@pytest.mark.parametrize("name", functions(collectives))
def test_collectives(name: str) -> None:
    function = getattr(collectives, name)
    attempts(lambda made, wrong: function(**dict.fromkeys(sensible(function, made), wrong)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("where", ["on chip", "in HBM"])
def test_methods_of_tensors(method: str, where: str) -> None:
    for parameter in METHODS[method]:

        def call(made: dict[str, Any], wrong: Any, at: str = parameter) -> None:
            tensor = nl.zeros((4, 2, 4), nl.float32, buffer=nl.sbuf if where == "on chip" else nl.shared_hbm)
            arguments = METHODS[method] | {at: wrong}
            if method == "vector_select" and at == "dim":
                arguments["vector_offset"] = made["integers"]
            getattr(tensor, method)(*arguments.values())

        attempts(call)
