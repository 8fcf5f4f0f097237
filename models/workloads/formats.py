"""Element formats as they lie in memory, which tensors of a model use which, and the rate they multiply at.

A `Precision` names three things: how each class of tensors is stored, what the activations are when they meet it, and
the format of the KV cache. The matmul rate follows from weights and activations: a chip multiplies at the rate of the
wider operand's kind, so weights in 4 bits with BF16 activations run at the BF16 rate and only save bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, get_args

from trnlab.models.frozen import FrozenMapping
from trnlab.models.quantity import ModelError

TensorClass = Literal["embedding", "head", "attention", "dense", "experts", "other"]
TENSOR_CLASSES: Final[tuple[TensorClass, ...]] = get_args(TensorClass)
"""embedding; head: the output projection; attention: its linear maps; dense: feed-forward and shared experts;
experts: the routed experts' matrices; other: router, norms, biases, sinks."""
LINEAR_CLASSES: Final[tuple[TensorClass, ...]] = ("head", "attention", "dense", "experts")


@dataclass(frozen=True, slots=True)
class Format:
    """How many bits an element takes in memory, its share of the block scales included."""

    name: str
    bits: float
    source: str

    @property
    def bytes(self) -> float:
        """Bytes per element."""
        return self.bits / 8


_OCP: Final = "OCP Microscaling Formats 1.0: blocks of 32 elements share an 8-bit scale"
_IEEE: Final = "the format's definition"
FORMATS: Final[Mapping[str, Format]] = {
    "fp32": Format("fp32", 32, _IEEE),
    "bf16": Format("bf16", 16, _IEEE),
    "fp16": Format("fp16", 16, _IEEE),
    "fp8": Format("fp8", 8, "one scale per tensor or channel, which is neglected"),
    "int8": Format("int8", 8, "one scale per channel, which is neglected"),
    "mxfp8": Format("mxfp8", 8 + 8 / 32, _OCP),
    "mxfp4": Format("mxfp4", 4 + 8 / 32, _OCP),
    "nvfp4": Format("nvfp4", 4 + 8 / 16, "NVIDIA NVFP4: blocks of 16 elements share an 8-bit scale"),
}

# The matmul rate of (weights, activations); wide activations expand the weights first.
_RATES: Final[Mapping[tuple[str, str], str]] = {
    ("fp32", "fp32"): "fp32",
    **{(weights, wide): "bf16" for weights in FORMATS if weights != "fp32" for wide in ("bf16", "fp16")},
    ("fp8", "fp8"): "fp8",
    ("int8", "int8"): "int8",
    ("mxfp8", "mxfp8"): "mxfp8",
    ("mxfp4", "mxfp8"): "mxfp8",
    ("mxfp4", "mxfp4"): "mxfp4",
    ("nvfp4", "nvfp4"): "mxfp4",
}


def get_format(name: str, what: str = "format") -> Format:
    """The format of that name.

    Raises:
        ModelError: no such format; `what` names the field that asked.
    """
    found = FORMATS.get(name.lower())
    if found is None:
        raise ModelError(what, name, ", ".join(FORMATS))
    return found


def matmul_rate_of(weights: str, activations: str) -> str:
    """The matmul rate of weights times activations.

    Raises:
        ModelError: nothing multiplies this pair.
    """
    rate = _RATES.get((weights, activations))
    if rate is None:
        allowed = ", ".join(f"{left} x {right}" for left, right in _RATES)
        raise ModelError("weights x activations", f"{weights} x {activations}", allowed)
    return rate


@dataclass(frozen=True, kw_only=True)
class Precision:
    """The formats of a deployment.

    weights:     by tensor class; classes that are not named are bf16
    activations: by linear class, what multiplies those weights; not named: bf16
    kv:          the KV cache
    attention:   the matmul rate of scores and weighted values
    wire:        activations on the links
    """

    name: str
    weights: Mapping[TensorClass, str] = field(default_factory=dict)
    activations: Mapping[TensorClass, str] = field(default_factory=dict)
    kv: str = "bf16"
    attention: str = "bf16"
    wire: str = "bf16"

    def __post_init__(self) -> None:
        for title, table in (("weights", self.weights), ("activations", self.activations)):
            for tensor, name in table.items():
                if tensor not in TENSOR_CLASSES:
                    raise ModelError(f"tensor class in {title} of {self.name!r}", tensor, ", ".join(TENSOR_CLASSES))
                get_format(name, f"{title} of {tensor} in {self.name!r}")
            object.__setattr__(self, title, FrozenMapping(table))
        get_format(self.kv, f"KV format of {self.name!r}")
        get_format(self.wire, f"wire format of {self.name!r}")
        for tensor in LINEAR_CLASSES:
            self.rate(tensor)

    def bytes_of(self, tensor: TensorClass) -> float:
        """Bytes per weight of a class, scales included."""
        return FORMATS[self.weights.get(tensor, "bf16")].bytes

    def rate(self, tensor: TensorClass) -> str:
        """The matmul rate of a linear class."""
        return matmul_rate_of(self.weights.get(tensor, "bf16"), self.activations.get(tensor, "bf16"))

    @property
    def rates(self) -> tuple[str, ...]:
        """Every matmul rate that it needs, once each."""
        return tuple(dict.fromkeys((*(self.rate(tensor) for tensor in LINEAR_CLASSES), self.attention)))

    @property
    def kv_bytes(self) -> float:
        """Bytes per element of the KV cache."""
        return FORMATS[self.kv].bytes

    @property
    def wire_bytes(self) -> float:
        """Bytes per activation on a link."""
        return FORMATS[self.wire].bytes

    def with_kv(self, kv: str) -> Precision:
        """The same with another KV cache format, which joins the name: "bf16 + fp8 KV"."""
        base = self.name.split(" + ")[0]
        return replace(self, kv=kv, name=base if kv == "bf16" else f"{base} + {kv} KV")


def _linears(name: str, weights: str, activations: str) -> Precision:
    """Every linear map but the output head."""
    classes: tuple[TensorClass, ...] = ("attention", "dense", "experts")
    return Precision(
        name=name, weights=dict.fromkeys(classes, weights), activations=dict.fromkeys(classes, activations)
    )


def _experts(name: str, weights: str, activations: str) -> Precision:
    return Precision(name=name, weights={"experts": weights}, activations={"experts": activations})


def _all_mx() -> Precision:
    """Experts in MXFP4, every other linear map in MXFP8, activations in MXFP8."""
    others: tuple[TensorClass, ...] = ("attention", "dense", "head")
    return Precision(
        name="mx",
        weights={**dict.fromkeys(others, "mxfp8"), "experts": "mxfp4"},
        activations=dict.fromkeys((*others, "experts"), "mxfp8"),
    )


PRECISIONS: Final[Mapping[str, Precision]] = {
    recipe.name: recipe
    for recipe in (
        Precision(name="bf16"),
        _linears("int8-weights", "int8", "bf16"),
        _linears("fp8", "fp8", "fp8"),
        _linears("mxfp8", "mxfp8", "mxfp8"),
        _linears("mxfp4-a16", "mxfp4", "bf16"),
        _linears("mxfp4-a8", "mxfp4", "mxfp8"),
        _linears("mxfp4-a4", "mxfp4", "mxfp4"),
        _linears("nvfp4", "nvfp4", "nvfp4"),
        _experts("experts-fp8", "fp8", "fp8"),
        _experts("experts-mxfp8", "mxfp8", "mxfp8"),
        _experts("experts-mxfp4-a16", "mxfp4", "bf16"),
        _experts("experts-mxfp4-a8", "mxfp4", "mxfp8"),
        _experts("experts-mxfp4-a4", "mxfp4", "mxfp4"),
        _experts("experts-nvfp4", "nvfp4", "nvfp4"),
        _all_mx(),
    )
}
"""Ready-made recipes. "experts-..." leaves all but the routed experts in bf16, as GPT-OSS ships; a number after "a" is
the width of the activations; the KV cache is bf16 until `with_kv` says otherwise."""


def get_precision(name: str | Precision, kv: str | None = None) -> Precision:
    """A recipe by name, with another KV format if given.

    Raises:
        ModelError: no such recipe or format.
    """
    found = name if isinstance(name, Precision) else PRECISIONS.get(name.lower())
    if found is None:
        raise ModelError("precision", name, ", ".join(PRECISIONS))
    return found if kv is None else found.with_kv(get_format(kv, "KV format").name)
