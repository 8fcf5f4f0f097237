"""nki.collectives: every published name; the operations between devices are not supported yet.

Source: NKI reference, nki.collectives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trnlab.emulator.nki.publishing import publish as _publish
from trnlab.emulator.nki.unsupported import REQUIRED as _REQUIRED, unsupported as _unsupported
from trnlab.emulator.tensor import NKIObject

_INSTEAD = "one device: collectives between kernels run under jax.shard_map, around the kernel"


@dataclass
class ReplicaGroup(NKIObject):
    """Disjoint groups of ranks that take part in a collective operation, as lists of rank numbers."""

    groups: Any


def _later(name: str, /, **parameters: Any) -> Callable[..., Any]:
    return _unsupported(__name__, "nki.collectives", name, parameters, _INSTEAD)


def _collective(name: str, /, **parameters: Any) -> Callable[..., Any]:
    """A collective: every one ends in the two optional arguments priority and name."""
    return _later(name, **parameters, priority=None, name=None)


def _moving(name: str, /, **parameters: Any) -> Callable[..., Any]:
    """A collective from lists of tensors to lists of tensors within a replica group."""
    return _collective(name, srcs=_REQUIRED, dsts=_REQUIRED, replica_group=_REQUIRED, **parameters)


all_reduce = _moving("all_reduce", op=_REQUIRED)
all_gather = _moving("all_gather", collective_dim=_REQUIRED)
all_gather_v = _moving("all_gather_v", metadata_tensor=_REQUIRED, recv_counts_known=False, has_rdispls=False)
reduce_scatter = _moving("reduce_scatter", collective_dim=_REQUIRED, op=_REQUIRED)
all_to_all = _moving("all_to_all", collective_dim=_REQUIRED)
all_to_all_v = _moving("all_to_all_v", metadata_tensor=_REQUIRED, recv_counts_known=False, has_rdispls=False)
collective_permute = _collective("collective_permute", srcs=_REQUIRED, dsts=_REQUIRED, source_target_pairs=_REQUIRED)
collective_permute_implicit = _collective(
    "collective_permute_implicit",
    srcs_by_channel=_REQUIRED,
    dsts_by_channel=_REQUIRED,
    replica_group=_REQUIRED,
    channel_ids=[0],
)
collective_permute_implicit_reduce = _collective(
    "collective_permute_implicit_reduce",
    srcs0_by_channel=_REQUIRED,
    srcs1_by_channel=_REQUIRED,
    dsts_by_channel=_REQUIRED,
    replica_group=_REQUIRED,
    op=_REQUIRED,
    channel_ids=[0],
)
collective_permute_implicit_current_processing_rank_id = _later(
    "collective_permute_implicit_current_processing_rank_id",
    iteration_id=_REQUIRED,
    replica_group=_REQUIRED,
    channel_id=0,
    name=None,
)
rank_id = _later("rank_id", name=None)

_publish("nki.collectives", "ncc", globals())
