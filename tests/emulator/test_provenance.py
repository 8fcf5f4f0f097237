"""Whose code is it: libraries by the modules they really are, the user's everything else."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import functools
import importlib
import io
import math
import operator
import os
import random
import sys
import sysconfig
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import nki.language as nl
import numpy as np
import pytest

import trnlab.kernels.matmul as matmul
from trnlab.emulator.provenance import (
    Home,
    hides_state,
    home_of_attribute,
    home_of_class,
    home_of_module,
    home_of_name,
    home_of_scope,
    is_impure,
    is_published,
)

HOMES = {
    Home.PURE: [math, operator, functools, collections, collections.abc, enum, dataclasses, np, np.linalg, jnp, nl],
    Home.STATEFUL: [os, os.path, sys, random, importlib, np.random],
    Home.USER: [matmul, sys.modules[__name__], ModuleType("math"), ModuleType("anything"), pytest.importorskip("rich")],
}


@pytest.mark.parametrize(("home", "module"), [(home, module) for home in HOMES for module in HOMES[home]], ids=str)
def test_modules(home: Home, module: ModuleType) -> None:
    assert home_of_module(module) is home


def test_a_file_of_the_users_is_not_the_standard_module_of_its_name(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "textwrap.py").write_text("STEP = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "textwrap")
    shadow = importlib.import_module("textwrap")
    monkeypatch.setitem(sys.modules, "textwrap", shadow)
    assert shadow.STEP == 1
    assert home_of_module(shadow) is Home.USER
    monkeypatch.undo()
    assert home_of_name("textwrap") is Home.PURE


def test_a_package_that_is_installed_is_not_the_standard_module_of_its_name() -> None:
    for folder, home in (("", Home.PURE), ("site-packages/", Home.USER)):
        module = ModuleType("dataclasses")
        origin = f"{sysconfig.get_path('stdlib')}/{folder}dataclasses.py"
        module.__spec__ = ModuleSpec("dataclasses", None, origin=origin)
        assert home_of_module(module) is home


def test_a_module_without_a_name_is_the_users() -> None:
    module = ModuleType("math")
    del module.__name__
    assert home_of_module(module) is Home.USER


@pytest.mark.parametrize("name", ["not.imported", None, 3, ["math"]], ids=str)
def test_names_of_no_module(name: object) -> None:
    assert home_of_name(name) is Home.USER


def test_scopes_are_those_of_the_module_they_name() -> None:
    assert home_of_scope(vars(functools)) is Home.PURE
    assert home_of_scope(dict(vars(functools))) is Home.USER
    assert home_of_scope({"__name__": "functools"}) is Home.USER
    assert home_of_scope({}) is Home.USER
    assert home_of_scope(globals()) is Home.USER


class Mine:
    pass


class Claiming:
    __module__ = "math"


class ClaimingAName:
    __module__ = "functools"
    __qualname__ = "partial"


@pytest.mark.parametrize(
    ("cls", "home"),
    [
        (int, Home.PURE),
        (type(None), Home.PURE),
        (np.ndarray, Home.PURE),
        (ml_dtypes.bfloat16, Home.PURE),
        (enum.Enum, Home.PURE),
        (nl.NkiTensor, Home.PURE),
        (random.Random, Home.STATEFUL),
        (np.random.Generator, Home.STATEFUL),
        (io.TextIOWrapper, Home.STATEFUL),
        (Mine, Home.USER),
        (Claiming, Home.USER),
        (ClaimingAName, Home.USER),
        (type("int", (), {"__module__": "builtins"}), Home.USER),
    ],
)
def test_classes(cls: type, home: Home) -> None:
    assert home_of_class(cls) is home


def test_published_functions() -> None:
    assert is_published(np.concatenate)
    assert is_published(np.add)
    assert is_published(nl.add)
    assert is_published(functools.wraps)
    assert not is_published(np.frompyfunc(str, 1, 1))
    assert not is_published(functools.wraps(functools.wraps)(lambda: 1))
    assert not is_published(random.randint)
    assert not is_published(Mine())
    assert not is_published(test_published_functions)


@pytest.mark.parametrize("function", [print, open, eval, np.empty, np.load])
def test_impure_functions(function: Any) -> None:
    assert is_impure(function)
    assert not is_impure(max)


def test_modules_with_stateful_parts() -> None:
    assert hides_state(np)
    assert not hides_state(nl)
    assert home_of_attribute(np, "random") is Home.STATEFUL
    assert home_of_attribute(np, "linalg") is Home.PURE
