"""jit, simulate, run, trace: what users call."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import errors, launch
from trnlab.emulator.launch import DEFAULT_TARGET, TARGET_VARIABLE, Kernel, default_target
from trnlab.emulator.target import TargetError, get_target

X = np.arange(1024, dtype=np.float32).reshape(128, 8)


@nki.jit
def plus(x, amount=1.0):
    """x + amount."""
    tile = nl.ndarray(x.shape, dtype=x.dtype)
    nisa.dma_copy(tile, x)
    nisa.tensor_scalar(tile, tile, nl.add, amount)
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(out, tile)
    return out


# -- jit ---------------------------------------------------------------------------------------------------------------


def test_a_kernel_is_called_like_a_function() -> None:
    np.testing.assert_array_equal(plus(X), X + 1)
    np.testing.assert_array_equal(plus(X, amount=3.0), X + 3)
    assert (plus.__name__, plus.__doc__) == ("plus", "x + amount.")
    assert repr(plus) == "<nki kernel plus>"


def test_jit_takes_options_and_kernels() -> None:
    @nki.jit(platform_target="trn2")
    def generation(x):
        seen.append(nisa.get_nc_version())
        return plus(x)

    seen: list[Any] = []
    assert isinstance(generation, Kernel)
    generation(X)
    nki.jit(generation.function)(X)
    assert seen == [nisa.nc_version.gen3, get_nc_of_default()]
    assert nki.jit(generation).function is generation.function
    assert generation.func is generation.function  # AWS's kernel objects have it under this name


def test_jit_refuses_misspelt_options() -> None:
    with pytest.raises(errors.UsageError, match="did you mean platform_target") as caught:
        nki.jit(platfrom_target="trn2")
    assert caught.value.violation.operand == "platfrom_target"


def get_nc_of_default() -> Any:
    return nisa.nc_version(default_target().generation.value)


def test_a_kernel_inside_a_kernel_is_a_function() -> None:
    @nki.jit
    def twice(x):
        return plus(plus(x), 2.0)

    run = launch.run(twice, X)
    np.testing.assert_array_equal(run.outputs, X + 3)
    assert run.program.count_by_opcode() == {"dma_copy": 4, "tensor_scalar": 2}


def test_two_cores_are_not_there_yet() -> None:
    np.testing.assert_array_equal(plus[1](X), X + 1)
    np.testing.assert_array_equal(plus[(1,)](X), X + 1)  # a grid of one dimension
    np.testing.assert_array_equal(plus[np.int64(1)](X), X + 1)
    with pytest.raises(errors.NotYetSupportedError, match=r"kernel\[2\].*two cores"):
        plus[2](X)
    for grid in (3, 0, (1, 1), (), "2", 1.0):
        with pytest.raises(errors.ArgumentError, match=rf"lnc: found {re.escape(repr(grid))}; allowed: 1 or 2"):
            plus[grid]


# -- targets -----------------------------------------------------------------------------------------------------------


def test_the_default_target_and_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TARGET_VARIABLE, raising=False)
    assert default_target() is get_target(DEFAULT_TARGET) is get_target("trn3")
    monkeypatch.setenv(TARGET_VARIABLE, "trn1")
    assert default_target() is get_target("trn1")
    assert launch.run(plus, X).stats.target == "trn1"
    assert launch.run(plus, X, target="trn2").stats.target == "trn2"
    monkeypatch.setenv(TARGET_VARIABLE, "trn9")
    with pytest.raises(TargetError, match="trn9"):
        plus(X)


def test_an_instruction_is_judged_on_the_target_of_the_run() -> None:
    def fp8(x):
        tile = nl.ndarray((128, 8), dtype=nl.float8_e4m3fn)
        nisa.dma_copy(tile, x)
        out = nl.ndarray((128, 8), dtype=nl.float8_e4m3fn, buffer=nl.shared_hbm)
        nisa.dma_copy(out, tile)
        return out

    launch.run(fp8, X, target="trn3")
    with pytest.raises(errors.GenerationError) as caught:
        launch.run(fp8, X, target="trn2")
    assert caught.value.violation.generation == get_target("trn2").generation.label


# -- run and trace -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["reference", "compiled"])
def test_a_run_hands_back_everything(mode: Any) -> None:
    run = launch.run(plus, X, 2.0, target="trn2", mode=mode)
    np.testing.assert_array_equal(run.outputs, X + 2)
    assert len(run.program) == run.stats.instructions == 3
    assert (run.stats.mode, run.stats.target, run.target) == (mode, "trn2", get_target("trn2"))
    assert run.stats.trace_seconds > 0
    assert run.stats.execute_seconds > 0
    assert run.stats.occupancy.sbuf_peak_bytes == 8 * 4
    assert run.program == launch.trace(plus, X, 2.0, target="trn2")


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(errors.ArgumentError, match="mode: found 'fast'; allowed: reference or compiled"):
        launch.run(plus, X, mode="fast")  # type: ignore[arg-type]


def test_capacity_is_checked_before_results_are_handed_back() -> None:
    def hungry(x):
        tiles = [nl.ndarray((128, 32 * 1024), dtype=nl.float32, name=f"t{i}") for i in range(3)]
        for tile in tiles:
            nisa.memset(tile, 0.0)
        for tile in tiles:
            nisa.tensor_copy(tile[:, 0:8], tiles[0][:, 0:8])
        return plus.function(x)

    for mode in ("reference", "compiled"):
        with pytest.raises(errors.CapacityError, match="393216 bytes per partition live at instruction 2"):
            launch.run(hungry, X, mode=mode)


def test_simulate_runs_the_reference() -> None:
    simulated = nki.simulate(plus)
    assert simulated.__name__ == "plus"
    np.testing.assert_array_equal(simulated(X), X + 1)
    np.testing.assert_array_equal(nki.simulate(plus.function)(X, 2.0), X + 2)


def test_python_sees_values_while_the_reference_executes() -> None:
    seen = []

    def curious(x):
        tile = nl.ndarray(x.shape, dtype=x.dtype)
        nisa.dma_copy(tile, x)
        seen.append(float(np.asarray(tile)[1, 2]))
        nisa.tensor_scalar(tile, tile, nl.multiply, 2.0)
        seen.append(float(np.asarray(tile)[1, 2]))
        nisa.dma_copy(x, tile)
        return x

    launch.run(curious, X.copy(), mode="reference")
    assert seen == [X[1, 2], 2 * X[1, 2]]
    with pytest.raises(errors.TraceError, match="mode='reference'"):
        launch.run(curious, X.copy(), mode="compiled")


# -- printing ----------------------------------------------------------------------------------------------------------


@nki.jit
def talking(x):
    tile = nl.ndarray(x.shape, dtype=x.dtype)
    nisa.dma_copy(tile, x)
    nl.device_print("first", tile[0:1, 0:2])
    nisa.tensor_scalar(tile, tile, nl.add, 1.0)
    nl.device_print("second", tile[0:1, 0:2])
    nisa.dma_copy(x, tile)
    return x


def test_device_print_shows_values_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    talking(X.copy())
    assert capsys.readouterr().out.splitlines() == ["first [[0. 1.]]", "second [[1. 2.]]"]


@pytest.mark.parametrize("mode", ["reference", "compiled"])
def test_prints_go_where_the_run_says(mode: Any) -> None:
    heard: list[tuple[str, list[list[float]]]] = []
    for _ in range(2):  # a second run speaks again
        launch.run(
            talking, X.copy(), mode=mode, on_print=lambda prefix, values: heard.append((prefix, values.tolist()))
        )
    assert heard == 2 * [("first", [[0.0, 1.0]]), ("second", [[1.0, 2.0]])]


# -- inside JAX --------------------------------------------------------------------------------------------------------


def test_a_kernel_inside_jit_is_compiled_into_it() -> None:
    @jax.jit
    def model(x):
        return jnp.sum(plus(x * 2.0, 0.5) ** 2)

    small = X / 1024
    np.testing.assert_allclose(model(small), np.sum((small * 2 + 0.5) ** 2), rtol=1e-6)
    assert "trnlab" not in str(jax.make_jaxpr(plus)(small))  # no callback to Python is left
    assert jax.eval_shape(plus, small).shape == (128, 8)


def test_errors_inside_jit_are_the_kernels_own() -> None:
    def wrong(x):
        return nl.ndarray((128, 8), dtype=nl.float32)

    with pytest.raises(errors.BufferError, match="in sbuf"):
        jax.jit(nki.jit(wrong))(X)


def test_a_wrong_name_in_the_target_variable_is_reported_under_the_variables_name(monkeypatch: Any) -> None:
    monkeypatch.setenv(TARGET_VARIABLE, "trn7")
    with pytest.raises(TargetError, match=rf"{TARGET_VARIABLE}: found 'trn7'.*trn3.*did you mean 'trn4'"):
        default_target()


def test_a_run_reports_what_the_checks_find() -> None:
    def sums(x: Any) -> Any:
        tile = nl.ndarray((128, 64), dtype=nl.float32)
        nisa.dma_copy(dst=tile[:, 0:60], src=x[:, 0:60])
        out = nl.ndarray((128, 1), dtype=nl.float32, buffer=nl.shared_hbm)
        nl.store(out, nl.sum(tile, axis=1))
        return out

    (finding,) = launch.run(sums, np.ones((128, 64), np.float32)).findings
    assert f"{128 * 4} of {128 * 64} elements" in str(finding)
    assert "nl.sum(tile, axis=1)" in str(finding)
