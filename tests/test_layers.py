"""Who may import whom: every module of the emulator has a rank, and imports from its own rank or from lower ones.

A module that is missing from the table fails the test: give it the lowest rank that its imports allow. Imports inside
functions happen later and may point upward, but each such edge is written down below.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
EMULATOR, KERNELS, MODELS = ROOT / "emulator", ROOT / "kernels", ROOT / "models"

# A name ending in ".*" stands for a package with everything in it.
LAYERS = {
    "facts": [
        "code_facts",
        "dtypes",
        "errors",
        "identity_cache",
        "instance_state",
        "nki_object",
        "provenance",
        "source",
        "target.*",
        "usage",
        "view_algebra",
    ],
    "arithmetic and memory": [
        "footprint",
        "format_pages",
        "memory",
        "numerics.*",
    ],
    "tensors and programs": [
        "fingerprint",
        "fingerprint_code",
        "fingerprint_parts",
        "fingerprint_values",
        "fold",
        "fold_align",
        "fold_assembly",
        "fold_choice",
        "fold_columns",
        "fold_cutting",
        "fold_fit",
        "fold_flatten",
        "fold_merge",
        "fold_periods",
        "fold_reading",
        "fold_runs",
        "fold_search",
        "fold_tree",
        "fold_words",
        "listing",
        "nest",
        "program",
        "program_json",
        "repeats",
        "runtime_index",
        "tensor",
        "tensor_base",
        "tensor_indexing",
        "tensor_refusals",
        "tensor_reshaping",
    ],
    "instructions": ["isa.*"],
    "tracing and the language": [
        "loops",
        "ordering",
        "psum",
        "register_loops",
        "signing",
        "trace",
        "nki.assignment",
        "nki.collectives",
        "nki.dtype",
        "nki.isa.*",
        "nki.language.*",
        "nki.older",
        "nki.publishing",
        "nki.typing",
        "nki.unsupported",
    ],
    "readers of programs": [
        "backends.*",
        "check.*",
        "dependence",
    ],
    "time": ["instruction_pages", "timing.*"],
    "what users call": [
        "",
        "arguments",
        "attribution.*",
        "calls",
        "importer",
        "kernel_cache",
        "launch",
        "nki",
        "nki.simulation",
        "pytest_plugin",
        "script",
        "testing.*",
        "tuning.*",
    ],
}

# Imports inside functions that point upward, with the reason.
UPWARD = {
    ("nki.isa.sync", "launch"): "outside a kernel the generation is that of the default target",
    ("nki.language.tile_sizes", "launch"): "outside a kernel sizes are those of the default target",
}

NEVER = {
    "isa": ("timing", "check", "backends", "nki", "trace"),  # a meaning does not know its price
    "check": ("backends",),
    "backends": ("check",),
}

# Kernels import nki, NumPy, JAX for their oracles, one another, and nothing of the emulator but what prepares operands.
KERNELS_MAY = {"nki", "numpy", "jax", "ml_dtypes", "trnlab.kernels"}
KERNELS_HOST = {"__init__": "registers the finder of `nki`", "packing": "prepares MX operands on the host"}


class Import(NamedTuple):
    """`importer` imports `imported`; `late` when it happens inside a function or for type checking only."""

    importer: str
    imported: str
    late: bool


def modules(folder: Path) -> dict[str, Path]:
    """Module names below the folder ("" for the package itself) and their files."""
    names = {}
    for path in sorted(folder.rglob("*.py")):
        parts = list(path.relative_to(folder).with_suffix("").parts)
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def import_statements(node: ast.AST, late: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Import statements below the node; late are those inside a function, or under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, late
        elif not isinstance(child, ast.expr):  # an expression holds no statement
            checking = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            inside = late or checking or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            yield from import_statements(child, inside)


def imports(folder: Path, package: str) -> Iterator[Import]:
    """Every import of a module of the package by another one."""
    known = modules(folder)
    for name, path in known.items():
        for node, late in import_statements(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: a relative import"
            found = [item for item in imported_names(node) if item == package or item.startswith(package + ".")]
            targets = {item.removeprefix(package).lstrip(".") for item in found} & known.keys()
            # `from package import module` names both; the package itself then only leads there.
            exact = {item for item in targets if not any(other.startswith(item + ".") for other in targets if item)}
            for target in exact - {"", name} if len(exact) > 1 else exact - {name}:
                yield Import(name, target, late)


def rank_of(module: str) -> int | None:
    for rank, entries in enumerate(LAYERS.values()):
        for entry in entries:
            package = entry.removesuffix(".*")
            if module == package or (entry.endswith(".*") and module.startswith(package + ".")):
                return rank
    return None


@pytest.fixture(scope="module")
def edges() -> list[Import]:
    """Those of the emulator: read once, and by the one worker that runs these tests."""
    return list(imports(EMULATOR, "trnlab.emulator"))


def test_the_reader_sees_every_form_of_import(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    texts = {
        "__init__.py": "from p.a import x",
        "a.py": "import os\nfrom p import b\nfrom p.sub import c as d\nimport p.sub.c",
        "b.py": "if TYPE_CHECKING:\n    from p.a import x\ndef f():\n    from p import a",
        "sub/__init__.py": "",
        "sub/c.py": "from p.sub import name_of_a_thing",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert set(imports(tmp_path, "p")) == {
        ("", "a", False),
        ("a", "b", False),
        ("a", "sub.c", False),
        ("b", "a", True),
        ("sub.c", "sub", False),
    }
    (tmp_path / "b.py").write_text("from . import a")
    with pytest.raises(AssertionError, match="relative import"):
        list(imports(tmp_path, "p"))


def test_every_module_has_a_rank_and_every_entry_a_module() -> None:
    names = modules(EMULATOR)
    assert [name for name in names if rank_of(name) is None] == [], "give these modules a place in LAYERS"
    entries = [entry.removesuffix(".*") for layer in LAYERS.values() for entry in layer]
    assert [entry for entry in entries if entry not in names] == [], "these entries of LAYERS have no module"
    assert len(entries) == len(set(entries))


def test_modules_import_from_their_own_rank_or_lower_ones(edges: list[Import]) -> None:
    wrong = []
    for edge in edges:
        importer, imported = rank_of(edge.importer), rank_of(edge.imported)
        assert importer is not None
        assert imported is not None
        if imported > importer and not (edge.late and edge[:2] in UPWARD):
            wrong.append(f"{edge.importer} imports {edge.imported}, of a higher layer")
    assert wrong == []


def test_upward_imports_that_are_written_down_exist(edges: list[Import]) -> None:
    assert {edge[:2] for edge in edges if edge.late} >= UPWARD.keys()


def test_nothing_imports_in_a_circle(edges: list[Import]) -> None:
    graph: dict[str, set[str]] = {}
    for edge in edges:
        # A package's own `__init__` collects its modules, and they may name the package on the way to a sibling.
        if not edge.late and not edge.importer.startswith(edge.imported + "."):
            graph.setdefault(edge.importer, set()).add(edge.imported)
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("errors") < order.index("tensor") < order.index("launch")


@pytest.mark.parametrize("package", NEVER)
def test_packages_that_never_meet(edges: list[Import], package: str) -> None:
    wrong = [
        (edge.importer, edge.imported)
        for edge in edges
        if edge.importer.split(".")[0] == package and edge.imported.split(".")[0] in NEVER[package]
    ]
    assert wrong == []


def test_the_emulator_knows_neither_kernels_nor_models() -> None:
    for path in modules(EMULATOR).values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not [
                name for name in imported_names(node) if name.startswith(("trnlab.kernels", "trnlab.models"))
            ], path


def test_kernels_know_nki_only() -> None:
    for name, path in modules(KERNELS).items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for item in imported_names(node)[:1]:
                top = item.split(".")[0]
                allowed = top in KERNELS_MAY or top in sys.stdlib_module_names or item.startswith("trnlab.kernels")
                on_the_host = (name or "__init__") in KERNELS_HOST and item == "trnlab.emulator"
                assert allowed or on_the_host, f"{path.name} imports {item}"


def test_models_use_public_names_of_the_emulator() -> None:
    for path in modules(MODELS).values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [name for name in imported_names(node) if name.startswith("trnlab.emulator")]
            assert not [name for name in names if any(part.startswith("_") for part in name.split("."))], path
