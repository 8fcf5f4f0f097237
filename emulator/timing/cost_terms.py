"""The records of the cost model: what one instruction takes (`Cost`), what it does (`Work`), and the rule behind it.

A cost is a pure function of a `Call` (opcode, operands, attributes, engine, target): it knows no addresses, no other
instructions and no state. What depends on those (queues, start partitions, activation tables) is the scheduler's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple

from trnlab.emulator.isa.registry import Call
from trnlab.emulator.target import Engine, Generation, Target

WorkKind = Literal["matmul", "transpose", "elementwise", "move"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What instructions do, in quantities that add up: `a + b`, `7 * a`.

    *_bytes:                bytes read from and written to each memory; a broadcast operand counts at every read
    dma_bytes:              bytes moved by the DMA engines, each once
    matmul_flops:           useful FLOP of the Tensor Engine by rate class (see `target.MATMUL_RATES`)
    transpose_flops:        FLOP that the Tensor Engine spends on multiplying by an identity
    elementwise_operations: elements times operators, on the other engines
    """

    hbm_read_bytes: int = 0
    hbm_write_bytes: int = 0
    sbuf_read_bytes: int = 0
    sbuf_write_bytes: int = 0
    psum_read_bytes: int = 0
    psum_write_bytes: int = 0
    dma_bytes: int = 0
    dma_descriptors: int = 0
    transpose_flops: float = 0
    elementwise_operations: float = 0
    matmul_flops: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: Work) -> Work:
        rates = self.matmul_flops.keys() | other.matmul_flops.keys()
        flops = {rate: self.matmul_flops.get(rate, 0) + other.matmul_flops.get(rate, 0) for rate in sorted(rates)}
        return Work(matmul_flops=flops, **{key: getattr(self, key) + getattr(other, key) for key in _COUNTS})

    def __rmul__(self, times: int) -> Work:
        flops = {rate: times * count for rate, count in self.matmul_flops.items()}
        return Work(matmul_flops=flops, **{key: times * getattr(self, key) for key in _COUNTS})

    @property
    def hbm_bytes(self) -> int:
        """Bytes read from and written to HBM."""
        return self.hbm_read_bytes + self.hbm_write_bytes

    @property
    def flops(self) -> float:
        """Useful Tensor Engine FLOP of all rate classes."""
        return sum(self.matmul_flops.values())


_KEPT = (0.8, 1.25)
_UNPUBLISHED = (0.5, 2.0)

_COUNTS = tuple(item.name for item in fields(Work) if item.name != "matmul_flops")


class ArrayTile(NamedTuple):
    """The part of the Tensor Engine's array that a matmul occupies: cells of a grid, and how many cells there are."""

    cells: tuple[int, ...]
    total: int

    @property
    def share(self) -> float:
        """Fraction of the array."""
        return len(self.cells) / self.total


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A DMA instruction as descriptors, before it is known which DMA engines carry them.

    operand:    the SBUF operand whose partitions choose the DMA engines, or "" when the transfer is spread over all
    partitions: partitions of that operand; 1 when spread
    descriptors: in each partition
    descriptor_bytes, descriptor_seconds: size of one descriptor, and the time one DMA engine takes for it
    overhead_seconds: what the DMA engines with most of the descriptors spend beyond them, others in proportion
    queue_interval_seconds: shortest time between the starts of two such transfers on one queue
    generation: how its descriptors are made: "none" (before the run), "hardware", "hardware sync", "hardware scalar",
                "software", or as the "compiler" has it by default
    generating_seconds: how long that keeps its generator busy
    """

    operand: str
    partitions: int
    descriptors: int
    descriptor_bytes: int
    descriptor_seconds: float
    queue_interval_seconds: float
    overhead_seconds: float = 0.0
    generation: str = "none"
    generating_seconds: float = 0.0

    @property
    def packet_seconds(self) -> float:
        """The time of all descriptors, added up over the DMA engines."""
        return self.partitions * self.descriptors * self.descriptor_seconds

    def scaled(self, factor: float) -> Transfer:
        """The same with its time on the DMA engines multiplied."""
        each, overhead = factor * self.descriptor_seconds, factor * self.overhead_seconds
        return replace(self, descriptor_seconds=each, overhead_seconds=overhead)

    def descriptors_per_engine(self, start_partition: int, target: Target) -> dict[int, int]:
        """How many descriptors each DMA engine gets: 8 neighbouring partitions share one engine (AWS DMA overview)."""
        engines, counts = target.dma_engines, dict[int, int]()
        if not self.operand:
            each, rest = divmod(self.descriptors, engines)
            return {engine: each + (engine < rest) for engine in range(engines) if each or engine < rest}
        for partition in range(start_partition, start_partition + self.partitions):
            engine = partition // target.dma_partitions_per_engine % engines
            counts[engine] = counts.get(engine, 0) + self.descriptors
        return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The price of one instruction on one target.

    cycles, seconds:  how long it occupies its engine; a DMA transfer occupies DMA engines instead (see `transfer`)
    latency_seconds:  from then until another engine, or the kernel's end, sees the result
    chain_seconds:    from then until a dependent instruction of the same engine can start
    load_seconds:     what loading the stationary operand adds where the Tensor Engine did nothing before it
    fast:             whether it runs in a performance mode of the Vector Engine, over the bus shared with GpSimd
    kind:             matmul, transpose, elementwise or move; transposes are no useful work
    table:            the activation table that the Scalar Engine must hold, or ""
    tile:             the part of the Tensor Engine's array it occupies, when that is not the whole
    formula, source:  of the rule that gave the price; assumed: no AWS document prices this on this generation
    band:             what its time may be multiplied by, (1, 1) unless assumed
    """

    opcode: str
    engine: Engine
    cycles: float
    seconds: float
    latency_seconds: float
    chain_seconds: float
    kind: WorkKind
    work: Work
    formula: str
    source: str
    assumed: bool
    band: tuple[float, float] = (1.0, 1.0)
    table: str = ""
    load_seconds: float = 0.0
    fast: bool = False
    tile: ArrayTile | None = None
    transfer: Transfer | None = None

    def scaled(self, factor: float) -> Cost:
        """The same with its time on the engine, or on the DMA engines, multiplied."""
        transfer = self.transfer
        if transfer is not None:
            transfer = transfer.scaled(factor)
        return replace(self, cycles=factor * self.cycles, seconds=factor * self.seconds, transfer=transfer)

    @property
    def useful(self) -> bool:
        """Whether it does work that the kernel is for; rearranging data for an engine is not."""
        return self.kind != "transpose"


class Price(NamedTuple):
    """What a rule says about one call.

    cycles:  on the engine
    assumed: whether this case goes beyond what the rule's source covers
    padding: cycles of it that only the shortest interval between instructions asks for
    load:    cycles that loading the stationary operand adds where it is not hidden
    """

    cycles: float
    assumed: bool = False
    padding: float = 0.0
    load: float = 0.0
    tile: ArrayTile | None = None
    transfer: Transfer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRule:
    """The price of one opcode: `formula` and `source` in words, `price` and `work` as functions of the call.

    documented: generations that the source was written for; the price counts as assumed on the others
    """

    formula: str
    source: str
    price: Callable[[Call], Price]
    work: Callable[[Call], dict[str, Any]]
    kind: WorkKind = "elementwise"
    documented: frozenset[Generation] = frozenset()

    def band_on(self, target: Target, beyond: bool) -> tuple[float, float]:
        """What the price may be multiplied by; beyond: whether the call goes beyond what the source covers.

        A price kept from an older generation may be a quarter off, one that nobody published a factor of 2 (assumed).
        """
        if beyond or not self.documented:
            return _UNPUBLISHED
        return _KEPT if self.assumed_on(target) else (1.0, 1.0)

    def assumed_on(self, target: Target) -> bool:
        """Whether no AWS document prices this opcode on the target's generation."""
        return target.generation not in self.documented
