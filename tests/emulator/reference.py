"""`run` on the reference executor: what tests of meanings use, because nothing has to be compiled for it."""

from __future__ import annotations

from functools import partial

from trnlab.emulator import launch

run = partial(launch.run, mode="reference")
