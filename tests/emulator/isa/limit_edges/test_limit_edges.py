"""Every limit of every instruction on every generation: taken at the limit, refused just past it, for that alone."""

from __future__ import annotations

import pytest

from tests.emulator.isa.limit_edges.calls import TARGETS, Altered, exists, judge, limits_of
from tests.emulator.isa.limit_edges.coverage import edges_on
from tests.emulator.isa.limit_edges.edges import Edge
from tests.emulator.isa.limit_edges.examples import EXAMPLES
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.isa.limits import Needs
from trnlab.emulator.isa.operators import OperatorExists
from trnlab.emulator.isa.registry import Breach
from trnlab.emulator.target import get_target

every_instruction = pytest.mark.parametrize(
    ("target", "name"), [(target, name) for target in TARGETS for name in CATALOGUE if exists(name, get_target(target))]
)


def says(edge: Edge, target: str) -> str:
    """The limit in words, for the test's messages."""
    text = edge.limit.describe(get_target(target))
    return f"{', '.join(text.operands) or 'the call'}: {text.allowed}"


# ---------------------------------------------------------------------------------------------------- both sides


@every_instruction
def test_taken_at_the_limit(target, name):
    for edge in edges_on(target)[name]:
        for case in edge.accepted:
            found = judge(case, target)
            assert found.error is None, f"{says(edge, target)}: {found.error}"
            assert found.broken == (), f"{says(edge, target)}: {found.broken}"
            assert found.call is not None
            assert edge.limit.check(found.call) is None


@every_instruction
def test_refused_just_past_the_limit_and_for_nothing_else(target, name):
    for edge in edges_on(target)[name]:
        for case in edge.rejected:
            found = judge(case, target)
            assert found.call is not None, f"{says(edge, target)}: refused before any rule saw it: {found.error}"
            own = edge.limit.check(found.call)
            assert own is not None, f"{says(edge, target)}: taken: {case}"
            assert found.broken == (own,), f"{says(edge, target)}: {found.broken}"
            if not isinstance(case, Altered):
                assert_names_the_limit(found.error, own, name, target)
            assert_fits_the_words(own, edge, target)


@every_instruction
def test_named_first_where_no_call_breaks_it_alone(target, name):
    for edge in edges_on(target)[name]:
        for case in edge.crowded:
            found = judge(case, target)
            assert found.call is not None, f"{says(edge, target)}: refused before any rule saw it: {found.error}"
            own = edge.limit.check(found.call)
            assert own is not None, f"{says(edge, target)}: taken: {case}"
            assert own in found.broken
            assert len(found.broken) > 1, f"{says(edge, target)}: broken alone, so it belongs to `rejected`"
            if not isinstance(case, Altered):
                assert_names_the_limit(found.error, own, name, target)


def assert_names_the_limit(error: Exception | None, own: Breach, name: str, target: str) -> None:
    """The error that the user sees is that of the limit."""
    assert type(error) is own.error
    violation = error.violation
    assert violation.subject == f"nisa.{name}"
    assert (violation.operand, violation.found, violation.allowed) == (own.operand, own.found, own.allowed)
    assert violation.generation == get_target(target).generation.label
    assert violation.source == (own.source or CATALOGUE[name].source)
    assert violation.location is not None


def assert_fits_the_words(own: Breach, edge: Edge, target: str) -> None:
    """What a limit says of itself without a call names the operand that it refuses."""
    operands = edge.limit.describe(get_target(target)).operands
    assert own.operand in (operands or ("",))


# ---------------------------------------------------------------------------------------------------- completeness


@every_instruction
def test_every_limit_has_edges(target, name):
    """A limit that joins the catalogue without edges here is listed by this test."""
    covered = {id(edge.limit) for edge in edges_on(target)[name]}
    limits = limits_of(name, get_target(target))
    missing = [limit.describe(get_target(target)) for limit in limits if id(limit) not in covered]
    assert missing == [], f"no edges on {target} for these limits of {name}"
    assert covered == {id(limit) for limit in limits}


def test_every_instruction_has_a_full_example():
    assert set(EXAMPLES) == set(CATALOGUE)
    for target in TARGETS:
        for name, found in edges_on(target).items():
            call = judge(EXAMPLES[name], target).call
            assert call is not None
            assert set(call.operands) == {operand.name for operand in CATALOGUE[name].operands}
            assert all(edge.accepted for edge in found)


BINDS_NOTHING = {
    ("nc_matmul", "moving", "float8_e4m3 with another"): ("trn1", "trn2"),
    ("nc_matmul", "perf_mode", "float8_e5m2 in double_row"): ("trn1",),
    ("nc_matmul", "perf_mode", "(K, 2, columns)"): ("trn1",),
    ("nc_matmul", "perf_mode", "without column tiling"): ("trn1",),
    ("nc_matmul", "dst", "a step of 2"): ("trn1",),
    ("nc_matmul", "accumulate", "False or None"): ("trn1",),
    ("nc_transpose", "dst", "a step of 2"): ("trn1",),
    ("tensor_copy", "src", "packed x4"): ("trn1", "trn2"),
    ("dma_copy", "src", "packed x4"): ("trn1", "trn2"),
    ("dma_copy", "src", "with hwdge"): ("trn1",),
    ("activation", "bias", "op=reciprocal"): ("trn2", "trn3", "trn4"),
    ("activation_reduce", "bias", "op=reciprocal"): ("trn2", "trn3", "trn4"),
    ("tensor_copy", "engine", "vector, scalar, gpsimd"): ("trn2", "trn3", "trn4"),
    ("rng", "engine", "vector, gpsimd"): ("trn2", "trn3", "trn4"),
    ("rand_set_state", "engine", "gpsimd, vector"): ("trn3", "trn4"),
    ("rand_get_state", "engine", "gpsimd, vector"): ("trn3", "trn4"),
}
"""Where a limit refuses no call that another rule does not refuse, since the generation lacks the use or the limit."""


def test_only_the_limits_known_to_bind_nothing_lack_a_refused_call():
    found = set()
    for target in TARGETS:
        for name, listed in edges_on(target).items():
            for edge in listed:
                if edge.rejected or edge.crowded or is_idle(edge, target):
                    continue
                text = edge.limit.describe(get_target(target))
                keys = [key for key in BINDS_NOTHING if is_named(key, name, text.operands, text.allowed)]
                assert len(keys) == 1, (name, text)
                found.add((keys[0], target))
    assert found == {(key, target) for key, targets in BINDS_NOTHING.items() for target in targets}


def is_named(key: tuple[str, str, str], name: str, operands: tuple[str, ...], allowed: str) -> bool:
    return key[0] == name and (key[1],) == operands and key[2] in allowed


def is_idle(edge: Edge, target: str) -> bool:
    """A feature that the target has, and operators all of which it has, leave nothing to refuse."""
    if isinstance(edge.limit, Needs):
        return get_target(target).has(edge.limit.feature)
    return isinstance(edge.limit, OperatorExists) and target in ("trn3", "trn4")
