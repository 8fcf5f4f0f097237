"""What code objects say of themselves, checked on source whose names can be read off."""

from __future__ import annotations

import textwrap
from types import CodeType, FunctionType
from typing import Any

import pytest

from trnlab.emulator.code_facts import CodeFacts, Import, code_facts


def function_of(source: str, file: str = "k.py") -> Any:
    space: dict[str, Any] = {}
    exec(compile(textwrap.dedent(source), file, "exec"), space)
    return space["f"]


def facts_of(source: str, file: str = "k.py") -> CodeFacts:
    return code_facts(function_of(source, file).__code__)


@pytest.mark.parametrize(
    ("body", "reads"),
    [
        ("return x", []),
        ("return a", [("a",)]),
        ("return a.b.c(x).d", [("a", "b", "c")]),
        ("a.b()\n    return a.b, a.c, a", [("a", "b"), ("a", "c"), ("a",)]),
        ("m = a\n    return m.b", [("a",)]),
        ("a.b = x", [("a",)]),
        ("return (a if x else b).c", [("a",), ("b", "c")]),
        ("return a[0].b", [("a",)]),
        ("return [a.b(i) for i in x]", [("a", "b")]),
        ("return lambda: lambda: a.b", [("a", "b")]),
        ("return len(x)", [("len",)]),
    ],
)
def test_chains_of_names(body: str, reads: list[tuple[str, ...]]) -> None:
    assert sorted(facts_of(f"def f(x):\n    {body}").reads) == sorted(reads)


def test_chains_of_code_with_more_names_than_one_byte_counts() -> None:
    """Arguments above 255 take an EXTENDED_ARG instruction, which stands between the load and its attribute."""
    body = "\n".join(f"    a{i}.b{i}" for i in range(300))
    assert list(facts_of(f"def f(x):\n{body}").reads) == [(f"a{i}", f"b{i}") for i in range(300)]


def test_imports() -> None:
    source = """
        def f(x):
            import a.b
            from a import b as c, d
            from . import e
            from ..g import h
    """
    found = [Import("a.b", 0, ()), Import("a", 0, ("b", "d")), Import("", 1, ("e",)), Import("g", 2, ("h",))]
    assert list(facts_of(source).imports) == found


def test_digests_are_equal_for_equal_source_at_the_same_place() -> None:
    source = "def f(x):\n    return {1, 2, 'a', 'b'} >= x, (lambda: -0.0)"
    assert facts_of(source).digest == facts_of(source).digest
    assert function_of(source).__code__ is not function_of(source).__code__


VARIANTS = [
    "def f(x): return 1",
    "def f(x): return 2",
    "def f(x): return 1.0",
    "def f(x): return True",
    "def f(x): return 0.0",
    "def f(x): return -0.0",
    "def f(x): return '1'",
    "def f(x): return b'1'",
    "def f(x): return (1,)",
    "def f(x): return ((1,),)",
    "def f(x): return x in {1}",
    "def f(x): return x in {2}",
    "def f(x): return x in {'1'}",
    "def f(y): return 1",
    "def f(x, /): return 1",
    "def f(*, x): return 1",
    "def f(*x): return 1",
    "def f(x): return a",
    "def f(x): return b",
    "def f(x): return lambda: 1",
    "def f(x): return lambda: 2",
    "def f(x): yield 1",
    "\ndef f(x): return 1",
    "def f(x):  return 1",
    "def f(x):\n    return 1",
]


def test_digests_differ_for_every_other_source() -> None:
    digests = [facts_of(source).digest for source in VARIANTS] + [facts_of(VARIANTS[0], "other.py").digest]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ("return x", ""),
        ("return x.__doc__", ""),
        ("return 'about __globals__'", ""),
        ("class C:\n        'text'\n        n: int = 1\n    return C", ""),
        ("return x.__globals__", "looks at `__globals__`"),
        ("return x('__globals__')", "looks at `__globals__`"),
        ("return x((1, '__globals__'))", "looks at `__globals__`"),
        ("return x.gi_frame.f_locals", "looks at `gi_frame`"),
        ("return lambda: x.__subclasses__()", "looks at `__subclasses__`"),
        ("global n; n = x", "assigns the global `n`"),
        ("global n; del n", "assigns the global `n`"),
    ],
)
def test_refusals(body: str, refusal: str) -> None:
    assert facts_of(f"def f(x):\n    {body}").refusal == refusal


def test_constants_that_no_compiler_makes_are_refused() -> None:
    def f() -> int:
        return 12345

    constants = tuple([] if constant == 12345 else constant for constant in f.__code__.co_consts)
    changed: CodeType = f.__code__.replace(co_consts=constants)
    assert FunctionType(changed, {})() == []
    assert code_facts(changed).refusal == "holds a constant of type list"
