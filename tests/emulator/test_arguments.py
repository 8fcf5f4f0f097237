"""Arrays inside records, containers and packed dtypes as kernel arguments and results; what holds none stays itself."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import errors, launch

X = np.arange(32, dtype=np.float32).reshape(4, 8)


class Activation(Enum):
    relu = "relu"


@dataclass
class Weights(nl.NKIObject):
    matrix: Any
    scale: float = 2.0
    bias: Any = None
    activation: Activation = Activation.relu


@dataclass(frozen=True, slots=True)
class Frozen:
    tensors: tuple[Any, ...]
    name: str = "frozen"


class Plain(nl.NKIObject):
    tensor: Any
    layers: Any = None


@dataclass
class Looped:
    tensor: Any
    parent: Any = None
    seen: list[Any] = field(default_factory=list)


def copied(source: Any, scale: float = 1.0) -> Any:
    out = nl.ndarray(source.shape, source.dtype, buffer=nl.shared_hbm)
    tile = nl.load(source)
    if scale != 1.0:
        nisa.tensor_scalar(tile, tile, nl.multiply, scale)
    nl.store(out, tile)
    return out


def names_of(run: Any) -> list[str]:
    return [run.program.buffers[number].name for number in run.program.inputs]


def test_arrays_in_dataclasses_are_bound() -> None:
    def kernel(weights: Weights, extra: Any = None) -> Any:
        assert isinstance(weights, Weights)
        assert isinstance(weights.matrix, nl.NkiTensor)
        assert weights.activation is Activation.relu
        assert weights.bias is None
        return copied(weights.matrix, weights.scale)

    weights = Weights(X, 3.0)
    run = launch.run(kernel, weights)
    np.testing.assert_array_equal(run.outputs, 3 * X)
    assert names_of(run) == ["weights.matrix"]
    assert weights.matrix is X  # the caller's record stays what it was


def test_records_of_every_kind_and_depth() -> None:
    def kernel(frozen: Frozen, plain: Plain, *, option: Any = None) -> Any:
        total = nl.load(frozen.tensors[0])
        for part in (frozen.tensors[1]["w"], plain.tensor, plain.layers[0].matrix, option.bias):
            nisa.tensor_tensor(total, total, nl.load(part), nl.add)
        out = nl.ndarray(total.shape, total.dtype, buffer=nl.shared_hbm)
        nl.store(out, total)
        return out

    arguments = Frozen((X, {"w": 2 * X})), Plain(3 * X, [Weights(4 * X)])
    run = launch.run(kernel, *arguments, option=Weights(None, bias=5 * X))
    np.testing.assert_array_equal(run.outputs, 15 * X)
    assert names_of(run) == [
        "frozen.tensors[0]",
        "frozen.tensors[1]['w']",
        "plain.tensor",
        "plain.layers[0].matrix",
        "option.bias",
    ]
    assert arguments[0].tensors[0] is X


def test_attributes_beyond_the_fields_are_kept() -> None:
    def kernel(weights: Any) -> Any:
        assert weights.note == "later"
        return copied(weights.later)

    weights = Weights(None)
    weights.note, weights.later = "later", X  # type: ignore[attr-defined]
    np.testing.assert_array_equal(launch.run(kernel, weights).outputs, X)


def test_what_holds_no_array_passes_through_itself() -> None:
    seen: list[Any] = []

    def kernel(x: Any, *values: Any) -> Any:
        seen.extend(values)
        return copied(x)

    given = (
        [1, "a"],
        {"k": (2, None)},
        Weights(None),
        Frozen(()),
        Activation.relu,
        Weights,
        copied,
        nl.add,
        len,
        nl.float32,
    )
    launch.run(kernel, X, *given)
    assert all(got is value for got, value in zip(seen, given, strict=True))


def test_a_record_that_holds_itself() -> None:
    record = Looped(X)
    record.parent = record
    np.testing.assert_array_equal(launch.run(lambda looped: copied(looped.tensor), record).outputs, X)


def test_records_as_results() -> None:
    def kernel(x: Any) -> Any:
        return {"weights": Weights(copied(x), None, [copied(x, 2.0)], None), "none": None}

    result = launch.run(kernel, X).outputs
    assert result["none"] is None
    np.testing.assert_array_equal(result["weights"].matrix, X)
    np.testing.assert_array_equal(result["weights"].bias[0], 2 * X)


def test_records_changed_by_the_kernel_do_not_change_for_the_caller() -> None:
    def kernel(weights: Weights) -> Any:
        weights.scale = 7.0
        return copied(weights.matrix, weights.scale)

    weights = Weights(X)
    np.testing.assert_array_equal(launch.run(kernel, weights).outputs, 7 * X)
    assert weights == replace(weights, scale=2.0)


def test_functions_closures_and_kernels_as_arguments() -> None:
    offset = 4.0

    def shift(tile: Any) -> None:
        nisa.tensor_scalar(tile, tile, nl.add, offset)

    @launch.jit
    def inner(source: Any, function: Any, op: Any) -> Any:
        tile = nl.load(source)
        function(tile)
        result = op(tile, tile)
        out = nl.ndarray(tile.shape, tile.dtype, buffer=nl.shared_hbm)
        nl.store(out, result)
        return out, {"again": out}

    @launch.jit
    def outer(source: Any, kernel: Any) -> Any:
        first, second = kernel(source, shift, op=nl.multiply)
        return [first, second["again"]]

    for result in launch.run(outer, X, inner).outputs:
        np.testing.assert_array_equal(result, (X + offset) ** 2)


def test_an_argument_written_in_place_and_returned() -> None:
    def kernel(x: Any, state: Any) -> Any:
        tile = nl.load(x)
        nl.store(state, tile)
        return copied(x, 2.0), state

    state = np.zeros_like(X)
    doubled, returned = launch.run(kernel, X, state).outputs
    np.testing.assert_array_equal(doubled, 2 * X)
    np.testing.assert_array_equal(state, X)
    np.testing.assert_array_equal(returned, X)
    assert returned is not state


def test_a_misspelt_argument_gets_the_nearest_name() -> None:
    def kernel(x: Any, *, factor: float = 1.0) -> Any:
        return copied(x, factor)

    with pytest.raises(errors.UsageError, match=r"'factr'.*did you mean factor\?"):
        launch.run(kernel, X, factr=2.0)
    with pytest.raises(TypeError):  # what Python raises for a plain function
        launch.run(kernel, X, 2.0)


# -------------------------------------------------------------------------------------------------- packed dtypes


@pytest.mark.parametrize("name", ["float8_e4m3fn_x4", "float8_e5m2_x4", "float4_e2m1fn_x4"])
def test_arrays_of_packed_words_are_tensors_of_the_packed_dtype(name: str) -> None:
    dtype = getattr(nl, name)
    words = np.arange(32, dtype=dtype.storage).reshape(4, 8)
    packed, target = words.view(dtype), np.zeros((4, 8), dtype)
    seen: list[Any] = []

    def kernel(x: Any, state: Any) -> Any:
        seen.extend([x.dtype, state.dtype])
        nisa.dma_copy(state, nl.load(x))
        return state

    result = launch.run(kernel, packed, target).outputs
    assert seen == [dtype, dtype]
    np.testing.assert_array_equal(result, words)
    np.testing.assert_array_equal(target, packed)


def test_arrays_whose_dtype_only_prints_a_packed_name() -> None:
    class Foreign(np.ndarray[Any, Any]):
        """Words of another package's packed type, as AWS's own NumPy extension has them."""

        dtype = property(lambda self: Named())  # type: ignore[assignment]

    class Named:
        name = "float8_e5m2_x4"

    words = np.arange(32, dtype=np.uint32).reshape(4, 8)
    seen: list[Any] = []

    def kernel(x: Any) -> Any:
        seen.append(x.dtype)
        out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(out, nl.load(x))
        return out

    np.testing.assert_array_equal(launch.run(kernel, words.view(Foreign)).outputs, words)
    assert seen == [nl.float8_e5m2_x4]
