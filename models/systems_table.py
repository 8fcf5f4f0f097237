"""Instances, UltraServers and the domains of chips as one table: how many chips, how wired, and what leads out."""

from __future__ import annotations

from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from trnlab.models.chips import System, UltraServer, chip_names, get_system, system_names
from trnlab.models.quantity import Quantity
from trnlab.models.spec_sheet import quantity_dict

NOTES: Final = (
    "peak: PFLOP/s in MXFP8 where the chip has it, else FP8; AWS's printed total, else chips x the chip page's.",
    "link: one direction of a chip inside the system. EFA: one direction of the whole system; -: not known, so that "
    "nothing is computed across systems. d: derived, a: assumed, unmarked: published.",
)
COLUMNS: Final = ("\nchips", "link\nGB/s", "EFA\nGB/s", "peak\nPFLOP/s", "HBM\nTB")


def all_systems() -> tuple[System, ...]:
    """AWS's instances and UltraServers, then the largest announced or assumed domain of every other chip."""
    named = [get_system(name) for name in system_names()]
    return (*named, *(get_system(name) for name in chip_names() if name not in ("trn1", "trn2", "trn3")))


def peak_of(system: System) -> Quantity:
    """The system's total in MXFP8 where its chip multiplies that, else in FP8: as printed, or chips x the chip's."""
    rate = "mxfp8" if "mxfp8" in system.chip.peaks else "fp8"
    return system.peak(rate) if isinstance(system, UltraServer) else system.chips_peak(rate)


def print_systems(console: Console) -> None:
    """One row a system."""
    table = Table(title="Systems", title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("\nsystem", "\nwiring", *COLUMNS):
        table.add_column(heading, justify="right" if heading in COLUMNS else "left", no_wrap=True)
    for system in all_systems():
        memory = system.hbm_bytes if isinstance(system, UltraServer) else system.chips * system.chip.hbm_bytes
        rates = ((system.topology.bandwidth, 1e9), (system.efa_bandwidth, 1e9), (peak_of(system), 1e15))
        wiring = "-" if system.chips == 1 else system.topology.label
        cells = (*(_cell(quantity, scale) for quantity, scale in rates), _cell(memory, 1e12, 3))
        table.add_row(system.name.partition(", ")[0], wiring, f"{system.chips:,}", *cells)
    console.print(table)
    for note in NOTES:
        console.print(f"[dim]{note}[/dim]", highlight=False)


def _cell(quantity: Quantity | None, scale: float, digits: int = 4) -> str:
    """The figure in units of `scale`, marked where it is no published one."""
    if quantity is None:
        return "-"
    mark = "" if quantity.klass == "published" else quantity.klass[0]
    return f"{float(f'{quantity.value / scale:.{digits}g}'):,.10g}{mark}"


def systems_data() -> list[dict[str, Any]]:
    """Every system as JSON-ready data, numbers unrounded; what is not known is null."""
    return [
        {
            "name": system.name,
            "chip": system.chip.label,
            "chips": system.chips,
            "kind": system.topology.kind,
            "shape": list(system.topology.shape),
            "link_bandwidth_one_direction": quantity_dict(system.topology.bandwidth),
            "step_latency": quantity_dict(system.topology.step_latency),
            "efa_bandwidth": None if system.efa_bandwidth is None else quantity_dict(system.efa_bandwidth),
            "peaks": {rate: quantity_dict(system.chips_peak(rate)) for rate in system.chip.peaks},
            "printed_peaks": {rate: quantity_dict(q) for rate, q in system.peaks.items()}
            if isinstance(system, UltraServer)
            else {},
            "hbm_bytes": quantity_dict(system.chips * system.chip.hbm_bytes),
        }
        for system in all_systems()
    ]
