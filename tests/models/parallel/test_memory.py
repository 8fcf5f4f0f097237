"""Memory of the fullest chip, by hand, and what a deployment that does not fit is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from trnlab.models.chips import get_chip
from trnlab.models.parallel.fabric import Fabric
from trnlab.models.parallel.memory import (
    USABLE,
    footprint,
    largest_batch,
    require_fit,
    smallest_fit,
    weight_bytes,
)
from trnlab.models.parallel.partitioning import Partitioning, Splits, partitionings
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import get_precision
from trnlab.models.workloads.parameters import parameters_of
from trnlab.models.workloads.work import kv_bytes

OSS, LLAMA = get_model("gpt-oss-120b"), get_model("Llama-3.1-70B")
BF16, W4 = get_precision("bf16"), get_precision("experts-mxfp4-a8")
TRN2, TRN3 = get_chip("trn2"), get_chip("trn3")
FABRIC2, FABRIC3 = Fabric.of(TRN2), Fabric.of(TRN3)


def on_one(split: Partitioning) -> Splits:
    return Splits.of([split], ())


def test_one_chip_holds_the_whole_model() -> None:
    assert float(weight_bytes(OSS, BF16, on_one(Partitioning()))) == parameters_of(OSS).bytes(BF16)
    assert float(weight_bytes(OSS, W4, on_one(Partitioning()))) / 2**30 == pytest.approx(60.77, abs=0.005)


@given(split=st.sampled_from(partitionings(OSS, 16, FABRIC3, axes=("tp", "ep", "dp"))))
def test_weights_of_a_stage_are_counted_once_per_copy(split: Partitioning) -> None:
    """Chips x bytes = dense bytes x replicas + expert bytes x their copies."""
    found = parameters_of(OSS)
    experts = found.experts * W4.bytes_of("experts")
    dense = found.bytes(W4) - experts
    copies = 16 / max(split.tp, split.ep)
    expected = dense * split.dp + experts * copies
    assert 16 * float(weight_bytes(OSS, W4, on_one(split))) == pytest.approx(expected, rel=1e-12)


def test_the_longest_stage_of_a_pipeline_counts() -> None:
    model = get_model("Llama-3.1-405B")  # 126 layers over 4 stages: 32 in the longest
    found = parameters_of(model)
    layers = 2 * (found.total - found.embedding - found.head)
    expected = layers * 32 / 126 + 2 * found.embedding
    assert float(weight_bytes(model, BF16, on_one(Partitioning(pp=4)))) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("split", "split_kv", "share"),
    [
        (Partitioning(tp=16), True, 1 / 16),
        (Partitioning(tp=16), False, 1 / 8),  # 8 key/value heads, the other chips hold copies
        (Partitioning(tp=4, dp=4), True, 1 / 16),
        (Partitioning(tp=4, cp=4), False, 1 / 16),
        (Partitioning(tp=4, pp=4), True, 1 / 16),
    ],
)
def test_the_cache_is_divided(split: Partitioning, split_kv: bool, share: float) -> None:
    whole = 64 * float(kv_bytes(LLAMA, BF16, 8192))
    held = footprint(LLAMA, BF16, on_one(split), TRN3.hbm_bytes.value, 64, 8192, split_kv=split_kv)
    assert float(held.kv) == pytest.approx(whole * share, rel=1e-12)


def test_the_fullest_of_unequal_replicas_counts() -> None:
    """Nine sequences on four replicas: one of them holds three."""
    held = footprint(LLAMA, BF16, on_one(Partitioning(tp=2, dp=4)), TRN3.hbm_bytes.value, 9, 1000)
    assert float(held.kv) == pytest.approx(3 * float(kv_bytes(LLAMA, BF16, 1000)) / 2)


def test_the_largest_batch_fits_and_one_more_does_not() -> None:
    split, size = Partitioning(tp=4), TRN3.hbm_bytes.value
    most = largest_batch(LLAMA, BF16, split, size, 8192)
    fits = [bool(footprint(LLAMA, BF16, on_one(split), size, batch, 8192).fits) for batch in (most, most + 1)]
    assert most > 1
    assert fits == [True, False]
    assert largest_batch(get_model("DeepSeek-V3"), BF16, split, size, 8192) == 0


def test_gpt_oss_in_bf16_takes_four_trainium2_chips_and_in_mxfp4_one_trainium3() -> None:
    """AWS's documentation runs it with tensor parallelism on 4 chips of Trainium2 because 2 do not hold it."""
    tensor = smallest_fit(OSS, BF16, TRN2.hbm_bytes.value, 1, 1024, FABRIC2, axes=("tp",))
    assert tensor == Partitioning(tp=4)
    # Three stages of 12 layers would do as well: 234 GB over 3 chips of 93 GB.
    assert smallest_fit(OSS, BF16, TRN2.hbm_bytes.value, 1, 1024, FABRIC2) == Partitioning(pp=3)
    assert smallest_fit(OSS, W4, TRN3.hbm_bytes.value, 1, 1024, FABRIC3) == Partitioning()


@pytest.mark.parametrize(("batch", "context"), [(1, 1000), (64, 8192), (700, 3000)])
def test_one_chip_fewer_than_the_smallest_fit_does_not_hold_it(batch: int, context: int) -> None:
    size = TRN2.hbm_bytes.value
    least = smallest_fit(LLAMA, BF16, size, batch, context, FABRIC2)
    assert least is not None
    assert footprint(LLAMA, BF16, on_one(least), size, batch, context).fits
    for chips in range(1, least.chips):
        for split in partitionings(LLAMA, chips, FABRIC2, axes=("tp", "pp")):
            assert not footprint(LLAMA, BF16, on_one(split), size, batch, context).fits


def test_a_deployment_that_does_not_fit_says_by_how_much_and_how_many_would() -> None:
    size, split = TRN2.hbm_bytes.value, Partitioning(tp=2)
    held = parameters_of(OSS).bytes(BF16) / 2 + float(kv_bytes(OSS, BF16, 1024)) / 2
    missing = held - USABLE.value * size
    with pytest.raises(ModelError) as caught:
        require_fit(OSS, BF16, split, size, 1, 1024, FABRIC2)
    assert f"{missing / 1e9:.1f} GB too much" in str(caught.value.found)
    assert "at least 3 chips (PP3)" in caught.value.allowed
    assert float(require_fit(OSS, BF16, Partitioning(tp=4), size, 1, 1024, FABRIC2).shortfall) == 0


def test_where_nothing_fits_the_error_says_so() -> None:
    with pytest.raises(ModelError, match="no partitioning"):
        require_fit(LLAMA, BF16, Partitioning(), 1e6, 1, 1024, Fabric.of(get_chip("h100")))


@given(batch=st.integers(1, 4096), context=st.integers(1, 200_000))
def test_more_sequences_or_tokens_never_take_less(batch: int, context: int) -> None:
    splits = Splits.of([Partitioning(tp=8), Partitioning(tp=2, dp=4)])
    small = footprint(OSS, W4, splits, 1e11, batch, context).total
    assert np.all(small <= footprint(OSS, W4, splits, 1e11, batch + 1, context).total)
    assert np.all(small <= footprint(OSS, W4, splits, 1e11, batch, context + 1).total)
    aware = footprint(OSS, W4, splits, 1e11, batch, context, window_aware=False).total
    assert np.all(small <= aware)
