"""Run every notebook from clean; with --write, store the outputs that come out."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).parent.parent / "notebooks"
CELL_TIMEOUT_SECONDS = 300


def execute(path: Path, *, write: bool) -> str | None:
    """Run one notebook; the error's text when a cell fails, else None."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook, timeout=CELL_TIMEOUT_SECONDS, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    )
    try:
        client.execute()
    except CellExecutionError as error:
        return str(error)
    if write:
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
        temporary = path.with_suffix(".ipynb.tmp")
        nbformat.write(notebook, temporary)
        os.replace(temporary, path)
    return None


def main() -> int:
    """Run all notebooks; exit code 1 when one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="store the new outputs in the notebooks")
    options = parser.parse_args()
    paths = sorted(FOLDER.glob("*.ipynb"))
    failed = 0
    for path in paths:
        started = time.perf_counter()
        error = execute(path, write=options.write)
        failed += error is not None
        print(f"{path.name}: {'FAILED' if error else 'ok'} ({time.perf_counter() - started:.1f} s)")
        if error:
            print(error)
    print(f"{len(paths) - failed} passed, {failed} failed")
    return 1 if failed or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
