"""The exception hierarchy: data first, text second."""

import inspect

import pytest

from trnlab.emulator import errors
from trnlab.emulator.errors import BoundsError, KernelError, SourceLocation, TrnlabError, Violation

CLASSES = [item for _, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, TrnlabError)]

BUILTINS = {
    "ShapeError": ValueError,
    "DtypeError": TypeError,
    "BufferError": ValueError,
    "PartitionError": ValueError,
    "ArgumentError": ValueError,
    "BoundsError": IndexError,
    "CapacityError": MemoryError,
    "GenerationError": ValueError,
    "EngineError": ValueError,
    "TensorLifetimeError": RuntimeError,
    "UnwrittenOutputError": RuntimeError,
    "TraceError": RuntimeError,
    "NotYetSupportedError": NotImplementedError,
    "BackendError": RuntimeError,
}


def test_every_class_derives_from_the_builtin_users_would_catch() -> None:
    for name, builtin in BUILTINS.items():
        assert issubclass(getattr(errors, name), builtin)
    for item in CLASSES:
        if item not in (TrnlabError, KernelError):
            assert any(base.__module__ == "builtins" and base is not object for base in item.__bases__), item


def test_kernel_errors_are_those_with_a_violation() -> None:
    kernel_errors = BUILTINS.keys() - {"BackendError"}
    assert all(issubclass(getattr(errors, name), KernelError) for name in kernel_errors)
    assert not issubclass(errors.BackendError, KernelError)


def test_the_text_is_rendered_from_the_violation() -> None:
    violation = Violation(
        subject="nisa.nc_matmul",
        operand="moving",
        found="free size 1024",
        allowed="free size at most 512",
        generation="NeuronCore-v3",
        location=SourceLocation("k.py", 12, "kernel", "nisa.nc_matmul(...)"),
        source="NKI reference",
    )
    error = BoundsError(violation)
    assert error.violation is violation
    assert str(error).splitlines() == [
        "nisa.nc_matmul: moving: found free size 1024; allowed on NeuronCore-v3: free size at most 512",
        "  at k.py:12 in kernel: nisa.nc_matmul(...)",
        "  rule: NKI reference",
    ]


def test_what_is_not_known_is_left_out_of_the_text() -> None:
    assert str(KernelError(Violation(subject="nl.ndarray", found="a", allowed="b"))) == (
        "nl.ndarray: found a; allowed: b"
    )
    assert str(SourceLocation("k.py", 3, "f")) == "k.py:3 in f"


def test_violations_cannot_be_changed() -> None:
    violation = Violation(subject="s", found="f", allowed="a")
    with pytest.raises(AttributeError):
        violation.found = "other"  # type: ignore[misc]
