"""Vector Engine means and variances: bn_stats gathers them from elements, bn_aggr joins what several calls gathered.

A set of elements is described by three numbers, `(count, mean, variance * count)`, and bn_stats writes one such triple
for the elements at even positions of a partition and one for those at odd ones. Variances are those of the whole set,
sum((x - mean)**2) / count.
"""

from __future__ import annotations

from typing import Final

import jax.numpy as jnp
from jax import Array

from trnlab.emulator.isa.limits import ExactFree, FreeMultipleOf, MaxFree, SamePartitions
from trnlab.emulator.isa.operators import REFERENCE
from trnlab.emulator.isa.registry import instruction, reads, writes
from trnlab.emulator.numerics import reductions
from trnlab.emulator.numerics.elementwise import ALU_OPS
from trnlab.emulator.numerics.sealing import seal
from trnlab.emulator.target import Engine

TRIPLE: Final = 3
"""Numbers that describe a set of elements: count, mean, variance * count."""


def _describe(x: Array) -> list[Array]:
    """Count, mean and variance * count of every row of [P, n]; zeros where n is 0."""
    partitions, count = x.shape
    if count == 0:
        return [jnp.zeros(partitions, jnp.float32)] * TRIPLE
    mean = seal(reductions.mean(x))
    deviation = seal(x - mean[:, None])
    return [jnp.full(partitions, count, jnp.float32), mean, reductions.total(seal(deviation * deviation))]


@instruction(
    engines=(Engine.VECTOR,),
    operands=(writes("dst"), reads("data")),
    limits=(
        MaxFree("data", lambda target: target.bn_stats_free_max, REFERENCE + "bn_stats"),
        SamePartitions("data", "dst"),
        ExactFree("dst", 2 * TRIPLE, REFERENCE + "bn_stats"),
    ),
    source=REFERENCE + "bn_stats",
    assumptions=(
        "even and odd are positions in element order through all free dimensions, the first element being even",
        "of one element per partition the odd count, mean and variance are 0",
        "sums of float32 are added by halves, and deviations are taken from the rounded mean",
    ),
)
def bn_stats(data: Array) -> Array:
    """dst = (count, mean, variance * count) of each partition's even elements, then of its odd ones."""
    return jnp.stack(_describe(data[:, 0::2]) + _describe(data[:, 1::2]), axis=1)


@instruction(
    engines=(Engine.VECTOR,),
    operands=(writes("dst"), reads("data")),
    limits=(
        FreeMultipleOf("data", TRIPLE, REFERENCE + "bn_aggr"),
        SamePartitions("data", "dst"),
        ExactFree("dst", 2, REFERENCE + "bn_aggr"),
    ),
    source=REFERENCE + "bn_aggr",
    assumptions=("counts weigh the means, and a set of count 0 weighs nothing; where all counts are 0, dst is NaN",),
)
def bn_aggr(data: Array) -> Array:
    """dst = (mean, variance) of the union of the sets that data's (count, mean, variance * count) describe."""
    counts, means, squares = (data[:, position::TRIPLE] for position in range(TRIPLE))
    divide = ALU_OPS["divide"].function
    count = seal(reductions.total(counts))
    mean = seal(divide(seal(reductions.total(seal(counts * means))), count))
    deviation = seal(means - mean[:, None])
    between = seal(counts * seal(deviation * deviation))
    within = seal(reductions.total(seal(squares + between)))
    return jnp.stack([mean, divide(within, count)], axis=1)
