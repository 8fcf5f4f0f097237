"""One kernel call: bind the arguments, trace, check, execute, collect the results."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from trnlab.emulator import arguments
from trnlab.emulator.arguments import TensorArgument
from trnlab.emulator.backends import words
from trnlab.emulator.backends.addressing import element_grid
from trnlab.emulator.backends.compiled import compile_program
from trnlab.emulator.backends.reference import Print, Reference
from trnlab.emulator.check.capacity import Occupancy, check_capacity
from trnlab.emulator.errors import ArgumentError, BufferError, TensorLifetimeError, TraceError, UnwrittenOutputError
from trnlab.emulator.fingerprint import Uncacheable, fingerprint
from trnlab.emulator.kernel_cache import KernelCache
from trnlab.emulator.memory import HBM_REGIONS, MemoryRegion
from trnlab.emulator.numerics.microscaling_policies import DEFAULT_MX, MxChoice
from trnlab.emulator.program import Program
from trnlab.emulator.source import definition_of, fail, shown
from trnlab.emulator.target import NumericsPolicy, Target
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import Executor, Trace

Mode = Literal["reference", "compiled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one execution of a call gave.

    returned: the kernel's own result, with tensors; inputs: the tensor arguments as they were before it, where kept
    """

    outputs: Any
    program: Program
    occupancy: Occupancy
    trace_seconds: float
    execute_seconds: float
    returned: Any
    inputs: tuple[TensorArgument, ...]


class Traced(NamedTuple):
    """A traced call: its program, what the kernel returned, and how full the memories get."""

    program: Program
    returned: Any
    occupancy: Occupancy


_TRACED: KernelCache[Traced] = KernelCache()


def forget_traced_kernels() -> None:
    """Empty the cache of traced kernels; only memory and time depend on it."""
    _TRACED.clear()


class Call:
    """A kernel function with its arguments on a target; `tensors` are the tensor arguments in order.

    mx:       how quantize_mx works
    numerics: replaces the target's policy; part of `target`, and so of every key that programs are kept under

    Raises:
        ArgumentError: arguments that the kernel does not take; `numerics` is no `NumericsPolicy`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        target: Target,
        *,
        mx: MxChoice = DEFAULT_MX,
        numerics: NumericsPolicy | None = None,
    ) -> None:
        self.mx = mx
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)
        self.bound = arguments.bind(self.name, function, args, kwargs)
        self.target = target if numerics is None else target.with_numerics(numerics)
        self.tensors: list[TensorArgument] = []
        arguments.map_arguments(self.bound, self._note)
        self.kind = arguments.common_kind(self.tensors)

    def _note(self, name: str, value: Any) -> None:
        found = arguments.describe(name, value)
        if found is not None:
            self.tensors.append(found)

    def trace(self) -> Program:
        """The program, without executing it."""
        return self._traced().program

    def execute(self, mode: Mode, on_print: Print, *, keep_inputs: bool = False) -> Outcome:
        """Trace and check the call, execute it in the mode, and return its results.

        keep_inputs: hand back the tensor arguments too, those that the kernel writes as copies made before

        Raises:
            ArgumentError: an argument without values, or one that is written and cannot be.
            UnwrittenOutputError: a kernel whose only results would be changes to JAX arrays, which cannot change.
        """
        self._require_values()
        started = time.perf_counter()
        if mode == "reference":
            program, inputs, returned = self._trace(Reference(self.target, on_print), with_values=True)
            traced = Traced(program, returned, check_capacity(program, self.target))
        else:
            inputs, traced = [], self._traced()
        program = traced.program
        self._require_results(program)
        kept = self._kept(program) if keep_inputs else ()
        prepared = time.perf_counter()
        if mode == "reference":
            values: Mapping[int, Any] = {n: t.numpy_view() for n, t in zip(program.inputs, inputs, strict=True)}
            outputs = self._collect(traced.returned, lambda tensor: tensor.numpy_view())
        else:
            values = self._run_compiled(program, on_print)
            outputs = self._collect(traced.returned, lambda tensor: _view_of(tensor, values))
        self._write_back(program, values)
        finished = time.perf_counter()
        return Outcome(
            outputs=outputs,
            program=program,
            occupancy=traced.occupancy,
            trace_seconds=prepared - started,
            execute_seconds=finished - prepared,
            returned=traced.returned,
            inputs=kept,
        )

    def _kept(self, program: Program) -> tuple[TensorArgument, ...]:
        """The tensor arguments, of those that the kernel writes a copy."""
        written = set(program.mutated_inputs)
        return tuple(
            replace(argument, value=argument.as_numpy().copy(), kind="numpy") if number in written else argument
            for number, argument in zip(program.inputs, self.tensors, strict=True)
        )

    def _require_values(self) -> None:
        for argument in self.tensors:
            if argument.shape_only:
                allowed = "an array; trace(kernel, ...) is what takes shapes alone"
                fail(
                    ArgumentError,
                    f"kernel {self.name}",
                    operand=argument.name,
                    found=repr(argument.value),
                    allowed=allowed,
                )

    def _require_results(self, program: Program) -> None:
        by_number = dict(zip(program.inputs, self.tensors, strict=True))
        written = [by_number[number] for number in program.mutated_inputs]
        if not program.outputs and all(argument.kind == "jax" for argument in written):
            fail(
                UnwrittenOutputError,
                f"kernel {self.name}",
                operand="return value",
                found=f"nothing returned, and only JAX arrays written ({', '.join(a.name for a in written)})",
                allowed="a kernel that returns what it wrote: JAX arrays cannot change in place",
            )
        for argument in written:
            if argument.kind == "numpy" and not argument.value.flags.writeable:
                found, allowed = "a read-only numpy array that the kernel writes", "a writeable array"
                fail(ArgumentError, f"kernel {self.name}", operand=argument.name, found=found, allowed=allowed)
            if argument.kind != "jax" and any(other.abstract for other in self.tensors):
                found = f"a {argument.kind} array written in place under a JAX transformation"
                allowed = "a JAX array, and a kernel that returns what it wrote"
                fail(ArgumentError, f"kernel {self.name}", operand=argument.name, found=found, allowed=allowed)
            if argument.kind == "torch" and arguments.records_gradients(argument.value):
                found = "a torch tensor that requires gradients, which the kernel writes"
                allowed = "the tensor's detach(), or a call under torch.no_grad()"
                fail(ArgumentError, f"kernel {self.name}", operand=argument.name, found=found, allowed=allowed)
            self._require_own_memory(argument)

    def _require_own_memory(self, written: TensorArgument) -> None:
        """An argument that is written overlaps no other: each is a tensor of its own to the kernel."""
        if written.kind == "jax":
            return
        for other in self.tensors:
            if other is written or other.kind == "jax":
                continue
            if np.shares_memory(written.as_numpy(), other.as_numpy()):
                found = f"an array that the kernel writes, and that shares memory with {other.name}"
                allowed = "arguments that do not overlap where one is written; a copy of one of them"
                fail(ArgumentError, f"kernel {self.name}", operand=written.name, found=found, allowed=allowed)

    # -- tracing ----------------------------------------------------------------------------------------------------

    def _traced(self) -> Traced:
        """The call's program, from the cache where an equal call was traced before."""
        return _TRACED.get_or_make(self._key, self._trace_shapes)

    def _key(self) -> Hashable:
        """Everything that tracing depends on; None where that cannot be told, or a debugger waits in the kernel."""
        if sys.gettrace() is not None:
            return None
        static: list[tuple[str, Any]] = []
        shapes = tuple((t.name, t.shape, t.dtype) for t in self.tensors)

        def note(name: str, value: Any) -> None:
            static.append((name, None if arguments.kind_of(value) is not None else value))

        arguments.map_arguments(self.bound, note)
        try:
            code = fingerprint(self.function, static)
        except Uncacheable:
            return None
        return code, shapes, self.target, self.mx

    def _trace_shapes(self) -> Traced:
        program, _, returned = self._trace(None, with_values=False)
        return Traced(program, returned, check_capacity(program, self.target))

    def _trace(self, executor: Executor | None, *, with_values: bool) -> tuple[Program, list[NkiTensor], Any]:
        trace = Trace(self.name, self.target, executor, mx=self.mx)
        inputs: list[NkiTensor] = []
        remaining = iter(self.tensors)

        def allocate(name: str, value: Any) -> Any:
            if arguments.kind_of(value) is None:
                return value
            argument = next(remaining)
            contents = argument.as_numpy() if with_values else None
            inputs.append(
                trace.allocate(
                    argument.shape,
                    argument.dtype,
                    MemoryRegion.private_hbm,
                    name=name,
                    kind="input",
                    contents=contents,
                    subject="kernel argument",
                )
            )
            return inputs[-1]

        with trace.opened():
            bound = arguments.map_arguments(self.bound, allocate)
            returned = self.function(*bound.args, **bound.kwargs)
            outputs = self._check_results(trace, inputs, returned)
            program = trace.program(inputs, outputs)
        return program, inputs, returned

    def _check_results(self, trace: Trace, inputs: list[NkiTensor], returned: Any) -> list[NkiTensor]:
        """The tensors returned, each in HBM and written.

        Raises:
            BufferError: an on-chip tensor.  ArgumentError: something that is not a tensor.
            TensorLifetimeError: a tensor of another kernel call.  TraceError: a view with a run-time address.
            UnwrittenOutputError: a tensor nothing wrote, or a kernel that returns and writes nothing.
        """
        outputs: list[NkiTensor] = []
        refuse = partial(
            fail, subject=f"kernel {trace.kernel}", operand="return value", location=definition_of(self.function)
        )

        def take(name: str, value: Any) -> None:
            if value is None:
                return
            if not isinstance(value, NkiTensor):
                refuse(ArgumentError, found=shown(value), allowed="tensors, in tuples, lists, dicts")
            if value.buffer not in HBM_REGIONS:
                found, allowed = value.describe(), "a tensor in HBM (buffer=nl.shared_hbm), which the caller can read"
                refuse(BufferError, found=found, allowed=allowed)
            if value._allocation.owner is not trace:
                found = f"{value.describe()}, which belongs to another kernel call"
                refuse(TensorLifetimeError, found=found, allowed="a tensor of this call")
            if value.is_indirect():
                found, allowed = f"{value.describe()}, a view with a run-time address", "a view with a known address"
                refuse(TraceError, found=found, allowed=allowed)
            is_input = any(value._allocation is tensor._allocation for tensor in inputs)
            if not is_input and not trace.was_written(value):
                found = f"{value.describe()}, which no instruction wrote"
                refuse(UnwrittenOutputError, found=found, allowed="a tensor it wrote")
            outputs.append(value)

        arguments.map_tensors(returned, "result", take)
        if not outputs and not any(trace.was_written(tensor) for tensor in inputs):
            found, allowed = "no tensor returned and no argument written", "a kernel that returns or writes a tensor"
            refuse(UnwrittenOutputError, found=found, allowed=allowed)
        return outputs

    # -- results ----------------------------------------------------------------------------------------------------

    def _collect(self, returned: Any, read: Callable[[NkiTensor], Any]) -> Any:
        def convert(name: str, value: Any) -> Any:
            if value is None:
                return None
            array = read(value)
            owned = array.copy() if isinstance(array, np.ndarray) else array
            result = arguments.to_kind(owned, value.dtype, self.kind)
            return arguments.without_derivative(self.name, result, differentiated) if differentiated else result

        differentiated = [t.value for t in self.tensors if t.kind == "torch" and arguments.records_gradients(t.value)]
        return arguments.map_tensors(returned, "result", convert)

    def _run_compiled(self, program: Program, on_print: Print) -> dict[int, Any]:
        """Values of the outputs and of the inputs written, by buffer number."""
        compiled = compile_program(program, self.target, on_print)
        inputs = [argument.value if argument.kind == "jax" else argument.as_numpy() for argument in self.tensors]
        return compiled(inputs)

    def _write_back(self, program: Program, values: Mapping[int, Any]) -> None:
        """Update NumPy and torch arguments that the kernel wrote; JAX arrays cannot change."""
        by_number = dict(zip(program.inputs, self.tensors, strict=True))
        for number in program.mutated_inputs:
            argument = by_number[number]
            if argument.kind == "numpy":
                plain = np.asarray(argument.value)  # as foreign subclasses of arrays convert themselves
                plain[...] = np.asarray(values[number]).view(plain.dtype)
            elif argument.kind == "torch":
                argument.value.copy_(arguments.to_kind(values[number], argument.dtype, "torch"))


def _view_of(tensor: NkiTensor, values: Mapping[int, Any]) -> jax.Array:
    """The elements of a returned view, from its buffer's value."""
    buffer = tensor._allocation.buffer
    array: jax.Array = values[buffer.number]
    if (tensor.shape, tensor.dtype, tensor.offset) == (buffer.shape, buffer.dtype, 0) and tensor.is_contiguous():
        return array
    carried = words.recast(words.to_words(array, buffer.dtype), tensor.dtype).reshape(-1)
    taken = jnp.take(carried, tensor.offset + element_grid(tensor.shape, tensor.strides), axis=0)
    return words.to_elements(taken, tensor.dtype)
