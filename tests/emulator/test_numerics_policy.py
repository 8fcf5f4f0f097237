"""The numerics policy of a run: what each generation does, how it is replaced, and that both modes apply it alike."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.backends.harness import bits, load, loops_of, normal, planned, same_bits, store, tile
from tests.repetition import everyday
from trnlab.emulator import launch
from trnlab.emulator.backends.semantics import jitted, meaning_of
from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import ArgumentError, NotYetSupportedError
from trnlab.emulator.target import (
    TARGETS,
    NearestEven,
    NumericsPolicy,
    OverflowPolicy,
    Stochastic,
    SubnormalPolicy,
    get_target,
)

POLICIES = [NumericsPolicy(overflow=o, subnormals=s) for o, s in product(OverflowPolicy, SubnormalPolicy)]
SATURATE = NumericsPolicy(overflow=OverflowPolicy.SATURATE)
E4M3FN = nl.float8_e4m3fn


@pytest.fixture(autouse=True)
def _quiet_numpy() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def edges() -> np.ndarray[Any, Any]:
    """Values around the overflow and the subnormals of FP8 formats, with both signs: [8, 32]."""
    values = [0.0, 2.0**-10, 2.0**-9, 2.0**-7, 0.0137, 1.0, 1.0625, 17.0, 231.0, 247.0, 249.0, 300.0, 464.0, 465.0]
    values += [5e4, 6.1e4, 7e4, np.inf, 3e38, 2.0**-15, 2.0**-17, 3 * 2.0**-17, 2.0**-24, 0.03, np.nan]
    row = np.array(values + [1.0] * (32 - len(values)), np.float32)
    return np.stack([row * sign for sign in (1, -1, 1, -1, 1, -1, 1, -1)])


# ------------------------------------------------------------------------------------------------- what targets say


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_every_choice_of_a_target_has_its_origin(target: Any) -> None:
    assert target.numerics == NumericsPolicy()  # nearest even, infinities, subnormals kept
    provenance = target.numerics_provenance
    assert set(provenance) == {"overflow", "subnormals", "rounding"}
    for name, statement in provenance.items():
        assert statement.value == getattr(target.numerics, name)
        assert statement.klass in ("documented", "assumed")
        assert statement.source
    assert provenance["subnormals"].klass == "assumed"
    assert (provenance["rounding"].klass == "documented") == (target.name != "trn4")


def test_a_replaced_choice_is_marked_as_chosen_and_the_rest_keeps_its_origin() -> None:
    target = get_target("trn2")
    changed = target.with_numerics(SATURATE)
    assert changed != target
    assert hash(changed) != hash(target)
    assert changed.with_numerics(target.numerics) == target
    assert changed.numerics_provenance["overflow"].klass == "chosen"
    assert changed.numerics_provenance["rounding"] == target.numerics_provenance["rounding"]
    assert pickle.loads(pickle.dumps(changed)) == copy.copy(changed) == changed
    fact = target.provenance["vector_clock_hz"]
    assert changed.with_facts("what if", vector_clock_hz=fact).numerics == SATURATE


@pytest.mark.parametrize(
    ("make", "operand"),
    [
        (lambda: NumericsPolicy(overflow="saturate"), "overflow"),  # type: ignore[arg-type]
        (lambda: NumericsPolicy(subnormals=False), "subnormals"),  # type: ignore[arg-type]
        (lambda: NumericsPolicy(rounding=Stochastic), "rounding"),  # type: ignore[arg-type]
        (lambda: Stochastic(-1), "seed"),
        (lambda: Stochastic(2**32), "seed"),
        (lambda: Stochastic(True), "seed"),
        (lambda: get_target("trn3").with_numerics("saturate"), "numerics"),  # type: ignore[arg-type]
        (lambda: nki.jit(numerics="saturate"), "numerics"),
        (lambda: launch.run(into_fp8, edges(), numerics="saturate"), "numerics"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_policy_is_refused_by_name(make: Any, operand: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert caught.value.violation.operand == operand


# ------------------------------------------------------------------------------------------------- both modes alike


def into(dtype: DType) -> Any:
    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, dtype=dtype, buffer=nl.sbuf)
        nisa.tensor_scalar(result, load(x), nl.multiply, 1.0)
        return store(result)

    return kernel


into_fp8 = into(E4M3FN)


def many_roundings(x: Any) -> Any:
    """Every way a float32 becomes a narrower float: the executor's, and those of bodies that round themselves."""
    source, ones = load(x), tile(8, 32, nl.uint8)
    nisa.memset(ones, 1)
    results = []
    for dtype in (nl.bfloat16, nl.float16, nl.float8_e4m3, E4M3FN):
        scaled = tile(8, 32, dtype)
        nisa.tensor_scalar(scaled, source, nl.multiply, 1.0)
        results.append(store(scaled))
    for dtype in (nl.float8_e4m3, E4M3FN):
        positions, selected, copied = (tile(8, 32, dtype) for _ in range(3))
        nisa.iota(positions, [[39, 32]], offset=0)
        nisa.affine_select(selected, [[1, 32]], 0, source, -3e38, offset=-20, cmp_op=nl.greater_equal)
        nisa.memset(copied, 1.0)
        nisa.tensor_copy_predicated(copied, 300.0, ones)
        results += [store(positions), store(selected), store(copied)]
    halved = tile(8, 32)
    nisa.tensor_scalar(halved, source, nl.multiply, 0.5)
    results.append(store(halved))
    return tuple(results)


# Every choice of both in three of the six pairs.
@pytest.mark.parametrize(
    "policy",
    everyday(3, [POLICIES[number] for number in (0, 3, 4, 1, 2, 5)]),
    ids=lambda p: f"{p.overflow.value}-{p.subnormals.value}",
)
def test_both_modes_apply_the_policy_bit_for_bit(policy: NumericsPolicy) -> None:
    same_bits(many_roundings, edges(), numerics=policy, target="trn3")


def accumulated(stationary: Any, moving: Any) -> Any:
    """A sum of eight products in bfloat16 PSUM, for four tiles: the loops are rolled up again."""
    result = nl.ndarray((4, 16, 32), dtype=nl.float8_e4m3, buffer=nl.shared_hbm)
    for i in range(4):
        total = nl.ndarray((16, 32), dtype=nl.bfloat16, buffer=nl.psum)
        for k in range(8):
            left, right = load(stationary[i, k]), load(moving[i, k])
            nisa.nc_matmul(total, left, right, accumulate=k > 0)
        narrow = tile(16, 32, nl.float8_e4m3)
        nisa.tensor_copy(narrow, total)
        nisa.dma_copy(result[i], narrow)
    return result


@pytest.mark.parametrize("policy", [POLICIES[0], POLICIES[3], POLICIES[4]], ids=lambda p: p.overflow.value)
def test_rolled_loops_apply_the_policy_bit_for_bit(policy: NumericsPolicy) -> None:
    stationary, moving = normal(1, 4, 8, 32, 16), 8 * normal(2, 4, 8, 32, 32)
    assert loops_of(planned(accumulated, stationary, moving, target="trn3"))
    found = same_bits(accumulated, stationary, moving, numerics=policy, target="trn3").astype(np.float32)
    assert np.isinf(found).any() == (policy.overflow is OverflowPolicy.INFINITY)
    assert np.isnan(found).any() == (policy.overflow is OverflowPolicy.NAN)
    assert (np.abs(found) == 240).any()


def test_policies_decide_what_is_stored() -> None:
    x = np.array([[300.0, -500.0, 2.0**-9, -(2.0**-8), 2.0**-6]], np.float32)
    expected = {
        NumericsPolicy(): [288.0, np.nan, 2.0**-9, -(2.0**-8), 2.0**-6],
        SATURATE: [288.0, -448.0, 2.0**-9, -(2.0**-8), 2.0**-6],
        NumericsPolicy(subnormals=SubnormalPolicy.FLUSH): [288.0, np.nan, 0.0, -0.0, 2.0**-6],
    }
    for policy, values in expected.items():
        found = same_bits(into_fp8, x, numerics=policy).astype(np.float32)
        np.testing.assert_array_equal(found, np.array([values], np.float32))


def test_moves_keep_their_bits_under_every_policy() -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(8, 32).view(ml_dtypes.float8_e4m3)

    def copies(x: Any) -> Any:
        copied = tile(8, 32, x.dtype)
        nisa.tensor_copy(copied, load(x))
        return store(copied)

    flush = NumericsPolicy(overflow=OverflowPolicy.SATURATE, subnormals=SubnormalPolicy.FLUSH)
    np.testing.assert_array_equal(bits(same_bits(copies, codes, numerics=flush)), bits(codes))


# ------------------------------------------------------------------------------------------------ where it is given


def test_the_policy_is_given_to_the_run_the_kernel_or_the_target() -> None:
    x = np.array([[500.0]], np.float32)
    kernel = nki.jit(into_fp8, numerics=SATURATE, platform_target="trn3")
    saturating = get_target("trn3").with_numerics(SATURATE)
    runs = [
        launch.run(into_fp8, x, numerics=SATURATE),
        launch.run(kernel, x),
        launch.run(kernel, x, target="trn3"),
        launch.run(into_fp8, x, target=saturating),
    ]
    assert [float(run.outputs[0, 0]) for run in runs] == [448.0] * len(runs)
    assert {run.target for run in runs} == {saturating}
    assert float(kernel(x)[0, 0]) == float(nki.simulate(kernel)(x)[0, 0]) == 448.0
    # The run's option comes before the kernel's, and results of one policy are never taken for another's.
    assert np.isnan(float(launch.run(kernel, x, numerics=NumericsPolicy()).outputs[0, 0]))


# ------------------------------------------------------------------------------------------------- PSUM in bfloat16


def test_bfloat16_psum_is_read_added_to_in_float32_and_rounded_at_every_write() -> None:
    """Products of small integers are exact, so NumPy's sums are the hardware's: sum_k = RNE(sum_(k-1) + product)."""
    generator = np.random.default_rng(5)
    stationary, moving = (generator.integers(-8, 9, (8, 32, n)).astype(np.float32) for n in (16, 32))
    expected = np.zeros((16, 32), ml_dtypes.bfloat16)
    for left, right in zip(stationary, moving, strict=True):
        expected = (expected.astype(np.float32) + left.T @ right).astype(ml_dtypes.bfloat16)
    assert (expected != np.einsum("kpm,kpn->mn", stationary, moving).astype(ml_dtypes.bfloat16)).any()

    def kernel(stationary: Any, moving: Any) -> Any:
        total = nl.ndarray((16, 32), dtype=nl.bfloat16, buffer=nl.psum)
        for k in range(8):
            nisa.nc_matmul(total, load(stationary[k]), load(moving[k]), accumulate=k > 0)
        result = tile(16, 32, nl.bfloat16)
        nisa.tensor_copy(result, total)
        return store(result)

    found = same_bits(kernel, stationary, moving, target="trn3")
    np.testing.assert_array_equal(bits(found), bits(expected))

    drawn = launch.run(
        kernel, stationary, moving, target="trn3", mode="reference", numerics=NumericsPolicy(rounding=Stochastic(1))
    ).outputs
    # Eight roundings of less than one ulp each, of sums that stay below 2**13 (ulp 2**5).
    exact = np.einsum("kpm,kpn->mn", stationary, moving)
    assert np.abs(np.einsum("kpm,kpn->mn", np.abs(stationary), np.abs(moving))).max() < 2**13
    assert (drawn != expected).any()
    assert np.abs(drawn.astype(np.float32) - exact).max() <= 8 * 2**5


# -------------------------------------------------------------------------------------------------------- at random


def at_random(kernel: Any, *arguments: Any, seed: int = 0, **options: Any) -> Any:
    policy = NumericsPolicy(rounding=Stochastic(seed))
    return launch.run(kernel, *arguments, mode="reference", numerics=policy, **options).outputs


def test_stochastic_runs_repeat_by_seed_and_average_to_the_value() -> None:
    value = 1 + 0.3 * 2.0**-3  # three tenths of the way from 1 to 1.125, e4m3fn's next
    x = np.full((128, 512), value, np.float32)
    first, again, other = (at_random(into_fp8, x, seed=seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(bits(first), bits(again))
    assert (bits(first) != bits(other)).any()
    away = (first.astype(np.float32) == 1.125).mean()
    p = (float(x[0, 0]) - 1) / 0.125
    assert set(np.unique(first.astype(np.float32)).tolist()) == {1.0, 1.125}
    assert abs(away - p) <= 5 * np.sqrt(p * (1 - p) / x.size)


def test_each_execution_draws_its_own_bits() -> None:
    def twice(x: Any) -> Any:
        source, one, two = load(x), tile(8, 32, nl.bfloat16), tile(8, 32, nl.bfloat16)
        for result in (one, two):
            nisa.tensor_scalar(result, source, nl.multiply, 1.0)
        return store(one), store(two)

    one, two = at_random(twice, np.full((8, 32), 1 + 2.0**-8, np.float32))
    assert (bits(one) != bits(two)).any()


def test_each_iteration_of_a_run_time_loop_draws_its_own_bits() -> None:
    def repeated(x: Any) -> Any:
        result = nl.ndarray((4, 8, 32), dtype=nl.bfloat16, buffer=nl.shared_hbm)
        source, rounded = load(x), tile(8, 32, nl.bfloat16)
        for i in nl.dynamic_range(4):
            nisa.tensor_scalar(rounded, source, nl.multiply, 1.0)
            nisa.dma_copy(result.ap([[32, 8], [1, 32]], scalar_offset=i, indirect_dim=0), rounded)
        return result

    rows = at_random(repeated, np.full((8, 32), 1 + 2.0**-8, np.float32))
    assert len({bits(row).tobytes() for row in rows}) == 4


def test_seeds_share_what_is_compiled() -> None:
    program = launch.trace(into_fp8, edges(), target="trn3")
    signature = next(one for one in program.signatures if one.opcode == "tensor_scalar")
    target = get_target("trn3")
    one, other = (target.with_numerics(NumericsPolicy(rounding=Stochastic(seed))) for seed in (1, 2))
    assert jitted(meaning_of(signature, one)) is jitted(meaning_of(signature, other))
    assert jitted(meaning_of(signature, one)) is not jitted(meaning_of(signature, target))


def test_bodies_that_round_themselves_round_at_random_too() -> None:
    results = at_random(many_roundings, np.full((8, 32), 1 + 2.0**-5, np.float32), target="trn3")
    scaled, positions, selected, copied = (results[at].astype(np.float32) for at in (3, 7, 8, 9))  # float8_e4m3fn
    assert set(np.unique(scaled)) == {1.0, 1.125}
    assert set(np.unique(selected[:, 20:])) == {1.0, 1.125}
    assert set(np.unique(positions[:, 1])) == {36.0, 40.0}
    assert set(np.unique(copied)) == {288.0, 320.0}  # one number, rounded for each element by itself


def test_representable_results_do_not_depend_on_the_seed() -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(8, 32).view(ml_dtypes.float8_e4m3fn)
    x = np.nan_to_num(codes.astype(np.float32), nan=1.0)
    np.testing.assert_array_equal(at_random(into_fp8, x).astype(np.float32), x)


def test_compiled_mode_refuses_stochastic_rounding_and_names_the_mode_that_has_it() -> None:
    policy = NumericsPolicy(rounding=Stochastic(1))
    with pytest.raises(NotYetSupportedError, match='mode="reference"') as caught:
        launch.run(into_fp8, edges(), numerics=policy)
    assert caught.value.violation.operand == "numerics"
    with pytest.raises(NotYetSupportedError, match="seed 1"):
        nki.jit(into_fp8, numerics=policy)(edges())
    assert NearestEven() == NumericsPolicy().rounding
