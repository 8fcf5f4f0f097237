"""The quantisers that the bench compares decode to the same values, and one that does not is not timed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.bench import quantizers
from tests.bench.launches import SMALL, Array
from tests.bench.quantizers import FORMATS, PEERS, Quantizer, grouped, quantizer_case
from tests.bench.rows import Comparison, SkippedError
from trnlab.emulator.dtypes import DType


@pytest.mark.slow
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("name", FORMATS)
def test_every_peer_is_measured(name: str, peer: str) -> None:
    for direction in ("quantize", "dequantize"):
        row = quantizer_case(name, direction, peer, SMALL, repeats=2).row()
        assert isinstance(row, Comparison)
        if row.problem.startswith("skipped"):
            pytest.skip(row.problem)
        assert row.problem == ""
        assert (len(row.warm), len(row.peer)) == (2, 2)


def test_wrong_values_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def doubled(x: Array, packed: DType) -> Quantizer:
        honest = quantizers.numpy(x, packed)
        return replace(honest, dequantize=lambda quantised: 2 * honest.dequantize(quantised))

    monkeypatch.setitem(PEERS, "doubled", doubled)
    problem = quantizer_case("mxfp4", "quantize", "doubled", SMALL, repeats=1).row().problem
    assert problem.startswith("failed: AssertionError: off by")


def test_a_missing_peer_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(x: Array, packed: DType) -> Quantizer:
        raise SkippedError("not installed")

    monkeypatch.setitem(PEERS, "absent", absent)
    assert quantizer_case("mxfp4", "quantize", "absent", SMALL, repeats=1).row().problem == "skipped: not installed"


def test_groups_of_the_tile_are_the_blocks() -> None:
    """Group (i, j) of a tile of side 16 holds block 4 i + j."""
    tile = grouped(16, np.arange(256).reshape(16, 16))
    for i in range(2):
        for j in range(4):
            block = tile[8 * i : 8 * i + 8, 4 * j : 4 * j + 4].reshape(-1)
            assert block.tolist() == list(range(32 * (4 * i + j), 32 * (4 * i + j) + 32))
