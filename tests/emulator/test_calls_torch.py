"""torch tensors as arguments and results; bfloat16 and FP8 cross as words, since torch has no NumPy bridge for them."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import errors, launch

torch = pytest.importorskip("torch")

MODES = ["reference", "compiled"]
DTYPES = ["float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "int32", "int16", "int8", "uint8", "bool"]
X = np.arange(1024, dtype=np.float32).reshape(128, 8)


def copied(x: Any, dtype: Any = None) -> Any:
    out = nl.ndarray(x.shape, dtype=x.dtype if dtype is None else dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(out, x)
    return out


def tensor_of(dtype: str) -> Any:
    return torch.from_numpy(X % 16).to(getattr(torch, dtype))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_come_back_as_tensors(dtype: str, mode: Any) -> None:
    tensor = tensor_of(dtype)
    result = launch.run(copied, tensor, mode=mode).outputs
    assert isinstance(result, torch.Tensor)
    assert result.dtype == tensor.dtype
    assert torch.equal(result.to(torch.float32), tensor.to(torch.float32))
    result.zero_()  # the caller's own
    assert torch.equal(tensor.to(torch.float32), tensor_of(dtype).to(torch.float32))


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_narrow_floats_keep_every_bit_pattern(dtype: str) -> None:
    words = torch.arange(0, 2**16, dtype=torch.int32).to(torch.int16 if dtype == "bfloat16" else torch.int8)
    tensor = words.reshape(128, -1).view(getattr(torch, dtype))
    result = launch.run(copied, tensor).outputs
    assert torch.equal(result.view(words.dtype), words.reshape(128, -1))


def test_results_are_tensors_if_any_argument_is() -> None:
    def second(x, y):
        return copied(y)

    assert isinstance(launch.run(second, jnp.asarray(X), torch.from_numpy(X.copy())).outputs, torch.Tensor)
    assert isinstance(launch.run(second, torch.from_numpy(X.copy()), X).outputs, torch.Tensor)


def test_strided_tensors_and_tensors_that_require_gradients() -> None:
    tensor = torch.arange(1024, dtype=torch.float32).reshape(8, 128).T.requires_grad_()
    assert torch.equal(launch.run(copied, tensor).outputs, tensor.detach())


def test_a_dtype_that_torch_or_nki_lacks() -> None:
    with pytest.raises(errors.DtypeError, match="float8_e3m4 as a torch tensor"):
        launch.run(lambda x: copied(x, "float8_e3m4"), torch.zeros(128, 8))
    with pytest.raises(errors.DtypeError, match=r"x: found an array of torch\.float64"):
        launch.run(copied, torch.zeros(4, 4, dtype=torch.float64))


@pytest.mark.parametrize("mode", MODES)
def test_tensors_change_in_place(mode: Any) -> None:
    def doubled(x):
        tile = nl.ndarray((128, 8), dtype=x.dtype)
        nisa.dma_copy(tile, x)
        nisa.tensor_scalar(tile, tile, nl.multiply, 2.0)
        nisa.dma_copy(x, tile)

    tensor = tensor_of("bfloat16")
    launch.run(doubled, tensor, mode=mode)
    assert torch.equal(tensor.to(torch.float32), 2 * tensor_of("bfloat16").to(torch.float32))


@pytest.mark.parametrize("mode", MODES)
def test_tensors_that_require_gradients_change_in_place_only_without_them(mode: Any) -> None:
    def filled(x):
        tile = nl.full((128, 8), 3.0, dtype=x.dtype)
        nisa.dma_copy(x, tile)

    tensor = tensor_of("float32").requires_grad_()
    with pytest.raises(errors.ArgumentError, match="x: found a torch tensor that requires gradients"):
        launch.run(filled, tensor, mode=mode)
    assert torch.equal(tensor, tensor_of("float32"))
    with torch.no_grad():
        launch.run(filled, tensor, mode=mode)
    assert torch.equal(tensor.detach(), torch.full((128, 8), 3.0))


@pytest.mark.parametrize("mode", MODES)
def test_a_backward_pass_through_a_kernel_is_refused_by_name(mode: Any) -> None:
    weight = tensor_of("float32").requires_grad_()
    result = launch.run(copied, weight, mode=mode).outputs
    assert result.requires_grad
    assert torch.equal(result.detach(), weight.detach())
    with pytest.raises(errors.BackendError, match=r"copied has no derivative.*torch\.autograd\.Function"):
        (2 * result).sum().backward()
    assert weight.grad is None


def test_results_record_nothing_where_nothing_asks_for_gradients() -> None:
    weight = tensor_of("float32").requires_grad_()
    with torch.no_grad():
        assert not launch.run(copied, weight).outputs.requires_grad
    assert not launch.run(copied, weight.detach()).outputs.requires_grad
    numbers = launch.run(lambda x: copied(x, "int32"), weight).outputs
    assert not numbers.requires_grad
    assert torch.equal(numbers, weight.detach().to(torch.int32))


def test_an_autograd_function_gives_a_kernel_its_derivative() -> None:
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Any) -> Any:
            return 2 * launch.run(copied, x).outputs

        @staticmethod
        def backward(context: Any, gradient: Any) -> Any:
            return 2 * launch.run(copied, gradient).outputs

    weight = tensor_of("float32").requires_grad_()
    Doubled.apply(weight).sum().backward()
    assert torch.equal(weight.grad, torch.full((128, 8), 2.0))


def test_tensors_without_values_of_their_own() -> None:
    def total(x: Any) -> Any:
        return launch.run(copied, x).outputs.sum()

    tensor = tensor_of("float32")
    for use in (
        lambda: total(torch.zeros(128, 8, device="meta")),
        lambda: torch.func.grad(total)(tensor),
        lambda: torch.vmap(total)(tensor[None]),
    ):
        with pytest.raises(errors.ArgumentError, match="x: found a torch tensor without values of its own"):
            use()
