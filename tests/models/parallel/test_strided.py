"""Collectives of chips that lie apart: within a domain, across domains, and where no way out is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from trnlab.models.chips import get_chip
from trnlab.models.parallel.collectives import all_reduce, point_to_point
from trnlab.models.parallel.fabric import Fabric
from trnlab.models.parallel.partitioning import Partitioning, Splits
from trnlab.models.parallel.strided import (
    can_meet,
    members_in_a_domain,
    pipeline_hops,
    ring_hop,
    strided_all_reduce,
)
from trnlab.models.projection.constants import layer_of
from trnlab.models.projection.decode import decode_step
from trnlab.models.projection.machine import Machine
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import get_precision

TRN2 = Fabric.of(get_chip("trn2"))  # domains of 64
SIZE = 64e6


def whole(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def way_out() -> tuple[float, float]:
    assert TRN2.outer_bandwidth is not None
    assert TRN2.outer_latency is not None
    return TRN2.outer_bandwidth.value, TRN2.outer_latency.value


@given(members=st.integers(1, 512), stride=st.integers(1, 512))
def test_every_domain_holds_the_same_number_of_members(members: int, stride: int) -> None:
    inner = int(members_in_a_domain(TRN2, whole(members)[0], whole(stride)[0]))
    assert members % inner == 0
    assert inner * stride <= 64 or inner == 1
    assert inner == members or members * stride > 64


def test_members_of_one_domain_reduce_like_neighbours() -> None:
    found, plain = strided_all_reduce(TRN2, SIZE, whole(4), whole(16)), all_reduce(TRN2, SIZE, 4)
    assert float(found.total[0]) == float(plain.total)


def test_a_reduction_over_domains_is_inside_then_a_ring_of_each_chips_share() -> None:
    """Eight members, 32 apart: two a domain, four domains."""
    found, inside = strided_all_reduce(TRN2, SIZE, whole(8), whole(32)), all_reduce(TRN2, SIZE, 2)
    bandwidth, latency = way_out()
    assert float(found.latency[0]) == pytest.approx(float(inside.latency) + 2 * 3 * latency)
    assert float(found.transfer[0]) == pytest.approx(float(inside.transfer) + 2 * 3 / 4 * (SIZE / 2) / bandwidth)


def test_a_ring_is_as_slow_as_its_slowest_link() -> None:
    inside, (bandwidth, latency) = point_to_point(TRN2, SIZE, 2), way_out()
    found = ring_hop(TRN2, SIZE, whole(1, 2, 4), whole(32, 32, 32))
    assert found.total == pytest.approx([0.0, float(inside.total), latency + SIZE / bandwidth])


def test_a_pipeline_crosses_as_often_as_it_leaves_a_domain() -> None:
    """Stages of 16 chips, four a domain: 12 stages are three domains, so 2 of 11 hops cross; 5 stages cross once."""
    inside, (bandwidth, latency) = float(point_to_point(TRN2, SIZE, 2).total), way_out()
    crossing = latency + SIZE / bandwidth
    found = pipeline_hops(TRN2, SIZE, whole(1, 4, 5, 12), whole(16, 16, 16, 16)).total
    assert found == pytest.approx([0.0, 3 * inside, 3 * inside + crossing, 9 * inside + 2 * crossing])
    # Stages of more than a domain: every hop crosses.
    assert pipeline_hops(TRN2, SIZE, whole(3), whole(128)).total == pytest.approx([2 * crossing])


def test_what_is_not_known_of_the_network_is_an_error() -> None:
    alone = Fabric(name="a box", domain=TRN2.domain)
    for collective in (strided_all_reduce, ring_hop, pipeline_hops):
        with pytest.raises(ModelError, match="no network beyond it is known"):
            collective(alone, SIZE, whole(8), whole(32))
    assert can_meet(alone, 2, 32)
    assert not can_meet(alone, 8, 32)
    assert can_meet(TRN2, 8, 32)
    assert not can_meet(TRN2, 5, 1)  # no box of five in a torus of four by four by four


def test_stages_and_contexts_in_several_domains_take_longer_than_in_one() -> None:
    """Llama 70B, 128 chips of Trainium2 in two domains: TP64 and two stages, or two parts of the context."""
    model, bf16, machine = get_model("Llama-3.1-70B"), get_precision("bf16"), Machine.of("trn2")
    method = layer_of("efficiencies", machine).decode

    def collectives(split: Partitioning) -> float:
        return float(decode_step(model, bf16, machine, method, Splits.of([split], ()), 64, 8192).collectives)

    bandwidth, latency = way_out()
    inside = all_reduce(TRN2, 32 * 8192 * 2, 64)
    crossing = latency + 32 * 8192 * 2 / bandwidth
    assert collectives(Partitioning(tp=64, pp=2)) == pytest.approx(160 * float(inside.total) + crossing)
    together = all_reduce(TRN2, 64 * 8192 * 2, 64)
    partial = 64 * 64 * (128 + 2) * 4 / 64
    ring = 2 * latency + partial / bandwidth  # two domains, one member each
    assert collectives(Partitioning(tp=64, cp=2)) == pytest.approx(160 * float(together.total) + 80 * ring)
