"""Kernels beside their peers: plain XLA, other interpreters; and what has a target for its first launch alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from tests.bench import kernels, peers
from tests.bench.interpreters import INTERPRETERS
from tests.bench.launches import (
    LAUNCHES,
    SEED,
    Sizes,
    attention_launch,
    attention_operands,
    matmul_launch,
    matrices,
    meant_matrices,
    normal,
    softmax_operand,
    unfoldable_launch,
)
from tests.bench.library import attention_cte
from tests.bench.measure import Action, Launch, assert_agree, cold_launches, seconds, warm_pairs
from tests.bench.rows import Case, Comparison
from trnlab.emulator import run

COLD_REPEATS = 3
INTERPRETER_REPEATS = 3
# Largest difference from the peer, as a share of the largest value. Storing in bfloat16 loses up to 2^-7 where it
# truncates (Triton's interpreter); attention stores its weights in bfloat16 too.
STORED, STORED_TWICE, FLOAT32 = 2.0**-7, 2.0**-6, 1e-5

STYLES = {"naive": "naive loops", "hoisted": "loads hoisted into lists", "blocked": "blocked, sums in SBUF"}


def on_jax(*arrays: Any) -> list[Any]:
    """The arrays on the device."""
    return [jnp.asarray(array) for array in arrays]


def compared(launch: Launch, peer: Action, tolerance: float, repeats: int) -> dict[str, Any]:
    """Cold times of the launch, then warm ones in turn with the peer's; both must give the same."""
    launch, cold = cold_launches(launch, COLD_REPEATS)
    assert_agree(launch(), peer(), tolerance)
    warm, theirs = warm_pairs(launch, peer, repeats)
    return {"cold": cold, "warm": warm, "peer": theirs}


def matmul_case(style: str, sizes: Sizes, repeats: int) -> Case:
    """One style of matmul beside XLA's dot of the same dtypes."""

    def measure() -> dict[str, Any]:
        lhs, rhs = on_jax(*matrices(sizes.matmul))
        return compared(LAUNCHES[f"matmul {style}"](sizes), lambda: peers.dot(lhs, rhs), STORED, repeats)

    name = f"matmul {sizes.matmul}^3 bf16, {STYLES[style]}"
    return Case(Comparison(case=name, peer_name="XLA dot", ratio_target=1.4, cold_target=1.0), measure)


def mx_case(sizes: Sizes, repeats: int) -> Case:
    """MXFP8 beside XLA's bfloat16 dot of what the packed operands stand for."""

    def measure() -> dict[str, Any]:
        lhs, rhs = on_jax(*meant_matrices(sizes.mx))
        return compared(LAUNCHES["matmul mxfp8"](sizes), lambda: peers.dot(lhs, rhs), STORED, repeats)

    plan = Comparison(case=f"matmul {sizes.mx}^3 mxfp8, packed operands", peer_name="bf16 XLA dot", ratio_target=1.5)
    return Case(plan, measure)


def attention_case(sizes: Sizes, repeats: int, *, causal: bool) -> Case:
    """Flash attention beside softmax attention in plain jnp."""

    def measure() -> dict[str, Any]:
        operands = on_jax(*attention_operands(sizes))
        peer = lambda: peers.attention(*operands, causal=causal)  # noqa: E731
        return compared(attention_launch(sizes, causal=causal), peer, STORED_TWICE, repeats)

    tokens, width = sizes.attention
    name = f"flash attention {tokens} x {width} bf16{', causal' if causal else ''}"
    return Case(Comparison(case=name, peer_name="jnp", ratio_target=None if causal else 2.2), measure)


def softmax_case(sizes: Sizes, repeats: int) -> Case:
    """Softmax whose last tile of rows is ragged, beside jax.nn.softmax."""

    def measure() -> dict[str, Any]:
        (x,) = on_jax(softmax_operand(sizes))
        return compared(LAUNCHES["softmax"](sizes), lambda: peers.softmax(x), FLOAT32, repeats)

    rows, columns = sizes.softmax
    plan = Comparison(case=f"softmax {rows} x {columns} f32", peer_name="jax.nn.softmax", ratio_target=3.0)
    return Case(plan, measure)


def xla_cases(sizes: Sizes, repeats: int) -> list[Case]:
    """Everything that plain JAX does too."""
    return [
        *(matmul_case(style, sizes, repeats) for style in STYLES),
        mx_case(sizes, repeats),
        attention_case(sizes, repeats, causal=False),
        attention_case(sizes, repeats, causal=True),
        softmax_case(sizes, repeats),
    ]


def interpreter_case(name: str, kernel: str, sizes: Sizes) -> Case:
    """One kernel beside another project's interpreter on the same tiles; both warm."""
    tokens, width = sizes.attention
    rows, columns = sizes.softmax
    shapes = {
        "matmul": f"matmul {sizes.matmul}^3 bf16, tiles 128 x 128 x 512",
        "softmax": f"softmax {rows} x {columns} f32, tiles of 128 rows",
        "attention": f"flash attention {tokens} x {width} bf16, tiles 128 x 512",
    }
    ours: dict[str, Callable[[], tuple[Launch, Any, float]]] = {
        "matmul": lambda: (matmul_launch(kernels.matmul_naive, sizes.matmul), matrices(sizes.matmul), STORED),
        "softmax": lambda: (LAUNCHES["softmax"](sizes), [softmax_operand(sizes)], FLOAT32),
        "attention": lambda: (attention_launch(sizes, causal=False), attention_operands(sizes), STORED_TWICE),
    }

    def measure() -> dict[str, Any]:
        interpreter = INTERPRETERS[name].load()
        launch, operands, tolerance = ours[kernel]()
        peer = interpreter[kernel](*on_jax(*operands))
        assert_agree(launch(), peer(), tolerance)
        warm, theirs = warm_pairs(launch, peer, INTERPRETER_REPEATS)
        return {"warm": warm, "peer": theirs}

    return Case(Comparison(case=shapes[kernel], peer_name=name, ratio_target=INTERPRETERS[name].ratio), measure)


def interpreter_cases(sizes: Sizes) -> list[Case]:
    """Every kernel beside every interpreter, with few repeats, for these are slow."""
    return [
        interpreter_case(name, kernel, sizes) for kernel in ("matmul", "softmax", "attention") for name in INTERPRETERS
    ]


def unfoldable_case(count: int) -> Case:
    """Random instructions, first launch; their results are those of the reference, to the bit."""

    def measure() -> dict[str, Any]:
        launch, cold = cold_launches(unfoldable_launch(count), 1)
        expected = run(launch.kernel, *launch.arguments, mode="reference", target=launch.target, **launch.options)
        assert_agree(launch(), expected.outputs, 0.0)
        return {"cold": cold, "warm": [seconds(launch)]}

    return Case(Comparison(case=f"{count:,} unfoldable instructions", cold_target=20.0), measure)


def library_case(tokens: int, folder: str) -> Case:
    """The NKI Library's attention for context encoding, one head, causal, beside plain jnp."""

    def measure() -> dict[str, Any]:
        kernel = attention_cte(folder)
        q, k, v = on_jax(*(normal(tokens, 128, seed=SEED + number) for number in range(3)))
        options = {"scale": 128**-0.5, "causal_mask": True}
        launch, cold = cold_launches(Launch(kernel, (q[None], k.T[None], v[None]), options, target="trn2"), 1)
        peer = lambda: peers.attention(q, k, v, causal=True)  # noqa: E731
        assert_agree(launch(), peer(), STORED_TWICE)
        warm, theirs = warm_pairs(launch, peer, INTERPRETER_REPEATS)
        return {"cold": cold, "warm": warm, "peer": theirs}

    name = f"NKI Library attention_cte, {tokens} tokens, causal"
    return Case(Comparison(case=name, peer_name="jnp", cold_target=20.0), measure)
