"""nki.isa: the instructions of the NeuronCore, with the published names and signatures."""

from trnlab.emulator.errors import KernelError as NkiValidationError
from trnlab.emulator.nki.isa import constants
from trnlab.emulator.nki.isa.dma import (
    dma_copy,
    dma_transpose,
)
from trnlab.emulator.nki.isa.dma_compute import dma_compute
from trnlab.emulator.nki.isa.enums import (
    dge_mode,
    dma_engine,
    engine,
    gpsimd_engine,
    matmul_perf_mode,
    nc_version,
    oob_mode,
    reduce_cmd,
    scalar_engine,
    tensor_engine,
    unknown_engine,
    vector_engine,
)
from trnlab.emulator.nki.isa.gather import (
    local_gather,
    nc_n_gather,
    nc_stream_shuffle,
)
from trnlab.emulator.nki.isa.gpsimd import (
    affine_select,
    iota,
    tensor_partition_reduce,
)
from trnlab.emulator.nki.isa.later import (
    core_barrier,
    sendrecv,
)
from trnlab.emulator.nki.isa.positions import (
    nonzero_with_count,
    sequence_bounds,
    topk,
)
from trnlab.emulator.nki.isa.random_numbers import (
    dropout,
    rand2,
    rand_get_state,
    rand_set_state,
    rng,
    set_rng_seed,
)
from trnlab.emulator.nki.isa.scalar import (
    activate2,
    activation,
    activation_reduce,
)
from trnlab.emulator.nki.isa.scan import (
    tensor_scalar_cumulative,
    tensor_tensor_scan,
)
from trnlab.emulator.nki.isa.search import (
    max8,
    nc_find_index8,
    nc_match_replace8,
)
from trnlab.emulator.nki.isa.select import (
    range_select,
    select_reduce,
    tensor_copy_predicated,
)
from trnlab.emulator.nki.isa.statistics import (
    bn_aggr,
    bn_stats,
)
from trnlab.emulator.nki.isa.sync import (
    get_nc_sub_version,
    get_nc_version,
    register_alloc,
    register_load,
    register_move,
    register_store,
)
from trnlab.emulator.nki.isa.tensor import (
    nc_matmul,
    nc_matmul_mx,
    nc_transpose,
)
from trnlab.emulator.nki.isa.vector import (
    exponential,
    memset,
    quantize_mx,
    reciprocal,
    scalar_tensor_tensor,
    tensor_copy,
    tensor_reduce,
    tensor_scalar,
    tensor_scalar_reduce,
    tensor_tensor,
)
from trnlab.emulator.nki.publishing import publish as _publish
from trnlab.emulator.tensor import VirtualRegister
from trnlab.emulator.trace import NkiInstruction

__all__ = [
    "NkiInstruction",
    "NkiValidationError",
    "VirtualRegister",
    "activate2",
    "activation",
    "activation_reduce",
    "affine_select",
    "bn_aggr",
    "bn_stats",
    "constants",
    "core_barrier",
    "dge_mode",
    "dma_compute",
    "dma_copy",
    "dma_engine",
    "dma_transpose",
    "dropout",
    "engine",
    "exponential",
    "get_nc_sub_version",
    "get_nc_version",
    "gpsimd_engine",
    "iota",
    "local_gather",
    "matmul_perf_mode",
    "max8",
    "memset",
    "nc_find_index8",
    "nc_match_replace8",
    "nc_matmul",
    "nc_matmul_mx",
    "nc_n_gather",
    "nc_stream_shuffle",
    "nc_transpose",
    "nc_version",
    "nonzero_with_count",
    "oob_mode",
    "quantize_mx",
    "rand2",
    "rand_get_state",
    "rand_set_state",
    "range_select",
    "reciprocal",
    "reduce_cmd",
    "register_alloc",
    "register_load",
    "register_move",
    "register_store",
    "rng",
    "scalar_engine",
    "scalar_tensor_tensor",
    "select_reduce",
    "sendrecv",
    "sequence_bounds",
    "set_rng_seed",
    "tensor_copy",
    "tensor_copy_predicated",
    "tensor_engine",
    "tensor_partition_reduce",
    "tensor_reduce",
    "tensor_scalar",
    "tensor_scalar_cumulative",
    "tensor_scalar_reduce",
    "tensor_tensor",
    "tensor_tensor_scan",
    "topk",
    "unknown_engine",
    "vector_engine",
]

_publish("nki.isa", "nisa", globals())
