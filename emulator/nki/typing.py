"""nki.typing: annotations of kernel parameters; they change nothing when a kernel runs.

    def kernel(x: nt.tensor[128, 512], y: nt.mutable_tensor): ...

Source: NKI 0.3.0 release notes, nki.typing; `mutable_tensor` is the older name for an argument that the kernel writes.
"""

from __future__ import annotations

from types import GenericAlias
from typing import Any


class tensor:  # noqa: N801  (published name)
    """A tensor parameter; `tensor[shape]` states the shape expected."""

    def __class_getitem__(cls, shape: Any) -> GenericAlias:
        return GenericAlias(cls, shape)


class mutable_tensor(tensor):  # noqa: N801
    """A tensor parameter that the kernel writes."""
