"""Efficiencies from kernels' timelines: what is timed, what falls back, what is kept."""

from __future__ import annotations

from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest

from trnlab.emulator import trace
from trnlab.emulator.errors import TrnlabError
from trnlab.emulator.timing.timeline import schedule
from trnlab.kernels.attention_decode import decode_attention
from trnlab.kernels.matmul import matmul
from trnlab.models.chips import get_chip
from trnlab.models.parallel.partitioning import Partitioning
from trnlab.models.projection import efficiency
from trnlab.models.projection.constants import layer_of
from trnlab.models.projection.efficiency import EfficiencyTable, Shape
from trnlab.models.projection.kernel_shapes import DEFAULTS, shapes, with_kernels
from trnlab.models.projection.machine import Machine
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import get_precision
from trnlab.models.workloads.parameters import parameters_of

TRN2, TRN3 = get_chip("trn2"), get_chip("trn3")
SMALL = Shape("matmul", "bf16", 128, 512, 1024)


def test_an_entry_is_the_ideal_over_the_timeline() -> None:
    def struct(*shape: int) -> object:
        return jax.ShapeDtypeStruct(shape, np.dtype(ml_dtypes.bfloat16))

    program = trace(matmul, struct(1024, 128), struct(1024, 512), target="trn3")
    seconds = schedule(program, "trn3").total_seconds
    flops, moved = 2 * 128 * 512 * 1024, 2 * (1024 * 512 + 128 * 1024 + 128 * 512)
    ideal = max(flops / (671e12 / 8), moved / (4.9e12 / 8))
    found = EfficiencyTable(DEFAULTS).get(TRN3, SMALL)
    assert found.seconds == seconds
    assert found.value.value == pytest.approx(ideal / seconds)
    assert found.value.klass == "derived"
    low, high = found.value.interval
    assert 0 < low <= found.value.value <= high <= 1
    assert not found.is_default
    assert "128 x 512 x 1024" in found.origin


def test_causal_attention_counts_half_of_the_pairs() -> None:
    found = EfficiencyTable(DEFAULTS).get(TRN3, Shape("prefill attention", "bf16", 512, 512, 128))
    assert found.seconds is not None
    flops = 2 * 2 * 512 * 512 * 128 / 2  # scores and weighted values, 2 FLOP each
    moved = 2 * 128 * (512 + 512 + 512 + 512)  # queries, keys, values, result
    ideal = max(flops / (671e12 / 8), moved / (4.9e12 / 8))
    assert found.value.value == pytest.approx(ideal / found.seconds)


def test_large_matrices_reach_what_was_measured_on_trainium3() -> None:
    """90 % of peak on large BF16 matrices is a public measurement; the timeline knows nothing of it."""
    found = EfficiencyTable(DEFAULTS).get(TRN3, Shape("matmul", "bf16", 8192, 8192, 8192))
    assert found.value.value == pytest.approx(0.90, abs=0.05)
    assert "in place of 8192 x 8192 x 8192" in found.origin


@pytest.mark.parametrize(
    ("chip", "shape", "reason"),
    [
        ("h100", SMALL, "no timeline"),
        ("trn2", SMALL._replace(rate="mxfp8"), "lacks"),
        ("trn3", SMALL._replace(rate="mxfp4"), "no matmul kernel of ours for mxfp4"),
        ("trn3", Shape("decode attention", "fp8", 1, 4096, 64), "no decode attention kernel of ours for fp8"),
        ("trn3", Shape("decode attention", "bf16", 4, 4096, 576, 128), "heads of 576"),
        ("trn3", Shape("prefill attention", "bf16", 128, 128, 192), "heads of 192"),
    ],
)
def test_what_no_kernel_covers_is_the_default_and_says_so(chip: str, shape: Shape, reason: str) -> None:
    found = EfficiencyTable(DEFAULTS).get(get_chip(chip), shape)
    assert found.is_default
    assert found.value == DEFAULTS[shape.kernel]
    assert reason in found.origin


def test_entries_are_made_once_and_survive_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = EfficiencyTable(DEFAULTS)
    first = [table.get(TRN3, SMALL), table.get(TRN2, SMALL), table.get(get_chip("h100"), SMALL)]
    file = tmp_path / "efficiencies.json"
    file.write_text(table.to_json())

    def never(shape: Shape) -> None:
        raise AssertionError(f"{shape} was traced again")

    monkeypatch.setattr(efficiency, "_call", never)
    efficiency._kernel_seconds.cache_clear()
    again = EfficiencyTable.load(file, DEFAULTS)
    assert [again.get(chip, SMALL) for chip in (TRN3, TRN2, get_chip("h100"))] == first


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrnlabError, match="cannot read"):
        EfficiencyTable.load(tmp_path / "absent.json", DEFAULTS)
    for text in ("{", '[{"chip": 1}]', "[1]"):
        with pytest.raises(ModelError, match="efficiency table"):
            EfficiencyTable.from_json(text, DEFAULTS)


def test_shapes_are_those_of_one_core() -> None:
    machine, model = Machine.of("trn2"), get_model("Llama-3.1-70B")
    found = shapes(model, get_precision("bf16"), machine, Partitioning(tp=16), 4, 2048, "decode")
    # 2 x 28,672 columns over 16 chips of 8 cores; 4 sequences.
    assert found["dense"] == Shape("matmul", "bf16", 4, 448, 8192)
    assert "experts" not in found
    oss = shapes(get_model("gpt-oss-120b"), get_precision("bf16"), machine, Partitioning(tp=4), 1, 2048, "decode")
    # One token meets 4 experts of 2 x 2,880 columns, divided over 32 cores.
    assert oss["experts"] == Shape("matmul", "bf16", 1, 720, 2880)
    prompt = shapes(get_model("gpt-oss-120b"), get_precision("bf16"), machine, Partitioning(tp=4), 1, 2048, "prefill")
    assert prompt["attention"] == Shape("prefill attention", "bf16", 2048, 2048, 64)


def test_a_layer_takes_timed_efficiencies_and_keeps_the_others() -> None:
    machine, model = Machine.of("trn3"), get_model("gpt-oss-120b")
    base = layer_of("efficiencies", machine)
    layer, used = with_kernels(
        base, EfficiencyTable(DEFAULTS), model, get_precision("bf16"), machine, Partitioning(tp=16), 16, 512
    )
    by = {(entry.phase, entry.operator): entry for entry in used}
    assert len(by) == len(used) == 7
    for (phase, operator), entry in by.items():
        method = layer.decode if phase == "decode" else layer.prefill
        if (phase, operator) in (("decode", "dense"), ("decode", "head")):
            continue
        kept = base.decode.compute[operator]
        assert method.compute[operator] == (kept if entry.entry.is_default else entry.entry.value)
    # 36 layers' maps and the head, of 2 bytes each: their times at their own shares, added up.
    parameters = parameters_of(model)
    layers = parameters.attention + parameters.of("other")
    dense, head = (by[("decode", part)].entry.value.value for part in ("dense", "head"))
    expected = (layers + parameters.head) / (layers / dense + parameters.head / head)
    assert layer.decode.compute["dense"].value == pytest.approx(expected)
    assert min(dense, head) < expected < max(dense, head)
    assert by[("decode", "head")].shape == Shape("matmul", "bf16", 16, 1571, 2880)  # 201,088 / 128 cores
    # 8 heads over 128 cores: a sixteenth of the 512 keys of each of 16 sequences.
    assert by[("decode", "attention")].shape == Shape("decode attention", "bf16", 16, 32, 64, 8)
    assert not by[("decode", "attention")].entry.is_default
    assert not by[("decode", "experts")].entry.is_default


def test_decode_attention_is_bound_by_reading_the_cache_it_needs() -> None:
    """Two caches of 512 keys, 64 wide, 8 heads each: keys and values once, queries in and out, over the core's HBM."""
    shape = Shape("decode attention", "bf16", 2, 512, 64, 8)
    found = EfficiencyTable(DEFAULTS).get(TRN2, shape)
    arrays = [np.zeros(size, ml_dtypes.bfloat16) for size in ((2, 8, 64), (2, 1, 64, 512), (2, 1, 512, 64))]
    assert TRN2.target is not None
    seconds = schedule(trace(decode_attention, *arrays, target=TRN2.target), TRN2.target).range[1]
    moved = 2 * (2 * 2 * 512 * 64 + 2 * 2 * 8 * 64)
    assert shape.flops == 4 * 2 * 512 * 64 * 8
    ideal = max(moved / (2.9e12 / 8), shape.flops / (667e12 / 8))
    assert found.value.value == pytest.approx(ideal / seconds)


def test_long_caches_are_timed_at_a_size_that_their_efficiency_hardly_leaves() -> None:
    long = Shape("decode attention", "bf16", 512, 100_000, 128, 8)
    assert long.capped[2:4] == (8, 16_384)
    assert long._replace(first=3).capped[2:4] == (3, 16_384)
    assert long._replace(second=1000).capped[2:4] == (131, 1000)


def test_caches_are_divided_by_heads_and_beyond_those_along_the_sequence() -> None:
    llama, bf16, machine = get_model("Llama-3.1-70B"), get_precision("bf16"), Machine.of("trn2")

    def shape(split: Partitioning, kv: str = "bf16") -> Shape:
        return shapes(llama, bf16.with_kv(kv), machine, split, 12, 4096, "decode")["attention"]

    # 8 heads: one chip of 8 cores has a head a core; 16 chips have 16 cores a head; cp divides the keys once more.
    assert shape(Partitioning()) == Shape("decode attention", "bf16", 12, 4096, 128, 8)
    assert shape(Partitioning(tp=16)) == Shape("decode attention", "bf16", 12, 256, 128, 8)
    assert shape(Partitioning(tp=16, dp=3, cp=2)) == Shape("decode attention", "bf16", 4, 128, 128, 8)
    assert shape(Partitioning(), "fp8").rate == "fp8"
    latent = shapes(get_model("DeepSeek-V3"), bf16, machine, Partitioning(tp=8), 2, 640, "decode")["attention"]
    assert latent == Shape("decode attention", "bf16", 2, 10, 576, 128)
