"""nl.rand, nl.dropout and their seed; nl.gather_flattened is in test_composed."""

from __future__ import annotations

import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.reference import run
from trnlab.emulator import ArgumentError, DtypeError

ONE = np.ones((1, 1), np.float32)


def stored(tile):
    out = nl.ndarray(tile.shape, tile.dtype, buffer=nl.shared_hbm)
    nl.store(out, tile if nl.is_sbuf(tile.buffer) else nl.copy(tile))
    return out


def seed(value):
    nl.random_seed(nl.full((1, 1), value, nl.int32))


def executed(kernel, *arrays, target="trn3", mode="reference"):
    return run(kernel, *arrays, target=target, mode=mode).outputs


def drawn(make, target="trn3"):
    """What the kernel `make()` returns, as an array."""
    return executed(lambda x: make(), ONE, target=target)


@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3", "trn4"])
def test_uniform_numbers(target):
    values = drawn(lambda: stored(nl.rand((128, 512), nl.float32)), target)
    assert values.dtype == np.float32
    assert values.min() >= 0
    assert values.max() < 1
    count = values.size
    # Means of n uniform numbers and of their squared deviations lie within 5 standard errors of 1/2 and 1/12.
    assert abs(values.mean() - 1 / 2) < 5 * (1 / 12 / count) ** 0.5
    assert abs(((values - 0.5) ** 2).mean() - 1 / 12) < 5 * (1 / 180 / count) ** 0.5
    assert len(np.unique(values)) > 0.99 * count
    steps = values * 2.0**24
    assert (steps == np.round(steps)).all()  # 24 random bits


@pytest.mark.parametrize("target", ["trn2", "trn3"])
def test_the_seed_decides_the_numbers(target):
    def kernel(x):
        tiles = []
        for value in (42, 42, 43):
            seed(value)
            tiles += [nl.rand((64, 32), nl.float32), nl.rand((64, 32), nl.float32)]
        return tuple(stored(tile) for tile in tiles)

    first, more, again, more_again, other, _ = executed(kernel, ONE, target=target)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(more, more_again)
    assert (first != more).mean() > 0.99
    assert (first != other).mean() > 0.99
    np.testing.assert_array_equal(first, executed(kernel, ONE, target=target, mode="compiled")[0])


@pytest.mark.parametrize("buffer", [nl.sbuf, nl.psum, nl.shared_hbm])
@pytest.mark.parametrize("shape", [(16, 4, 8), (128, 3)])
def test_every_memory_and_shape(buffer, shape):
    def kernel():
        tensor = nl.rand(shape, nl.bfloat16, buffer=buffer, name="noise")
        assert (tensor.shape, tensor.buffer, tensor.name) == (shape, buffer, "noise")
        return tensor if nl.is_hbm(buffer) else stored(tensor)

    values = drawn(kernel).astype(np.float32)
    assert values.shape == shape
    assert ((values >= 0) & (values <= 1)).all()  # bfloat16 rounds the last numbers below 1 to 1
    assert len(np.unique(values)) > values.size / 4


@pytest.mark.parametrize("shape", [(300,), (7, 1009), (2, 128, 2048 + 5)])
def test_tensors_in_hbm_are_filled_whole(shape):
    values = drawn(lambda: nl.rand(shape, nl.float32, buffer=nl.shared_hbm))
    assert values.shape == shape
    assert np.isfinite(values).all()
    assert abs(values.mean() - 1 / 2) < 5 * (1 / 12 / values.size) ** 0.5


def test_dropout_with_a_number_and_a_column():
    x = np.arange(1, 128 * 256 + 1, dtype=np.float32).reshape(128, 256)
    rates = np.linspace(0, 1, 128, dtype=np.float32)[:, None]

    def kernel(x, rates):
        seed(7)
        tile = nl.load(x)
        return stored(nl.dropout(tile, 0.25)), stored(nl.dropout(tile, nl.load(rates), dtype=nl.bfloat16))

    fixed, varying = executed(kernel, x, rates)
    assert set(np.unique(fixed[fixed != x])) == {0.0}  # what is kept is not scaled
    assert abs((fixed == 0).mean() - 0.25) < 5 * (0.25 * 0.75 / x.size) ** 0.5
    assert str(varying.dtype) == "bfloat16"
    dropped = (varying == 0).mean(axis=1)
    assert (np.abs(dropped - rates[:, 0]) < 5 * (0.25 / 256) ** 0.5).all()
    assert dropped[0] == 0
    assert dropped[-1] == 1


def test_dropout_uses_the_generators_of_nisa_dropout():
    x = np.ones((8, 64), np.float32)

    def by_language(x):
        seed(3)
        return stored(nl.dropout(nl.load(x), 0.5))

    def by_instruction(x):
        seed(3)
        tile = nl.load(x)
        nisa.dropout(tile, tile, 0.5)
        return stored(tile)

    np.testing.assert_array_equal(executed(by_language, x), executed(by_instruction, x))


def test_bad_arguments():
    for make in (
        lambda: nl.random_seed(42),
        lambda: nl.dropout(3.0, 0.5),
        lambda: nl.dropout(nl.rand((4, 4), nl.float32), 1.5),
    ):
        with pytest.raises(ArgumentError):
            drawn(make)
    with pytest.raises(DtypeError):
        drawn(lambda: nl.rand((4, 4), "float12"))
