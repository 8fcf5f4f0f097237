"""The public face of nki.isa: every published name, with the published parameters and defaults."""

from __future__ import annotations

import inspect
from enum import Enum

import numpy as np
import pytest

from tests.emulator.isa.harness import accepted, hbm, load, run, store
from trnlab.emulator import launch
from trnlab.emulator.errors import KernelError, NotYetSupportedError
from trnlab.emulator.nki import isa as nisa
from trnlab.emulator.nki.isa import constants, later
from trnlab.emulator.target import Generation

# NKI reference 2.32, nki.isa: names, parameters in order, defaults.
FUNCTIONS = {
    "activate2": "dst op data imm0 imm1 op0 op1 relu_param=0.0 reverse0=False reverse1=False reduce_op=None "
    "reduce_res=None reduce_cmd=reduce_cmd.idle name=None",
    "activation": "dst op data bias=None scale=1.0 reduce_op=None reduce_res=None reduce_cmd=reduce_cmd.idle name=None",
    "activation_reduce": "dst op data reduce_op reduce_res bias=None scale=1.0 name=None",
    "affine_select": "dst pattern channel_multiplier on_true_tile on_false_value cmp_op=equal offset=0 name=None",
    "bn_aggr": "dst data name=None",
    "bn_stats": "dst data name=None",
    "core_barrier": "data cores engine=engine.gpsimd name=None",
    "dma_compute": "dst srcs reduce_op scales=None unique_indices=True oob_mode=oob_mode.error name=None",
    "dma_copy": "dst src priority=None oob_mode=oob_mode.error dge_mode=dge_mode.unknown engine=engine.unknown "
    "name=None",
    "dma_transpose": "dst src axes=None priority=None dge_mode=dge_mode.unknown oob_mode=oob_mode.error name=None",
    "dropout": "dst data prob name=None",
    "exponential": "dst src max_value=0.0 reduce_res=None reduce_cmd=reduce_cmd.idle reduce_init=0.0 name=None",
    "get_nc_sub_version": "",
    "get_nc_version": "",
    "iota": "dst pattern offset=0 channel_multiplier=0 name=None",
    "local_gather": "dst src_buffer index num_elem_per_idx=1 num_valid_indices=None name=None",
    "max8": "dst src name=None",
    "memset": "dst value engine=engine.unknown name=None",
    "nc_find_index8": "dst data vals name=None",
    "nc_match_replace8": "dst data vals imm dst_idx=None name=None",
    "nc_matmul": "dst stationary moving is_stationary_onezero=False is_moving_onezero=False is_transpose=False "
    "accumulate=None tile_position=() tile_size=() perf_mode=matmul_perf_mode.none name=None",
    "nc_matmul_mx": "dst stationary moving stationary_scale moving_scale tile_position=None tile_size=None "
    "accumulate=None name=None",
    "nc_n_gather": "dst data indices name=None",
    "nc_stream_shuffle": "dst src shuffle_mask name=None",
    "nc_transpose": "dst data engine=engine.unknown name=None",
    "nonzero_with_count": "dst src index_offset=0 padding_val=-1 name=None",
    "quantize_mx": "dst src dst_scale name=None",
    "rand2": "dst min max name=None",
    "rand_get_state": "dst engine=engine.gpsimd name=None",
    "rand_set_state": "src_seeds engine=engine.gpsimd name=None",
    "range_select": "dst on_true_tile comp_op0 comp_op1 bound0 bound1 reduce_cmd=reduce_cmd.reset_reduce "
    "reduce_res=None reduce_op=maximum range_start=0 on_false_value=* name=None",
    "reciprocal": "dst data name=None",
    "register_alloc": "x=None",
    "register_load": "dst src",
    "register_move": "dst src",
    "register_store": "dst src",
    "rng": "dst engine=engine.vector name=None",
    "scalar_tensor_tensor": "dst data op0 operand0 op1 operand1 reverse0=False reverse1=False name=None",
    "select_reduce": "dst predicate on_true on_false reduce_res=None reduce_cmd=reduce_cmd.idle reduce_op=maximum "
    "reverse_pred=False name=None",
    "sendrecv": "src dst send_to_rank recv_from_rank pipe_id dma_engine=dma_engine.dma name=None",
    "sequence_bounds": "dst segment_ids name=None",
    "set_rng_seed": "src_seeds name=None",
    "tensor_copy": "dst src engine=engine.unknown name=None",
    "tensor_copy_predicated": "dst src predicate reverse_pred=False name=None",
    "tensor_partition_reduce": "dst op data name=None",
    "tensor_reduce": "dst op data axis negate=False keepdims=False name=None",
    "tensor_scalar": "dst data op0 operand0 reverse0=False op1=None operand1=None reverse1=False "
    "engine=engine.unknown name=None",
    "tensor_scalar_cumulative": "dst src op0 op1 imm0 imm1=None reduce_cmd=reduce_cmd.reset_reduce name=None",
    "tensor_scalar_reduce": "dst data op0 operand0 reduce_op reduce_res=None reverse0=False "
    "reduce_cmd=reduce_cmd.reset_reduce reduce_init=None reduce_res_negate=False name=None",
    "tensor_tensor": "dst data1 data2 op engine=engine.unknown name=None",
    "tensor_tensor_scan": "dst data0 data1 initial op0 op1 reverse0=False reverse1=False name=None",
    "topk": "val_dst idx_dst src n name=None",
}
CLASSES = {
    "NkiInstruction",
    "NkiValidationError",
    "VirtualRegister",
    "dge_mode",
    "dma_engine",
    "engine",
    "matmul_perf_mode",
    "nc_version",
    "oob_mode",
    "reduce_cmd",
}
ENGINES = {"gpsimd_engine", "scalar_engine", "tensor_engine", "unknown_engine", "vector_engine"}
MEMBERS = {
    "dge_mode": {"unknown": 0, "swdge": 1, "hwdge": 2, "none": 3},
    "dma_engine": {"dma": 1, "gpsimd_dma": 2},
    "engine": {"tensor": 1, "vector": 5, "scalar": 2, "gpsimd": 3, "dma": 4, "sync": 6, "unknown": 0},
    "matmul_perf_mode": {"none": "none", "double_row": "double_row"},
    "oob_mode": {"error": 0, "skip": 1},
    "reduce_cmd": {"idle": 0, "reset": 1, "reduce": 2, "reset_reduce": 3, "load_reduce": 4},
}


def written(parameter):
    """A parameter as the reference writes it; a default that it leaves out stands as *."""
    default = parameter.default
    if default is inspect.Parameter.empty:
        return parameter.name
    if isinstance(default, Enum):
        default = f"{type(default).__name__}.{default.name}"
    return f"{parameter.name}={getattr(default, 'op_name', default)}"


def test_every_published_name_is_there_and_no_other():
    assert set(nisa.__all__) == FUNCTIONS.keys() | CLASSES | ENGINES | {"constants"}
    assert set(nisa.__all__) <= set(dir(nisa))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parameters_and_defaults_are_the_published_ones(name):
    parameters = inspect.signature(getattr(nisa, name)).parameters.values()
    unsaid = {word.split("=")[0] for word in FUNCTIONS[name].split() if word.endswith("=*")}
    ours = [f"{p.name}=*" if p.name in unsaid else written(p) for p in parameters]
    assert " ".join(ours) == FUNCTIONS[name]
    assert all(p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for p in parameters)
    assert (inspect.getdoc(getattr(nisa, name)) or "").strip()


@pytest.mark.parametrize("name", MEMBERS)
def test_enums_have_the_published_members_and_values(name):
    assert {member.name: member.value for member in getattr(nisa, name)} == MEMBERS[name]


def test_the_older_constants_are_the_same_objects():
    for name in set(MEMBERS) | ENGINES | {"nc_version"}:
        assert getattr(constants, name) is getattr(nisa, name)
    assert set(constants.__all__) == set(MEMBERS) | ENGINES | {"nc_version"}
    for name in ENGINES:
        assert getattr(nisa, name) is nisa.engine[name.removesuffix("_engine")]


def test_the_validation_error_is_the_root_of_kernel_errors():
    assert nisa.NkiValidationError is KernelError


LATER = sorted(FUNCTIONS.keys() & vars(later).keys())


def test_unsupported_instructions_come_from_one_table():
    assert all(inspect.unwrap(getattr(nisa, name)) is getattr(later, name) for name in LATER)


@pytest.mark.parametrize("name", LATER)
def test_unsupported_instructions_say_so(name):
    required = [p for p in inspect.signature(getattr(nisa, name)).parameters.values() if p.default is p.empty]

    def build():
        getattr(nisa, name)(*[hbm((1, 1))] * len(required))

    with pytest.raises(NotYetSupportedError) as caught:
        accepted(build)
    assert caught.value.violation.subject == f"nisa.{name}"
    assert caught.value.violation.allowed
    with pytest.raises(TypeError):
        accepted(lambda: getattr(nisa, name)(*[None] * 30))


@pytest.mark.parametrize(
    ("target", "version"), [("trn1", "gen2"), ("trn2", "gen3"), ("trn3", "gen4"), ("trn4", "gen5")]
)
def test_the_version_is_that_of_the_kernel_being_traced(target, version):
    seen = []

    def build():
        seen.append((nisa.get_nc_version(), nisa.get_nc_sub_version()))

    accepted(build, target)
    assert seen == [(nisa.nc_version[version], 0)]
    assert seen[0][0] >= nisa.nc_version.gen2
    assert len(Generation) == len(nisa.nc_version)


def test_versions_compare_with_numbers():
    versions = list(nisa.nc_version)
    for left in versions:
        for right in versions:
            for other in (right, right.value):
                values = (left.value == right.value, left.value < right.value, left.value >= right.value)
                assert (left == other, left < other, left >= other) == values
                assert (left != other, left > other, left <= other) == (
                    left.value != right.value,
                    left.value > right.value,
                    left.value <= right.value,
                )
    assert nisa.nc_version.gen3 != "gen3"
    assert {nisa.nc_version.gen3: "x"}[3] == "x"
    assert str(nisa.nc_version.gen3) == "nc_version.gen3"
    with pytest.raises(TypeError):
        nisa.nc_version.gen3 < "gen3"  # noqa: B015


def test_outside_kernels_the_version_is_that_of_the_default_target(monkeypatch):
    monkeypatch.delenv("NEURON_PLATFORM_TARGET_OVERRIDE", raising=False)
    assert nisa.get_nc_version() is nisa.nc_version.gen4
    monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", "trn2")
    assert nisa.get_nc_version() is nisa.nc_version.gen3


def test_instructions_can_be_ordered_by_hand():
    def kernel(x):
        first, second = nisa.iota(load(x), [[1, 4]]), nisa.iota(load(x), [[2, 4]])
        assert second.depends_on(first) is second
        return store(load(x))

    assert launch.trace(kernel, np.zeros((2, 4), np.float32)).edges == ((1, 3),)
    assert run(kernel, np.ones((2, 4), np.float32)).tolist() == [[1.0] * 4] * 2
