"""Settings that every test shares: reproducible property tests, JAX on the CPU in 32 bits, the text of a plain pipe."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

import jax
import pytest
from hypothesis import HealthCheck, settings

# "ci" is the same on every run and machine; HYPOTHESIS_PROFILE=explore looks for new examples.
settings.register_profile(
    "ci", deadline=None, derandomize=True, max_examples=50, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", False)

# What rich, typer, matplotlib and a Trainium host's set-up read; commands under test inherit none of it.
FOREIGN = (
    *("NO_COLOR", "FORCE_COLOR", "PY_COLORS", "CLICOLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),
    *("TERM", "COLORTERM", "TERMINAL_WIDTH", "GITHUB_ACTIONS", "MPLBACKEND", "NEURON_PLATFORM_TARGET_OVERRIDE"),
)
for name in FOREIGN:
    os.environ.pop(name, None)
os.environ.update(COLUMNS="80", LINES="25")  # without them rich asks the terminal that pytest runs in

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-browser", action="store_true", help="Fail where there is no Chromium, not skip.")


@pytest.fixture(scope="session")
def chromium(pytestconfig: pytest.Config) -> str:
    """The path of the system's Chromium, for tests marked `pages`."""
    absent = pytest.fail if pytestconfig.getoption("--require-browser") else pytest.skip
    if find_spec("playwright") is None:
        absent("playwright is not installed")
    return next(filter(None, map(shutil.which, BROWSERS)), None) or absent(f"none of {', '.join(BROWSERS)} is on PATH")
