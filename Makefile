# `make demo` and `make test` are all that a fresh machine with Python 3.11 or newer needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TYPES := .cache/types

# For `make gpu-check ARGS='--data-root ... --wheels ...'`; see docs/gpu.md.
ARGS ?=

.PHONY: demo test test-all gpu-check gpu-check-cpu lint types format bench web-runtime clean clean-kernels

demo: $(STAMP)
	PATH="$(abspath $(BIN)):$$PATH" sh tests/demo.sh demo

# A file's tests stay in one process, where they share what is costly to make. Files come in their
# own order: of few tests, which xdist would leave to the end, some are the longest.
test: $(STAMP)
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test-all: $(STAMP)
	$(BIN)/pytest -m "slow or gpu or gpu_check or not slow"

# Everything on a GPU, with the machine's own Python: nothing is installed.
gpu-check:
	$(PYTHON) tests/gpu/check.py $(ARGS)

# The same check, small, without a GPU.
gpu-check-cpu: $(STAMP)
	$(BIN)/pytest -m gpu_check tests/gpu/test_check.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# mypy cannot see folders that pyproject.toml maps to other names, so it reads an installed copy.
# The check of a GPU is read too: little of it runs where there is no GPU.
types: $(STAMP)
	rm -rf $(TYPES) build
	$(BIN)/pip install --quiet --no-deps --target $(TYPES) .
	MYPYPATH=$(TYPES):tests/gpu $(BIN)/mypy -p hashkit -p gpucheck

bench: $(STAMP)
	for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[train,dev]'
	touch $@

# For `hashkit export --web` and the tests marked `browser`; the version is package.json's.
web-runtime:
	npm install --ignore-scripts --no-package-lock --no-audit --no-fund

# Compiled kernels are renewed when their own file changes, not when one that they call does.
clean-kernels:
	rm -f toolkit/kernels/__pycache__/*.nb?

clean:
	rm -rf $(VENV) .cache build demo node_modules *.egg-info
