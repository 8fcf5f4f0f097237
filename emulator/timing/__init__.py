"""What a program costs and when its instructions run."""

from trnlab.emulator.timing.cost import Cost as Cost, cost_of as cost_of
from trnlab.emulator.timing.timeline import Timeline as Timeline, schedule as schedule
