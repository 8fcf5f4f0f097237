"""Kernels, as source text, that no fingerprint can speak for."""

from __future__ import annotations

# (source of the module with the kernel `f`, what the refusal says)
UNCACHEABLE = {
    "Python's random state": ("import random\ndef f(x): return random.random()", "Random"),
    "a random number function": ("from random import randint\ndef f(x): return randint(1, 2)", "Random"),
    "a random generator": ("import random\nr = random.Random(1)\ndef f(x): return r.random()", "Random"),
    "NumPy's random state": ("import numpy as np\ndef f(x): return np.random.rand()", "cython|RandomState"),
    "a NumPy generator": ("import numpy as np\nr = np.random.default_rng(0)\ndef f(x): return r.random()", "Generator"),
    "NumPy as a value": ("import numpy as np\ndef f(x):\n    m = np\n    return m.random.rand()", "module numpy"),
    "NumPy's random module": ("import numpy as np\nr = np.random\ndef f(x): return r", "module numpy.random"),
    "memory as it is found": ("import numpy as np\ndef f(x): return np.empty(3)[0]", "numpy.empty"),
    "memory as it is found, like another": (
        "import numpy as np\ndef f(x): return np.empty_like(x)",
        "_ArrayFunctionDispatcher",
    ),
    "a clock": ("import time\ndef f(x): return time.time()", "time.time"),
    "a clock by name": ("from time import perf_counter as c\ndef f(x): return c()", "time.perf_counter"),
    "a date": ("import datetime\ndef f(x): return datetime.datetime.now()", "datetime.datetime"),
    "an environment variable": ("import os\ndef f(x): return os.getenv('N')", "os.getenv"),
    "a file": ("def f(x):\n    with open('n') as file: return file.read()", "io.open"),
    "an open file": ("import io\nN = io.StringIO('1')\ndef f(x): return N.read()", "StringIO"),
    "a generator": ("N = (n for n in (1, 2))\ndef f(x): return next(N)", "generator"),
    "an iterator": ("N = iter([1, 2])\ndef f(x): return next(N)", "list_iterator"),
    "a counter": ("import itertools\nN = itertools.count()\ndef f(x): return next(N)", "itertools.count"),
    "a thread's own value": ("import threading\nN = threading.local()\ndef f(x): return N.n", "_local"),
    "a context variable": (
        "import contextvars\nN = contextvars.ContextVar('n')\ndef f(x): return N.get()",
        "ContextVar",
    ),
    "a lock": ("import threading\nN = threading.Lock()\ndef f(x):\n    with N: return x", "lock"),
    "a weak reference": (
        "import weakref\nclass C: pass\nc = C()\nN = weakref.ref(c)\ndef f(x): return N()",
        "weakref|Ref",
    ),
    "results kept of earlier calls": (
        "import functools\n@functools.cache\ndef g(): return N\nN = 1\ndef f(x): return g()",
        "_lru_cache_wrapper",
    ),
    "an array of objects": ("import numpy as np\nN = np.array([None, 1])\ndef f(x): return N", "dtype"),
    "an array of strings": (
        "import numpy as np\nN = np.array(['a' * 99], np.dtypes.StringDType())\ndef f(x): return N",
        "dtype",
    ),
    "a masked array": ("import numpy as np\nN = np.ma.array([1], mask=[1])\ndef f(x): return N", "MaskedArray"),
    "a ufunc of the user's": (
        "import numpy as np\nN = np.frompyfunc(str, 1, 1)\ndef f(x): return N(1)",
        "ufunc",
    ),
    "a buffer": ("N = bytearray(b'1')\ndef f(x): return N", "bytearray"),
    "print": ("def f(x): print(x)", "builtins.print"),
    "a breakpoint": ("def f(x): breakpoint()", "builtins.breakpoint"),
    "eval": ("def f(x): return eval('n')", "builtins.eval"),
    "globals": ("def f(x): return globals()['n']", "builtins.globals"),
    "a function's globals": ("def g(): pass\ndef f(x): return g.__globals__['n']", "__globals__"),
    "a function's globals by getattr": (
        "def g(): pass\ndef f(x): return getattr(g, '__globals__')['n']",
        "__globals__",
    ),
    "subclasses": ("class C: pass\ndef f(x): return len(C.__subclasses__())", "__subclasses__"),
    "annotations": ("def f(x: int): return f.__annotations__", "__annotations__"),
    "a global that is assigned": ("def f(x):\n    global N\n    N = 1", "assigns the global `N`"),
    "a global that is deleted": ("def f(x):\n    global N\n    del N", "assigns the global `N`"),
    "a frame": ("import sys\ndef f(x): return sys._getframe(1)", "_getframe"),
    "the loaded modules": ("import sys\ndef f(x): return sys.modules['helpers'].STEP", "module"),
    "a module imported by name": ("import importlib\ndef f(x): return importlib.import_module('n')", "importlib"),
    "a module that is not imported yet": ("def f(x): import trnlab_absent", "trnlab_absent"),
    "a submodule that is not imported yet": (
        "import helpers\ndef f(x):\n    from helpers import absent\n    return absent",
        "helpers, all or part of which",
    ),
    "a relative import outside a package": ("def f(x):\n    from . import g\n    return g", "relative import"),
    "a module that computes its attributes": (
        "import types\nm = types.ModuleType('m')\nm.__getattr__ = lambda name: 1\ndef f(x): return m.n",
        "`n` of the module m, which computes",
    ),
    "a module of a class of its own": (
        "import types\nclass M(types.ModuleType):\n    n = 1\nm = M('m')\ndef f(x): return m.n",
        "module m",
    ),
    "an object that hides its dict": (
        "class C:\n    __dict__ = property(lambda self: {})\nN = C()\ndef f(x): return N.n",
        "state cannot be read",
    ),
    "more than can be compared in time": ("N = [[n] for n in range(30_000)]\ndef f(x): return N", "more than 20000"),
}
