"""Kernels and changes to them, as source text: what fingerprints must notice."""

from __future__ import annotations

HELPERS = """
    import math
    STEP = 2
    TABLE = {"rows": [1, 2], "columns": (3, 4)}
    def tile(n): return n * STEP
    def unused(n): return n
    class Shape:
        size = 4
        def area(self): return self.size ** 2
        @property
        def edge(self): return math.isqrt(self.area())
        @staticmethod
        def of(n): return n
        @classmethod
        def make(cls): return cls()
"""

# (source of the module with the kernel `f`, change)
CHANGES = {
    "a helper function": ("def g(n): return n\ndef f(x): return g(1)", "def g(n): return n + 1"),
    "a helper of a helper": (
        "def h(n): return n\ndef g(n): return h(n)\ndef f(x): return g(1)",
        "def h(n): return n + 1",
    ),
    "a lambda": ("g = lambda n: n\ndef f(x): return g(1)", "g = lambda n: n + 1"),
    "a lambda's constant": ("g = lambda n: n + 1\ndef f(x): return g(1)", "g = lambda n: n + 1.0"),
    "a function in a function": (
        "def f(x):\n    def g(): return h()\n    return g()\ndef h(): return 1",
        "def h(): return 2",
    ),
    "a function in a comprehension": (
        "def f(x): return [h(i) for i in range(3)]\ndef h(i): return i",
        "def h(i): return -i",
    ),
    "a function called by a default": ("def f(x, g=lambda: h()): return g()\ndef h(): return 1", "def h(): return 2"),
    "the code of a function": ("def g(): return 1\ndef k(): return 2\ndef f(x): return g()", "g.__code__ = k.__code__"),
    "a default": ("def f(x, n=1): return n", "f.__defaults__ = (2,)"),
    "a default of a helper": ("def g(n=1): return n\ndef f(x): return g()", "g.__defaults__ = (2,)"),
    "a keyword default": ("def f(x, *, n=1): return n", "f.__kwdefaults__['n'] = 2"),
    "a mutable default": ("def f(x, n=[1]): return n", "f.__defaults__[0].append(2)"),
    "an attribute of the function": ("def f(x): return f.n\nf.n = 1", "f.n = 2"),
    "the name of the function": ("def f(x): return x", "f.__name__ = 'g'"),
    "a number": ("N = 1\ndef f(x): return N", "N = 2"),
    "a number, by its type": ("N = 1\ndef f(x): return N", "N = True"),
    "a number, by its type again": ("N = 1\ndef f(x): return N", "N = 1.0"),
    "the sign of zero": ("N = 0.0\ndef f(x): return N", "N = -0.0"),
    "the sign of zero in a constant": ("def f(x): return 0.0", "def f(x): return -0.0"),
    "a type of constant": ("def f(x): return (1, 2)", "def f(x): return (1, True + 1.0)"),
    "a number to NaN": ("N = 0.0\ndef f(x): return N", "N = float('nan')"),
    "a string": ("N = 'a'\ndef f(x): return N", "N = 'b'"),
    "a string to bytes": ("N = 'a'\ndef f(x): return N", "N = b'a'"),
    "None": ("N = None\ndef f(x): return N", "N = 0"),
    "a complex number": ("N = 1j\ndef f(x): return N", "N = 2j"),
    "a range": ("N = range(3)\ndef f(x): return N", "N = range(0, 3, 2)"),
    "a slice": ("N = slice(3)\ndef f(x): return N", "N = slice(0, 3)"),
    "a list in place": ("N = [1]\ndef f(x): return N", "N.append(2)"),
    "a list in a tuple": ("N = ([1],)\ndef f(x): return N", "N[0][0] = 2"),
    "a dict in place": ("N = {1: 2}\ndef f(x): return N", "N[1] = 3"),
    "a dict's order": ("N = {1: 1, 2: 2}\ndef f(x): return N", "N[1] = N.pop(1)"),
    "a set in place": ("N = {1}\ndef f(x): return N", "N.add(2)"),
    "a frozen set": ("N = frozenset({1})\ndef f(x): return N", "N = frozenset({2})"),
    "a list that becomes a tuple": ("N = [1]\ndef f(x): return N", "N = (1,)"),
    "nesting": ("N = [[1], 2]\ndef f(x): return N", "N = [[1, 2]]"),
    "sharing": ("A = [1]\nN = [A, A]\ndef f(x): return N", "N = [A, [1]]"),
    "a list that holds itself": ("N = [1]\nN.append(N)\ndef f(x): return N", "N.append(N)"),
    "a dict behind a proxy": (
        "import types\nD = {1: 2}\nN = types.MappingProxyType(D)\ndef f(x): return N",
        "D[1] = 3",
    ),
    "a defaultdict's default": (
        "import collections\nN = collections.defaultdict(int)\ndef f(x): return N",
        "N.default_factory = float",
    ),
    "a deque's bound": (
        "import collections\nN = collections.deque([1], 3)\ndef f(x): return N",
        "N = collections.deque([1], 4)",
    ),
    "a named tuple": (
        "import collections\nP = collections.namedtuple('P', 'a b')\nN = P(1, 2)\ndef f(x): return N.a",
        "N = P(1, 3)",
    ),
    "a named tuple's fields": (
        "import collections\nN = collections.namedtuple('P', 'a b')\ndef f(x): return N(1, 2)",
        "N = collections.namedtuple('P', 'b a')",
    ),
    "an enum member": (
        "import enum\nclass E(enum.Enum):\n    A = 1\n    B = 2\nN = E.A\ndef f(x): return N",
        "N = E.B",
    ),
    "an enum's value": (
        "import enum\nclass E(enum.IntEnum):\n    A = 1\ndef f(x): return E.A",
        "class E(enum.IntEnum):\n    A = 2",
    ),
    "an NKI dtype": ("import nki.language as nl\nN = nl.float32\ndef f(x): return N", "N = nl.bfloat16"),
    "a NumPy dtype": ("import numpy as np\nN = np.dtype('int8')\ndef f(x): return N", "N = np.dtype('uint8')"),
    "an ml_dtypes dtype": (
        "import numpy as np, ml_dtypes\nN = np.dtype(ml_dtypes.float8_e4m3)\ndef f(x): return N",
        "N = np.dtype(ml_dtypes.float8_e4m3fn)",  # their `str` is the same
    ),
    "a scalar class": ("import ml_dtypes\nN = ml_dtypes.bfloat16\ndef f(x): return N", "N = ml_dtypes.float8_e5m2"),
    "a scalar": (
        "import ml_dtypes\nN = ml_dtypes.bfloat16(1)\ndef f(x): return N",
        "N = ml_dtypes.bfloat16(2)",
    ),
    "a scalar's dtype, at the same bits": (
        "import numpy as np\nN = np.float32(1)\ndef f(x): return N",
        "N = N.view('int32')",
    ),
    "a scalar's dtype": ("import numpy as np\nN = np.float64(1)\ndef f(x): return N", "N = np.float32(1)"),
    "an NKI enum": ("import nki.isa as nisa\nN = nisa.engine.vector\ndef f(x): return N", "N = nisa.engine.scalar"),
    "a memory region": ("import nki.language as nl\nN = nl.sbuf\ndef f(x): return N", "N = nl.psum"),
    "an NKI function": ("import nki.language as nl\nN = nl.add\ndef f(x): return N", "N = nl.multiply"),
    "a small array in place": ("import numpy as np\nN = np.zeros(3)\ndef f(x): return N", "N[1] = 1"),
    "a large array in place": ("import numpy as np\nN = np.zeros((300, 70))\ndef f(x): return N", "N[299, 69] = 1"),
    "an array's sign of zero": ("import numpy as np\nN = np.zeros(3)\ndef f(x): return N", "N[1] = -0.0"),
    "an array that may not be written": (
        "import numpy as np\nN = np.zeros(3)\ndef f(x): return N",
        "N.flags.writeable = False",
    ),
    "an array's strides": (
        "import numpy as np\nN = np.zeros((2, 3))\ndef f(x): return N.ravel('K')",
        "N = np.zeros((3, 2)).T",
    ),
    "an array's shape": ("import numpy as np\nN = np.zeros(6)\ndef f(x): return N", "N = N.reshape(2, 3)"),
    "an array's dtype": ("import numpy as np\nN = np.zeros(3, 'int32')\ndef f(x): return N", "N = N.view('float32')"),
    "a JAX array": ("import jax.numpy as jnp\nN = jnp.zeros(3)\ndef f(x): return N", "N = jnp.ones(3)"),
    "a ufunc": ("import numpy as np\nN = np.add\ndef f(x): return N(1, 2)", "N = np.multiply"),
    "a library's function": ("import math\nN = math.ceil\ndef f(x): return N(1.5)", "N = math.floor"),
    "a partial's argument": (
        "import functools\ndef g(n): return n\nN = functools.partial(g, 1)\ndef f(x): return N()",
        "N = functools.partial(g, 2)",
    ),
    "a partial's attribute": (
        "import functools\nN = functools.partial(max, 1)\nN.n = 1\ndef f(x): return N.n",
        "N.n = 2",
    ),
    "a partial's function": (
        "import functools\ndef g(n): return n\nN = functools.partial(g, 1)\ndef f(x): return N()",
        "g.__code__ = (lambda n: -n).__code__",
    ),
    "a bound method's object": (
        "class C:\n    def g(self): return self.n\nc = C(); c.n = 1; N = c.g\ndef f(x): return N()",
        "c.n = 2",
    ),
    "a bound method of a builtin": ("N = {1: 2}\nG = N.get\ndef f(x): return G(1)", "N[1] = 3"),
    "a wrapped function": (
        "import functools\ndef g(n): return n\n@functools.wraps(g)\ndef w(n): return w.__wrapped__(n)\n"
        "def f(x): return w(1)",
        "g.__code__ = (lambda n: -n).__code__",
    ),
    "a function behind a library's decorator": (
        "import contextlib\n@contextlib.contextmanager\ndef g(): yield h()\ndef h(): return 1\n"
        "def f(x):\n    with g() as n: return n",
        "def h(): return 2",
    ),
    "a library's decorator": (
        "import contextlib\ndef g(): yield 1\nN = contextlib.contextmanager(g)\ndef f(x): return N()",
        "N = contextlib.asynccontextmanager(g)",
    ),
    "a kernel's function": (
        "import nki\ndef g(n): return n\nk = nki.jit(g)\ndef f(x): return k(1)",
        "g.__code__ = (lambda n: -n).__code__",
    ),
    "a kernel's options": (
        "import nki\n@nki.jit(platform_target='trn2')\ndef k(n): return n\ndef f(x): return k(1)",
        "k.options['platform_target'] = 'trn3'",
    ),
    "a builtin's meaning": ("def f(x): return max(1, 2)", "max = min"),
    "a name that was missing": ("def f(x): return missing", "missing = 1"),
    "a method": ("class C:\n    def g(self): return 1\ndef f(x): return C().g()", "C.g = lambda self: 2"),
    "what a method calls": (
        "def h(): return 1\nclass C:\n    def g(self): return h()\ndef f(x): return C().g()",
        "def h(): return 2",
    ),
    "a class attribute": ("class C: n = 1\ndef f(x): return C.n", "C.n = 2"),
    "a base class": (
        "class A: n = 1\nclass B: n = 2\nclass C(A): pass\ndef f(x): return C.n",
        "C.__bases__ = (B,)",
    ),
    "a base class's method": (
        "class A:\n    def g(self): return 1\nclass C(A):\n    def g(self): return super().g()\n"
        "def f(x): return C().g()",
        "A.g = lambda self: 2",
    ),
    "a metaclass": (
        "class M(type):\n    def g(cls): return 1\nclass C(metaclass=M): pass\ndef f(x): return C.g()",
        "M.g = lambda cls: 2",
    ),
    "an abstract class's registry": (
        "import abc\nclass A(abc.ABC): pass\nclass C: pass\ndef f(x): return isinstance(C(), A)",
        "A.register(C)",
    ),
    "a static method": (
        "class C:\n    @staticmethod\n    def g(): return 1\ndef f(x): return C.g()",
        "C.g = staticmethod(lambda: 2)",
    ),
    "a class method": (
        "class C:\n    @classmethod\n    def g(cls): return 1\ndef f(x): return C.g()",
        "C.g = classmethod(lambda cls: 2)",
    ),
    "a property": (
        "class C:\n    @property\n    def n(self): return 1\ndef f(x): return C().n",
        "C.n = property(lambda self: 2)",
    ),
    "a cached property": (
        "import functools\nclass C:\n    @functools.cached_property\n    def n(self): return N\nN = 1\n"
        "def f(x): return C().n",
        "N = 2",
    ),
    "an instance": ("class C: pass\nc = C(); c.n = 1\ndef f(x): return c.n", "c.n = 2"),
    "an instance's class": ("class C: n = 1\nc = C()\ndef f(x): return c.n", "C.n = 2"),
    "an instance with slots": ("class C: __slots__ = ('n', 'm')\nc = C(); c.n = 1\ndef f(x): return c.n", "c.n = 2"),
    "an empty slot": ("class C: __slots__ = ('n', 'm')\nc = C(); c.n = 1\ndef f(x): return c.n", "c.m = 2"),
    "an instance that hides its dict": (
        "class C:\n    def __getattr__(self, name): raise AttributeError(name)\nc = C(); c.n = 1\ndef f(x): return c.n",
        "c.n = 2",
    ),
    "a callable object": (
        "class C:\n    def __call__(self, x): return self.n\nf = C(); f.n = 1",
        "f.n = 2",
    ),
    "a list with more to it": ("class L(list): pass\nN = L([1]); N.n = 1\ndef f(x): return N.n", "N.n = 2"),
    "a list of a class of its own": ("class L(list): pass\nN = L([1])\ndef f(x): return N", "N[0] = 2"),
    "a dict of a class of its own": (
        "class D(dict):\n    def items(self): return ()\nN = D(a=1)\ndef f(x): return N",
        "N['a'] = 2",
    ),
    "an integer of a class of its own": (
        "class I(int):\n    def __int__(self): return 0\nN = I(1)\ndef f(x): return N",
        "N = I(2)",
    ),
    "a float of a class of its own": ("class F(float): pass\nN = F(0.0)\ndef f(x): return N", "N = F(-0.0)"),
    "a string of a class of its own": (
        "class S(str):\n    def __str__(self): return ''\nN = S('a')\ndef f(x): return N",
        "N = S('b')",
    ),
    "a tuple of a class of its own": ("class T(tuple): pass\nN = T((1,))\ndef f(x): return N", "N = T((2,))"),
    "bytes of a class of its own": ("class B(bytes): pass\nN = B(b'1')\ndef f(x): return N", "N = B(b'2')"),
    "a complex number of a class of its own": (
        "class Z(complex): pass\nN = Z(1, 0.0)\ndef f(x): return N",
        "N = Z(1, -0.0)",
    ),
    "a dataclass instance": (
        "from dataclasses import dataclass\n@dataclass\nclass C: n: int = 1\nc = C()\ndef f(x): return c.n",
        "c.n = 2",
    ),
    "a frozen dataclass instance with slots": (
        "from dataclasses import dataclass\n@dataclass(frozen=True, slots=True)\nclass C: n: int = 1\nc = C()\n"
        "def f(x): return c.n",
        "c = C(2)",
    ),
    "a dataclass's default": (
        "from dataclasses import dataclass\n@dataclass\nclass C: n: int = 1\ndef f(x): return C().n",
        "@dataclass\nclass C: n: int = 2",
    ),
    "a dataclass's default factory": (
        "from dataclasses import dataclass, field\ndef make(): return [1]\n@dataclass\nclass C: n: list = field("
        "default_factory=make)\ndef f(x): return C().n",
        "make.__code__ = (lambda: [2]).__code__",
    ),
    "a name space": (
        "import types\nN = types.SimpleNamespace(n=1)\ndef f(x): return N.n",
        "N.n = 2",
    ),
    "an NKIObject": ("import nki.language as nl\nN = nl.NKIObject(n=1)\ndef f(x): return N.n", "N.n = 2"),
    "a value that a nested class reads": ("N = 1\ndef f(x):\n    class C: n = N\n    return C.n", "N = 2"),
    "a module's function": ("import helpers as h\ndef f(x): return h.tile(1)", "h.tile = lambda n: -n"),
    "a module's constant": ("import helpers as h\ndef f(x): return h.STEP", "h.STEP = 3"),
    "a constant that a module's function reads": ("import helpers as h\ndef f(x): return h.tile(1)", "h.STEP = 3"),
    "a constant of a function imported by name": (
        "import helpers\nfrom helpers import tile\ndef f(x): return tile(1)",
        "helpers.STEP = 3",
    ),
    "a module's dict in place": ("import helpers as h\ndef f(x): return h.TABLE", "h.TABLE['rows'].append(3)"),
    "a module's class": ("import helpers as h\ndef f(x): return h.Shape().edge", "h.Shape.area = lambda self: 1"),
    "another module under the name": (
        "import types, helpers as h\ndef f(x): return h.STEP",
        "h = types.SimpleNamespace(STEP=3)",
    ),
    "a module in a local variable": ("import helpers as h\ndef f(x):\n    m = h\n    return m.STEP", "h.STEP = 3"),
    "a module handed to a function": (
        "import helpers as h\ndef g(m): return m.STEP\ndef f(x): return g(h)",
        "h.STEP = 3",
    ),
    "a module in a list": ("import helpers as h\nN = [h]\ndef f(x): return N[0].STEP", "h.STEP = 3"),
    "a module's attribute by getattr": ("import helpers as h\ndef f(x): return getattr(h, 'ST' + 'EP')", "h.STEP = 3"),
    "a module's dictionary": ("import helpers as h\ndef f(x): return h.__dict__['STEP']", "h.STEP = 3"),
    "a module's vars": ("import helpers as h\ndef f(x): return vars(h)['STEP']", "h.STEP = 3"),
    "a module's submodule": (
        "import types, helpers as h\nh.sub = types.ModuleType('sub'); h.sub.n = 1\ndef f(x): return h.sub.n",
        "h.sub.n = 2",
    ),
    "a module as a default": ("import helpers as h\ndef f(x, m=h): return m.STEP", "h.STEP = 3"),
    "a module that a class holds": (
        "import helpers\nclass C: h = helpers\ndef f(x): return C.h.STEP",
        "helpers.STEP = 3",
    ),
    "a builtin that a module replaces": ("import builtins as b\ndef f(x): return b.max(1, 2)", "b = {'max': min}"),
    "a function's text": ("def g():\n    'one'\ndef f(x): return g.__doc__", "g.__doc__ = 'two'"),
    "a module of two": (
        "import helpers as a, helpers as b\ndef f(x): return (a if x else b).STEP",
        "a.STEP = 3",
    ),
    "a package imported in the kernel": (
        "import types, sys, helpers\nsys.modules['helpers.sub'] = types.ModuleType('helpers.sub')\n"
        "def f(x):\n    import helpers.sub\n    return helpers.STEP",
        "helpers.STEP = 3",
    ),
    "a submodule imported in the kernel": (
        "import types, sys, helpers\nsub = sys.modules['helpers.sub'] = types.ModuleType('helpers.sub')\n"
        "def f(x):\n    import helpers.sub as s\n    return s.n",
        "sub.n = 3",
    ),
    "a module imported in the kernel": (
        "def f(x):\n    import helpers\n    return helpers.STEP",
        "import helpers\nhelpers.STEP = 3",
    ),
    "a name imported in the kernel": (
        "def f(x):\n    from helpers import STEP\n    return STEP",
        "import helpers\nhelpers.STEP = 3",
    ),
}
