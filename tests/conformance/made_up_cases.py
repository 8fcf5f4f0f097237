"""Cases on a made-up checkout, one for each way in which a case can end; the driver's own tests run them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from tests.conformance.direct import direct
from tests.conformance.library import library
from tests.conformance.scripts import script

FILE = "kernels.py"
KERNELS = '''
"""Kernels that double their argument, or fail to."""

import os
import time

import nki
import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl


@nki.jit
def doubled(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nl.store(out, value=nl.add(nl.load(x), nl.load(x)))
    return out


@nki.jit
def same(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nl.store(out, value=nl.load(x))
    return out


@nki.jit
def refused(x):
    return nl.load(x)[0:1000]


@nki.jit
def exits(x):
    os._exit(7)


@nki.jit
def sleeps(x):
    print("a kernel that prints")
    time.sleep(600)


@nki.jit
def gathers(x):
    return ncc.rank_id()


@nki.jit
def sends(x):
    tile = nl.load(x)
    nisa.sendrecv(src=tile, dst=tile, send_to_rank=1, recv_from_rank=1, pipe_id=0)
    return tile
'''
SCRIPT = "from kernels import doubled\nimport numpy as np\nassert (doubled(np.ones((2, 3), np.float32)) == 2).all()\n"


def doubling(_: np.random.Generator, __: ModuleType) -> Any:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    return (x,), {}, 2 * x


def made_up(name: str, kernel: str, **more: Any) -> Any:
    return direct(name, "samples", FILE, kernel, doubling, group="made-up", **more)


CASES = [
    made_up("right", "doubled"),
    made_up("wrong", "same"),
    made_up("refused", "refused"),
    made_up("exits", "exits"),
    made_up("behind-the-exit", "doubled"),
    made_up("sleeps", "sleeps", limit=1.0),
    made_up("behind-the-sleeper", "doubled"),
    made_up("two-cores", "doubled", cores=2),
    made_up("sends", "sends"),
    made_up("collective", "gathers"),
    made_up("known", "same", known="the reference is of another kernel"),
    made_up("no-such-kernel", "tripled"),
    script("script", "samples", "script.py", group="made-up"),
    script("no-such-file", "samples", "nothing.py", group="made-up"),
    library("no-checkout", "core.nothing:test_nothing", "nothing"),
]
