"""pytest plug-in: kernels under test may `import nki` (entry point `trnlab` of the group pytest11)."""

from trnlab.emulator.importer import install

install()
