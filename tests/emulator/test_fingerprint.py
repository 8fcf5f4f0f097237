"""Fingerprints change with everything that tracing can see, stay when nothing changed, and say when they cannot speak.

Most cases are a module's source and a change made to it. The change is made twice, in two modules of the same source:
equal fingerprints before, different ones after it, equal ones again where both made it.
"""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.fingerprint_cases import CHANGES, HELPERS
from tests.emulator.fingerprint_refusals import UNCACHEABLE
from trnlab.emulator import trace
from trnlab.emulator.fingerprint import Fingerprint, Uncacheable, fingerprint, static_key
from trnlab.kernels import attention, blocking, matmul, tiling

MakeModule = Callable[..., ModuleType]


def executed(module: ModuleType, source: str) -> ModuleType:
    exec(compile(textwrap.dedent(source), "kernels.py", "exec"), vars(module))
    return module


@pytest.fixture
def make_module(monkeypatch: pytest.MonkeyPatch) -> MakeModule:
    """Modules made of source text, importable while the test runs."""

    def make(source: str, name: str = "kernels_of_the_test") -> ModuleType:
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        return executed(module, source)

    return make


@pytest.mark.parametrize(("source", "change"), CHANGES.values(), ids=CHANGES)
def test_what_tracing_sees_is_in_the_fingerprint(make_module: MakeModule, source: str, change: str) -> None:
    make_module(HELPERS, "helpers")
    module = make_module(source)
    before = fingerprint(module.f, "static")
    assert fingerprint(module.f, "static") == before
    assert hash(fingerprint(module.f, "static")) == hash(before)
    executed(module, change)
    after = fingerprint(module.f, "static")
    assert after != before
    assert fingerprint(module.f, "static") == after


def test_what_tracing_cannot_see_is_not_in_the_fingerprint(make_module: MakeModule) -> None:
    helpers = make_module(HELPERS, "helpers")
    module = make_module("import helpers as h\nN = 1\nOTHER = 1\ndef f(x): return h.tile(N)\ndef g(x): return x")
    before = fingerprint(module.f)
    executed(module, "OTHER = 2\ndef g(x): return -x")
    executed(helpers, "def unused(n): return -n\nTABLE['rows'].append(3)\nShape.size = 5")
    assert fingerprint(module.f) == before
    executed(module, "N = 2")
    assert fingerprint(module.f) != before
    executed(module, "N = 1")
    assert fingerprint(module.f) == before


@pytest.mark.parametrize("source", [case[0] for case in CHANGES.values() if "jnp" not in case[0]])
def test_the_same_source_executed_again_gives_the_same_fingerprint(make_module: MakeModule, source: str) -> None:
    """What a notebook does when a cell runs again."""
    make_module(HELPERS, "helpers")
    assert fingerprint(make_module(source).f) == fingerprint(make_module(source).f)


# -- where the code stands ---------------------------------------------------------------------------------------------


def reloaded(path: Path, source: str) -> ModuleType:
    """The module of that file, with this source from now on."""
    path.write_text(textwrap.dedent(source))
    importlib.invalidate_caches()
    module = sys.modules.get(path.stem)
    return importlib.reload(module) if module else importlib.import_module(path.stem)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that modules are imported from; nothing of it stays."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("reload_kernel", "reload_helper"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


@pytest.mark.parametrize("importing", ["import reload_helper", "import reload_helper as h"])
def test_a_reloaded_module_is_never_served_stale(folder: Path, importing: str) -> None:
    name = importing.rsplit(maxsplit=1)[-1]
    reloaded(folder / "reload_helper.py", "def g(): return 1")
    kernel = reloaded(folder / "reload_kernel.py", f"{importing}\ndef f(x): return {name}.g()").f
    before = fingerprint(kernel)
    reloaded(folder / "reload_helper.py", "def g(): return 1")
    assert fingerprint(kernel) == before
    reloaded(folder / "reload_helper.py", "def g(): return 2")
    assert fingerprint(kernel) != before


def test_a_reloaded_kernel_is_never_served_stale(folder: Path) -> None:
    path = folder / "reload_kernel.py"
    before = fingerprint(reloaded(path, "def f(x): return 1").f)
    assert fingerprint(reloaded(path, "def f(x): return 2").f) != before
    assert fingerprint(reloaded(path, "def f(x): return 1").f) == before


def test_a_function_that_moves_in_its_file_changes() -> None:
    def at(line: int, file: str = "k.py") -> Fingerprint:
        space: dict[str, Any] = {}
        exec(compile("\n" * line + "def f(x): return x", file, "exec"), space)
        return fingerprint(space["f"])

    assert at(3) == at(3)
    assert at(3) != at(4)
    assert at(3) != at(3, "other.py")


def test_lines_that_move_inside_a_function_change_it() -> None:
    spaces: list[dict[str, Any]] = [{}, {}]
    for space, gap in zip(spaces, ("\n", "\n\n"), strict=True):
        exec(compile(f"def f(x):\n    a = x{gap}    return a", "k.py", "exec"), space)
    assert fingerprint(spaces[0]["f"]) != fingerprint(spaces[1]["f"])


# -- closures, identity, cycles ----------------------------------------------------------------------------------------


def closure(value: Any) -> Callable[[Any], Any]:
    def kernel(x: Any) -> Any:
        return value

    return kernel


def test_closures_of_the_same_code_differ_by_their_cells() -> None:
    assert fingerprint(closure(1)) == fingerprint(closure(1))
    assert fingerprint(closure(1)) != fingerprint(closure(2))
    assert fingerprint(closure(1)) != fingerprint(closure(True))
    assert fingerprint(closure([1])) == fingerprint(closure([1]))
    assert fingerprint(closure(closure(1))) != fingerprint(closure(closure(2)))


def test_a_cell_that_changes_changes_the_fingerprint() -> None:
    kernel = closure(1)
    before = fingerprint(kernel)
    assert kernel.__closure__ is not None
    kernel.__closure__[0].cell_contents = 2
    changed = fingerprint(kernel)
    assert changed != before
    del kernel.__closure__[0].cell_contents
    assert fingerprint(kernel) not in (before, changed)


def test_functions_that_call_each_other_end(make_module: MakeModule) -> None:
    source = "def f(x): return g(x)\ndef g(x): return f(x) or h\nh = {}\nh['h'] = h\nclass C:\n    f = f\nh['c'] = C"
    module = make_module(source)
    before = fingerprint(module.f)
    assert before == fingerprint(make_module(source).f)
    executed(module, "C.n = 1")
    assert fingerprint(module.f) != before


def test_deep_values_do_not_exhaust_the_stack() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert static_key(deep) == static_key(deep)
    assert static_key(deep) != static_key([deep])


def test_static_arguments_are_told_apart_by_identity_where_the_kernel_can(make_module: MakeModule) -> None:
    module = make_module("class C: pass\nA, B = C(), C()\ndef f(x, mode): return 1 if mode is A else 2")
    assert fingerprint(module.f, module.A) != fingerprint(module.f, module.B)
    assert fingerprint(module.f, module.B) == fingerprint(module.f, module.C())
    assert static_key(module.A) == static_key(module.B)


def test_a_global_that_becomes_another_object_of_the_same_value_is_the_same(make_module: MakeModule) -> None:
    module = make_module("N = {'a': [1.5, float('nan')]}\ndef f(x): return N")
    before = fingerprint(module.f)
    executed(module, "N = {'a': [1.5, float('nan')]}")
    assert fingerprint(module.f) == before


# -- what cannot be compared -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "reason"), UNCACHEABLE.values(), ids=UNCACHEABLE)
def test_what_cannot_be_compared_is_refused(make_module: MakeModule, source: str, reason: str) -> None:
    make_module(HELPERS, "helpers")
    module = make_module(source)
    for _ in range(2):
        with pytest.raises(Uncacheable, match=reason) as caught:
            fingerprint(module.f)
        assert caught.value.reason in str(caught.value)


def test_globals_that_may_be_computed_are_refused() -> None:
    class Computing(dict[str, Any]):
        def __missing__(self, name: str) -> Any:
            raise KeyError(name)

    space = Computing()
    exec("def f(x): return N", space)
    with pytest.raises(Uncacheable, match="globals of type Computing"):
        fingerprint(space["f"])


def test_the_refusal_names_the_function_that_leads_there(make_module: MakeModule) -> None:
    module = make_module("import random\ndef helper(): return random.random()\ndef f(x): return helper()")
    with pytest.raises(Uncacheable, match=r"Random.*\(from helper\)"):
        fingerprint(module.f)


def test_a_refused_static_argument() -> None:
    with pytest.raises(Uncacheable, match="generator"):
        static_key([1, (n for n in (1, 2))])


def test_tensors_of_a_kernel_call_and_tracers_are_refused() -> None:
    taken: list[Any] = []

    @nki.jit
    def kernel(x: Any) -> Any:
        taken.append(x)
        result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(dst=result, src=x)
        return result

    trace(kernel, np.zeros((2, 2), np.float32))
    with pytest.raises(Uncacheable, match="NkiTensor"):
        fingerprint(closure(taken[0]))
    with pytest.raises(Uncacheable, match="belongs to one"):
        jax.jit(lambda x: static_key([x]))(jnp.zeros(2))


def test_a_kernel_that_counts_changes_its_own_fingerprint(make_module: MakeModule) -> None:
    """The rule for whoever keeps programs: keep none when tracing changed the fingerprint."""
    module = make_module("state = {'calls': 0}\ndef f(x):\n    state['calls'] += 1\n    return x * state['calls']")
    before = fingerprint(module.f)
    module.f(1)
    assert fingerprint(module.f) != before


# -- real kernels ------------------------------------------------------------------------------------------------------


KERNELS = {"matmul": matmul.matmul, "matmul_fp8": matmul.matmul_fp8, "attention": attention.flash_attention}


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_the_kernels_of_this_repository_can_be_fingerprinted(kernel: Any) -> None:
    assert fingerprint(kernel) == fingerprint(kernel)
    assert fingerprint(kernel) != fingerprint(kernel.function)
    # The walk stays in the kernel's own files: it reads a few hundred values, not the libraries.
    assert len(fingerprint(kernel).parts) < 2000


CHANGES_OF_MATMUL = [
    (matmul, "K_BLOCK", 8),
    (blocking, "round_up", lambda value, multiple: value),
    (tiling.Tile, "stop", property(lambda t: 7)),
]


@pytest.mark.parametrize(("owner", "name", "value"), CHANGES_OF_MATMUL, ids=["block", "function", "property"])
def test_changes_deep_in_the_kernels_are_seen(monkeypatch: Any, owner: Any, name: str, value: Any) -> None:
    before = {kernel: fingerprint(kernel) for kernel in (matmul.matmul, attention.flash_attention)}
    monkeypatch.setattr(owner, name, value)
    assert fingerprint(matmul.matmul) != before[matmul.matmul]
    # Attention shares tiles with matmul, and nothing else.
    assert (fingerprint(attention.flash_attention) == before[attention.flash_attention]) is (owner is not tiling.Tile)
    monkeypatch.undo()
    assert fingerprint(matmul.matmul) == before[matmul.matmul]


def test_a_patched_nki_function_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(matmul.matmul)
    monkeypatch.setattr(nisa, "dma_copy", lambda dst, src: nisa.tensor_copy(dst=dst, src=src))
    assert fingerprint(matmul.matmul) != before


@nki.jit
def asserting(x: Any) -> Any:
    assert x.shape[0] <= nl.tile_size.pmax, "pytest rewrites this statement"
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(dst=result, src=x)
    return result


def test_kernels_that_assert_can_be_fingerprinted_under_pytest() -> None:
    assert fingerprint(asserting) == fingerprint(asserting)


PROGRAM = """
    import nki.isa as nisa
    import nki.language as nl
    ROWS = 4
    def rows(): return ROWS
    def f(x):
        result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        for start in range(0, x.shape[0], rows()):
            nisa.dma_copy(dst=result[start : start + rows(), :], src=x[start : start + rows(), :])
        return result
"""


@pytest.mark.parametrize(
    "change", ["", "OTHER = 1", "ROWS = 4", "ROWS = 2", "def rows(): return 8", "nl = None; ROWS = 3"]
)
def test_equal_fingerprints_give_equal_programs(make_module: MakeModule, change: str) -> None:
    module = make_module(PROGRAM)
    x = np.zeros((8, 4), np.float32)
    before, program = fingerprint(module.f), trace(module.f, x)
    executed(module, change)
    if change.startswith("nl = None"):
        assert fingerprint(module.f) != before
        with pytest.raises(AttributeError):
            trace(module.f, x)
        return
    unchanged = change in ("", "OTHER = 1", "ROWS = 4")
    assert (fingerprint(module.f) == before) is unchanged
    assert (trace(module.f, x) == program) is unchanged
