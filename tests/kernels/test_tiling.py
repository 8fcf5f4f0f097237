"""Tiles cover a dimension exactly once, in order."""

from hypothesis import given, strategies as st

from trnlab.kernels.tiling import round_up, tiles


@given(extent=st.integers(0, 1000), size=st.integers(1, 200), start=st.integers(0, 100))
def test_tiles_partition_the_extent(extent: int, size: int, start: int) -> None:
    pieces = list(tiles(extent, size, start))
    assert [i for tile in pieces for i in range(tile.start, tile.stop)] == list(range(start, extent))
    assert [tile.index for tile in pieces] == list(range(len(pieces)))
    assert all(tile.size == size for tile in pieces[:-1])


@given(value=st.integers(0, 10**6), multiple=st.integers(1, 1000))
def test_round_up_is_the_next_multiple(value: int, multiple: int) -> None:
    result = round_up(value, multiple)
    assert result % multiple == 0
    assert value <= result < value + multiple
