"""How many steps an iteration of each loop of a folded program takes: the candidates for a steady state's period."""

from __future__ import annotations

import numpy as np

from trnlab.emulator.dependence import trips_of
from trnlab.emulator.program import Program


def loop_steps(program: Program, assumed_trips: int = 1) -> tuple[int, ...]:
    """Steps of one iteration of every loop of a folded program, shortest first; () for a flat one.

    Inner loops that run longer in some iterations than in others count with their longest run.
    """
    if not program.repeats:
        return ()
    loops = [(repeat.begin, repeat.end, repeat.trips) for repeat in program.repeats]
    loops += [(loop.begin, loop.end, trips_of(loop, assumed_trips)) for loop in program.loops]
    steps, found = np.ones(len(program), np.int64), set[int]()
    for begin, end, trips in sorted(loops, key=lambda item: item[1] - item[0]):
        found.add(int(steps[begin:end].sum()))
        steps[begin:end] *= trips
    return tuple(sorted(found - {0}))
