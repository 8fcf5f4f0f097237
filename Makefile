# Every target sets up what it needs, in a virtual environment under this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Strict editable installs link files one by one: a new or removed source file means a new set-up.
SOURCES := $(shell find emulator kernels models -name '*.py' | sort | cksum | cut -d' ' -f1)
READY := $(VENV)/.ready-$(SOURCES)

.PHONY: setup demo test pages test-all lint types bench conformance notebooks notebooks-write ci clean

setup: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "trnlab needs Python 3.11 or later; choose one with: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@rm -rf build $(VENV)/.ready-*
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' --config-settings editable_mode=strict
	@touch $@

demo: setup
	$(BIN)/trnlab demo

test: setup
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow and not pages"

# The whole report is gathered once, which takes the longest: one process.
pages: setup
	$(BIN)/python -m pytest -m pages --require-browser tests/models

test-all: setup
	$(BIN)/python -m pytest -n auto

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

# OPTIONS="--json FILE", "--small", "--only SECTION ...": see `python -m tests.bench --help`. Triton's interpreter takes
# part where it is installed: $(BIN)/pip install -e '.[bench]'.
bench: setup
	$(BIN)/python -m tests.bench $(OPTIONS)

# OPTIONS="--nki-library DIR --nki-samples DIR --neuron-sdk DIR": AWS's public kernels, from checkouts of yours.
conformance: setup
	$(BIN)/python -m tests.conformance $(OPTIONS)

notebooks: setup
	$(BIN)/python tests/execute_notebooks.py

notebooks-write: setup
	$(BIN)/python tests/execute_notebooks.py --write

ci: lint types test pages notebooks

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis
