"""Makes `import nki` resolve to trnlab's own face where AWS's package is absent; the modules are the same objects.

    import trnlab.emulator      # registers the finder
    import nki.language as nl   # is trnlab.emulator.nki.language

A real installed `nki` wins (unless `install(force=True)`); a folder named `nki` without `__init__.py` does not, because
a checkout of AWS's documentation has one. The finder stands first on `sys.meta_path`: the path of an aliased package is
trnlab's folder, so the ordinary finders, asked first, would load each of its submodules a second time.

An alias is one more name in `sys.modules`; the module behind it keeps its own `__name__` and `__spec__`, so pickling,
`importlib.reload` and `inspect` see one module.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, NamespaceLoader
from types import MappingProxyType, ModuleType
from typing import Final

ALIASES: Final[Mapping[str, str]] = MappingProxyType({"nki": "trnlab.emulator.nki"})
"""Packages by the name users import, with the package of trnlab that stands for each; submodules follow."""

EXTRA_ALIASES: Final[Mapping[str, str]] = MappingProxyType({"neuronxcc.nki": "trnlab.emulator.nki"})
"""Packages inside others, by older names that published kernels still import; the packages around them are empty."""


class _AliasLoader(Loader):
    """Loads a name by putting the module that stands for it into `sys.modules`."""

    def __init__(self, stands_for: str) -> None:
        self.stands_for = stands_for

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        # The real module must not be returned here: the import system would overwrite its __spec__.
        return None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(self.stands_for)


class _EmptyPackageLoader(Loader):
    """Loads a package without content: one around an extra alias."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__doc__ = "Empty package of trnlab: it only holds the older name of nki that published kernels import."


def _is_namespace(spec: ModuleSpec | None) -> bool:
    """Whether the spec is a mere folder on the path, without `__init__.py`."""
    return spec is not None and (spec.loader is None or isinstance(spec.loader, NamespaceLoader))


def _is_ours(root: str) -> bool:
    """Whether the imported package of that name is the one that stands for it."""
    module = sys.modules.get(root)
    return module is not None and module is sys.modules.get(ALIASES[root])


def _is_around_extra(name: str) -> bool:
    """Whether the name is that of a package around an extra alias."""
    return any(extra.startswith(f"{name}.") for extra in EXTRA_ALIASES)


def _behind_extra(name: str) -> str | None:
    """The module of trnlab behind an extra alias or a submodule of one; None for any other name."""
    for extra, stands_for in EXTRA_ALIASES.items():
        if f"{name}.".startswith(f"{extra}."):
            return stands_for + name.removeprefix(extra)
    return None


class AliasFinder(MetaPathFinder):
    """Finds the aliased names; `force` prefers them to installed packages of the same name."""

    def __init__(self, *, force: bool = False) -> None:
        self.force = force

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of an aliased name; None where the real package is installed or the name is not ours."""
        root = fullname.partition(".")[0]
        if fullname in ALIASES:
            found = self.force or not self._is_installed(root)
            return ModuleSpec(fullname, _AliasLoader(ALIASES[root]), is_package=True) if found else None
        if root in ALIASES:
            return self._behind(fullname, ALIASES[root] + fullname.removeprefix(root)) if _is_ours(root) else None
        stands_for = _behind_extra(fullname)
        if (stands_for is None and not _is_around_extra(fullname)) or self._is_installed(root):
            return None
        if stands_for is None:
            return ModuleSpec(fullname, _EmptyPackageLoader(), is_package=True)
        return self._behind(fullname, stands_for)

    def _behind(self, fullname: str, stands_for: str) -> ModuleSpec | None:
        """The spec of a name for a module of trnlab; None where trnlab has no such module."""
        real = importlib.util.find_spec(stands_for)
        if real is None:
            return None
        return ModuleSpec(fullname, _AliasLoader(stands_for), is_package=real.submodule_search_locations is not None)

    def _is_installed(self, root: str) -> bool:
        """Whether some other finder knows a package of that name with code in it."""
        for finder in sys.meta_path:
            find_spec = None if isinstance(finder, AliasFinder) else getattr(finder, "find_spec", None)
            spec = find_spec(root, None) if find_spec else None
            if spec is not None and not _is_namespace(spec):
                return True
        return False


def _registered() -> AliasFinder | None:
    return next((finder for finder in sys.meta_path if isinstance(finder, AliasFinder)), None)


def _forget(root: str) -> None:
    """Drop a package and its submodules from `sys.modules`, so that the next import asks the finders."""
    for name in [name for name in sys.modules if name == root or name.startswith(f"{root}.")]:
        del sys.modules[name]


def install(*, force: bool = False) -> None:
    """Register the finder; calling it again changes only `force`.

    force: from now on `import nki` gives trnlab's face even where a real `nki` is installed; modules that imported the
        real one before keep it
    """
    finder = _registered()
    if finder is None:
        sys.meta_path.insert(0, AliasFinder(force=force))
    else:
        finder.force = force
    for root in ALIASES:
        module = sys.modules.get(root)
        if module is not None and not _is_ours(root) and (force or _is_namespace(module.__spec__)):
            _forget(root)


def uninstall() -> None:
    """Remove the finder and the names it made; a real package of the name is found again."""
    finder = _registered()
    if finder is not None:
        sys.meta_path.remove(finder)
    for root in ALIASES:
        if _is_ours(root):
            _forget(root)
    for name, module in list(sys.modules.items()):
        stands_for = _behind_extra(name)
        if stands_for is None:
            spec = module.__spec__ if _is_around_extra(name) else None
            is_ours = spec is not None and isinstance(spec.loader, _EmptyPackageLoader)
        else:
            is_ours = module is sys.modules.get(stands_for)
        if is_ours:
            del sys.modules[name]
