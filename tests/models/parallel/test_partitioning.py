"""Which partitionings are possible, and what the impossible ones say."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from trnlab.models.chips import get_chip
from trnlab.models.parallel.fabric import Fabric
from trnlab.models.parallel.partitioning import Partitioning, Splits, check, partitionings, problem
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.catalogue import get_model

OSS, LLAMA, DEEPSEEK = (get_model(name) for name in ("gpt-oss-120b", "Llama-3.1-70B", "DeepSeek-V3"))
TRN2, TRN3 = (Fabric.of(get_chip(name)) for name in ("trn2", "trn3"))


@pytest.mark.parametrize(
    ("model", "split", "field"),
    [
        (LLAMA, Partitioning(tp=3), "tp"),
        (LLAMA, Partitioning(tp=0), "tp"),
        (LLAMA, Partitioning(tp=2.0), "tp"),  # type: ignore[arg-type]
        (LLAMA, Partitioning(dp=True), "dp"),
        (LLAMA, Partitioning(pp=81), "pp"),
        (LLAMA, Partitioning(tp=2, ep=2), "ep"),
        (OSS, Partitioning(tp=16, ep=3), "ep"),
        (OSS, Partitioning(tp=4, ep=8), "ep"),  # no replicas to span
        (OSS, Partitioning(tp=8, ep=16, dp=3), "ep"),
    ],
)
def test_impossible_partitionings_name_the_degree(model: object, split: Partitioning, field: str) -> None:
    with pytest.raises(ModelError) as caught:
        check(model, split)  # type: ignore[arg-type]
    assert caught.value.what.startswith(field)
    assert caught.value.allowed


def test_a_group_that_the_fabric_lacks_is_named() -> None:
    check(LLAMA, Partitioning(tp=64), TRN2)
    with pytest.raises(ModelError, match="tp on"):
        check(get_model("Llama-2-13B"), Partitioning(tp=40), TRN2)  # 40 chips are no box of 4 x 4 x 4


def test_a_pipeline_beyond_the_domain_needs_a_network_that_is_known() -> None:
    gb300 = Fabric.of(get_chip("gb300"))
    check(LLAMA, Partitioning(tp=8, pp=9), gb300)
    check(LLAMA, Partitioning(tp=8, dp=20), gb300)  # replicas say nothing to one another
    with pytest.raises(ModelError, match="no network beyond"):
        check(LLAMA, Partitioning(tp=8, pp=16), gb300)
    check(LLAMA, Partitioning(tp=16, pp=16), TRN3)


@given(chips=st.sampled_from([1, 2, 4, 6, 8, 16, 24, 64]), model=st.sampled_from([OSS, LLAMA, DEEPSEEK]))
def test_every_partitioning_listed_is_possible_uses_the_chips_and_is_listed_once(chips: int, model: object) -> None:
    found = partitionings(model, chips, TRN3)  # type: ignore[arg-type]
    assert found
    assert len(set(found)) == len(found)
    for split in found:
        assert split.chips == chips
        assert problem(model, split, TRN3) is None  # type: ignore[arg-type]


def test_the_list_is_complete() -> None:
    """Every possible combination of degrees up to 8, tried one by one."""
    brute = {
        split
        for tp in range(1, 9)
        for ep in range(1, 9)
        for pp in range(1, 9)
        for dp in range(1, 9)
        for cp in range(1, 9)
        if math.prod((tp, pp, dp, cp)) == 8
        for split in [Partitioning(tp, ep, pp, dp, cp)]
        if problem(OSS, split, TRN3) is None
    }
    assert set(partitionings(OSS, 8, TRN3)) == brute


def test_only_the_named_kinds_are_used() -> None:
    found = partitionings(OSS, 16, TRN3, axes=("tp", "dp"))
    assert {(split.ep, split.pp, split.cp) for split in found} == {(1, 1, 1)}
    assert {split.tp for split in found} == {1, 2, 4, 8, 16}
    with pytest.raises(ModelError, match="zz"):
        partitionings(OSS, 16, TRN3, axes=("zz",))
    with pytest.raises(ModelError, match="chips"):
        partitionings(OSS, 0, TRN3)


def test_what_each_chip_holds() -> None:
    splits = Splits.of([Partitioning(tp=16, ep=4), Partitioning(tp=2, ep=16, dp=8), Partitioning(tp=16, cp=2)])
    assert splits.chips.tolist() == [16, 16, 32]
    assert splits.expert_shards.tolist() == [16, 16, 16]
    assert splits.expert_replicas.tolist() == [1, 8, 1]
    assert splits.kv_shards(8, split_kv=True).tolist() == [16, 2, 32]
    assert splits.kv_shards(8, split_kv=False).tolist() == [8, 2, 16]
    # With 4 ranks a chip, 64 ranks hold 8 heads: each chip 4 of them. Of 8 ranks on 2 chips none needs a copy.
    assert splits.kv_shards(8, split_kv=False, ranks=4).tolist() == [2, 2, 4]
    # One latent vector for all heads: each of 4 ranks of a chip has its own copy.
    assert splits.kv_shards(1, split_kv=False, ranks=4).tolist() == [0.25, 0.25, 0.5]


def test_a_partitioning_reads_as_text() -> None:
    assert str(Partitioning(tp=16, ep=4)) == "TP16 EP4"
    assert str(Partitioning()) == "one chip"
