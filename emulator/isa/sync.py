"""Sequencer instructions on registers, and the debugging print.

A register is 32 bits of one engine's sequencer, kept here as one int32. Bits pass through loads and stores: a narrower
element is extended by its own sign on a load and cut to its low bits on a store (assumed), a uint32 keeps its bits.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType
from trnlab.emulator.isa.limits import Rule
from trnlab.emulator.isa.registry import (
    ANY_DTYPE,
    DMA_REACH,
    INTEGER_DTYPES,
    ON_CHIP,
    REGISTER,
    Call,
    instruction,
    reads,
    writes,
)
from trnlab.emulator.target import Engine

_WORD: frozenset[DType] = frozenset({dtypes.int32})
_MEMORY = {"regions": DMA_REACH, "dtypes": INTEGER_DTYPES - {dtypes.bool_}}


def _one_element(operand: str) -> Rule:
    """A scalar in memory: a tensor of exactly one element."""

    def found(call: Call) -> str | None:
        view = call[operand]
        return None if view.elements == 1 else f"{view}, {view.elements} elements"

    return Rule(found, "one element, as shape (1,) or (1, 1)", operand=operand)


@instruction(
    engines=(Engine.SYNC,),
    operands=(
        writes("dst", regions=REGISTER, dtypes=_WORD),
        reads("src", regions=REGISTER, dtypes=_WORD, immediate=True),
    ),
    math="raw",
    source="NKI reference, nisa.register_move",
)
def register_move(src: jax.Array) -> jax.Array:
    """dst = src, a register or a compile-time integer."""
    return _as_int32(src)


@instruction(
    engines=(Engine.SYNC,),
    operands=(writes("dst", regions=REGISTER, dtypes=_WORD), reads("src", **_MEMORY)),
    limits=(_one_element("src"),),
    math="raw",
    source="NKI reference, nisa.register_load",
    assumptions=("integers only; narrower ones are extended by their own sign",),
)
def register_load(src: jax.Array) -> jax.Array:
    """dst = src, one integer from SBUF or HBM."""
    return _as_int32(src).reshape(1, 1)


@instruction(
    engines=(Engine.SYNC,),
    operands=(writes("dst", **_MEMORY), reads("src", regions=REGISTER, dtypes=_WORD)),
    limits=(_one_element("dst"),),
    math="raw",
    source="NKI reference, nisa.register_store",
    assumptions=("integers only; narrower ones take the low bits",),
)
def register_store(dst: jax.ShapeDtypeStruct, src: jax.Array) -> jax.Array:
    """dst = src, one integer to SBUF or HBM."""
    return src.reshape(dst.shape).astype(dst.dtype)


def _as_int32(values: jax.Array) -> jax.Array:
    return jnp.asarray(values).astype(jnp.int32)


@instruction(
    engines=(Engine.SYNC,),
    operands=(reads("data", regions=DMA_REACH | ON_CHIP | REGISTER, dtypes=ANY_DTYPE),),
    attributes=("prefix",),
    math="raw",
    layout="view",
    source="NKI reference, nki.language.device_print",
)
def device_print() -> tuple[()]:
    """The tensor's values now, shown to the host under a prefix; the executor hands them over, nothing is written."""
    return ()
