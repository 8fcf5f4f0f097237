"""Chips, the systems they make up, and the figures about them that one may choose between."""

from trnlab.models.chips.lookup import chip_named as chip_named, chip_names as chip_names, get_chip as get_chip
from trnlab.models.chips.record import GIB as GIB, RATES as RATES, Chip as Chip, Choice as Choice, rate_of as rate_of
from trnlab.models.chips.systems import (
    System as System,
    UltraServer as UltraServer,
    domain_of as domain_of,
    get_system as get_system,
    get_ultraserver as get_ultraserver,
    system_names as system_names,
)
from trnlab.models.chips.topology import Topology as Topology
