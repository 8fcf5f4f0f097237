"""Chips, rooflines and announced claims, in numbers that carry their unit, source, class and band."""

from trnlab.models.chips import Chip, System, Topology, UltraServer, get_chip, get_system, get_ultraserver
from trnlab.models.claims import Claim, claims_table
from trnlab.models.parallel.partitioning import Partitioning, partitionings
from trnlab.models.plots import draw
from trnlab.models.projection.outcome import Projection
from trnlab.models.projection.point import project
from trnlab.models.projection.serving_point import ServingPoint
from trnlab.models.quantity import ModelError, Quantity
from trnlab.models.roofline import Bound, KernelPoint, Roof, Roofline
from trnlab.models.sweep.axes import Axes
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.huggingface import read_config

__all__ = [
    "Axes",
    "Bound",
    "Chip",
    "Claim",
    "KernelPoint",
    "ModelError",
    "Partitioning",
    "Projection",
    "Quantity",
    "Roof",
    "Roofline",
    "ServingPoint",
    "System",
    "Topology",
    "UltraServer",
    "claims_table",
    "draw",
    "get_chip",
    "get_model",
    "get_system",
    "get_ultraserver",
    "partitionings",
    "project",
    "read_config",
]
