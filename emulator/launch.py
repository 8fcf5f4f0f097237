"""What users call: `jit` and `simulate` of the published API, and `run`, which also hands back the program.

    run = trnlab.emulator.run(kernel, x, y, target="trn3")
    run.outputs, run.program, run.timeline, run.stats

A launch traces the kernel, unless an equal call was traced before, and runs the program as one JAX function; that
works under `jax.jit`, `jax.vmap` and the like. In reference mode, on request and in `simulate`, instructions execute
one by one as the kernel's Python runs, so that `print` and `breakpoint()` in the kernel show real values.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from trnlab.emulator.backends.reference import Print
from trnlab.emulator.calls import Call, Mode
from trnlab.emulator.check.capacity import Occupancy
from trnlab.emulator.errors import ArgumentError, NotYetSupportedError, UsageError
from trnlab.emulator.program import Program
from trnlab.emulator.source import fail
from trnlab.emulator.target import Target, TargetError, get_target
from trnlab.emulator.trace import active
from trnlab.emulator.usage import nearest

if TYPE_CHECKING:
    from trnlab.emulator.check.finding import Finding
    from trnlab.emulator.timing.timeline import Timeline

MODES = get_args(Mode)
JIT_OPTIONS = (
    "platform_target",
    "mode",
    "additional_compile_opt",
    "debug_kernel",
    "show_compiler_tb",
    "experimental_flags",
)
"""What NKI's migration guide, AWS's documentation and AWS's kernels give to `nki.jit`."""

TARGET_VARIABLE = "NEURON_PLATFORM_TARGET_OVERRIDE"
DEFAULT_TARGET = "trn3"  # AWS's CPU simulator documents the same default (nki_simulator, target platform)


def default_target() -> Target:
    """The target named by NEURON_PLATFORM_TARGET_OVERRIDE, else Trainium3; raises TargetError for a wrong name."""
    named = os.environ.get(TARGET_VARIABLE)
    if not named:
        return get_target(DEFAULT_TARGET)
    try:
        return get_target(named)
    except TargetError as error:
        raise TargetError(TARGET_VARIABLE, error.found, error.allowed) from None


def print_to_stdout(prefix: str, values: np.ndarray[Any, Any]) -> None:
    """What `nl.device_print` does unless a run is given another `on_print`."""
    print(prefix, values)  # noqa: T201


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStats:
    """How a run was made and what it took on this machine.

    trace_seconds covers tracing and checking; in reference mode it includes execution, which happens along the way.
    """

    mode: Mode
    target: str
    instructions: int
    trace_seconds: float
    execute_seconds: float
    occupancy: Occupancy


@dataclass(frozen=True, kw_only=True)
class Run:
    """One launch: the kernel's results, its program, what it took, and, when asked for, findings and timeline."""

    outputs: Any
    program: Program
    target: Target
    stats: RunStats

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What the checks say of the program: limits, capacity, reads of memory that nothing wrote."""
        from trnlab.emulator.check import check

        return check(self.program, self.target)

    @cached_property
    def timeline(self) -> Timeline:
        """The program played on the target's engines and DMA queues."""
        from trnlab.emulator.timing.timeline import schedule

        return schedule(self.program, self.target)


class Kernel:
    """A function under `@nki.jit`: callable with arrays, and an ordinary function inside another kernel."""

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any], cores: int = 1) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.options = dict(options)
        self.cores = cores

    def __getitem__(self, cores: int) -> Kernel:
        """`kernel[lnc]`: launch on that many cores of a logical NeuronCore."""
        if cores not in (1, 2):
            fail(ArgumentError, "nki.jit", operand="lnc", found=repr(cores), allowed="1 or 2")
        return Kernel(self.function, self.options, cores)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the kernel on arrays; inside another kernel, call it as a plain function."""
        if active() is not None:
            return self.function(*args, **kwargs)
        return launch(self, args, kwargs, target=self._target(), mode="compiled").outputs

    def _target(self) -> Target:
        chosen = self.options.get("platform_target")
        return get_target(chosen) if chosen else default_target()

    def __repr__(self) -> str:
        return f"<nki kernel {self.function.__qualname__}>"


def jit(fn: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Make a kernel of a function; bare (`@nki.jit`) or with options (`@nki.jit(platform_target="trn2")`).

    `platform_target` chooses the generation; the other options steer AWS's compiler and change nothing here.

    Raises:
        UsageError: an option that neither NKI's documentation nor AWS's kernels have.
    """
    for name in options:
        if name not in JIT_OPTIONS:
            allowed = f"{', '.join(JIT_OPTIONS)}{nearest(name, JIT_OPTIONS)}"
            fail(UsageError, "nki.jit", operand=name, found=f"an unknown option {name!r}", allowed=allowed)
    if fn is None:
        return lambda function: jit(function, **options)
    return Kernel(fn.function if isinstance(fn, Kernel) else fn, options)


def simulate(kernel: Kernel | Callable[..., Any]) -> Callable[..., Any]:
    """The kernel on the reference executor: f(arrays) -> arrays of the same kind."""
    made = kernel if isinstance(kernel, Kernel) else jit(kernel)

    @functools.wraps(made.function)
    def simulated(*args: Any, **kwargs: Any) -> Any:
        return launch(made, args, kwargs, target=made._target(), mode="reference").outputs

    return simulated


def run(
    kernel: Kernel | Callable[..., Any],
    *args: Any,
    target: Target | str | None = None,
    mode: Mode = "compiled",
    on_print: Print = print_to_stdout,
    mx_scale_rule: str = "nki",
    **kwargs: Any,
) -> Run:
    """Run a kernel and hand back its outputs, program, statistics and timeline.

    args, kwargs: the kernel's own; arrays may be NumPy, JAX or torch
    target:       "trn1" to "trn4", a `Target`, or None for the default (see `default_target`)
    mode:         "compiled" (one JAX function) or "reference" (one instruction at a time, as the kernel's Python runs)
    on_print:     receives (prefix, values) of `nl.device_print`
    mx_scale_rule: how quantize_mx chooses block scales: "nki" (documented since NKI 0.5) or "ocp_floor" (before)

    Raises:
        KernelError: the kernel breaks a rule of the NeuronCore or of NKI; the subclass says which kind.
    """
    made = kernel if isinstance(kernel, Kernel) else jit(kernel)
    chosen = made._target() if target is None else get_target(target)
    return launch(made, args, kwargs, target=chosen, mode=mode, on_print=on_print, mx_scale_rule=mx_scale_rule)


def trace(
    kernel: Kernel | Callable[..., Any],
    *args: Any,
    target: Target | str | None = None,
    mx_scale_rule: str = "nki",
    **kwargs: Any,
) -> Program:
    """The kernel's program, without executing it; arrays may be `jax.ShapeDtypeStruct` for their shapes alone."""
    made = kernel if isinstance(kernel, Kernel) else jit(kernel)
    chosen = made._target() if target is None else get_target(target)
    return Call(_function(made), args, kwargs, chosen, mx_scale_rule=mx_scale_rule).trace()


def launch(
    kernel: Kernel,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    target: Target,
    mode: Mode,
    on_print: Print = print_to_stdout,
    mx_scale_rule: str = "nki",
) -> Run:
    """Trace, check and execute one call of a kernel."""
    if mode not in MODES:
        fail(ArgumentError, "run", operand="mode", found=repr(mode), allowed=" or ".join(MODES))
    call = Call(_function(kernel), args, kwargs, target, mx_scale_rule=mx_scale_rule)
    if any(argument.abstract for argument in call.tensors):
        mode = "compiled"
    outcome = call.execute(mode, on_print)
    stats = RunStats(
        mode=mode,
        target=target.name,
        instructions=len(outcome.program),
        trace_seconds=outcome.trace_seconds,
        execute_seconds=outcome.execute_seconds,
        occupancy=outcome.occupancy,
    )
    return Run(outputs=outcome.outputs, program=outcome.program, target=target, stats=stats)


def _function(kernel: Kernel) -> Callable[..., Any]:
    if kernel.cores != 1:
        fail(
            NotYetSupportedError,
            "nki.jit",
            operand="lnc",
            found=f"kernel[{kernel.cores}]",
            allowed="kernel(...) or kernel[1](...): kernels on two cores are not supported yet",
        )
    return kernel.function
