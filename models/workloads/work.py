"""FLOP and bytes of a forward pass: linear maps, attention, the KV cache.

Notation: T tokens in the pass, S tokens of context, L layers. A multiply-add is 2 FLOP. All formulas broadcast.
"""

from __future__ import annotations

import numpy as np

from trnlab.models.arrays import Array, Values, array
from trnlab.models.workloads.formats import Precision
from trnlab.models.workloads.model import LanguageModel
from trnlab.models.workloads.parameters import linear_flops_per_token, parameters_of


def visible_keys(model: LanguageModel, context: Values) -> Array:
    """Keys that one new token attends to, over all layers: full layers x S + window layers x min(S, window)."""
    context = array(context)
    attention = model.attention
    return array(model.full_layers * context + attention.window_layers * np.minimum(context, attention.window))


def decode_attention_flops(model: LanguageModel, context: Values) -> Array:
    """FLOP of scores and weighted values for one new token: FLOP per key x visible keys."""
    return model.attention.decode_flops_per_key() * visible_keys(model, context)


def causal_pairs(model: LanguageModel, tokens: Values) -> Array:
    """(query, key) pairs of a causal prompt, over all layers.

    A full layer has S (S + 1) / 2; a window layer w (w + 1) / 2 + (S - w) w for S > w.
    """
    tokens = array(tokens)
    short = np.minimum(tokens, model.attention.window)
    window = short * (short + 1) / 2 + (tokens - short) * short
    return array(model.full_layers * tokens * (tokens + 1) / 2 + model.attention.window_layers * window)


def prefill_attention_flops(model: LanguageModel, tokens: Values) -> Array:
    """FLOP of scores and weighted values of one causal prompt: FLOP per pair x pairs."""
    return model.attention.prefill_flops_per_pair() * causal_pairs(model, tokens)


def prefill_flops(model: LanguageModel, tokens: Values, *, head_everywhere: bool = False) -> Array:
    """FLOP of one prompt: linear maps of every token, attention, and the output head for the last token only."""
    tokens = array(tokens)
    heads = tokens if head_everywhere else np.minimum(tokens, 1.0)
    head = 2 * parameters_of(model).head * heads
    return linear_flops_per_token(model, head=False) * tokens + head + prefill_attention_flops(model, tokens)


def kv_elements_per_token(model: LanguageModel) -> int:
    """Elements that one token leaves in the cache of all layers, windows not regarded."""
    return model.layers * model.attention.cache_elements


def kv_bytes(model: LanguageModel, precision: Precision, context: Values, *, window_aware: bool = True) -> Array:
    """KV cache of one sequence in bytes: bytes per element x elements per token and layer x tokens kept.

    window_aware: window layers keep min(S, window) tokens, which takes a runtime with a hybrid cache; otherwise every
    layer keeps S.
    """
    tokens = visible_keys(model, context) if window_aware else model.layers * array(context)
    return precision.kv_bytes * model.attention.cache_elements * tokens


def attention_intensity(model: LanguageModel, precision: Precision) -> float:
    """FLOP per cached byte of decode attention; latent attention reaches hundreds, grouped queries a few."""
    return model.attention.decode_flops_per_key() / (precision.kv_bytes * model.attention.cache_elements)


def training_flops_per_token(model: LanguageModel, sequence: Values, *, recompute: bool = False) -> Array:
    """6 x active weights + 3 x attention per token; with full recomputation 4/3 of it."""
    sequence = array(sequence)
    attention = prefill_attention_flops(model, sequence) / sequence
    once = 6 * parameters_of(model).active + 3 * attention
    return once * (4 / 3 if recompute else 1.0)


def megatron_flops_per_token(layers: int, width: int, vocabulary: int, sequence: int) -> float:
    """96 L d^2 (1 + S / 6d + V / 16 L d): dense GPT with full recomputation (arXiv 2104.04473, equation 3)."""
    return 96 * layers * width**2 * (1 + sequence / (6 * width) + vocabulary / (16 * layers * width))
