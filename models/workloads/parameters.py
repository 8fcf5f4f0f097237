"""How many parameters a model has, by tensor class, and how many of them one token meets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from trnlab.models.workloads.formats import LINEAR_CLASSES, TENSOR_CLASSES, Precision, TensorClass
from trnlab.models.workloads.model import LanguageModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Parameters by tensor class, over all layers.

    experts: the routed experts' matrices, all of them; expert_biases: theirs, kept apart because a token meets only
    its own experts' ones. `other` holds router, norms, biases and sinks, and not the experts' biases.
    """

    embedding: int
    head: int
    attention: int
    dense: int
    experts: int
    router: int
    other: int
    expert_biases: int
    active_fraction: float
    tied: bool

    @property
    def total(self) -> int:
        """All of them; a tied head counts once."""
        shared = 0 if self.tied else self.head
        routed = self.experts + self.expert_biases + self.router
        return self.embedding + shared + self.attention + self.dense + self.other + routed

    @property
    def active(self) -> float:
        """What one token meets: output head in, input embedding out (one row of it is read)."""
        routed = self.active_fraction * (self.experts + self.expert_biases)
        return self.head + self.attention + self.dense + self.other + self.router + routed

    def of(self, tensor: TensorClass) -> int:
        """Parameters of a class; a tied head is stored with the embedding and still multiplied as the head."""
        stored: dict[TensorClass, int] = {
            "embedding": self.embedding,
            "head": 0 if self.tied else self.head,
            "attention": self.attention,
            "dense": self.dense,
            "experts": self.experts,
            "other": self.other + self.router + self.expert_biases,
        }
        return stored[tensor]

    def multiplied(self, tensor: TensorClass) -> float:
        """Weights of a linear class that one token is multiplied with; the router counts as attention's neighbour."""
        weights = {
            "head": float(self.head),
            "attention": float(self.attention + self.router),
            "dense": float(self.dense),
            "experts": self.active_fraction * self.experts,
        }
        return weights[tensor]

    def bytes(self, precision: Precision) -> float:
        """Bytes of the whole model in memory, block scales included."""
        return sum(self.of(tensor) * precision.bytes_of(tensor) for tensor in TENSOR_CLASSES)


@cache
def parameters_of(model: LanguageModel) -> Parameters:
    """The model's parameters, from its shapes alone."""
    width, layers, experts = model.width, model.layers, model.experts
    linear, extras = model.attention.parameters(width)
    matrices = 3 if model.gated else 2
    dense = model.dense_layers * matrices * width * model.ffn_width
    other = layers * (extras + 2 * width) + width
    routed = router = biases = 0
    if experts is not None:
        here = model.routed_layers
        dense += here * matrices * width * experts.shared_width
        routed = here * experts.count * matrices * width * experts.width
        router = here * experts.count * width
        other += here * experts.count * experts.router_bias
        biases = here * experts.count * experts.expert_bias * ((matrices - 1) * experts.width + width)
    return Parameters(
        embedding=model.vocabulary * width,
        head=model.vocabulary * width,
        attention=layers * linear,
        dense=dense,
        experts=routed,
        router=router,
        other=other,
        expert_biases=biases,
        active_fraction=0.0 if experts is None else experts.active / experts.count,
        tied=model.tied,
    )


def linear_flops_per_token(model: LanguageModel, *, head: bool = True) -> float:
    """2 x the weights one token is multiplied with; head=False leaves the output head out, as prefill mostly can."""
    found = parameters_of(model)
    return 2 * sum(found.multiplied(tensor) for tensor in LINEAR_CLASSES if head or tensor != "head")
