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
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np

from trnlab.emulator.arguments import TensorArgument, returned_whole
from trnlab.emulator.backends.reference import Print
from trnlab.emulator.calls import Call, Mode
from trnlab.emulator.check.capacity import Occupancy
from trnlab.emulator.errors import ArgumentError, NotYetSupportedError, UsageError
from trnlab.emulator.numerics.microscaling_policies import BLOCK_POLICIES, DEFAULT_MX, MxChoice, ScaleRule
from trnlab.emulator.ordering import Schedule, scheduled
from trnlab.emulator.program import Program
from trnlab.emulator.source import fail
from trnlab.emulator.target import NumericsPolicy, Target, TargetError, get_target
from trnlab.emulator.target.policies import checked_policy
from trnlab.emulator.trace import active
from trnlab.emulator.usage import nearest

if TYPE_CHECKING:
    from trnlab.emulator.attribution import ErrorReport
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
    "enable_cache",
)
"""What NKI's migration guide, AWS's documentation, AWS's kernels and public kernels give to `nki.jit`."""
EMULATOR_OPTIONS = ("numerics", "mx_scale_rule", "mx_block_policy")
"""What only this `nki.jit` takes: a kernel that goes to hardware gets them from `run` instead."""

_MX_OPTIONS = {
    "mx_scale_rule": tuple(rule.value for rule in ScaleRule),
    "mx_block_policy": tuple(BLOCK_POLICIES),
}

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


class Replay(NamedTuple):
    """What it takes to execute a run again: the arguments as given, and the call's own records of them.

    tensors: the tensor arguments in the order of `program.inputs`, as objects that were given
    inputs:  the same as they were before the run; returned: the kernel's result, with tensors
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    tensors: tuple[TensorArgument, ...]
    inputs: tuple[TensorArgument, ...]
    returned: Any


@dataclass(frozen=True, kw_only=True)
class Run:
    """One launch: the kernel's results, its program, what it took, and, when asked for, findings and timeline."""

    outputs: Any
    program: Program
    target: Target
    stats: RunStats
    replay: Replay = field(repr=False)

    def error_report(
        self, oracle: Callable[..., Any] | Any = None, *, exact: bool = False, tolerance: float = 1e-5
    ) -> ErrorReport:
        """Which source lines make the error of the results: see `trnlab.emulator.attribution`.

        oracle:    a function of the kernel's arguments (float arrays arrive as float64), or its results; with it the
                   report says whether the formula is right
        exact:     find each line's share of the results' error, by a walk with one more world for every line that errs
        tolerance: relative rms up to which wide arithmetic agrees with the oracle

        The arguments must still hold what they held; arrays that the kernel wrote are remembered.

        Raises:
            ArgumentError: a run under a JAX transformation, which has no values.
            ShapeError: results of the oracle that do not fit the kernel's.
        """
        from trnlab.emulator.attribution.replay import error_report

        return error_report(self, oracle, exact=exact, tolerance=tolerance)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What the checks say of the program: limits, capacity, operands that overlap, memory that nothing wrote."""
        from trnlab.emulator.check import check

        return check(self.program, self.target, whole=returned_whole(self.replay.returned))

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

    @property
    def func(self) -> Callable[..., Any]:
        """The undecorated function, under the name that AWS's kernel objects have for it."""
        return self.function

    def __getitem__(self, cores: Any) -> Kernel:
        """`kernel[lnc]`, or `kernel[(lnc,)]`: launch on that many cores of a logical NeuronCore."""
        if isinstance(cores, tuple) and len(cores) == 1:
            cores = cores[0]
        if not isinstance(cores, Integral) or cores not in (1, 2):
            fail(ArgumentError, "nki.jit", operand="lnc", found=repr(cores), allowed="1 or 2")
        return Kernel(self.function, self.options, int(cores))

    def with_schedule(self, schedule: Schedule) -> Kernel:
        """The kernel with more orderings, pairs of instruction names: (what waits, what it waits for, or a list).

        Raises:
            ArgumentError: a schedule that is no such pairs; when the kernel runs, a name that not exactly one of its
                instructions has, or an instruction that would wait for a later one.
        """
        return Kernel(scheduled(self.function, schedule), self.options, self.cores)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the kernel on arrays; inside another kernel, call it as a plain function."""
        if active() is not None:
            return self.function(*args, **kwargs)
        return launch(self, args, kwargs, target=self._target(), mode="compiled", mx=self._mx()).outputs

    def _target(self, asked: Target | str | None = None) -> Target:
        """The target asked for, else the option's, else the default; rounding as the option says, if it does."""
        chosen, policy = asked or self.options.get("platform_target"), self.options.get("numerics")
        target = get_target(chosen) if chosen else default_target()
        return target if policy is None else target.with_numerics(policy)

    def _mx(self, scale_rule: str | None = None, block_policy: str | None = None) -> MxChoice:
        """How quantize_mx works: as asked for, else as the options say, else as the hardware."""
        _check_mx("run", "mx_scale_rule", scale_rule)
        _check_mx("run", "mx_block_policy", block_policy)
        return MxChoice(
            scale_rule or self.options.get("mx_scale_rule") or DEFAULT_MX.rule,
            block_policy or self.options.get("mx_block_policy") or DEFAULT_MX.policy,
        )

    def __repr__(self) -> str:
        return f"<nki kernel {self.function.__qualname__}>"


def _check_mx(subject: str, name: str, value: object) -> None:
    if value is not None and value not in _MX_OPTIONS[name]:
        fail(ArgumentError, subject, operand=name, found=repr(value), allowed=" or ".join(_MX_OPTIONS[name]))


def jit(fn: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Make a kernel of a function; bare (`@nki.jit`) or with options (`@nki.jit(platform_target="trn2")`).

    `platform_target` chooses the generation, `numerics` (trnlab's own option) a `NumericsPolicy` instead of the
    generation's, `mx_scale_rule` and `mx_block_policy` (trnlab's own too) how quantize_mx works, see `run`; the other
    options steer AWS's compiler and change nothing here.

    Raises:
        UsageError: an option that neither NKI's documentation nor AWS's kernels have.
        ArgumentError: `numerics` is no `NumericsPolicy`, or there is no such rule or policy of quantize_mx.
    """
    known = (*JIT_OPTIONS, *EMULATOR_OPTIONS)
    for name in options:
        if name not in known:
            allowed = f"{', '.join(known)}{nearest(name, known)}"
            fail(UsageError, "nki.jit", operand=name, found=f"an unknown option {name!r}", allowed=allowed)
    if options.get("numerics") is not None:
        checked_policy("nki.jit", options["numerics"])
    for name in _MX_OPTIONS:
        _check_mx("nki.jit", name, options.get(name))
    if fn is None:
        return lambda function: jit(function, **options)
    return Kernel(fn.function if isinstance(fn, Kernel) else fn, options)


def simulate(kernel: Kernel | Callable[..., Any]) -> Callable[..., Any]:
    """The kernel on the reference executor: f(arrays) -> arrays of the same kind."""
    made = kernel if isinstance(kernel, Kernel) else jit(kernel)

    @functools.wraps(made.function)
    def simulated(*args: Any, **kwargs: Any) -> Any:
        return launch(made, args, kwargs, target=made._target(), mode="reference", mx=made._mx()).outputs

    return simulated


def run(
    kernel: Kernel | Callable[..., Any],
    *args: Any,
    target: Target | str | None = None,
    mode: Mode = "compiled",
    on_print: Print = print_to_stdout,
    mx_scale_rule: str | None = None,
    mx_block_policy: str | None = None,
    numerics: NumericsPolicy | None = None,
    **kwargs: Any,
) -> Run:
    """Run a kernel and hand back its outputs, program, statistics and timeline.

    args, kwargs: the kernel's own; arrays may be NumPy, JAX or torch
    target:       "trn1" to "trn4", a `Target`, or None for the default (see `default_target`)
    mode:         "compiled" (one JAX function) or "reference" (one instruction at a time, as the kernel's Python runs)
    on_print:     receives (prefix, values) of `nl.device_print`
    mx_scale_rule: how quantize_mx chooses block scales: "nki" (the default, documented since NKI 0.5) or "ocp_floor"
                  (before)
    mx_block_policy: what quantize_mx makes of blocks that no document speaks of (tiny ones, NaN, infinities):
                  "hardware" (the default, assumed), "aws_tutorial", "aws_nki_library" or "torchao"
    numerics:     how results are rounded into their formats (overflow, subnormals, nearest or stochastic), instead of
                  what the kernel's `nki.jit` or else the target says; stochastic rounding needs mode="reference"

    Raises:
        KernelError: the kernel breaks a rule of the NeuronCore or of NKI; the subclass says which kind.
    """
    made = kernel if isinstance(kernel, Kernel) else jit(kernel)
    return launch(
        made,
        args,
        kwargs,
        target=made._target(target),
        mode=mode,
        on_print=on_print,
        mx=made._mx(mx_scale_rule, mx_block_policy),
        numerics=numerics,
        keep_inputs=True,
    )


def trace(
    kernel: Kernel | Callable[..., Any],
    *args: Any,
    target: Target | str | None = None,
    mx_scale_rule: str | None = None,
    mx_block_policy: str | None = None,
    **kwargs: Any,
) -> Program:
    """The kernel's program, without executing it; arrays may be `jax.ShapeDtypeStruct` for their shapes alone."""
    made = kernel if isinstance(kernel, Kernel) else jit(kernel)
    mx = made._mx(mx_scale_rule, mx_block_policy)
    return Call(_function(made), args, kwargs, made._target(target), mx=mx).trace()


def launch(
    kernel: Kernel,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    target: Target,
    mode: Mode,
    on_print: Print = print_to_stdout,
    mx: MxChoice = DEFAULT_MX,
    numerics: NumericsPolicy | None = None,
    keep_inputs: bool = False,
) -> Run:
    """Trace, check and execute one call of a kernel; without `keep_inputs` the run has no error report."""
    if mode not in MODES:
        fail(ArgumentError, "run", operand="mode", found=repr(mode), allowed=" or ".join(MODES))
    call = Call(_function(kernel), args, kwargs, target, mx=mx, numerics=numerics)
    if any(argument.abstract for argument in call.tensors):
        mode = "compiled"
    outcome = call.execute(mode, on_print, keep_inputs=keep_inputs)
    stats = RunStats(
        mode=mode,
        target=target.name,
        instructions=len(outcome.program),
        trace_seconds=outcome.trace_seconds,
        execute_seconds=outcome.execute_seconds,
        occupancy=outcome.occupancy,
    )
    replay = Replay(args, kwargs, tuple(call.tensors), outcome.inputs, outcome.returned)
    return Run(outputs=outcome.outputs, program=outcome.program, target=call.target, stats=stats, replay=replay)


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
