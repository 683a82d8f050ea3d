# `make demo` and `make test` are all that a fresh machine with Python 3.11 or newer needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PACKAGE := .cache/package
EXTRAS := train,dev,docs
PARALLEL := --numprocesses auto --dist loadfile --no-loadscope-reorder

# Compiled tests are kept, whatever the environment says: each process would rewrite 250 files.
unexport PYTHONDONTWRITEBYTECODE

IN_CI := not slow and not gpu and not gpu_check and not cluster

# For `make gpu-check ARGS='--data-root ... --wheels ...'`; see docs/gpu.md.
ARGS ?=

.PHONY: help demo test test-end-to-end test-cluster test-all gpu-check gpu-check-cpu coverage lint types format
.PHONY: docs bench fuzz kills kernels web-runtime clean clean-kernels

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP)  ## train, export, encode, evaluate and search on real digits, in demo/
	PATH="$(abspath $(BIN)):$$PATH" sh tests/demo.sh demo

# A file's tests stay in one process, where they share what is costly to make. Files come in their
# own order: of few tests, which xdist would leave to the end, some are the longest.
test: $(STAMP)  ## run the fast tests
	$(BIN)/pytest $(PARALLEL)

test-end-to-end: $(STAMP)  ## run the tests that start commands, train or export
	$(BIN)/pytest $(PARALLEL) -m "end_to_end and $(IN_CI)" --durations=30 --durations-min=4

test-cluster: $(STAMP)  ## run the tests on a Ray cluster, which they start on this machine
	$(BIN)/pytest -m "cluster and not slow" tests/cluster

test-all: $(STAMP)  ## run all tests, also the slow ones and those for a GPU
	$(BIN)/pytest -m "slow or gpu or gpu_check or cluster or not slow"

# With the machine's own Python: nothing is installed.
gpu-check:  ## check and measure everything on a GPU, see docs/gpu.md
	$(PYTHON) tests/gpu/check.py $(ARGS)

gpu-check-cpu: $(STAMP)  ## the same check, small, on the CPU
	$(BIN)/pytest -m gpu_check tests/gpu/test_check.py

# Of its own, as tracing takes Python 3.11 60 to 80 % more time.
coverage: $(STAMP)  ## run the fast and the end-to-end tests, and fail if they reach too few lines
	$(BIN)/pytest $(PARALLEL) -m "$(IN_CI)" --cov --cov-report=term --cov-report=html:.cache/coverage-html

lint: $(STAMP)  ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)  ## fix style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# mypy and the reference see the folders under their import names, which links give them.
define link_package
	rm -rf $(PACKAGE)
	mkdir -p $(PACKAGE)/hashkit
	ln -s $(abspath toolkit)/* $(abspath exporters runtimes datasets) $(PACKAGE)/hashkit
endef

# The check of a GPU is read too: little of it runs where there is no GPU.
types: $(STAMP)  ## check types
	$(link_package)
	MYPYPATH=$(PACKAGE):tests/gpu $(BIN)/mypy -p hashkit -p gpucheck

docs: $(STAMP)  ## build the documentation into site/, without a network
	$(link_package)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

fuzz: $(STAMP)  ## read damaged files of every format until stopped; ARGS='--minutes 1' for a short check
	$(BIN)/python tests/fuzz/fuzz.py $(ARGS)

kills: $(STAMP)  ## kill commands that write at random moments until stopped, and check what they leave
	$(BIN)/python tests/fuzz/kills.py $(ARGS)

bench: $(STAMP)  ## run every benchmark
	for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

# The version is package.json's.
web-runtime:  ## fetch onnxruntime-web, for `hashkit export --web` and the tests marked `browser`
	npm install --ignore-scripts --no-package-lock --no-audit --no-fund

kernels: $(STAMP)  ## compile all kernels now, so that no process has to wait for them
	$(BIN)/hashkit compile

# Compiled kernels are renewed when their own file changes, not when one that they call does.
clean-kernels:  ## forget compiled kernels, after a change to one that others call
	rm -f toolkit/kernels/__pycache__/*.nb?

clean:  ## remove everything that was made here
	rm -rf $(VENV) .cache build demo site node_modules *.egg-info
