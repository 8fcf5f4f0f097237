"""Kernels as JAX functions: inside larger models, sharded, donated, differentiated by hand, compiled ahead of time."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.backends.harness import load, normal, store
from trnlab.emulator import errors, launch
from trnlab.kernels.matmul import matmul

ROOT = Path(__file__).resolve().parents[2]


def run_python(script: str, cwd: Path, **environment: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=cwd, env={"PATH": "", **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@nki.jit
def squared(x):
    tile = load(x)
    nisa.tensor_tensor(tile, tile, tile, nl.multiply)
    return store(tile)


def test_inside_a_larger_model() -> None:
    """A layer whose matmul is the kernel: XLA's own arithmetic around it, the kernel's bits inside."""
    x, weights = normal(0, 128, 128), normal(1, 128, 512)

    def layer(x: Any, product: Any) -> Any:
        return jax.nn.relu(product(jnp.tanh(x).T, weights)).sum(axis=-1)

    found = jax.jit(lambda x: layer(x, matmul))(x)
    expected = jax.jit(lambda x: layer(x, lambda a, b: a.T @ b))(x)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_ahead_of_time_compilation_and_shapes() -> None:
    x = jax.ShapeDtypeStruct((128, 8), np.float32)
    assert jax.eval_shape(squared, x) == x
    compiled = jax.jit(squared).lower(x).compile()
    data = normal(0, 128, 8)
    np.testing.assert_array_equal(compiled(data), data * data)


def test_a_donated_input_may_be_overwritten() -> None:
    data = normal(0, 128, 64)
    donated = jnp.array(data)
    found = jax.jit(squared, donate_argnums=0)(donated)
    np.testing.assert_array_equal(found, data * data)
    assert donated.is_deleted()


def test_a_kernel_gets_its_derivative_from_custom_vjp() -> None:
    @jax.custom_vjp
    def square(x: Any) -> Any:
        return squared(x)

    square.defvjp(lambda x: (squared(x), x), lambda x, cotangent: (2 * x * cotangent,))
    x = jnp.asarray(normal(0, 128, 8))
    np.testing.assert_array_equal(jax.grad(lambda x: square(x).sum())(x), 2 * x)
    with pytest.raises(errors.BackendError, match=r"squared has no derivative: give it one with jax\.custom_vjp"):
        jax.grad(lambda x: squared(x).sum())(x)


def test_a_traced_value_where_the_kernel_needs_a_number_names_the_line() -> None:
    @nki.jit
    def repeated(x, times):
        tile = load(x)
        for _ in range(times):
            nisa.tensor_tensor(tile, tile, tile, nl.multiply)
        return store(tile)

    x = jnp.ones((128, 8))
    np.testing.assert_array_equal(jax.jit(repeated, static_argnums=1)(x, 2), x)
    with pytest.raises(errors.TraceError, match=r"test_composition\.py:\d+") as caught:
        jax.jit(repeated)(x, 2)
    assert "times" in str(caught.value)


SHARDED = """
    import jax, numpy as np
    from jax.sharding import AxisType, PartitionSpec as P
    from trnlab.kernels.attention import flash_attention
    from trnlab.kernels.matmul import matmul

    mesh = jax.make_mesh((4,), ("x",), axis_types=(AxisType.Auto,))
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, 4, 256, 64)).astype(np.float32)
    shard = lambda f, i, o: jax.jit(jax.shard_map(f, mesh=mesh, in_specs=i, out_specs=o))
    by_head = shard(lambda q, k, v: flash_attention(q, k, v, causal=False), P("x"), P("x"))
    np.testing.assert_array_equal(by_head(q, k, v), flash_attention(q, k, v, causal=False))
    a, b = rng.standard_normal((384, 512)).astype(np.float32), rng.standard_normal((384, 640)).astype(np.float32)
    by_column = shard(matmul, (P(None, "x"), P()), P("x"))  # b is replicated
    np.testing.assert_array_equal(by_column(a, b), matmul(a, b))
    print(by_column(a, b).sharding.num_devices)
"""


def test_sharded_over_several_devices() -> None:
    devices = run_python(SHARDED, ROOT, XLA_FLAGS="--xla_force_host_platform_device_count=4", JAX_PLATFORMS="cpu")
    assert devices.strip() == "4"


CACHED = """
    import jax, numpy as np
    from jax import monitoring
    from trnlab.kernels.matmul import matmul

    seen = []
    monitoring.register_event_listener(lambda event, **_: seen.append(event))
    a = np.ones((128, 512), np.float32)
    assert (matmul(a, a) == 128).all()
    print(seen.count("/jax/compilation_cache/cache_hits"), seen.count("/jax/compilation_cache/cache_misses"))
"""


def test_the_persistent_compilation_cache_of_jax_serves_kernels(tmp_path: Path) -> None:
    options = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_PLATFORMS": "cpu",
    }
    first, again = (run_python(CACHED, ROOT, **options).split() for _ in range(2))
    assert int(first[1]) > 0
    assert again[1] == "0"
    assert int(again[0]) >= int(first[1])


class TestTracedKernels:
    """The cache in memory: what is traced again, and what is not."""

    def test_equal_calls_share_a_program(self) -> None:
        x, y = normal(0, 128, 8), normal(1, 128, 8)
        assert launch.run(squared, x).program is launch.run(squared, y).program

    @pytest.mark.parametrize(("columns", "dtype"), [(16, np.float32), (8, np.float16)], ids=["shape", "dtype"])
    def test_another_shape_or_dtype_is_traced_anew(self, columns: int, dtype: Any) -> None:
        other = normal(0, 128, columns, dtype=dtype)
        first = launch.run(squared, normal(0, 128, 8)).program
        run = launch.run(squared, other)
        assert run.program is not first
        np.testing.assert_array_equal(run.outputs, other * other)

    def test_static_arguments_target_and_options(self) -> None:
        @nki.jit
        def power(x, times):
            tile = load(x)
            for _ in range(times):
                nisa.tensor_tensor(tile, tile, tile, nl.multiply)
            return store(tile)

        x = normal(0, 128, 8)
        programs = [
            launch.run(power, x, 1).program,
            launch.run(power, x, 2).program,
            launch.run(power, x, 1, target="trn2").program,
            launch.run(power, x, 1, mx_scale_rule="ocp_floor").program,
        ]
        assert len({id(program) for program in programs}) == 4
        assert launch.run(power, x, 1).program is programs[0]

    def test_a_changed_helper_is_never_served_stale(self, monkeypatch: pytest.MonkeyPatch) -> None:
        x = normal(0, 128, 8)
        np.testing.assert_array_equal(helped(x), x + x)
        monkeypatch.setattr(sys.modules[__name__], "OPERATOR", nl.multiply)
        np.testing.assert_array_equal(helped(x), x * x)
        monkeypatch.setattr(sys.modules[__name__], "helper", lambda tile: nisa.memset(tile, 3.0))
        np.testing.assert_array_equal(helped(x), np.full_like(x, 3.0))


OPERATOR = nl.add


def helper(tile: Any) -> None:
    nisa.tensor_tensor(tile, tile, tile, OPERATOR)


@nki.jit
def helped(x):
    tile = load(x)
    helper(tile)
    return store(tile)
