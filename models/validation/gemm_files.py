"""Reader of the public Trainium3 GEMM profiles, from the user's own copy; nothing of them is part of this project.

The folder is `experimental/operatorx/data` of SemiAnalysisAI/InferenceX, branch codex/trainium-exploration; its files
`trn3_lnc2_gemm_*.json` hold device profiles of BF16 multiplications on a pair of cores. Requests that were padded to
the same executable are one row; its time is the median of its runs' medians.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any, Final

from trnlab.models.projection.measured_rows import MeasuredGemm
from trnlab.models.quantity import ModelError

PATTERN: Final = "trn3_lnc2_gemm_*.json"


def read_gemms(folder: Path) -> tuple[MeasuredGemm, ...]:
    """One row per distinct executable, smallest first.

    Raises:
        ModelError: no such files, or one that has another form.
    """
    files = sorted(folder.glob(PATTERN))
    if not files:
        raise ModelError("folder of GEMM profiles", str(folder), f"a folder with {PATTERN}")
    runs: dict[tuple[int, int, int], dict[str, float]] = defaultdict(dict)
    for file in files:
        for shape, seconds in _rows(file):
            runs[shape].setdefault(file.name, seconds)
    return tuple(
        MeasuredGemm(rows=m, columns=n, depth=k, seconds=median(times.values()))
        for (m, n, k), times in sorted(runs.items(), key=lambda item: item[0][0] * item[0][1] * item[0][2])
    )


def _rows(file: Path) -> list[tuple[tuple[int, int, int], float]]:
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
        return [(_shape(row["executed_shape"]), median(s["total_time"] for s in row["samples"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"GEMM profiles in {file.name}", repr(error), "rows with executed_shape and samples"
        ) from error


def _shape(executed: dict[str, Any]) -> tuple[int, int, int]:
    return int(executed["m"]), int(executed["n"]), int(executed["k"])
