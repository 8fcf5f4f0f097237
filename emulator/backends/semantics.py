"""The meaning of one instruction on arrays: widen, call the body, seal, narrow. Shared by every back end.

`evaluator(meaning)` is a pure JAX function from the storage arrays of the operands an instruction reads to the storage
arrays of those it writes. The reference back end jits it alone, the compiled back end inlines it, so that the two can
differ only in what is compiled together; sealed float32 results keep the compiler from reaching across instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import count
from math import prod
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from trnlab.emulator.dtypes import DType
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.isa.registry import InstructionSpec, Math, Narrow
from trnlab.emulator.isa.validate import call_of
from trnlab.emulator.memory import ON_CHIP_REGIONS, MemoryRegion
from trnlab.emulator.numerics.casts import narrow, widen
from trnlab.emulator.numerics.sealing import seal
from trnlab.emulator.numerics.stochastic import narrow_stochastic, random_bits
from trnlab.emulator.program import OperandSignature, Signature
from trnlab.emulator.target import NumericsPolicy, Stochastic, Target

Arrays = tuple[jax.Array, ...]
Evaluator = Callable[..., Arrays]


class Meaning(NamedTuple):
    """What of a signature decides its arithmetic: not its buffers, strides or engine, nor a seed."""

    opcode: str
    attributes: tuple[tuple[str, Any], ...]
    operands: tuple[tuple[str, str, DType, tuple[int, ...]], ...]
    immediates: tuple[str, ...]
    math: Math
    layout: str
    numerics: NumericsPolicy


def meaning_of(signature: Signature, target: Target) -> Meaning:
    """The part of a signature that its evaluator depends on."""
    spec = CATALOGUE[signature.opcode]
    flat = spec.layout == "flat"
    operands = tuple(
        (operand.name, operand.access, operand.dtype, _body_shape(operand, flat))
        for operand in signature.operands
        if not operand.name.endswith(".index")
    )
    math = spec.math_of(call_of(signature, target))
    numerics = _without_seed(target.numerics)
    return Meaning(signature.opcode, signature.attributes, operands, signature.immediates, math, spec.layout, numerics)


@lru_cache(maxsize=64)
def _without_seed(policy: NumericsPolicy) -> NumericsPolicy:
    return policy if policy.is_deterministic else replace(policy, rounding=Stochastic())


def _body_shape(operand: OperandSignature, flat: bool) -> tuple[int, ...]:
    """[partitions, elements per partition] for flat on-chip operands, else the view's shape."""
    if flat and (operand.region in ON_CHIP_REGIONS or operand.region is MemoryRegion.register):
        return operand.shape[0], prod(operand.shape[1:])
    return operand.shape


@lru_cache(maxsize=4096)
def evaluator(meaning: Meaning) -> Evaluator:
    """f(arrays read, immediates, key) -> arrays written, in operand order, in the body's shapes and storage dtypes.

    key: for stochastic rounding only: uint32 [2], the seed and a number that no other execution has
    """
    spec = CATALOGUE[meaning.opcode]
    reads = [operand for operand in meaning.operands if operand[1] != "write"]
    writes = [operand for operand in meaning.operands if operand[1] != "read"]
    dtypes = {name: dtype for name, _, dtype, _ in meaning.operands}
    attributes = {**dict(meaning.attributes), "dtypes": dtypes, "math": meaning.math}

    def evaluate(arrays: Sequence[jax.Array], immediates: Sequence[jax.Array], key: jax.Array | None = None) -> Arrays:
        rounded = narrowing(meaning.numerics, key)
        given: dict[str, Any] = {facts.name: None for facts in spec.operands if facts.name in spec.wants}
        given.update(attributes, narrow=rounded)
        for (name, _, dtype, shape), array in zip(reads, arrays, strict=True):
            given[name] = _to_body(jnp.asarray(array).reshape(shape), dtype, spec.math_for(name, meaning.math))
        for name, access, dtype, shape in writes:
            if access == "write":
                given[name] = jax.ShapeDtypeStruct(shape, dtype.storage)  # type: ignore[no-untyped-call]
        given.update(zip(meaning.immediates, immediates, strict=True))
        results = spec.body(**{name: value for name, value in given.items() if name in spec.wants})
        outputs = results if isinstance(results, tuple) else (results,)
        return tuple(
            _from_body(spec, output, dtype, shape, spec.math_for(name, meaning.math), rounded)
            for output, (name, _, dtype, shape) in zip(outputs, writes, strict=True)
        )

    return evaluate


def _to_body(array: jax.Array, dtype: DType, math: Math) -> jax.Array:
    return widen(array, dtype) if math == "float32" else array


def _from_body(
    spec: InstructionSpec, output: jax.Array, dtype: DType, shape: tuple[int, ...], math: Math, rounded: Narrow
) -> jax.Array:
    if math == "float32":
        return rounded(seal(jnp.broadcast_to(output, shape)), dtype)
    if output.dtype != dtype.storage:
        raise AssertionError(f"the body of {spec.name} returned {output.dtype} for a {dtype} operand")
    return output.reshape(shape)


def narrowing(policy: NumericsPolicy, key: jax.Array | None) -> Narrow:
    """The policy as a function f32 -> dtype; under stochastic rounding every use of it draws from its own stream."""
    nearest = partial(narrow, overflow=policy.overflow, subnormals=policy.subnormals)
    if policy.is_deterministic:
        return nearest
    assert key is not None, "stochastic rounding needs a key"
    streams = count()

    def at_random(x: jax.Array, dtype: DType) -> jax.Array:
        if not dtype.is_float or dtype == "float32":
            return nearest(x, dtype)
        bits = random_bits(key, next(streams), x.shape)
        return narrow_stochastic(x, dtype, bits, policy.overflow, policy.subnormals)

    return at_random


@lru_cache(maxsize=4096)
def jitted(meaning: Meaning) -> Evaluator:
    """The evaluator, compiled on its own: the definition of what the instruction computes."""
    return jax.jit(evaluator(meaning))


def executable(meaning: Meaning, policy: NumericsPolicy, numbers: Iterator[int]) -> Evaluator:
    """f(arrays read, immediates): `jitted`, each execution of which takes its key from the seed and `numbers`."""
    function, rounding = jitted(meaning), policy.rounding
    if not isinstance(rounding, Stochastic):
        return function
    return lambda arrays, immediates: function(arrays, immediates, np.array([rounding.seed, next(numbers)], np.uint32))


def immediate(value: float, raw: bool) -> Any:
    """An immediate as bodies take it: float32, or for raw integer math its 32-bit pattern as uint32."""
    if raw and float(value).is_integer():
        return np.uint32(int(value) & 0xFFFFFFFF)
    return np.float32(value)


FlagsT = TypeVar("FlagsT", jax.Array, np.ndarray[Any, Any])


def row_flags(signature: Signature, flags: FlagsT) -> FlagsT:
    """The flags of a gathered source's rows in the order of the result: each stands for an equal run of elements."""
    if CATALOGUE[signature.opcode].rows == "first" or flags.size == 1:
        return flags
    result = next(operand for operand in signature.operands if operand.writes)
    times = prod(result.shape) // flags.size
    return np.tile(flags, times) if isinstance(flags, np.ndarray) else jnp.tile(flags, times)
