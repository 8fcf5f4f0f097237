"""The failure of a comparison: an assertion error that carries its data."""

from __future__ import annotations

from typing import Any

from trnlab.emulator.errors import TrnlabError


class MismatchError(TrnlabError, AssertionError):
    """Results are farther apart than they may be.

    comparison: the `Comparison` behind it, or None where words were compared
    reproduce:  a Python expression that fails in the same way, or ""
    """

    def __init__(self, text: str, comparison: Any = None, reproduce: str = "") -> None:
        super().__init__(f"{text}\nreproduce: {reproduce}" if reproduce else text)
        self.comparison = comparison
        self.reproduce = reproduce
