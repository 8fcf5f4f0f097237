"""The compiled back end: a traced program as one jitted JAX function, equal to the reference bit for bit.

A run-time index out of bounds raises `BoundsError` when the call has ended. Under an outer JAX transformation there is
no value to look at yet: then every result of the kernel is filled with what uninitialised memory holds, NaN for floats
and 4 for integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from trnlab.emulator.backends import words
from trnlab.emulator.backends.addressing import WORDS
from trnlab.emulator.backends.reference import Print
from trnlab.emulator.backends.renaming import rename
from trnlab.emulator.backends.rolled import Lowered, lower, results_of
from trnlab.emulator.dtypes import as_dtype
from trnlab.emulator.errors import BackendError, BoundsError, NotYetSupportedError, Violation
from trnlab.emulator.fold import fold
from trnlab.emulator.program import Program
from trnlab.emulator.source import fail, location_of
from trnlab.emulator.target import Target

_CACHED_PROGRAMS = 64


@dataclass(frozen=True)
class CompiledProgram:
    """A program compiled for a target: arrays in `program.inputs` order -> {buffer number: array}.

    Inputs may be NumPy or JAX arrays or tracers, so that a call composes with `jax.jit`, `jax.vmap`, `jax.eval_shape`.
    """

    program: Program
    folded: Program
    function: Lowered

    def __call__(self, inputs: Sequence[Any]) -> dict[int, Array]:
        """The program's outputs and the inputs it wrote.

        Raises:
            BackendError: arrays that are not the program's inputs.
            BoundsError: a run-time index out of bounds.
        """
        self._check(inputs)
        found, fault = self.function([_as_words(array) for array in inputs])
        new, old = results_of(self.folded), results_of(self.program)
        buffers = self.program.buffers
        results = {
            number: words.to_elements(found[name], buffers[number].dtype) for number, name in zip(old, new, strict=True)
        }
        if any(isinstance(value, jax.core.Tracer) for value in results.values()):
            return {number: self._poisoned(number, value, fault) for number, value in results.items()}
        if fault is not None and int(fault[0]) >= 0:
            raise BoundsError(_violation(self.folded, *np.asarray(fault).tolist()))
        if _prints(self.program):
            jax.effects_barrier()  # type: ignore[no-untyped-call]
        # JAX may read NumPy inputs in place and late: the caller must be free to change them.
        for value in results.values():
            value.block_until_ready()
        return results

    def _check(self, inputs: Sequence[Any]) -> None:
        wanted = [self.program.buffers[number] for number in self.program.inputs]
        found = [(tuple(array.shape), as_dtype(array.dtype).storage) for array in inputs]
        if found != [(buffer.shape, buffer.dtype.storage) for buffer in wanted]:
            shapes = ", ".join(f"{buffer.dtype}{list(buffer.shape)}" for buffer in wanted)
            given = ", ".join(f"{dtype}{list(shape)}" for shape, dtype in found)
            raise BackendError(f"{self.program.kernel} was traced for ({shapes}), called with ({given})")

    def _poisoned(self, number: int, value: Array, fault: Array | None) -> Array:
        if fault is None:
            return value
        buffer = self.program.buffers[number]
        fill = words.to_elements(words.fresh(buffer, buffer.shape, jnp.uint32(0)), buffer.dtype)
        return jnp.where(fault[0] >= 0, fill, value)


def _as_words(array: Any) -> Any:
    """An input of narrow floats as words where that costs nothing; compiled, the conversion would copy it."""
    if isinstance(array, jax.core.Tracer) or array.dtype.kind in "biu" or array.dtype.itemsize >= 4:
        return array
    if isinstance(array, jax.Array) and len(array.devices()) > 1:
        return array
    return np.asarray(array).view(WORDS[array.dtype.itemsize])


def _violation(program: Program, number: int, position: int, index: int) -> Violation:
    """The out-of-bounds index of one operand, as the reference reports it."""
    signature = program.signature_of(number)
    operand = signature.operands[position]
    assert operand.indirection is not None
    buffer = program.buffers[int(program.row(number)[position, 0])]
    extent = operand.indirection.extent
    where = program.location_of(number)
    allowed = f"0 to {extent - 1}, or oob_mode.skip"
    if 0 <= index < extent:
        allowed = f"elements 0 to {buffer.nbytes // operand.dtype.itemsize - 1}, the buffer's"
    return Violation(
        subject=f"nisa.{signature.opcode}",
        operand=f"{buffer.name}: {operand.dtype}{list(operand.shape)} in {buffer.region.value}",
        found=f"run-time index {index}",
        allowed=allowed,
        location=None if where is None else location_of(where.file, where.line, where.function),
    )


def compile_program(program: Program, target: Target, on_print: Print) -> CompiledProgram:
    """The program as a callable, compiled once for equal programs, targets and (where they print) `on_print`.

    Raises:
        NotYetSupportedError: the target rounds stochastically.
    """
    if not target.numerics.is_deterministic:
        fail(
            NotYetSupportedError,
            "run",
            operand="numerics",
            found=f"rounding {target.numerics.rounding} in compiled mode",
            allowed='mode="reference", which numbers the executions that random bits are keyed by; or NearestEven()',
        )
    return _compiled(program.flat, target, on_print if _prints(program) else _no_print)


def _prints(program: Program) -> bool:
    return any(signature.opcode == "device_print" for signature in program.signatures)


def _no_print(prefix: str, values: np.ndarray[Any, Any]) -> None:
    raise AssertionError(f"a program without device_print printed {prefix}")


@lru_cache(maxsize=_CACHED_PROGRAMS)
def _compiled(program: Program, target: Target, on_print: Print) -> CompiledProgram:
    folded = fold(rename(program).program)
    function = jax.custom_jvp(jax.jit(lower(folded, target, on_print)))
    function.defjvp(partial(_no_derivative, program.kernel))
    return CompiledProgram(program, folded, function)


def _no_derivative(kernel: str, *_: Any) -> Any:
    raise BackendError(f"kernel {kernel} has no derivative: give it one with jax.custom_vjp around the call")
