"""Prices of the random number instructions, and what orders them: the state of their engine."""

from __future__ import annotations

import pytest

from tests.emulator.isa.harness import accepted, sbuf
from trnlab.emulator.dependence import dependences
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.target import get_target
from trnlab.emulator.timing.cost import signature_costs

VECTOR, GPSIMD = nisa.engine.vector, nisa.engine.gpsimd


def cost(opcode, build, target):
    program = accepted(build, target)
    costs = zip(program.signatures, signature_costs(program, get_target(target)), strict=True)
    return next(found for signature, found in costs if signature.opcode == opcode)


def draw(columns, engine=VECTOR):
    return lambda: nisa.rng(sbuf((128, columns), nl.uint32), engine=engine)


@pytest.mark.parametrize(
    ("opcode", "build", "target", "elements"),
    [
        ("rng", draw(512), "trn1", 512),
        ("rng", draw(512), "trn3", 128),  # four numbers per lane and cycle
        ("rand2", lambda: nisa.rand2(sbuf((128, 512)), 0, 1), "trn3", 128),
        ("rand2", lambda: nisa.rand2(sbuf((128, 8)), 0, 1), "trn3", 64),  # the shortest interval between instructions
        ("dropout", lambda: nisa.dropout(sbuf((128, 512)), sbuf((128, 512)), 0.5), "trn2", 512),
        ("set_rng_seed", lambda: nisa.set_rng_seed(sbuf((1, 1), nl.uint32)), "trn2", 64),
        ("rand_get_state", lambda: nisa.rand_get_state(sbuf((8, 24), nl.uint32), engine=VECTOR), "trn3", 64),
    ],
)
def test_vector_takes_a_cycle_for_each_element(opcode, build, target, elements):
    found = cost(opcode, build, target)
    assert found.cycles == elements + get_target(target).vector_static_cycles
    assert found.assumed is ((opcode, target) not in {("rand2", "trn3"), ("dropout", "trn2")})


def test_gpsimd_takes_its_start_and_a_cycle_for_each_element():
    target = get_target("trn2")
    assert cost("rng", draw(512, GPSIMD), "trn2").cycles == target.gpsimd_start_cycles + 512
    found = cost("rand_set_state", lambda: nisa.rand_set_state(sbuf((8, 6), nl.uint32)), "trn2")
    assert found.cycles == target.gpsimd_start_cycles + 6


def test_draws_of_one_engine_are_ordered_by_its_state():
    def build():
        for engine in (VECTOR, GPSIMD, VECTOR, GPSIMD):
            nisa.rng(sbuf((32, 4), nl.uint32), engine=engine)

    edges = {(producer, consumer) for producer, consumer, _ in dependences(accepted(build))}
    assert {(0, 2), (1, 3)} <= edges
    assert not {(0, 1), (0, 3), (1, 2), (2, 3)} & edges
