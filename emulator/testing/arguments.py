"""Hypothesis strategies for what a kernel takes: shapes of tiles, and sets of arguments whose shapes hang together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.source import fail
from trnlab.emulator.target import Target, get_target
from trnlab.emulator.testing.formats import Array
from trnlab.emulator.testing.strategies import checked_dtype, drawing, hypothesis_strategies

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy


def tile_shapes(
    target: Target | str = "trn3",
    *,
    dtype: Any = "float32",
    region: str = "sbuf",
    max_free: int = 512,
    partition_multiple: int = 1,
    free_multiple: int = 1,
) -> SearchStrategy[tuple[int, int]]:
    """Shapes (partitions, free) of tiles that fit one on-chip tensor; edges of the hardware are drawn often.

    region:    "sbuf" or "psum", whose bytes per partition bound the free size together with max_free
    *_multiple: what the sizes are multiples of, as quantize_mx asks (32 and 4)

    Raises:
        TargetError: no such target.
        ArgumentError: another region, or bounds that no shape satisfies.
    """
    st = hypothesis_strategies()
    chosen = get_target(target)
    capacity = {"sbuf": chosen.sbuf_bytes_per_partition, "psum": chosen.psum_bytes_per_partition}.get(region)
    if capacity is None:
        fail(ArgumentError, "testing.tile_shapes", operand="region", found=repr(region), allowed="sbuf or psum")
    most = min(max_free, capacity // checked_dtype(dtype).itemsize)
    sizes = ((partition_multiple, chosen.partitions), (free_multiple, most))
    if any(not 1 <= step <= largest for step, largest in sizes):
        found = f"multiples of {partition_multiple} and {free_multiple}, max_free {max_free}"
        allowed = f"at most {chosen.partitions} partitions and {most} elements"
        fail(ArgumentError, "testing.tile_shapes", operand="multiples", found=found, allowed=allowed)
    return cast("SearchStrategy[tuple[int, int]]", st.tuples(*[_size(step, largest) for step, largest in sizes]))


def _size(step: int, largest: int) -> Any:
    """Multiples of step up to largest, with those beside powers of two more often."""
    st = hypothesis_strategies()
    count = largest // step
    edges = {edge + beside for edge in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512) for beside in (-1, 0, 1)} | {count}
    return (st.integers(1, count) | st.sampled_from(sorted(n for n in edges if 1 <= n <= count))).map(
        lambda n: n * step
    )


def kernel_arguments(
    shapes: Mapping[str, tuple[str | int, ...]],
    dtypes: Any,
    *,
    sizes: Mapping[str, int | SearchStrategy[int]] | None = None,
    distribution: str | Mapping[str, str] = "finite",
    block: int | tuple[int, ...] = 32,
) -> SearchStrategy[dict[str, Array]]:
    """Arguments of a kernel by name, dimensions of the same name having the same size.

    shapes: {"lhsT": ("K", "M"), "rhs": ("K", "N")}; numbers are sizes that stay
    dtypes: one dtype, or one for each argument
    sizes:  a size, or a strategy of sizes, for named dimensions; others are drawn from 1 to 128
    distribution, block: as in `arrays`; the former for all arguments or by name

    Raises:
        ArgumentError: dtypes, sizes or distributions for names that do not occur, or a missing dtype.
    """
    st = hypothesis_strategies()
    dimensions = {name for shape in shapes.values() for name in shape if isinstance(name, str)}
    _only_known("sizes", sizes or {}, dimensions)
    by_dtype = dict(dtypes) if isinstance(dtypes, Mapping) else dict.fromkeys(shapes, dtypes)
    by_distribution = dict(distribution) if isinstance(distribution, Mapping) else dict.fromkeys(shapes, distribution)
    _only_known("dtypes", by_dtype, set(shapes))
    _only_known("distribution", by_distribution, set(shapes))
    if missing := set(shapes) - set(by_dtype):
        fail(
            ArgumentError,
            "testing.kernel_arguments",
            operand="dtypes",
            found=f"none for {', '.join(missing)}",
            allowed="a dtype for every argument",
        )
    given = dict(sizes or {})
    drawn = {name: drawing(by_dtype[name], by_distribution.get(name, "finite"), block) for name in shapes}
    default = st.integers(1, 128)

    def build(draw: DrawFn) -> dict[str, Array]:
        found = {name: _drawn_size(draw, given.get(name, default)) for name in sorted(dimensions)}
        return {
            name: drawn[name](draw, tuple(found[size] if isinstance(size, str) else size for size in shape))
            for name, shape in shapes.items()
        }

    return cast("SearchStrategy[dict[str, Array]]", st.composite(build)())


def _drawn_size(draw: DrawFn, size: Any) -> int:
    return size if isinstance(size, int) else int(draw(size))


def _only_known(what: str, given: Mapping[str, Any], known: set[str]) -> None:
    for name in given:
        if name not in known:
            allowed = ", ".join(sorted(known))
            fail(ArgumentError, "testing.kernel_arguments", operand=what, found=repr(name), allowed=allowed)
