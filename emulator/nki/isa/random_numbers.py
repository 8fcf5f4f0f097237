"""The pseudo random number instructions of nki.isa, as published."""

from __future__ import annotations

from typing import Any

import numpy as np

from trnlab.emulator.errors import ArgumentError, EngineError
from trnlab.emulator.isa import random_numbers
from trnlab.emulator.nki.isa import enums
from trnlab.emulator.nki.isa.convert import engine_of
from trnlab.emulator.nki.isa.operands import as_number
from trnlab.emulator.source import fail
from trnlab.emulator.target import Engine
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import NkiInstruction, Trace, current


def rng(dst: NkiTensor, engine: enums.engine = enums.engine.vector, name: str | None = None) -> NkiInstruction:
    """dst = 32 random bits for each element, of which narrower integers keep the least significant ones.

    dst:    an integer tensor of 8, 16 or 32 bits in SBUF or PSUM (GpSimd: SBUF)
    engine: vector, or from NeuronCore-v3 on gpsimd; each lane goes on from where the engine's last number left it

    A kernel that seeds nothing gets the same numbers in every call (assumed).

    Raises:
        EngineError: another engine, or gpsimd on NeuronCore-v2 or for PSUM.
        DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    return _numbers("rng", dst, (), engine, name)


def rand2(dst: NkiTensor, min: float | NkiTensor, max: float | NkiTensor, name: str | None = None) -> NkiInstruction:
    """dst = min + fraction * (max - min), fraction uniform in [0, 1), on the Vector Engine. NeuronCore-v4 on.

    dst:      a tensor in SBUF or PSUM, of floats or integers of 8, 16 or 32 bits; computed in float32
    min, max: numbers with min < max, or (P, 1) float32 tensors

    Raises:
        GenerationError: before NeuronCore-v4.
        ArgumentError: numbers with max <= min, or further apart than float32 reaches.
        ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    low, high = as_number(min), as_number(max)
    if low is not None and high is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            distance = np.float32(high) - np.float32(low)
        if not (distance > 0 and np.isfinite(distance)):
            found, allowed = f"{max!r} with min {min!r}", "above min, by no more than the largest float32"
            fail(ArgumentError, "nisa.rand2", operand="max", found=found, allowed=allowed, source=_source("rand2"))
    return _numbers("rand2", dst, (min, max), enums.engine.vector, name)


def dropout(dst: NkiTensor, data: NkiTensor, prob: float | NkiTensor, name: str | None = None) -> NkiInstruction:
    """dst = 0 with probability prob, else data, on the Vector Engine; what is kept is not scaled.

    dst, data: tensors in SBUF or PSUM of one dtype, of equal partition count and elements per partition
    prob:      a number from 0 to 1, or a (P, 1) float tensor (float32 for integer data)

    Raises:
        ArgumentError: a number outside 0 to 1.
        ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    number = as_number(prob)
    if number is not None and not 0 <= number <= 1:
        found, allowed = repr(prob), "a probability, 0 to 1"
        fail(ArgumentError, "nisa.dropout", operand="prob", found=found, allowed=allowed, source=_source("dropout"))
    return _numbers("dropout", dst, (data, prob), enums.engine.vector, name)


def set_rng_seed(src_seeds: NkiTensor, name: str | None = None) -> NkiInstruction:
    """Seed the Vector Engine's generators, all lanes, from one 32-bit value: the same seed gives the same numbers.

    src_seeds: a (1, 1) tensor of a 32-bit dtype in SBUF or PSUM

    Raises:
        ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    trace = current("nisa.set_rng_seed")
    state = _state(trace, Engine.VECTOR)
    return trace.emit(random_numbers.set_rng_seed, (src_seeds, state), name=name)


def rand_set_state(
    src_seeds: NkiTensor, engine: enums.engine = enums.engine.gpsimd, name: str | None = None
) -> NkiInstruction:
    """Set the generators of the lanes of src_seeds' partitions. NeuronCore-v3 on.

    src_seeds: a 2-D uint32 tensor in SBUF, 6 words in each partition on gpsimd, 4 x 6 on vector
    engine:    gpsimd, or from NeuronCore-v4 on vector

    Raises:
        GenerationError: before NeuronCore-v3.  EngineError: another engine, or vector before NeuronCore-v4.
        ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.rand_set_state"
    trace, chosen = current(subject), _engine(subject, engine)
    operands = (src_seeds, _lanes(trace, chosen, src_seeds))
    return trace.emit(random_numbers.rand_set_state, operands, engine=chosen, name=name)


def rand_get_state(
    dst: NkiTensor, engine: enums.engine = enums.engine.gpsimd, name: str | None = None
) -> NkiInstruction:
    """dst = the state of the generators of the lanes of dst's partitions. NeuronCore-v3 on.

    dst:    a 2-D uint32 tensor in SBUF (vector: or PSUM), 6 words in each partition on gpsimd, 4 x 6 on vector
    engine: gpsimd, or from NeuronCore-v4 on vector

    Raises:
        GenerationError: before NeuronCore-v3.  EngineError: another engine, or vector before NeuronCore-v4.
        ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.rand_get_state"
    trace, chosen = current(subject), _engine(subject, engine)
    operands = (dst, _lanes(trace, chosen, dst))
    return trace.emit(random_numbers.rand_get_state, operands, engine=chosen, name=name)


def _source(instruction: str) -> str:
    return f"NKI reference, nisa.{instruction}"


def _numbers(
    instruction: str, dst: NkiTensor, operands: tuple[Any, ...], engine: enums.engine, name: str | None
) -> NkiInstruction:
    """One draw: the operands, then the generators of the lanes that `dst` lies in."""
    subject = f"nisa.{instruction}"
    trace, chosen = current(subject), _engine(subject, engine)
    operands = (dst, *operands, _lanes(trace, chosen, dst))
    return trace.emit(getattr(random_numbers, instruction), operands, engine=chosen, name=name)


def _engine(subject: str, engine: enums.engine) -> Engine:
    """The engine asked for, which also says whose state a call means; there is no choice to leave to the compiler."""
    chosen = engine_of(subject, engine)
    if chosen not in random_numbers.GENERATORS:
        found = "unknown" if chosen is None else chosen.value
        source = f"NKI reference, {subject}"
        fail(EngineError, subject, operand="engine", found=found, allowed="vector or gpsimd", source=source)
    return chosen


def _state(trace: Trace, engine: Engine) -> NkiTensor:
    """The generators of all lanes of an engine."""
    initial = random_numbers.unseeded(engine, trace.target.partitions)
    return trace.engine_state(f"{engine}_generators", random_numbers.state_words(engine), "uint32", initial)


def _lanes(trace: Trace, engine: Engine, tile: NkiTensor) -> NkiTensor:
    """The generators of the lanes of a tile; of all lanes where the instruction will refuse the tile anyway."""
    state = _state(trace, engine)
    if not isinstance(tile, NkiTensor) or not tile.on_chip:
        return state
    first = tile.start_partition
    return state[first : first + tile.shape[0]]
