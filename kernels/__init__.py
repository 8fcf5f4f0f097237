"""Core kernels in pure public NKI, with oracles in plain JAX.

A kernel file imports nothing but `nki` and its neighbours `blocking` and `tiling`, which hold no emulator code either.
Importing this package makes `import nki` resolve to the emulator where AWS's own package is absent.
"""

import trnlab.emulator  # noqa: F401  (registers the finder for `nki`)
