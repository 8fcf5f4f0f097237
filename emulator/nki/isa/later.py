"""Instructions of nki.isa that trnlab does not implement yet, as a table; each raises NotYetSupportedError when called.

Parameters and defaults are those of the NKI reference 2.32, nki.isa.
"""

from __future__ import annotations

from trnlab.emulator.nki.isa import enums
from trnlab.emulator.nki.unsupported import REQUIRED, unsupported

_RANDOM = "random numbers drawn on the host and passed in as a kernel argument"
_TWO_CORES = "a kernel on one core; kernels on two cores are not supported yet"
_GATHER = "nisa.dma_copy from an HBM tensor with vector_offset"
_NOTHING = "nothing yet that does the same on chip; do it on the host"


def _later(name: str, instead: str, **parameters: object) -> object:
    return unsupported(__name__, "nisa", name, parameters | {"name": None}, instead)


tensor_copy_predicated = _later(
    "tensor_copy_predicated",
    "nisa.select_reduce, which selects between two tiles",
    dst=REQUIRED,
    src=REQUIRED,
    predicate=REQUIRED,
    reverse_pred=False,
)
tensor_partition_reduce = _later(
    "tensor_partition_reduce",
    "nisa.nc_matmul with a stationary of ones, which adds up over partitions",
    dst=REQUIRED,
    op=REQUIRED,
    data=REQUIRED,
)
tensor_scalar_cumulative = _later(
    "tensor_scalar_cumulative",
    "nisa.nc_matmul by a triangle of ones, which adds up cumulatively over partitions",
    dst=REQUIRED,
    src=REQUIRED,
    op0=REQUIRED,
    op1=REQUIRED,
    imm0=REQUIRED,
    imm1=None,
    reduce_cmd=enums.reduce_cmd.reset_reduce,
)
tensor_tensor_scan = _later(
    "tensor_tensor_scan",
    "nisa.nc_matmul by a triangle of ones for cumulative sums over partitions",
    dst=REQUIRED,
    data0=REQUIRED,
    data1=REQUIRED,
    initial=REQUIRED,
    op0=REQUIRED,
    op1=REQUIRED,
    reverse0=False,
    reverse1=False,
)
activate2 = _later(
    "activate2",
    "nisa.tensor_scalar followed by nisa.activation",
    dst=REQUIRED,
    op=REQUIRED,
    data=REQUIRED,
    imm0=REQUIRED,
    imm1=REQUIRED,
    op0=REQUIRED,
    op1=REQUIRED,
    relu_param=0.0,
    reverse0=False,
    reverse1=False,
    reduce_op=None,
    reduce_res=None,
    reduce_cmd=enums.reduce_cmd.idle,
)
local_gather = _later(
    "local_gather",
    _GATHER,
    dst=REQUIRED,
    src_buffer=REQUIRED,
    index=REQUIRED,
    num_elem_per_idx=1,
    num_valid_indices=None,
)
nc_n_gather = _later("nc_n_gather", _GATHER, dst=REQUIRED, data=REQUIRED, indices=REQUIRED)
bn_stats = _later(
    "bn_stats",
    "nisa.tensor_reduce of the data, and of its squares, with nl.add",
    dst=REQUIRED,
    data=REQUIRED,
)
bn_aggr = _later(
    "bn_aggr",
    "nisa.tensor_reduce of the data, and of its squares, with nl.add",
    dst=REQUIRED,
    data=REQUIRED,
)
nc_stream_shuffle = _later(
    "nc_stream_shuffle",
    "nisa.dma_copy of the partitions, or nisa.nc_matmul by a permutation matrix",
    dst=REQUIRED,
    src=REQUIRED,
    shuffle_mask=REQUIRED,
)
rng = _later("rng", _RANDOM, dst=REQUIRED, engine=enums.engine.vector)
dropout = _later("dropout", _RANDOM, dst=REQUIRED, data=REQUIRED, prob=REQUIRED)
set_rng_seed = _later("set_rng_seed", _RANDOM, src_seeds=REQUIRED)
rand_set_state = _later("rand_set_state", _RANDOM, src_seeds=REQUIRED, engine=enums.engine.gpsimd)
rand_get_state = _later("rand_get_state", _RANDOM, dst=REQUIRED, engine=enums.engine.gpsimd)
rand2 = _later("rand2", _RANDOM, dst=REQUIRED, min=REQUIRED, max=REQUIRED)
max8 = _later(
    "max8",
    "nisa.tensor_reduce with nl.maximum for the largest value alone",
    dst=REQUIRED,
    src=REQUIRED,
)
nc_find_index8 = _later("nc_find_index8", _NOTHING, dst=REQUIRED, data=REQUIRED, vals=REQUIRED)
nc_match_replace8 = _later(
    "nc_match_replace8", _NOTHING, dst=REQUIRED, data=REQUIRED, vals=REQUIRED, imm=REQUIRED, dst_idx=None
)
nonzero_with_count = _later("nonzero_with_count", _NOTHING, dst=REQUIRED, src=REQUIRED, index_offset=0, padding_val=-1)
topk = _later("topk", _NOTHING, val_dst=REQUIRED, idx_dst=REQUIRED, src=REQUIRED, n=REQUIRED)
sequence_bounds = _later("sequence_bounds", _NOTHING, dst=REQUIRED, segment_ids=REQUIRED)
dma_compute = _later(
    "dma_compute",
    "nisa.dma_copy of each source into SBUF, then nisa.tensor_tensor with nl.add",
    dst=REQUIRED,
    srcs=REQUIRED,
    reduce_op=REQUIRED,
    scales=None,
    unique_indices=True,
    oob_mode=enums.oob_mode.error,
)
core_barrier = _later("core_barrier", _TWO_CORES, data=REQUIRED, cores=REQUIRED, engine=enums.engine.gpsimd)
sendrecv = _later(
    "sendrecv",
    _TWO_CORES,
    src=REQUIRED,
    dst=REQUIRED,
    send_to_rank=REQUIRED,
    recv_from_rank=REQUIRED,
    pipe_id=REQUIRED,
    dma_engine=enums.dma_engine.dma,
)
