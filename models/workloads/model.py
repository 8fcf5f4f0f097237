"""A decoder-only language model as shapes: what its layers hold, from which parameters, FLOP and bytes follow."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from trnlab.models.quantity import ModelError


def check_counts(owner: str, record: Any, *, least: int = 1, skip: tuple[str, ...] = ()) -> None:
    """Every int field of the record is a whole number of at least `least`.

    Raises:
        ModelError: one is not; its name is in the message.
    """
    for item in fields(record):
        value = getattr(record, item.name)
        if item.name in skip or isinstance(value, (str, bool, float)) or not isinstance(value, int):
            continue
        if value < least:
            raise ModelError(f"{item.name} of {owner}", value, f"a whole number >= {least}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedAttention:
    """Multi-head, grouped-query or multi-query attention.

    window: keys a sliding-window layer sees; window_layers: how many layers slide, the others see everything.
    sinks: one learned logit per head, which joins the softmax and has neither key nor value.
    """

    heads: int
    kv_heads: int
    head_dim: int
    qkv_bias: bool = False
    output_bias: bool = False
    head_norm: bool = False
    sinks: bool = False
    window: int = 0
    window_layers: int = 0

    def __post_init__(self) -> None:
        check_counts("attention", self, skip=("window", "window_layers"))
        if self.heads % self.kv_heads:
            raise ModelError("kv_heads of attention", self.kv_heads, f"a divisor of heads = {self.heads}")
        if self.window < 0 or self.window_layers < 0 or bool(self.window) != bool(self.window_layers):
            raise ModelError("window and window_layers", (self.window, self.window_layers), "both zero or both >= 1")

    @property
    def cache_elements(self) -> int:
        """Elements that one token leaves in the cache of one layer."""
        return 2 * self.kv_heads * self.head_dim

    @property
    def cache_heads(self) -> int:
        """Into how many independent parts the cache falls by heads."""
        return self.kv_heads

    def parameters(self, width: int) -> tuple[int, int]:
        """(weights of the linear maps, other parameters) of one layer."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        linear = width * (queries + 2 * keys) + queries * width
        other = self.qkv_bias * (queries + 2 * keys) + self.output_bias * width
        return linear, other + self.sinks * self.heads + self.head_norm * 2 * self.head_dim

    def decode_flops_per_key(self) -> int:
        """FLOP of one query token over one cached token: scores and weighted values, 4 heads head_dim."""
        return 4 * self.heads * self.head_dim

    def prefill_flops_per_pair(self) -> int:
        """FLOP of one (query, key) pair when whole prompts are processed."""
        return self.decode_flops_per_key()


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentAttention:
    """Multi-head latent attention: keys and values of a token are kept as one vector of kv_rank + rope elements.

    Decode uses the absorbed form, in which scores and values are taken against that vector itself: far more FLOP per
    byte than grouped queries. Prefill expands it into heads. DeepSeek-V2 (arXiv 2405.04434), section 2.1.
    """

    heads: int
    q_rank: int
    kv_rank: int
    nope: int
    rope: int
    value: int
    window: int = 0
    window_layers: int = 0

    def __post_init__(self) -> None:
        check_counts("attention", self, skip=("window", "window_layers"))
        if self.window or self.window_layers:
            raise ModelError("window of latent attention", self.window, "0: no published model has one")

    @property
    def cache_elements(self) -> int:
        """Elements that one token leaves in the cache of one layer."""
        return self.kv_rank + self.rope

    @property
    def cache_heads(self) -> int:
        """Into how many independent parts the cache falls by heads: one, for all heads read the same vector."""
        return 1

    def parameters(self, width: int) -> tuple[int, int]:
        """(weights of the linear maps, other parameters) of one layer."""
        queries = self.q_rank * (width + self.heads * (self.nope + self.rope))
        keys = width * (self.kv_rank + self.rope) + self.kv_rank * self.heads * (self.nope + self.value)
        return queries + keys + self.heads * self.value * width, self.q_rank + self.kv_rank

    def decode_flops_per_key(self) -> int:
        """FLOP of one query token over one cached token in the absorbed form: 2 heads ((c + r) + c)."""
        return 2 * self.heads * (2 * self.kv_rank + self.rope)

    def prefill_flops_per_pair(self) -> int:
        """FLOP of one (query, key) pair when the heads are expanded: 2 heads (nope + rope + value)."""
        return 2 * self.heads * (self.nope + self.rope + self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """The routed feed-forward of a mixture-of-experts layer.

    count experts of inner width `width`, `active` of them per token; shared_width: inner width of what every token
    passes besides. dense_layers: first layers that have the model's plain feed-forward instead.
    """

    count: int
    active: int
    width: int
    shared_width: int = 0
    dense_layers: int = 0
    router_bias: bool = False
    expert_bias: bool = False

    def __post_init__(self) -> None:
        check_counts("experts", self, skip=("shared_width", "dense_layers"))
        if self.active > self.count:
            raise ModelError("active experts", self.active, f"at most count = {self.count}")
        if self.shared_width < 0 or self.dense_layers < 0:
            raise ModelError("shared_width and dense_layers", (self.shared_width, self.dense_layers), ">= 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModel:
    """A decoder-only transformer with gated feed-forwards (three matrices each).

    layers, width (d_model), vocabulary; ffn_width: inner width of the plain feed-forward, 0 where every layer routes.
    tied: input embedding and output head are one matrix. gated: three matrices, else two. experts_format: in which the
    publisher ships the routed experts; everything else is taken to be in bf16.
    published_total, published_active: parameters as their publisher gives them, 0 where it does not.

    Raises:
        ModelError: a size that is not a whole number >= 1, or layers that do not add up.
    """

    name: str
    source: str
    layers: int
    width: int
    vocabulary: int
    attention: GroupedAttention | LatentAttention
    ffn_width: int = 0
    experts: Experts | None = None
    tied: bool = False
    gated: bool = True
    experts_format: str = "bf16"
    published_total: float = 0.0
    published_active: float = 0.0

    def __post_init__(self) -> None:
        check_counts(self.name, self, skip=("ffn_width",))
        if self.attention.window_layers > self.layers:
            raise ModelError("window_layers", self.attention.window_layers, f"at most layers = {self.layers}")
        if self.experts is not None and self.experts.dense_layers > self.layers:
            raise ModelError("dense_layers", self.experts.dense_layers, f"at most layers = {self.layers}")
        if self.ffn_width < 1 and self.dense_layers:
            raise ModelError("ffn_width", self.ffn_width, f">= 1: {self.dense_layers} layers have no experts")

    @property
    def dense_layers(self) -> int:
        """Layers with a plain feed-forward."""
        return self.layers if self.experts is None else self.experts.dense_layers

    @property
    def routed_layers(self) -> int:
        """Layers with routed experts."""
        return self.layers - self.dense_layers

    @property
    def full_layers(self) -> int:
        """Layers whose attention sees the whole context."""
        return self.layers - self.attention.window_layers

    @property
    def is_mixture(self) -> bool:
        """Whether tokens are routed to experts."""
        return self.experts is not None

    def __str__(self) -> str:
        return self.name
