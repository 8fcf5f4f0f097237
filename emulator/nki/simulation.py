"""`nki.cpu_simulate`: the older spelling of `nki.simulate`, `cpu_simulate(kernel)[lnc](**inputs)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trnlab.emulator.launch import Kernel, jit, simulate


class cpu_simulate:  # noqa: N801  (published name)
    """A kernel on the CPU: call it, or choose the number of cores first by indexing."""

    def __init__(self, kernel: Kernel | Callable[..., Any]) -> None:
        self.kernel: Kernel = kernel if isinstance(kernel, Kernel) else jit(kernel)

    def __getitem__(self, lnc: int) -> Callable[..., Any]:
        """The kernel on `lnc` cores of a logical NeuronCore: f(arrays) -> arrays of the same kind."""
        return simulate(self.kernel[lnc])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the kernel on one core."""
        return simulate(self.kernel)(*args, **kwargs)
