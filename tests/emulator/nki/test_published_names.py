"""The public face has every published name with the published signature (NKI reference, edition 2.32)."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import typing

import numpy as np
import pytest

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.language as nl
from tests.emulator.reference import run
from trnlab.emulator import DTYPES, DtypeError, NotYetSupportedError, UnknownNameError, UsageError
from trnlab.emulator.nki import collectives
from trnlab.emulator.nki.older import REMOVED_NAMES

# Signature, then the functions that have it.
SIGNATURES = {
    "buffer": "is_hbm is_on_chip is_psum is_sbuf",
    "x, y, dtype=None": """abs_max abs_min add bitwise_and bitwise_or bitwise_xor divide equal fmod greater
        greater_equal left_shift less less_equal logical_and logical_or logical_xor maximum minimum mod multiply
        not_equal power right_shift subtract""",
    "x, dtype=None": """abs arctan ceil copy cos erf erf_dx exp floor gelu gelu_apprx_sigmoid gelu_apprx_sigmoid_dx
        gelu_apprx_tanh gelu_dx invert log logical_not mish negative reciprocal relu rsqrt sigmoid sign silu silu_dx sin
        softplus sqrt square tan tanh transpose trunc""",
    "x, axis, dtype=None, keepdims=False": "max mean min prod sum var",
    "x, axis, dtype=None": "all",
    "x, axis=-1, dtype=None": "softmax",
    "x, w, axis, n, epsilon=1e-06, dtype=None, compute_dtype=None": "rms_norm",
    "condition, x, y, dtype=None": "where",
    "x, rate, dtype=None": "dropout",
    "shape, dtype, buffer=sbuf, name=''": "ones rand zeros",
    "shape, fill_value, dtype, buffer=sbuf, name=''": "full",
    "shape, dtype, buffer=sbuf, name='', address=None": "ndarray",
    "x, dtype=None, buffer=None, name=''": "empty_like zeros_like",
    "seed": "random_seed",
    "x, axis": "expand_dims",
    "x, shape, dtype=None": "broadcast_to",
    "x, y, transpose_x=False": "matmul",
    "": "no_reorder program_ndim",
    "src, dtype=None": "load load_transpose2d",
    "dst, value": "store",
    "data, indices, axis=0, dtype=None": "gather_flattened",
    "start, size": "ds",
    "start, stop=None, step=1": "affine_range dynamic_range sequential_range static_range",
    "lower, upper, body_fun, step=1": "fori_loop",
    "init, body_fun": "while_loop",
    "axis=0": "program_id",
    "axes=0": "num_programs",
    "constant": "shared_constant",
    "n, dtype=uint8, dst=None": "shared_identity_matrix",
    "print_prefix, tensor": "device_print",
}
FUNCTIONS = {name: signature for signature, names in SIGNATURES.items() for name in names.split()}
PUBLISHED_DTYPES = (
    "bool_",
    "int8",
    "int16",
    "int32",
    "uint8",
    "uint16",
    "uint32",
    "float16",
    "float32",
    "bfloat16",
    "tfloat32",
    "float8_e4m3",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e8m0fnu",
    "float8_e5m2_x4",
    "float8_e4m3fn_x4",
    "float4_e2m1fn_x4",
)
VALUES = (
    "sbuf",
    "psum",
    "hbm",
    "private_hbm",
    "shared_hbm",
    "tile_size",
    "average",
    "prelu",
    "bypass",
    "DType",
    "MemoryRegion",
    "NKIObject",
    "NkiTensor",
)

RANKS = "srcs, dsts, replica_group"
LAST = "priority=None, name=None"
COLLECTIVES = {
    "all_reduce": f"{RANKS}, op, {LAST}",
    "all_gather": f"{RANKS}, collective_dim, {LAST}",
    "all_gather_v": f"{RANKS}, metadata_tensor, recv_counts_known=False, has_rdispls=False, {LAST}",
    "reduce_scatter": f"{RANKS}, collective_dim, op, {LAST}",
    "all_to_all": f"{RANKS}, collective_dim, {LAST}",
    "all_to_all_v": f"{RANKS}, metadata_tensor, recv_counts_known=False, has_rdispls=False, {LAST}",
    "collective_permute": f"srcs, dsts, source_target_pairs, {LAST}",
    "collective_permute_implicit": f"srcs_by_channel, dsts_by_channel, replica_group, channel_ids=[0], {LAST}",
    "collective_permute_implicit_reduce": "srcs0_by_channel, srcs1_by_channel, dsts_by_channel, replica_group, op, "
    f"channel_ids=[0], {LAST}",
    "collective_permute_implicit_current_processing_rank_id": "iteration_id, replica_group, channel_id=0, name=None",
    "rank_id": "name=None",
}


def rendered(function):
    """The parameters with their defaults, the way the tables above write them."""
    parts = []
    for parameter in inspect.signature(function).parameters.values():
        assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        default = parameter.default
        if default is inspect.Parameter.empty:
            parts.append(parameter.name)
        elif default is nl.sbuf or default is nl.uint8:
            parts.append(f"{parameter.name}={default}")
        else:
            parts.append(f"{parameter.name}={default!r}")
    return ", ".join(parts)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_of_nki_language(name):
    function = getattr(nl, name)
    assert rendered(function) == FUNCTIONS[name]
    assert function.__name__ == name
    assert function.__doc__


@pytest.mark.parametrize("name", COLLECTIVES)
def test_signatures_of_nki_collectives(name):
    assert rendered(getattr(collectives, name)) == COLLECTIVES[name]


@pytest.mark.parametrize("name", PUBLISHED_DTYPES)
def test_dtypes(name):
    dtype = getattr(nl, name)
    assert dtype in DTYPES
    assert dtype == name  # the published DType is a string
    assert getattr(nki.dtype, name) is dtype


def test_other_names():
    assert all(hasattr(nl, name) for name in VALUES)
    assert nl.bool is nl.bool_
    assert nl.range is range
    assert [region.value for region in nl.MemoryRegion][:4] == ["sbuf", "psum", "private_hbm", "shared_hbm"]
    assert {value.op_name for value in (nl.average, nl.prelu, nl.bypass)} == {"average", "prelu", "bypass"}
    assert repr(nl.prelu) == "nl.prelu"


def test_nothing_else_is_public():
    public = {name for name, value in vars(nl).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert public == {*FUNCTIONS, *PUBLISHED_DTYPES, *VALUES, "bool", "range"}


# ------------------------------------------------------------------------------------------------------- not yet there


@pytest.mark.parametrize("name", COLLECTIVES)
def test_what_is_not_there_yet_says_so(name):
    function = getattr(collectives, name)
    parameters = inspect.signature(function).parameters.values()
    arguments = [0 for parameter in parameters if parameter.default is inspect.Parameter.empty]
    with pytest.raises(NotYetSupportedError, match=rf"{name}: found a call") as caught:
        function(*arguments)
    assert caught.value.violation.location.file == __file__
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        function(*arguments, unheard_of=1)


# ------------------------------------------------------------------------------------------------------ names and calls


@pytest.mark.parametrize(
    ("module", "name", "text"),
    [
        (nki, "jitt", "did you mean jit?"),
        (nl, "multipy", "did you mean multiply?"),
        (nki.isa, "tensor_scaler", "did you mean tensor_scalar?"),
        (collectives, "all_reduc", "did you mean all_reduce?"),
        (nl, "qqqq", "dir(nki.language)"),
        # Names of NKI 0.1 and 0.2, and what the migration guides put in their place.
        (nl, "mgrid", "nl.ds"),
        (nl, "arange", "NkiTensor.ap"),
        (nl, "par_dim", "first dimension"),
        (nl, "static_cast", "nl.copy"),
        (nki, "simulate_kernel", "nki.simulate"),
        (nki, "benchmark", "timeline"),
        (nki.isa, "tensor_copy_dynamic_src", "scalar_offset"),
    ],
)
def test_unknown_names_say_what_to_use(module, name, text):
    with pytest.raises(UnknownNameError) as caught:
        getattr(module, name)
    assert text in str(caught.value)
    assert caught.value.violation.location.file == __file__
    assert not hasattr(module, name)  # it is an AttributeError


def test_names_that_are_there_are_not_called_removed():
    for module, names in REMOVED_NAMES.items():
        public = importlib.import_module(f"trnlab.emulator.{module}")
        assert not [name for name in names if name in vars(public)]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: nl.add(1), r"nl\.add: found missing a required argument: 'y'"),
        (lambda: nl.ndarray((4, 4), dtyp=nl.float32), r"nl\.ndarray: .*'dtyp'.*did you mean dtype\?"),
        (lambda: nki.isa.tensor_copy(1, 2, mask=3), r"nisa\.tensor_copy: .*'mask'.*slices"),
        (lambda: nki.isa.dma_copy(1, 2, dst_rmw_op=3), r"nisa\.dma_copy: .*dma_compute"),
        (nki.simulate, r"nki\.simulate: .*missing a required argument: 'kernel'"),
        (lambda: nl.load_transpose2d(1, 2, 3), "too many positional arguments"),
    ],
)
def test_calls_that_do_not_fit_a_signature(call, text):
    with pytest.raises(UsageError, match=text):
        call()


def test_the_dtype_that_older_kernels_repeat_is_the_destination_s():
    def kernel(x):
        out = nl.ndarray(x.shape, nl.float32, buffer=nl.shared_hbm)
        tile, wide = nl.load(x), nl.ndarray(x.shape, nl.float32)
        nki.isa.tensor_copy(dst=wide, src=tile, dtype=nl.bfloat16)
        nki.isa.scalar_tensor_tensor(wide, tile, nl.multiply, 3.0, nl.add, wide, dtype=nl.float32)
        nl.store(out, wide)
        return out

    x = np.full((4, 8), 1 + 2.0**-20, np.float32)
    np.testing.assert_array_equal(run(kernel, x).outputs, np.float32(4) * x)
    with pytest.raises(DtypeError):
        run(lambda x: nki.isa.tensor_copy(nl.load(x), nl.load(x), dtype="float12"), x)


# -------------------------------------------------------------------------------------------------------- as a package


def test_operators_survive_pickling_and_copying():
    operators = [nl.add, nl.exp, nl.sin, nl.floor, nl.prelu, nl.max, nl.rand, collectives.all_reduce]
    for value in operators:
        assert pickle.loads(pickle.dumps(value)) == value
        assert copy.deepcopy(value) == value


def test_annotations():
    def kernel(
        x: nki.typing.tensor[128, 512], y: nki.typing.mutable_tensor, dtype: nki.dtype = nl.bfloat16
    ) -> nl.NkiTensor:
        raise NotImplementedError

    hints = typing.get_type_hints(kernel, localns={"nki": nki, "nl": nl})
    assert hints["x"].__args__ == (128, 512)
    assert issubclass(hints["y"], nki.typing.tensor)
    assert hints["dtype"] is nki.dtype


def test_replica_groups_are_data():
    assert collectives.ReplicaGroup([[0, 1]]) == collectives.ReplicaGroup(groups=[[0, 1]])


@pytest.mark.parametrize("wrap", [nki.jit, lambda function: function])
def test_older_spelling_of_simulate(wrap):
    def kernel(a, b):
        out = nl.ndarray(a.shape, a.dtype, buffer=nl.shared_hbm)
        nl.store(out, nl.add(nl.load(a), nl.load(b)))
        return out

    a, b = np.random.default_rng(0).standard_normal((2, 8, 4)).astype(np.float32)
    for result in (
        nki.cpu_simulate(wrap(kernel))[1](a=a, b=b),
        nki.cpu_simulate(wrap(kernel))(a, b),
        nki.simulate(wrap(kernel))(a, b),
        run(kernel, a, b).outputs,
    ):
        np.testing.assert_array_equal(result, a + b)
    with pytest.raises(NotYetSupportedError, match="two cores"):
        nki.cpu_simulate(wrap(kernel))[2](a, b)


def test_enums_have_an_older_home():
    constants = importlib.import_module("trnlab.emulator.nki.isa.constants")
    assert constants.oob_mode is nki.isa.oob_mode
