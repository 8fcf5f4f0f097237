"""Calls, names and operators that do not exist become named errors; everything else passes through untouched."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import pytest

from trnlab.emulator import errors, usage


def double(x: int, scale: int = 2, *, shift: int = 0) -> int:
    """x * scale + shift."""
    return x * scale + shift


checked = usage.checked("lab.double", double)


def test_calls_that_fit_pass_through() -> None:
    assert checked(3) == 6
    assert checked(3, 5, shift=1) == checked(x=3, scale=5, shift=1) == 16
    assert inspect.signature(checked) == inspect.signature(double)
    assert (checked.__name__, checked.__doc__) == (double.__name__, double.__doc__)


@pytest.mark.parametrize(
    ("args", "kwargs", "found", "allowed"),
    [
        ((1,), {"scal": 3}, "an unexpected keyword argument 'scal'", "did you mean scale?"),
        ((1,), {"colour": 3}, "an unexpected keyword argument 'colour'", "double(x, scale, shift)"),
        (
            (),
            {"scal": 3},
            "an unexpected keyword argument 'scal'",
            "did you mean scale?",
        ),  # the cause, not "x is missing"
        ((), {}, "missing a required argument: 'x'", "double(x, scale, shift)"),
        ((1, 2, 3), {}, "too many positional arguments", "double(x, scale, shift)"),
        ((1,), {"x": 1}, "multiple values for argument 'x'", "double(x, scale, shift)"),
    ],
)
def test_calls_that_do_not_fit(args: Any, kwargs: Any, found: str, allowed: str) -> None:
    with pytest.raises(errors.UsageError) as caught:
        checked(*args, **kwargs)
    violation = caught.value.violation
    assert violation.subject == "lab.double"
    assert violation.found == found
    assert violation.allowed.endswith(allowed)
    assert violation.location is not None
    assert violation.location.file == __file__
    assert isinstance(caught.value, TypeError)


def test_type_errors_of_the_body_stay_what_they_are() -> None:
    def broken(x: Any) -> Any:
        return inner(x)

    def inner(x: Any, y: Any) -> Any:
        return x, y

    with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'") as caught:
        usage.checked("lab.broken", broken)(1)
    assert not isinstance(caught.value, errors.KernelError)


def test_keywords_of_older_releases() -> None:
    def without_mode(args: Any, kwargs: Any) -> Any:
        return {key: value for key, value in kwargs.items() if key != "mode"} if "mode" in kwargs else None

    older = usage.checked("lab.double", double, without_mode, {"mask": "a slice"})
    assert older(3, mode="fast", scale=4) == 12
    with pytest.raises(errors.UsageError, match=r"'mask'.*instead of mask: a slice"):
        older(3, mask=1)


def test_the_nearest_name() -> None:
    assert usage.nearest("tensr_copy", ["tensor_copy", "memset"]) == "; did you mean tensor_copy?"
    assert usage.nearest("zzz", ["tensor_copy"]) == ""


@pytest.mark.parametrize(
    ("name", "text"), [("ad", "did you mean add?"), ("mgrid", "slices"), ("zzzz", "the names of lab")]
)
def test_unknown_names(name: str, text: str) -> None:
    with pytest.raises(errors.UnknownNameError, match=text) as caught:
        usage.unknown_name("lab", name, ["add", "_adder", "multiply"], {"mgrid": "slices"})
    assert isinstance(caught.value, AttributeError)
    assert caught.value.violation.subject == f"lab.{name}"


def test_names_that_protocols_ask_for_are_plainly_missing() -> None:
    with pytest.raises(AttributeError) as caught:
        usage.unknown_name("lab", "__path__", [])
    assert not isinstance(caught.value, errors.KernelError)


def test_methods_of_a_class_are_checked_and_inherited() -> None:
    class Base:
        def move(self, steps: int) -> int:
            return steps

    class Piece(Base):
        @property
        def colour(self) -> str:
            return "white"

        def _hidden(self) -> None: ...

    usage.check_methods(Piece, "Piece")
    assert Piece().move(2) == 2
    assert Piece().colour == "white"
    with pytest.raises(errors.UsageError, match=r"Piece\.move: .*'step'; allowed: move\(steps\); did you mean steps\?"):
        Piece().move(step=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError) as caught:
        Base().move(step=2)  # type: ignore[call-arg]
    assert not isinstance(caught.value, errors.KernelError)


def test_errors_survive_pickling() -> None:
    with pytest.raises(errors.UsageError) as caught:
        checked()
    assert pickle.loads(pickle.dumps(caught.value)).violation == caught.value.violation
