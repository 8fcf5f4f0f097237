"""Chips, rooflines and announced claims, in numbers that carry their unit, source, class and band."""

from trnlab.models.chips import Chip, UltraServer, get_chip, get_ultraserver
from trnlab.models.claims import Claim, claims_table
from trnlab.models.plots import draw
from trnlab.models.quantity import ModelError, Quantity
from trnlab.models.roofline import Bound, KernelPoint, Roof, Roofline

__all__ = [
    "Bound",
    "Chip",
    "Claim",
    "KernelPoint",
    "ModelError",
    "Quantity",
    "Roof",
    "Roofline",
    "UltraServer",
    "claims_table",
    "draw",
    "get_chip",
    "get_ultraserver",
]
