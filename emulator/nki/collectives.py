"""nki.collectives: every published name; the operations between devices are not supported yet.

Source: NKI reference, nki.collectives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trnlab.emulator.nki.unsupported import REQUIRED, unsupported
from trnlab.emulator.tensor import NKIObject

_INSTEAD = "one device: collectives between kernels run under jax.shard_map, around the kernel"


@dataclass
class ReplicaGroup(NKIObject):
    """Disjoint groups of ranks that take part in a collective operation, as lists of rank numbers."""

    groups: Any


def _later(name: str, /, **parameters: Any) -> Callable[..., Any]:
    return unsupported(__name__, "nki.collectives", name, parameters, _INSTEAD)


def _collective(name: str, /, **parameters: Any) -> Callable[..., Any]:
    """A collective: every one ends in the two optional arguments priority and name."""
    return _later(name, **parameters, priority=None, name=None)


def _moving(name: str, /, **parameters: Any) -> Callable[..., Any]:
    """A collective from lists of tensors to lists of tensors within a replica group."""
    return _collective(name, srcs=REQUIRED, dsts=REQUIRED, replica_group=REQUIRED, **parameters)


all_reduce = _moving("all_reduce", op=REQUIRED)
all_gather = _moving("all_gather", collective_dim=REQUIRED)
all_gather_v = _moving("all_gather_v", metadata_tensor=REQUIRED, recv_counts_known=False, has_rdispls=False)
reduce_scatter = _moving("reduce_scatter", collective_dim=REQUIRED, op=REQUIRED)
all_to_all = _moving("all_to_all", collective_dim=REQUIRED)
all_to_all_v = _moving("all_to_all_v", metadata_tensor=REQUIRED, recv_counts_known=False, has_rdispls=False)
collective_permute = _collective("collective_permute", srcs=REQUIRED, dsts=REQUIRED, source_target_pairs=REQUIRED)
collective_permute_implicit = _collective(
    "collective_permute_implicit",
    srcs_by_channel=REQUIRED,
    dsts_by_channel=REQUIRED,
    replica_group=REQUIRED,
    channel_ids=[0],
)
collective_permute_implicit_reduce = _collective(
    "collective_permute_implicit_reduce",
    srcs0_by_channel=REQUIRED,
    srcs1_by_channel=REQUIRED,
    dsts_by_channel=REQUIRED,
    replica_group=REQUIRED,
    op=REQUIRED,
    channel_ids=[0],
)
collective_permute_implicit_current_processing_rank_id = _later(
    "collective_permute_implicit_current_processing_rank_id",
    iteration_id=REQUIRED,
    replica_group=REQUIRED,
    channel_id=0,
    name=None,
)
rank_id = _later("rank_id", name=None)
