"""Published end-to-end measurements on Trainium, as inputs of the model beside the figure that was measured.

Context is the cache halfway through the answer: prompt + answer / 2. Chips are whole chips: trn1.32xlarge has 16 with
2 cores each, trn2.48xlarge 16 with 8. `stack` parts AWS's own tables and tutorials from early third-party runs with
static batches, which are shown and not fitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

RECIPES: Final = "AWS Neuron documentation, vLLM gpt-oss and speculative decoding tutorials (SDK 2.31-2.33)"
TABLES: Final = "AWS Neuron documentation, Trn1 inference benchmark tables"
TUTORIALS: Final = "AWS Neuron documentation, NxD Inference tutorials for Llama 70B and 405B on trn2.48xlarge"
OPTIMUM: Final = "GitHub huggingface/optimum-neuron, benchmark/vllm tables"
Stack = Literal["AWS", "third party"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredDecode:
    """Seconds between output tokens, as published, and what was run."""

    name: str
    model: str
    chip: str
    chips: int
    precision: str
    batch: int
    context: float
    seconds: float
    source: str
    stack: Stack = "AWS"
    note: str = ""


def _trn1(
    name: str, model: str, batch: int, prompt: int, length: int, ms: float, precision: str = "bf16"
) -> MeasuredDecode:
    return MeasuredDecode(
        name=name,
        model=model,
        chip="trn1",
        chips=16,
        precision=precision,
        batch=batch,
        context=(prompt + length) / 2,
        seconds=ms * 1e-3,
        source=TABLES,
    )


def _trn2(
    name: str, model: str, chips: int, batch: int, tokens: tuple[int, int], ms: float, source: str, note: str = ""
) -> MeasuredDecode:
    return MeasuredDecode(
        name=name,
        model=model,
        chip="trn2",
        chips=chips,
        precision="bf16",
        batch=batch,
        context=tokens[0] + tokens[1] / 2,
        seconds=ms * 1e-3,
        source=source,
        stack="third party" if source == OPTIMUM else "AWS",
        note=note,
    )


_INT8: Final = "int8-weights"

DECODE_ROWS: Final[tuple[MeasuredDecode, ...]] = (
    _trn2("gpt-oss-120b, 4 chips, b 1", "gpt-oss-120b", 4, 1, (512, 128), 7.00, RECIPES),
    _trn2("Llama-3.1-8B, 2 chips, b 2", "Llama-3.1-8B", 2, 2, (512, 128), 10.52, RECIPES),
    _trn2("Llama-3.3-70B, 16 chips, b 1", "Llama-3.1-70B", 16, 1, (10_000, 1500), 19.6, TUTORIALS),
    _trn2("Llama-3.1-405B, 16 chips, b 1", "Llama-3.1-405B", 16, 1, (10_000, 1500), 37.9, TUTORIALS),
    _trn1("Llama-3-8B int8, b 1, 4k", "Llama-3.1-8B", 1, 128, 4096, 5.86, _INT8),
    _trn1("Llama-3-8B int8, b 1, 8k", "Llama-3.1-8B", 1, 128, 8192, 7.03, _INT8),
    _trn1("Llama-3-8B int8, b 8, 4k", "Llama-3.1-8B", 8, 128, 4096, 7.65, _INT8),
    _trn1("Llama-3-70B, b 1, 1152", "Llama-3.1-70B", 1, 128, 1152, 24.48),
    _trn1("Llama-3-70B, b 1, 4k", "Llama-3.1-70B", 1, 2048, 4096, 26.2),
    _trn1("Llama-3-70B, b 4, 1152", "Llama-3.1-70B", 4, 128, 1152, 28.38),
    _trn1("Llama-2-7B, b 1, 8k", "Llama-2-7B", 1, 128, 8192, 6.70),
    _trn1("Llama-2-13B, b 1, 8k", "Llama-2-13B", 1, 4096, 8192, 9.84),
    _trn1("Llama-2-70B, b 1, 4k", "Llama-2-70B", 1, 128, 4096, 25.18),
    _trn1("Llama-2-70B, b 4, 4k", "Llama-2-70B", 4, 128, 4096, 31.8),
    _trn1("Llama-2-13B, b 8, 8k", "Llama-2-13B", 8, 4096, 8192, 19.9),
    _trn1("Mistral-7B, b 1, 16k", "Mistral-7B", 1, 8192, 16_384, 9.89),
    _trn2("Llama-3.1-8B, 1 chip, b 32", "Llama-3.1-8B", 1, 32, (1500, 250), 22.14, OPTIMUM, "samples on the host"),
    _trn2("Qwen3-32B, 1 chip, b 2", "Qwen3-32B", 1, 2, (1500, 250), 32.08, OPTIMUM),
    _trn2("Qwen3-30B-A3B, 1 chip, b 16", "Qwen3-30B-A3B", 1, 16, (1500, 250), 56.4, OPTIMUM, "immature MoE"),
    _trn2("Qwen3-235B-A22B, 16 chips, b 4", "Qwen3-235B-A22B", 16, 4, (1500, 250), 32.2, OPTIMUM),
)
"""Decode rows. The fact base has the 1-chip rows' lengths from the benchmark's own settings; for Qwen they are taken
to be the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredGemm:
    """Device time of a BF16 matrix multiplication on one pair of Trainium3 cores."""

    rows: int
    columns: int
    depth: int
    seconds: float

    @property
    def flops(self) -> float:
        """2 M N K."""
        return 2.0 * self.rows * self.columns * self.depth


OPERATORX: Final = (
    "GitHub SemiAnalysisAI/InferenceX, branch codex/trainium-exploration, commit e60b2ca49 (Apache-2.0, not merged): "
    "device profiles on trn3pd98.3xlarge, median of 21"
)
GEMM_ROWS: Final[tuple[MeasuredGemm, ...]] = tuple(
    MeasuredGemm(rows=m, columns=n, depth=k, seconds=us * 1e-6)
    for m, n, k, us in (
        (2048, 2048, 1024, 79.7),
        (2048, 4096, 4096, 474.2),
        (4096, 4096, 4096, 927.6),
        (8192, 8192, 8192, 7220.7),
        (2048, 8192, 28_672, 6234),
        (4096, 28_672, 8192, 12_622),
    )
)
"""Six of the 63 executables; `trnlab validate projections --gemm FOLDER` reads the user's copy of all of them."""
