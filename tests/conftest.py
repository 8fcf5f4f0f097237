"""Settings that every test shares: reproducible property tests, JAX on the CPU in 32 bits."""

from __future__ import annotations

import os

import jax
from hypothesis import HealthCheck, settings

# "ci" is the same on every run and machine; HYPOTHESIS_PROFILE=explore looks for new examples.
settings.register_profile(
    "ci", deadline=None, derandomize=True, max_examples=50, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", False)
