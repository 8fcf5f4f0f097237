"""Cross-checks of serving, of single matmuls and of collectives."""

from __future__ import annotations

from functools import partial
from typing import Final

from trnlab.models.chips import Topology
from trnlab.models.parallel.collectives import all_gather
from trnlab.models.parallel.fabric import Fabric
from trnlab.models.quantity import Quantity
from trnlab.models.validation.checks import (
    GENZ,
    LLM_ANALYSIS,
    LLM_VIEWER,
    SCALING_BOOK,
    CrossCheck,
    critical_batch,
    plain_model,
)
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import Precision, get_precision
from trnlab.models.workloads.parameters import parameters_of
from trnlab.models.workloads.work import kv_bytes

# TPU v5e and A100 figures as the sources' examples use them: B/s, FLOP/s.
_V5E_HBM, _V5E_BF16, _V5E_INT8 = 8.1e11, 1.97e14, 3.94e14
_A100_40, _A100_80 = 1.555e12, 2.039e12
_INT8_KV: Final = Precision(name="int8 KV", kv="int8")
_BF16: Final = get_precision("bf16")


def _kv_per_token() -> float:
    return float(kv_bytes(get_model("Llama-3.1-70B"), _INT8_KV, 1))


def _served_bytes() -> float:
    return 70e9 + 32 * float(kv_bytes(get_model("Llama-3.1-70B"), _INT8_KV, 8192))


def _quiz(batch: int) -> float:
    """Weights and their matmul have one bound, the cache another: they add up."""
    chips = 16
    weights = max(30e9 / (chips * _V5E_HBM), 2 * 30e9 * batch / (chips * _V5E_BF16))
    return (weights + batch * 8192 * 1e5 / (chips * _V5E_HBM)) * 1e3


def _line(chips: int, bandwidth: float, *, hop: float = 1e-6) -> Fabric:
    """A ring of chips with that much bandwidth in one direction in all."""
    source = "the source's example"
    domain = Topology(
        kind="torus",
        shape=(chips,),
        bandwidth=Quantity(bandwidth, "B/s", source, "assumed"),
        step_latency=Quantity(hop, "s", source, "assumed"),
    )
    return Fabric(name="example", domain=domain)


def _gather_us(size: float, chips: int, bandwidth: float, *, whole: bool = False) -> float:
    """Microseconds of the bytes of an all-gather; `whole` neglects that a chip has its own part, as the book does."""
    moved = float(all_gather(_line(chips, bandwidth), size, chips, "ring").transfer)
    return moved * (chips / (chips - 1) if whole else 1) * 1e6


def _example(ffn_width: int, heads: tuple[int, int, int], vocabulary: int, *, tied: bool) -> float:
    model = plain_model(64, 4096, ffn_width, vocabulary, heads, tied=tied)
    return parameters_of(model).total / 1e9


def _decode_ms(name: str, bandwidth: float, context: int) -> float:
    model = get_model(name)
    size = parameters_of(model).bytes(_BF16) + float(kv_bytes(model, _BF16, context))
    return size / bandwidth * 1e3


def _whole_matmul_batch(peak: float, bandwidth: float, rows: int, columns: int) -> float:
    """Batch at which 2 B D F / peak = (D F + B D + B F) / bandwidth, all in 8 bits."""
    return rows * columns / (2 * rows * columns * bandwidth / peak - rows - columns)


_BOOK = partial(CrossCheck, source=SCALING_BOOK)

INFERENCE_CHECKS: Final[tuple[CrossCheck, ...]] = (
    _BOOK(
        name="1 critical batch, int8",
        inputs="3.94e14 FLOP/s, 8.1e11 B/s",
        unit="token",
        expected=243,
        compute=lambda: critical_batch(_V5E_INT8, _V5E_HBM, 1),
    ),
    _BOOK(
        name="2 critical batch, int8 weights in BF16",
        inputs="v5e",
        unit="token",
        expected=120,
        tolerance=0.02,
        compute=lambda: critical_batch(_V5E_BF16, _V5E_HBM, 1),
    ),
    _BOOK(
        name="3 critical batch, H100 BF16",
        inputs="1e15 FLOP/s, 3.35e12 B/s",
        unit="token",
        expected=298,
        compute=lambda: critical_batch(1e15, 3.35e12, 2),
    ),
    _BOOK(
        name="4a parameters of an example",
        inputs="L 64, D 4096, F 16384, V 32000, full heads",
        unit="B parameters",
        expected=16,
        tolerance=0.1,
        compute=lambda: _example(16_384, (32, 32, 128), 32_000, tied=False),
        flaw="the book rounds its inputs; exactly 17.4",
    ),
    _BOOK(
        name="4b its KV cache, int8",
        inputs="as 4a, per token",
        unit="KiB",
        expected=512,
        compute=lambda: float(kv_bytes(plain_model(64, 4096, 16_384, 32_000, (32, 32, 128)), _INT8_KV, 1)) / 1024,
    ),
    _BOOK(
        name="6 parameters of an example",
        inputs="L 64, D 4096, F 16384, 32 and 8 heads of 256, V 32128, tied",
        unit="B parameters",
        expected=18.4,
        compute=lambda: _example(16_384, (32, 8, 256), 32_128, tied=True),
    ),
    _BOOK(
        name="7 KV cache of Llama-3-70B, int8",
        inputs="per token",
        unit="KiB",
        expected=160,
        compute=lambda: _kv_per_token() / 1024,
    ),
    _BOOK(
        name="8a bytes of a decode step",
        inputs="70B int8, batch 32, 8k",
        unit="GB",
        expected=112,
        compute=lambda: _served_bytes() / 1e9,
    ),
    _BOOK(
        name="8b its time on 8 v5e",
        inputs="as 8a",
        unit="ms",
        expected=17,
        tolerance=0.03,
        compute=lambda: _served_bytes() / (8 * _V5E_HBM) * 1e3,
    ),
    _BOOK(
        name="8c its throughput",
        inputs="as 8a",
        unit="token/s/chip",
        expected=235,
        tolerance=0.03,
        compute=lambda: 32 / (_served_bytes() / _V5E_HBM),
    ),
    _BOOK(
        name="9a decode step, batch 4",
        inputs="30B int8, 100 kB a token, 8k, 16 v5e",
        unit="ms",
        expected=2.5,
        tolerance=0.03,
        compute=lambda: _quiz(4),
    ),
    _BOOK(
        name="9b decode step, batch 256",
        inputs="as 9a",
        unit="ms",
        expected=21,
        compute=lambda: _quiz(256),
    ),
    _BOOK(
        name="10 prefill of 8192 tokens",
        inputs="70B, 16 v5e at 40 %",
        unit="s",
        expected=0.91,
        compute=lambda: 2 * 70e9 * 8192 / (16 * _V5E_BF16 * 0.4),
    ),
    _BOOK(
        name="14a all-gather over X",
        inputs="v4p 4 x 4 x 4, bf16[1024, 4096] over 16 chips, 9e10 B/s",
        unit="µs",
        expected=23,
        tolerance=0.02,
        compute=lambda: _gather_us(2 * 1024 * 4096 / 4, 4, 9e10, whole=True),
    ),
    _BOOK(
        name="14b all-gather over X and Y",
        inputs="as 14a, two dimensions",
        unit="µs",
        expected=46,
        tolerance=0.02,
        compute=lambda: _gather_us(2 * 1024 * 4096, 16, 18e10, whole=True),
    ),
    _BOOK(
        name="14c all-reduce over Z",
        inputs="as 14a, the whole array",
        unit="µs",
        expected=190,
        tolerance=0.03,
        compute=lambda: 2 * _gather_us(2 * 1024 * 4096, 4, 9e10, whole=True),
    ),
    _BOOK(
        name="15a all-gather, wrapped",
        inputs="v5e, bf16[2048, 8192] over 4",
        unit="µs",
        expected=377,
        tolerance=0.015,
        compute=lambda: _gather_us(2 * 2048 * 8192, 4, 9e10, whole=True),
        flaw="a chip's own part is neglected; 680 µs measured",
    ),
    _BOOK(
        name="15b all-gather, not wrapped",
        inputs="as 15a, one link",
        unit="µs",
        expected=560,
        compute=lambda: _gather_us(2 * 2048 * 8192, 4, 4.5e10),
    ),
    _BOOK(
        name="16 latency of a small all-gather",
        inputs="v5e, 256 x 256 over 4, 1 µs a hop",
        unit="µs",
        expected=3,
        compute=lambda: float(all_gather(_line(4, 4.5e10), 2 * 256 * 256, 4, "ring").latency) * 1e6,
        flaw="about 8 µs measured",
    ),
    _BOOK(
        name="17 reading 200B parameters",
        inputs="BF16, 32 v4p",
        unit="ms",
        expected=10,
        tolerance=0.02,
        compute=lambda: 400e9 / (32 * 1.23e12) * 1e3,
    ),
    _BOOK(
        name="18 critical batch of a whole matmul",
        inputs="int8, 4096 x 16384, activations counted",
        unit="token",
        expected=271,
        tolerance=0.04,
        compute=lambda: _whole_matmul_batch(_V5E_INT8, _V5E_HBM, 4096, 16_384),
        flaw="the book rounds on the way; exactly 262.7",
    ),
    _BOOK(
        name="19 FLOP per byte over PCIe",
        inputs="9.2e14 FLOP/s, 1.5e10 B/s",
        unit="FLOP/B",
        expected=61_000,
        compute=lambda: 2 * critical_batch(9.2e14, 1.5e10, 1),
    ),
    _BOOK(
        name="20 copy across a torus",
        inputs="16.8 MB over 2 links, 6 hops",
        unit="µs",
        expected=194,
        compute=lambda: 2**24 / 9e10 * 1e6 + 6,
    ),
    CrossCheck(
        name="28 decode of a 13B model",
        source=LLM_ANALYSIS,
        inputs="A100-40, context 512; 22.0 ms measured by FasterTransformer",
        unit="ms",
        expected=17.07,
        compute=lambda: _decode_ms("Llama-2-13B", _A100_40, 512),
    ),
    CrossCheck(
        name="29 Llama-2-70B, 512 tokens",
        source=LLM_ANALYSIS,
        inputs="2 x A100-80",
        unit="s",
        expected=18.06,
        tolerance=0.05,
        compute=lambda: 512 * _decode_ms("Llama-2-70B", 2 * _A100_80, 0) / 1e3,
        flaw="the tool counts communication and cache as well",
    ),
    CrossCheck(
        name="35a work of q_proj",
        source=LLM_VIEWER,
        inputs="Llama-2-7B, 2048 tokens, FP16",
        unit="GOP",
        expected=68.7,
        compute=lambda: 2 * 2048 * 4096**2 / 1e9,
    ),
    CrossCheck(
        name="35b its intensity",
        source=LLM_VIEWER,
        inputs="as 35a, operands and result once",
        unit="FLOP/B",
        expected=1024,
        compute=lambda: 2 * 2048 * 4096**2 / (2 * (4096**2 + 2 * 2048 * 4096)),
    ),
    CrossCheck(
        name="37 decode QKV of Llama-2-7B",
        source=GENZ,
        inputs="1 x 4096 x 12288 BF16, 1.2 TB/s x 0.8",
        unit="ms",
        expected=0.09766,
        tolerance=0.08,
        compute=lambda: 2 * 4096 * 12_288 / (1.2e12 * 0.8) * 1e3,
        flaw="the tool divides MiB by GB/s times 2^20 / 1e6; 0.1049 in one system of units",
    ),
)
