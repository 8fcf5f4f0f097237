"""One profile of attention on two targets, shared by the tests of its exports."""

from __future__ import annotations

import pytest

from trnlab.models.profile.command import Request, profiles, targets_named
from trnlab.models.profile.summary import Profile

ATTENTION = "trnlab.kernels.attention:flash_attention"
SHAPES = ("q=bf16[2,256,64] k=bf16[1,256,64]", "v=bf16[1,256,64]")


@pytest.fixture(scope="session")
def two_profiles() -> list[Profile]:
    return profiles(Request(kernel=ATTENTION, arguments=SHAPES, targets=targets_named("trn2", "trn3")))


@pytest.fixture(scope="session")
def profile(two_profiles: list[Profile]) -> Profile:
    return two_profiles[0]
