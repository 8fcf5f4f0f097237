"""What Python cannot do with tensors and registers, by name; what it can do stays."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.reference import run
from trnlab.emulator import errors, trace

X = np.arange(32, dtype=np.float32).reshape(4, 8)


def using(use: Callable[[Any, Any, Any], Any]) -> Any:
    """What `use(tile, register, tensor in HBM)` gives inside a kernel."""
    seen = []

    def kernel(x: Any) -> Any:
        out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        tile = nl.load(x)
        nl.store(out, tile)
        seen.append(use(tile, nisa.register_alloc(1), x))
        return out

    run(kernel, X)
    return seen[0]


BINARY = {
    "+": (operator.add, "nl.add"),
    "-": (operator.sub, "nl.subtract"),
    "*": (operator.mul, "nl.multiply"),
    "/": (operator.truediv, "nl.divide"),
    "//": (operator.floordiv, "nl.floor"),
    "%": (operator.mod, "nl.mod"),
    "**": (operator.pow, "nl.power"),
    "@": (operator.matmul, "nl.matmul"),
    "&": (operator.and_, "nl.bitwise_and"),
    "|": (operator.or_, "nl.bitwise_or"),
    "^": (operator.xor, "nl.bitwise_xor"),
    "<<": (operator.lshift, "nl.left_shift"),
    ">>": (operator.rshift, "nl.right_shift"),
}
ORDERINGS = {
    "<": (operator.lt, "nl.less"),
    "<=": (operator.le, "nl.less_equal"),
    ">": (operator.gt, "nl.greater"),
    ">=": (operator.ge, "nl.greater_equal"),
}
UNARY = {
    "-": (operator.neg, "nl.negative"),
    "abs": (abs, "nl.abs"),
    "~": (operator.invert, "nl.invert"),
}
USES = [
    *[(symbol, f"{function.__name__}-{side}", swap, row) for symbol, row in BINARY.items() for function in (row[0],)
      for side, swap in (("left", lambda f, a: f(a, 2)), ("right", lambda f, a: f(2, a)))],
    *[(symbol, row[0].__name__, lambda f, a: f(a, 2), row) for symbol, row in ORDERINGS.items()],
    *[(symbol, f"unary-{row[0].__name__}", lambda f, a: f(a), row) for symbol, row in UNARY.items()],
]  # fmt: skip


@pytest.mark.parametrize(("symbol", "name", "apply", "row"), USES, ids=[use[1] for use in USES])
def test_operators(symbol: str, name: str, apply: Any, row: tuple[Any, str]) -> None:
    function, instead = row
    with pytest.raises(errors.UsageError) as caught:
        using(lambda tile, register, tensor: apply(function, tile))
    violation = caught.value.violation
    assert violation.found == f"the Python operator {symbol}"
    assert instead in violation.allowed
    assert violation.operand == "t2: float32[4, 8] in sbuf"
    assert violation.location is not None
    assert violation.location.file == __file__
    with pytest.raises(errors.RuntimeValueError, match="run-time value") as caught_register:
        using(lambda tile, register, tensor: apply(function, register))
    assert f"operand of {symbol};" in str(caught_register.value)


def test_two_tensors() -> None:
    with pytest.raises(errors.UsageError, match=r"nl\.subtract"):
        using(lambda tile, register, tensor: tensor - tile)
    with pytest.raises(TypeError):  # what Python's users would catch
        using(lambda tile, register, tensor: tile < tile)


@pytest.mark.parametrize(
    ("convert", "use"),
    [
        (int, "an int"),
        (float, "a float"),
        (range, "an index"),
        (lambda x: [1, 2][x], "an index"),
        (math.sqrt, "a float"),
    ],
)
def test_conversions(convert: Any, use: str) -> None:
    for pick in (lambda tile, register: tile, lambda tile, register: register):
        with pytest.raises(errors.RuntimeValueError, match=f"run-time values? used as {use}"):
            using(lambda tile, register, tensor, pick=pick: convert(pick(tile, register)))


def test_a_tile_is_no_condition_but_a_tensor_in_hbm_is_there() -> None:
    with pytest.raises(errors.RuntimeValueError, match=r"used as a condition.*is not None"):
        using(lambda tile, register, tensor: 1 if nl.equal(tile, tile) else 0)
    with pytest.raises(errors.RuntimeValueError, match="used as a condition"):
        using(lambda tile, register, tensor: not register)
    assert using(lambda tile, register, tensor: bool(tensor)) is True  # AWS's kernels ask `if bias:`
    with pytest.raises(
        errors.RuntimeValueError, match=r"x: float32\[1\] in private_hbm: found run-time values used as"
    ):
        using(lambda tile, register, tensor: 1 if tensor[0, 3] else 0)  # one element picked out is its value
    assert using(lambda tile, register, tensor: tile is not None and tile != None)  # noqa: E711


def test_equality_is_identity() -> None:
    same, other, inside = using(lambda tile, register, tensor: (tile == tile, tile == tensor, tile in [tensor, tile]))
    assert (same, other, inside) == (True, False, True)
    assert len({id(tile) for tile in using(lambda tile, register, tensor: {tile, tile, tensor})}) == 2


def test_containers() -> None:
    with pytest.raises(errors.UsageError, match=r"len\(\).*shape\[0\]"):
        using(lambda tile, register, tensor: len(tile))
    with pytest.raises(errors.RuntimeValueError, match="container"):
        using(lambda tile, register, tensor: 3 in tile)
    assert [row.shape for row in using(lambda tile, register, tensor: list(tensor))] == [(8,)] * 4


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shap", "did you mean shape?"),
        ("astype", "nl.copy"),
        ("T", "nl.transpose"),
        ("qqqq", "attributes of NkiTensor"),
    ],
)
def test_unknown_attributes(name: str, text: str) -> None:
    with pytest.raises(errors.UnknownNameError) as caught:
        using(lambda tile, register, tensor: getattr(tile, name))
    assert text in caught.value.violation.allowed
    assert using(lambda tile, register, tensor: (hasattr(tile, name), hasattr(tile, "_tensor"))) == (False, False)


def test_misspelt_arguments_of_methods() -> None:
    with pytest.raises(errors.UsageError, match=r"NkiTensor\.reshape: .*'shap'.*did you mean shape\?"):
        using(lambda tile, register, tensor: tile.reshape(shap=(4, 8)))
    with pytest.raises(errors.UsageError, match=r"NkiTensor\.ap: .*missing a required argument: 'pattern'"):
        using(lambda tile, register, tensor: tile.ap())


@pytest.mark.parametrize(
    "use",
    [
        lambda t: t.ap([[8, 4], [1, 8]], offset="a"),
        lambda t: t.ap([[8, 4], [1, 8]], offset=0.5),
        lambda t: t.broadcast("a", 4),
        lambda t: t.expand_dim(1.5),
        lambda t: t.permute(5),
        lambda t: t.permute((0, "a")),
        lambda t: t.reshape(None),
        lambda t: t.reshape((4, "n")),
        lambda t: t.reshape_dim(1, 8),
        lambda t: t.rearrange(None, ("a",)),
        lambda t: t.rearrange(("a", 3), ("a", 3)),
        lambda t: t.rearrange(("a", "b"), ("a", "b"), [1]),
        lambda t: t.slice("a", 0, 1),
    ],
)
def test_arguments_of_another_kind(use: Any) -> None:
    with pytest.raises(errors.ArgumentError) as caught:
        using(lambda tile, register, tensor: use(tile))
    assert caught.value.violation.subject.startswith("NkiTensor.")


@pytest.mark.parametrize("use", [lambda t, d: t.view(d), lambda t, d: t.ap([[1, 1]], dtype=d)])
@pytest.mark.parametrize("dtype", ["float12", 3, np.zeros(2, np.float32), object()])
def test_dtypes_that_do_not_exist(use: Any, dtype: Any) -> None:
    with pytest.raises(errors.DtypeError):
        using(lambda tile, register, tensor: use(tile, dtype))


def test_registers_do_not_count_as_integers_of_a_view() -> None:
    for use in (
        lambda t, r: t.ap([[8, 4], [1, r]]),
        lambda t, r: t.ap([[8, 4], [1, 8]], offset=r),
        lambda t, r: t.reshape((r, 8)),
        lambda t, r: t.slice(1, r, 4),
    ):
        with pytest.raises(errors.TraceError):
            using(lambda tile, register, tensor, use=use: use(tile, register))


# ------------------------------------------------------------------------------------------- views outside the buffer


def test_a_view_outside_its_buffer_may_be_made_but_not_used() -> None:
    def kernel(x: Any, uses: bool) -> Any:
        out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        tile = nl.load(x)
        beyond = tile.ap([[8, 4], [1, 8]], offset=1)[:, 2:]
        if uses:
            nisa.tensor_copy(tile[:, 2:], beyond)
        nl.store(out, tile)
        return out

    assert len(trace(kernel, X, False)) == 2
    with pytest.raises(errors.BoundsError, match="elements 1 to 32; allowed: 0 to 31") as caught:
        trace(kernel, X, True)
    location = caught.value.violation.location
    assert location is not None
    assert "offset=1" in location.text  # where the view was made, not where it was used
    with pytest.raises(errors.BoundsError):
        using(lambda tile, register, tensor: np.asarray(tile.ap([[8, 4], [1, 9]])))
    assert "float32[4, 9]" in using(lambda tile, register, tensor: repr(tile.ap([[8, 4], [1, 9]])))
