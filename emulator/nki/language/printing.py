"""`nl.device_print`: show a tensor's values while the kernel runs.

Source: NKI reference, nki.language.device_print.
"""

from __future__ import annotations

from typing import Any

from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa import sync
from trnlab.emulator.nki.language.tiles import require_tensor
from trnlab.emulator.source import fail
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import current


def device_print(print_prefix: Any, tensor: NkiTensor) -> None:
    """Hand the prefix and the tensor's values to the run's `on_print`, which prints them unless told otherwise.

    Raises:
        ArgumentError: the prefix is no string, or there is no tensor.
    """
    subject = "nl.device_print"
    if not isinstance(print_prefix, str):
        fail(ArgumentError, subject, operand="print_prefix", found=f"{print_prefix!r}", allowed="a string")
    shown = require_tensor(subject, "tensor", tensor)
    current(subject).emit(sync.device_print, (shown,), (print_prefix,))
