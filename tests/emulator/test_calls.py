"""Arguments in, results out: binding, kinds of arrays, in-place updates, what a kernel may return."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import errors, launch
from trnlab.emulator.dtypes import DTYPES, as_dtype

MODES = ["reference", "compiled"]
DTYPES_OF_ARRAYS = [
    str(dtype) for dtype in DTYPES if not dtype.is_packed and dtype not in ("tfloat32", "float4_e2m1fn")
]
X = np.arange(1024, dtype=np.float32).reshape(128, 8)


def copied(x: Any, dtype: Any = None) -> Any:
    out = nl.ndarray(x.shape, dtype=x.dtype if dtype is None else dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(out, x)
    return out


# -- binding -----------------------------------------------------------------------------------------------------------


def many(x, /, y, *rest, scale=2.0, mask=None, **named):
    for tensor in (y, *rest, *named.values()):
        if tensor is not None:
            nisa.dma_copy(x, tensor)
    return x


def names_of(program: Any) -> list[str]:
    return [program.buffers[number].name for number in program.inputs]


def test_inputs_carry_the_kernels_parameter_names() -> None:
    program = launch.trace(many, X, X, X, X, bias=X, scale=1.0)
    assert names_of(program) == ["x", "y", "rest[0]", "rest[1]", "bias"]
    assert names_of(launch.trace(many, X, y=X)) == ["x", "y"]


def test_tensors_inside_containers_are_named_by_their_place() -> None:
    class Pair(NamedTuple):
        left: Any
        right: Any

    def nested(tensors, config):
        return copied(tensors[1]["w"]), copied(config.right)

    config = Pair(3, X)
    run = launch.run(nested, [X, {"w": X + 1}], config)
    assert names_of(run.program) == ["tensors[0]", "tensors[1]['w']", "config.right"]
    np.testing.assert_array_equal(run.outputs[0], X + 1)


def test_default_arrays_are_inputs_too() -> None:
    def biased(x, bias=X + 5):
        return copied(bias)

    run = launch.run(biased, X)
    assert names_of(run.program) == ["x", "bias"]
    np.testing.assert_array_equal(run.outputs, X + 5)


def test_values_that_are_no_arrays_pass_through() -> None:
    seen = []

    def kernel(x, number, text=None, *, flag=False):
        seen.append((number, text, flag))
        return copied(x)

    launch.run(kernel, X, 3, "a", flag=True)
    assert seen == [(3, "a", True)]


@pytest.mark.parametrize(
    ("args", "kwargs", "parts"),
    [
        ((), {}, ["missing a required argument: 'x'", "many(x, /, y, *rest"]),
        ((X,), {}, ["missing a required argument: 'y'"]),
        ((X, X), {"y": X}, ["multiple values for argument 'y'"]),
    ],
)
def test_arguments_that_the_kernel_does_not_take(args: Any, kwargs: Any, parts: list[str]) -> None:
    with pytest.raises(errors.ArgumentError) as caught:
        launch.run(many, *args, **kwargs)
    for part in parts:
        assert part in str(caught.value)
    assert caught.value.violation.subject == "kernel many"


def test_an_unknown_name_gets_the_nearest_one() -> None:
    def scaled(x, factor=1.0):
        return copied(x)

    with pytest.raises(errors.ArgumentError, match=r"'factr'.*scaled\(x, factor=1.0\); did you mean factor\?"):
        launch.run(scaled, X, factr=2.0)
    with pytest.raises(errors.ArgumentError, match="too many positional arguments"):
        launch.run(scaled, X, 1.0, 2.0)


@pytest.mark.parametrize(
    ("value", "error", "part"),
    [
        (X.astype(np.float64), errors.DtypeError, "an array of float64"),
        (np.zeros((4, 4), np.int64), errors.DtypeError, "an array of int64"),
        (np.zeros((4, 4), np.complex64), errors.DtypeError, "complex64"),
        (np.zeros((4, 4), ml_dtypes.float4_e2m1fn), errors.DtypeError, "float4_e2m1fn_x4"),
        (np.array(3, np.float32), errors.ArgumentError, "shape ()"),
        (np.zeros((4, 0), np.float32), errors.ArgumentError, "shape (4, 0)"),
    ],
)
def test_arrays_that_nki_has_no_tensor_for(value: Any, error: type[errors.KernelError], part: str) -> None:
    with pytest.raises(error) as caught:
        launch.run(copied, value)
    assert part in str(caught.value)
    assert caught.value.violation.subject == "kernel argument"


# -- kinds of arrays ---------------------------------------------------------------------------------------------------


def of_dtype(dtype: str) -> np.ndarray:
    return X % 3 == 0 if dtype == "bool" else (X % 16).astype(as_dtype(dtype).storage)


@pytest.mark.parametrize("dtype", DTYPES_OF_ARRAYS)
@pytest.mark.parametrize("mode", MODES)
def test_numpy_and_jax_give_the_same_and_their_own_kind(dtype: str, mode: Any) -> None:
    plain = of_dtype(dtype)
    from_numpy = launch.run(copied, plain, mode=mode).outputs
    assert type(from_numpy) is np.ndarray
    assert from_numpy.flags.writeable
    assert from_numpy.dtype == plain.dtype
    np.testing.assert_array_equal(from_numpy.view(np.uint8), plain.view(np.uint8))
    from_jax = launch.run(copied, jnp.asarray(plain), mode=mode).outputs
    assert isinstance(from_jax, jax.Array)
    assert from_jax.dtype == plain.dtype
    np.testing.assert_array_equal(np.asarray(from_jax).view(np.uint8), plain.view(np.uint8))


@pytest.mark.parametrize("mode", MODES)
def test_results_are_jax_arrays_if_an_argument_is(mode: Any) -> None:
    def second(x, y):
        return copied(y)

    assert isinstance(launch.run(second, X, jnp.asarray(X), mode=mode).outputs, jax.Array)
    assert isinstance(launch.run(second, jnp.asarray(X), X, mode=mode).outputs, jax.Array)


def test_strided_arguments() -> None:
    np.testing.assert_array_equal(launch.run(copied, X.T).outputs, X.T)
    np.testing.assert_array_equal(
        launch.run(copied, np.broadcast_to(X[:1], X.shape), mode="compiled").outputs, X[[0] * 128]
    )


# -- results ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_results_mirror_what_the_kernel_returned(mode: Any) -> None:
    def structured(x):
        a = copied(x)
        return {"a": a, "parts": [a[0:2], (a[:, 1], None)], "input": x}

    outputs = launch.run(structured, X, mode=mode).outputs
    np.testing.assert_array_equal(outputs["a"], X)
    np.testing.assert_array_equal(outputs["parts"][0], X[0:2])
    assert isinstance(outputs["parts"][1], tuple)
    np.testing.assert_array_equal(outputs["parts"][1][0], X[:, 1])
    assert outputs["parts"][1][1] is None
    np.testing.assert_array_equal(outputs["input"], X)


@pytest.mark.parametrize("mode", MODES)
def test_a_kernel_may_return_its_argument_as_it_is(mode: Any) -> None:
    result = launch.run(lambda x: x, X, mode=mode).outputs
    np.testing.assert_array_equal(result, X)
    assert not np.shares_memory(result, X)


@pytest.mark.parametrize("mode", MODES)
def test_a_returned_view_may_retype_its_buffer(mode: Any) -> None:
    outputs = launch.run(lambda x: copied(x).view(nl.uint16)[:, 3:9:2], X, mode=mode).outputs
    np.testing.assert_array_equal(outputs, X.view(np.uint16)[:, 3:9:2])


@pytest.mark.parametrize(
    ("kernel", "error", "part"),
    [
        (lambda x: nl.ndarray((128, 8), dtype=nl.float32), errors.BufferError, "in sbuf"),
        (lambda x: nl.ndarray((128, 8), dtype=nl.float32, buffer=nl.psum), errors.BufferError, "shared_hbm"),
        (
            lambda x: nl.ndarray((128, 8), dtype=nl.float32, buffer=nl.shared_hbm, name="y"),
            errors.UnwrittenOutputError,
            "y: float32[128, 8] in shared_hbm, which no instruction wrote",
        ),
        (lambda x: None, errors.UnwrittenOutputError, "no tensor returned and no argument written"),
        (lambda x: 3.5, errors.ArgumentError, "float 3.5"),
        (lambda x: [copied(x), "text"], errors.ArgumentError, "str 'text'"),
        (lambda x: copied(x)[nisa.register_alloc(0)], errors.TraceError, "run-time"),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_results_that_are_refused(kernel: Any, error: type[errors.KernelError], part: str, mode: Any) -> None:
    with pytest.raises(error) as caught:
        launch.run(kernel, X, mode=mode)
    assert part in str(caught.value)


def test_a_result_of_another_call_is_refused() -> None:
    kept = []

    def first(x: Any) -> Any:
        kept.append(copied(x))
        return kept[0]

    launch.run(first, X)
    with pytest.raises(errors.TensorLifetimeError, match="another kernel call"):
        launch.run(lambda x: kept[0], X)


# -- in place ---------------------------------------------------------------------------------------------------------


def doubled(x: Any) -> None:
    tile = nl.ndarray((128, 8), dtype=x.dtype)
    nisa.dma_copy(tile, x)
    nisa.tensor_scalar(tile, tile, nl.multiply, 2.0)
    nisa.dma_copy(x, tile)


@pytest.mark.parametrize("mode", MODES)
def test_numpy_arguments_change_in_place(mode: Any) -> None:
    x = X.copy()
    assert launch.run(doubled, x, mode=mode).outputs is None
    np.testing.assert_array_equal(x, 2 * X)
    wide = np.zeros((128, 16), np.float32)
    wide[:, ::2] = X
    launch.run(doubled, wide[:, ::2], mode=mode)
    np.testing.assert_array_equal(wide[:, ::2], 2 * X)
    assert (wide[:, 1::2] == 0).all()


@pytest.mark.parametrize("mode", MODES)
def test_what_is_only_read_does_not_change(mode: Any) -> None:
    x = X.copy()
    launch.run(copied, x, mode=mode)
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize("mode", MODES)
def test_jax_arrays_cannot_change_so_the_result_must_be_returned(mode: Any) -> None:
    with pytest.raises(errors.UnwrittenOutputError, match=r"only JAX arrays written \(x\)"):
        launch.run(doubled, jnp.asarray(X), mode=mode)

    def returning(x):
        doubled(x)
        return x

    x = jnp.asarray(X)
    np.testing.assert_array_equal(launch.run(returning, x, mode=mode).outputs, 2 * X)
    np.testing.assert_array_equal(x, X)


def test_numpy_arguments_cannot_change_under_a_jax_transformation() -> None:
    def both(x, y):
        doubled(x)
        return copied(y)

    with pytest.raises(errors.ArgumentError, match="x: found a numpy array written in place under a JAX"):
        jax.jit(lambda y: launch.run(both, X.copy(), y).outputs)(X)


def test_read_only_numpy_arguments_are_fine_unless_written() -> None:
    frozen = X.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(launch.run(copied, frozen).outputs, X)
    with pytest.raises(errors.ArgumentError, match="x: found a read-only numpy array"):
        launch.run(doubled, frozen)


@pytest.mark.parametrize("mode", MODES)
def test_an_argument_that_is_written_overlaps_no_other(mode: Any) -> None:
    def first(x, y):
        doubled(x)
        return copied(y)

    wide = np.zeros((128, 16), np.float32)
    for other in (wide[:, :8], wide[:, 7:15]):
        with pytest.raises(errors.ArgumentError, match=r"x: found an array that the kernel writes, and .* with y"):
            launch.run(first, wide[:, :8], other, mode=mode)
    assert (wide == 0).all()
    wide += 1
    launch.run(first, wide[:, ::2], wide[:, 1::2], mode=mode)  # interleaved, but no element in common
    np.testing.assert_array_equal(wide[0], [2, 1] * 8)
    np.testing.assert_array_equal(launch.run(lambda x, y: copied(y), X, X, mode=mode).outputs, X)  # nothing written


# -- shapes alone -----------------------------------------------------------------------------------------------------


def test_tracing_needs_shapes_only() -> None:
    shape = jax.ShapeDtypeStruct((128, 8), ml_dtypes.bfloat16)
    program = launch.trace(copied, shape)
    assert program.buffers[program.inputs[0]].dtype == "bfloat16"
    with pytest.raises(errors.ArgumentError, match=r"x: found ShapeDtypeStruct.*takes shapes alone"):
        launch.run(copied, shape)
