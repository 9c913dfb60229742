# Everything that a person does with this repository. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PARTS := proto files coordinator agent gateway slicer deploy/standalone
EDITABLES := $(foreach part,$(PARTS),-e $(part))
SUM := $(shell cat deploy/lock/*.txt $(foreach part,$(PARTS),$(part)/pyproject.toml) | cksum | cut -d' ' -f1)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Most of the tests wait for programs.
WORKERS ?= 4
SECONDS ?= 600

.DEFAULT_GOAL := help
.PHONY: help setup run test test-all fuzz conformance bench proto proto-check proto-release fmt lint types layers lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run-$(SUM): $(BIN)/python
	@echo "installing what the farm needs ..."
	@$(PIP) install --require-hashes -r deploy/lock/server.txt
	@$(PIP) install --require-hashes -r deploy/lock/build.txt
	@$(PIP) install --no-deps --no-build-isolation $(EDITABLES)
	@touch $@

$(VENV)/.dev-$(SUM): $(VENV)/.run-$(SUM)
	@echo "installing what its checks and tests need ..."
	@$(PIP) install --require-hashes -r deploy/lock/dev.txt
	@touch $@

setup: $(VENV)/.dev-$(SUM) ## everything for work on the farm, into .venv

run: $(VENV)/.run-$(SUM) ## the whole farm with virtual printers, at http://localhost:4000
	@$(BIN)/printfarm

test: setup ## the tests, with private servers of what this machine has
	@$(BIN)/python tests/servers.py
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "not slow"

test-all: setup ## the tests, and the long ones
	@$(BIN)/python tests/servers.py
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

conformance: setup ## every driver against its printer, as a table; ARGS="-k octoprint" for one
	@$(BIN)/python tests/servers.py
	@$(BIN)/python -m tests.conformance $(ARGS)

fuzz: setup ## every parser of files, given anything, for SECONDS (600); with atheris where it can be installed
	@$(PIP) install --require-hashes -r deploy/lock/fuzz.txt || echo "no atheris here: Hypothesis alone"
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

bench: setup ## the benchmarks, as JSON
	@$(BIN)/python -m tests.bench

.venv-proto/.made: proto/generate.txt
	@$(PYTHON) -m venv .venv-proto
	@.venv-proto/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r proto/generate.txt
	@touch $@

proto: .venv-proto/.made ## the stubs, from the schema
	@.venv-proto/bin/python proto/generate.py

proto-check: .venv-proto/.made setup
	@.venv-proto/bin/python proto/generate.py --check
	@.venv-proto/bin/python proto/load.py
	@$(BIN)/python proto/load.py
	@$(BIN)/buf lint
	@$(BIN)/buf breaking --against proto/baseline.binpb
	@$(BIN)/buf format -d --exit-code

proto-release: setup ## what the newest release speaks, for the check that nothing breaks it
	@$(BIN)/buf build --exclude-source-info -o proto/baseline.binpb

fmt: setup ## formats code and schema
	@$(BIN)/ruff check -q --fix-only .
	@$(BIN)/ruff format -q .
	@$(BIN)/buf format -w

lint: setup ## style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check -q .

types: setup ## mypy, strict
	@$(BIN)/mypy

layers: setup ## who may import whom
	@$(BIN)/lint-imports --config pyproject.toml

lock: setup ## the locks, made anew
	@$(BIN)/python deploy/lock/compile.py

clean: ## throws away what was made here
	@rm -rf $(VENV) .venv-proto .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
