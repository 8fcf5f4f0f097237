"""Core kernels in pure public NKI, each beside its oracle in plain JAX.

The kernel files import nothing but `nki` and numbers, so they can be copied to a Trainium host as they are; importing
this package first makes `import nki` resolve to the emulator where AWS's own package is absent.
"""

import trnlab.emulator  # noqa: F401  (registers the finder for `nki`)
