"""The catalogue is closed: every entry is whole, and every reader of programs knows every entry."""

from __future__ import annotations

import inspect

import jax
import numpy as np
import pytest

from tests.emulator.isa.harness import accepted, hbm, psum, sbuf
from trnlab.emulator.backends.reference import Reference
from trnlab.emulator.backends.semantics import evaluator, meaning_of
from trnlab.emulator.isa import sync
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.target import get_target
from trnlab.emulator.timing.cost import RULES
from trnlab.emulator.trace import current

BYTES = nl.uint8
FP8X4 = nl.float8_e4m3fn_x4

EXAMPLES = {
    "activate2": lambda: nisa.activate2(
        sbuf((8, 8)),
        nl.prelu,
        sbuf((8, 8)),
        2.0,
        sbuf((8, 1)),
        nl.multiply,
        nl.add,
        0.1,
        reduce_op=nl.abs_max,
        reduce_res=sbuf((8, 1)),
        reduce_cmd=nisa.reduce_cmd.reset_reduce,
    ),
    "activation": lambda: nisa.activation(sbuf((8, 8)), nl.exp, sbuf((8, 8))),
    "activation_reduce": lambda: nisa.activation_reduce(sbuf((8, 8)), nl.exp, sbuf((8, 8)), nl.add, sbuf((8, 1))),
    "affine_select": lambda: nisa.affine_select(sbuf((8, 8)), [[1, 8]], 1, sbuf((8, 8)), 0.0, nl.less),
    "bn_aggr": lambda: nisa.bn_aggr(sbuf((8, 2)), sbuf((8, 12))),
    "bn_stats": lambda: nisa.bn_stats(sbuf((8, 6)), sbuf((8, 9))),
    "device_print": lambda: current("test").emit(sync.device_print, (sbuf((8, 8)),), ("prefix",)),
    "dma_compute": lambda: nisa.dma_compute(sbuf((8, 8)), [hbm((8, 8)), hbm((8, 8))], nl.add),
    "dma_copy": lambda: nisa.dma_copy(sbuf((8, 8)), hbm((8, 8))),
    "dma_transpose": lambda: nisa.dma_transpose(sbuf((16, 8)), hbm((8, 16))),
    "dropout": lambda: nisa.dropout(sbuf((8, 8)), sbuf((8, 8)), 0.5),
    "exponential": lambda: nisa.exponential(sbuf((8, 8)), sbuf((8, 8))),
    "iota": lambda: nisa.iota(sbuf((8, 8), nl.int32), [[1, 8]]),
    "local_gather": lambda: nisa.local_gather(sbuf((16, 4)), sbuf((16, 8)), sbuf((16, 1), nl.uint16), 2, 2),
    "max8": lambda: nisa.max8(sbuf((8, 8)), sbuf((8, 64))),
    "memset": lambda: nisa.memset(sbuf((8, 8)), 1.5),
    "nc_find_index8": lambda: nisa.nc_find_index8(sbuf((8, 8), nl.uint32), sbuf((8, 64)), sbuf((8, 8))),
    "nc_match_replace8": lambda: nisa.nc_match_replace8(
        sbuf((8, 64)), sbuf((8, 64)), sbuf((8, 8)), 0.0, sbuf((8, 8), nl.uint32)
    ),
    "nc_matmul": lambda: nisa.nc_matmul(psum((8, 16)), sbuf((32, 8)), sbuf((32, 16))),
    "nc_matmul_mx": lambda: nisa.nc_matmul_mx(
        psum((8, 16)), sbuf((32, 8), FP8X4), sbuf((32, 16), FP8X4), sbuf((4, 8), BYTES), sbuf((4, 16), BYTES)
    ),
    "nc_n_gather": lambda: nisa.nc_n_gather(sbuf((8, 4)), sbuf((8, 8)), sbuf((8, 4), nl.uint32)),
    "nc_stream_shuffle": lambda: nisa.nc_stream_shuffle(sbuf((32, 8)), sbuf((32, 8)), [255] + [0] * 31),
    "nc_transpose": lambda: nisa.nc_transpose(psum((64, 48)), sbuf((48, 64))),
    "nonzero_with_count": lambda: nisa.nonzero_with_count(sbuf((32, 9), nl.int32), sbuf((32, 8))),
    "quantize_mx": lambda: nisa.quantize_mx(sbuf((32, 8), FP8X4), sbuf((32, 32), nl.bfloat16), sbuf((4, 8), BYTES)),
    "rand2": lambda: nisa.rand2(sbuf((8, 8)), 0.0, 1.0),
    "rand_get_state": lambda: nisa.rand_get_state(sbuf((8, 6), nl.uint32)),
    "rand_set_state": lambda: nisa.rand_set_state(sbuf((8, 6), nl.uint32)),
    "range_select": lambda: nisa.range_select(
        sbuf((8, 8)), sbuf((8, 8)), nl.greater_equal, nl.less, sbuf((8, 1)), sbuf((8, 1)), reduce_res=sbuf((8, 1))
    ),
    "reciprocal": lambda: nisa.reciprocal(sbuf((8, 8)), sbuf((8, 8))),
    "register_load": lambda: nisa.register_load(nisa.register_alloc(), hbm((1,), nl.int32)),
    "register_move": lambda: nisa.register_move(nisa.register_alloc(), 3),
    "register_store": lambda: nisa.register_store(hbm((1,), nl.int32), nisa.register_alloc()),
    "rng": lambda: nisa.rng(sbuf((8, 8), nl.uint32)),
    "scalar_tensor_tensor": lambda: nisa.scalar_tensor_tensor(
        sbuf((8, 8)), sbuf((8, 8)), nl.multiply, 2.0, nl.add, sbuf((8, 8))
    ),
    "select_reduce": lambda: nisa.select_reduce(sbuf((8, 8)), sbuf((8, 8), BYTES), sbuf((8, 8)), 0.0),
    "sequence_bounds": lambda: nisa.sequence_bounds(sbuf((1, 2, 8)), sbuf((1, 8))),
    "set_rng_seed": lambda: nisa.set_rng_seed(sbuf((1, 1), nl.uint32)),
    "tensor_copy": lambda: nisa.tensor_copy(sbuf((8, 8)), sbuf((8, 8))),
    "tensor_copy_predicated": lambda: nisa.tensor_copy_predicated(sbuf((8, 8)), sbuf((8, 8)), sbuf((8, 8), BYTES)),
    "tensor_partition_reduce": lambda: nisa.tensor_partition_reduce(sbuf((1, 8)), nl.add, sbuf((8, 8))),
    "tensor_reduce": lambda: nisa.tensor_reduce(sbuf((8, 1)), nl.add, sbuf((8, 8)), axis=1),
    "tensor_scalar": lambda: nisa.tensor_scalar(sbuf((8, 8)), sbuf((8, 8)), nl.multiply, 2.0),
    "tensor_scalar_cumulative": lambda: nisa.tensor_scalar_cumulative(
        sbuf((8, 8)), sbuf((8, 8)), nl.multiply, nl.add, 2.0
    ),
    "tensor_scalar_reduce": lambda: nisa.tensor_scalar_reduce(
        sbuf((8, 8)), sbuf((8, 8)), nl.multiply, 2.0, nl.add, sbuf((8, 1))
    ),
    "tensor_tensor": lambda: nisa.tensor_tensor(sbuf((8, 8)), sbuf((8, 8)), sbuf((8, 8)), nl.add),
    "tensor_tensor_scan": lambda: nisa.tensor_tensor_scan(
        sbuf((8, 8)), sbuf((8, 8)), sbuf((8, 8)), 0.0, nl.multiply, nl.add
    ),
    "topk": lambda: nisa.topk(sbuf((16, 4), nl.bfloat16), sbuf((16, 4), nl.uint32), sbuf((16, 2), nl.bfloat16), 20),
}
"""One small call of every instruction, on Trainium3."""

OFFERED = {"dtypes", "math", "narrow"}  # what a body may ask for beside its operands, attributes and immediates

every_entry = pytest.mark.parametrize("name", CATALOGUE)


def program_of(name):
    return accepted(EXAMPLES[name], "trn3")


def signature_of(name):
    return next(signature for signature in program_of(name).signatures if signature.opcode == name)


def test_every_instruction_has_an_example():
    assert set(EXAMPLES) == set(CATALOGUE)


def test_every_public_instruction_is_in_the_catalogue():
    emitting = {"device_print"} | {
        name
        for name in nisa.__all__
        if inspect.isfunction(getattr(nisa, name))
        and not name.startswith("get_")
        and name != "register_alloc"
        and "Not supported yet" not in (getattr(nisa, name).__doc__ or "")
    }
    assert emitting == set(CATALOGUE)


@every_entry
def test_an_entry_names_its_body_formula_and_source(name):
    spec = CATALOGUE[name]
    assert spec.name == name == spec.body.__name__
    assert spec.formula
    assert spec.formula.endswith(".")
    assert "=" in spec.formula or name == "device_print"
    assert spec.source.startswith("NKI")
    assert spec.engines
    assert all(assumption.strip() for assumption in spec.assumptions)


@every_entry
def test_a_body_wants_only_what_it_is_given_and_ignores_nothing_it_reads(name):
    spec = CATALOGUE[name]
    operands = {operand.name for operand in spec.operands}
    assert len(operands) == len(spec.operands)
    assert not operands & (set(spec.attributes) | set(spec.immediates))
    assert spec.wants <= operands | set(spec.attributes) | set(spec.immediates) | OFFERED
    assert set(spec.immediates) <= spec.wants
    read = {operand.name for operand in spec.operands if operand.access != "write"}
    assert read <= spec.wants or name == "device_print"


@every_entry
def test_facts_of_operands_refer_to_what_exists(name):
    spec = CATALOGUE[name]
    for operand in spec.operands:
        assert operand.dtypes
        assert operand.regions
        assert operand.update_if == "" or operand.update_if in spec.attributes
        assert operand.update_if == "" or operand.access == "write"
        assert operand.name in spec.wants or not operand.update_if


@every_entry
def test_the_evaluator_gives_one_array_for_every_written_operand(name):
    target = get_target("trn3")
    signature = signature_of(name)
    meaning = meaning_of(signature, target)
    reads = [
        jax.ShapeDtypeStruct(shape, dtype.storage) for _, access, dtype, shape in meaning.operands if access != "write"
    ]
    word = np.uint32 if meaning.math == "raw" else np.float32
    results = jax.eval_shape(evaluator(meaning), reads, [jax.ShapeDtypeStruct((), word)] * len(meaning.immediates))
    written = [(shape, dtype.storage) for _, access, dtype, shape in meaning.operands if access != "read"]
    assert [(result.shape, result.dtype) for result in results] == written


@every_entry
def test_every_reader_knows_every_entry(name):
    target = get_target("trn3")
    program = program_of(name)
    assert name in RULES
    assert callable(Reference(target, print).prepare(signature_of(name)))
    assert name in str(program)
    assert type(program).from_json(program.to_json()) == program


def test_readers_know_nothing_else():
    assert set(RULES) == set(CATALOGUE)
