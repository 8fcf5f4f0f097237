"""Claims about chips, UltraServers and energy: arithmetic on the published figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from trnlab.emulator.target.facts import KEYNOTE, VARIANTS
from trnlab.models.chips import Chip, UltraServer, get_chip, get_ultraserver
from trnlab.models.claims.claim import Claim, Reading
from trnlab.models.quantity import Quantity

NATIVE_FP4: Final = (
    "Trainium3 multiplies MXFP4 at the MXFP8 rate, so 6x FP4 and 3x FP8 agree: an FP4 path of twice Trainium4's own FP8"
)
GUIDES: Final = {"hbm_bandwidth": "NKI guide"}
TALK: Final = "AWS re:Invent keynote, 2 December 2025 (transcripts of the talk)"
PRESS_GIGABYTES: Final = 144e9
"""HBM of a Trainium3 as the announcement has it, 144 GB; AWS's own pages say 144 GiB."""


def times(value: float) -> Quantity:
    """An announced ratio."""
    return Quantity(value, "", KEYNOTE)


def ratio(meaning: str, new: Quantity, old: Quantity) -> Reading:
    """The reading new / old."""
    return Reading(meaning=meaning, computed=new / old)


def chip_claims() -> tuple[Claim, ...]:
    """Trainium3 against Trainium2, per chip."""
    trn2, trn3 = get_chip("trn2"), get_chip("trn3")
    return (
        Claim(
            statement="Trainium3 is twice as fast as Trainium2, per chip",
            source=KEYNOTE,
            claimed=times(2),
            readings=(
                ratio("MXFP8 against FP8 of the chip pages", trn3.peak("mxfp8"), trn2.peak("fp8")),
                ratio("BF16", trn3.peak("bf16"), trn2.peak("bf16")),
                ratio("FP8 without block scales on both", trn3.peak("fp8"), trn2.peak("fp8")),
                ratio("HBM bandwidth", trn3.hbm_bandwidth, trn2.hbm_bandwidth),
                ratio("MXFP8 against BF16: a change of format", trn3.peak("mxfp8"), trn2.peak("bf16")),
            ),
            note="it holds where a kernel multiplies microscaled formats; in formats that both chips have it does not",
        ),
        Claim(
            statement="a Trainium3 delivers 2.52 PFLOP/s FP8",
            source=KEYNOTE,
            claimed=Quantity(2.52e15, "FLOP/s", KEYNOTE),
            readings=(
                Reading(meaning="the chip page's MXFP8 rate", computed=trn3.peak("mxfp8")),
                Reading(meaning="8 cores x the core's MXFP8 rate", computed=trn3.core_peak("mxfp8")),
                Reading(meaning="FP8 without block scales", computed=trn3.peak("fp8")),
            ),
            digits=2,
            scale=1e15,
        ),
        Claim(
            statement="Trainium3 has 1.5 times the HBM capacity of Trainium2, per chip",
            source=KEYNOTE,
            claimed=times(1.5),
            readings=(ratio("chip pages", trn3.hbm_bytes, trn2.hbm_bytes),),
            digits=1,
        ),
        Claim(
            statement="Trainium3 has 1.7 times the HBM bandwidth of Trainium2, per chip",
            source=KEYNOTE,
            claimed=times(1.7),
            readings=(
                ratio("chip pages", trn3.hbm_bandwidth, trn2.hbm_bandwidth),
                ratio("NKI guides: 4.7 and 3.0 TB/s", _guide("trn3"), _guide("trn2")),
            ),
            digits=1,
        ),
    )


def _guide(name: str) -> Quantity:
    return get_chip(name, figures=GUIDES).hbm_bandwidth


def ultraserver_claims() -> tuple[Claim, ...]:
    """Trn3 UltraServers against the Trn2 UltraServer."""
    trn2, gen1, gen2 = (get_ultraserver(name) for name in ("trn2", "trn3-gen1", "trn3-gen2"))
    return (
        Claim(
            statement="a Trn3 Gen2 UltraServer has 144 chips",
            source=KEYNOTE,
            claimed=Quantity(144, "chip", KEYNOTE),
            readings=(
                Reading(
                    meaning="HBM of the UltraServer table over the chip page's",
                    computed=_counted(gen2.hbm_bytes / gen2.chip.hbm_bytes),
                ),
            ),
        ),
        Claim(
            statement="a Trn3 Gen2 UltraServer delivers 362 PFLOP/s FP8",
            source=KEYNOTE,
            claimed=Quantity(362e15, "FLOP/s", KEYNOTE),
            readings=(
                Reading(meaning="144 x the chip page's MXFP8 rate", computed=gen2.chips_peak("mxfp8")),
                Reading(meaning="144 x 8 cores x the core's MXFP8 rate", computed=144 * gen2.chip.core_peak("mxfp8")),
                Reading(meaning="144 x FP8 without block scales", computed=gen2.chips_peak("fp8")),
            ),
            scale=1e15,
        ),
        *_ultraserver_memory(gen2),
        Claim(
            statement="a Trn3 UltraServer has 4.4 times the compute of a Trn2 UltraServer",
            source=KEYNOTE,
            claimed=times(4.4),
            readings=(
                ratio(
                    "Gen2 MXFP8 against FP8: 2.25x the chips, 1.94x each", gen2.chips_peak("mxfp8"), trn2.peak("fp8")
                ),
                ratio("Gen2, BF16", gen2.peak("bf16"), trn2.peak("bf16")),
                ratio("Gen1 with as many chips, MXFP8 against FP8", gen1.peak("mxfp8"), trn2.peak("fp8")),
            ),
            digits=1,
        ),
        Claim(
            statement="a Trn3 UltraServer has 3.9 times the memory bandwidth of a Trn2 UltraServer",
            source=KEYNOTE,
            claimed=times(3.9),
            readings=(
                ratio("AWS's own UltraServer tables", gen2.hbm_bandwidth, trn2.hbm_bandwidth),
                ratio("NKI guides' HBM rates", 144 * _guide("trn3"), 64 * _guide("trn2")),
                ratio("HBM capacity", gen2.hbm_bytes, trn2.hbm_bytes),
            ),
            digits=1,
            note="3.9 would need 724 against 185.6 TB/s, or 705.6 against 181",
        ),
    )


def _ultraserver_memory(gen2: UltraServer) -> tuple[Claim, ...]:
    """Capacity and bandwidth of all 144 chips."""
    as_announced = gen2.chips * Quantity(PRESS_GIGABYTES, "B", f"{KEYNOTE}: 144 GB")
    return (
        Claim(
            statement="a Trn3 Gen2 UltraServer has 20.7 TB of HBM",
            source=KEYNOTE,
            claimed=Quantity(20.7e12, "B", KEYNOTE),
            readings=(
                Reading(meaning="144 x 144 GB, as the announcement has the chip", computed=as_announced),
                Reading(meaning="144 x the chip page's 144 GiB", computed=gen2.chips * gen2.chip.hbm_bytes),
            ),
            digits=1,
            scale=1e12,
            note="AWS's own pages count in GiB: 20,736 GiB are 22.3 TB, so the announcement takes GiB for GB",
        ),
        Claim(
            statement="a Trn3 Gen2 UltraServer has 706 TB/s of memory bandwidth",
            source=KEYNOTE,
            claimed=Quantity(706e12, "B/s", KEYNOTE),
            readings=(
                Reading(meaning="144 x the chip page's rate", computed=gen2.chips * gen2.chip.hbm_bandwidth),
                Reading(meaning="144 x the NKI guide's rate", computed=gen2.chips * _guide("trn3")),
            ),
            scale=1e12,
        ),
    )


def _counted(number: Quantity) -> Quantity:
    """A ratio that counts chips."""
    return Quantity(number.value, "chip", number.source, number.klass, number.low, number.high)


def energy_claims() -> tuple[Claim, ...]:
    """Performance per watt: AWS has published neither chip's power."""
    trn2, trn3 = get_chip("trn2"), get_chip("trn3")
    assert trn2.power is not None
    assert trn3.power is not None
    fp8 = trn3.peak("mxfp8") / trn2.peak("fp8")
    hint = get_chip("trn3", figures={"power": "1000 W"}).power
    assert hint is not None
    servers = get_ultraserver("trn3-gen2").chips_peak("mxfp8") / get_ultraserver("trn2").peak("fp8")
    return (
        Claim(
            statement="Trainium3 is over 40 % more energy-efficient than Trainium2",
            source=KEYNOTE,
            claimed=times(1.4),
            readings=(
                Reading(
                    meaning="FP8 per watt, powers assumed: 692 W was chosen to fit",
                    computed=fp8 * (trn2.power / trn3.power),
                ),
                Reading(meaning="FP8 per watt, if Trainium3 takes the hinted 1 kW", computed=fp8 * (trn2.power / hint)),
            ),
            kind="untestable",
            digits=1,
            at_least=True,
            note=f"it would hold if Trainium3 took at most {(fp8 / 1.4).value:.2f} times Trainium2's power",
        ),
        Claim(
            statement="a Trn3 UltraServer has 4 times the energy efficiency of a Trn2 UltraServer",
            source=f"{KEYNOTE}, launch material",
            claimed=times(4),
            readings=(
                Reading(
                    meaning="FP8 of the UltraServers per watt, powers of the chips assumed",
                    computed=servers * (64 * trn2.power / (144 * trn3.power)),
                ),
            ),
            kind="untestable",
            note=(
                f"as peak FLOP per joule it would need chips of {(servers / (4 * 144 / 64)).value:.2f} times the power "
                "of Trainium2, so it speaks of a workload, and of one in another format"
            ),
        ),
    )


def trainium4_claims() -> tuple[Claim, ...]:
    """The announced multipliers, which are inputs of the projection, in its three variants."""
    return tuple(claim for variant in VARIANTS for claim in _variant_claims(get_chip("trn4", variant)))


def _variant_claims(trn4: Chip) -> tuple[Claim, ...]:
    trn3 = get_chip("trn3")
    announced: tuple[tuple[str, float, str, Quantity, Quantity], ...] = (
        ("at least 6 times the FP4 rate", 6, KEYNOTE, trn4.peak("mxfp4"), trn3.peak("mxfp4")),
        ("3 times the FP8 rate", 3, KEYNOTE, trn4.peak("mxfp8"), trn3.peak("mxfp8")),
        ("4 times the memory bandwidth", 4, KEYNOTE, trn4.hbm_bandwidth, trn3.hbm_bandwidth),
        ("2 times the HBM capacity", 2, TALK, trn4.hbm_bytes, trn3.hbm_bytes),
    )
    is_central = trn4.variant == "central"
    meaning = "per chip, taken as announced" if is_central else f"per chip, what the {trn4.variant} case assumes"
    share = trn4.scale_up.size / trn3.scale_up.size
    domain = f"per scale-up domain, if it has {trn4.scale_up.size} chips against {trn3.scale_up.size}"
    return tuple(
        Claim(
            statement=f"{trn4.label} has {what} of Trainium3",
            source=source,
            claimed=times(factor),
            readings=(ratio(meaning, new, old), Reading(meaning=domain, computed=_assumed(share * (new / old)))),
            kind="input",
            at_least=what.startswith("at least"),
            note=NATIVE_FP4 if is_central and what.startswith("at least") else "",
        )
        for what, factor, source, new, old in announced
    )


def _assumed(quantity: Quantity) -> Quantity:
    return replace(quantity, klass="assumed")
