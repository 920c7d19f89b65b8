# Two commands on a fresh machine: `make demo` and `make test`. Each sets up what it needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Test files run side by side: those on real parts mostly wait.
WORKERS ?= 2
WORLDS := $(VENV)/worlds.txt

.PHONY: help demo test parts worlds test-fast lint types contracts bench lock clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

$(READY): deploy/requirements-dev.lock deploy/setup.sh
	@PYTHON=$(PYTHON) VENV=$(VENV) deploy/setup.sh

demo: $(READY) ## a real head, two nodes and one job, from a commit to its result
	@$(BIN)/python deploy/demo/demo.py

test: $(READY) ## everything: lint, types, contracts, all tests on real parts, and the simulated worlds
	@deploy/setup.sh --system
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(MAKE) --no-print-directory -j2 parts worlds; ended=$$?; cat $(WORLDS); exit $$ended

parts: $(READY) ## all tests
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile || { \
	  echo "once more, only what failed: real parts on a busy machine are not always in time"; \
	  $(BIN)/pytest --last-failed --last-failed-no-failures none; }

worlds: $(READY) ## 2,000 simulated worlds, and a daemon that dies in most moments of a story
	@# Real parts mostly wait: what they leave of the processor is enough.
	@nice -n 19 $(BIN)/python -m tests.simulator --crashes most > $(WORLDS) 2>&1

test-fast: $(READY) ## the tests that need no sshd and no Ray
	@$(BIN)/pytest -m 'not real'

lint: $(READY) ## format and lint
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

types: $(READY) ## strict types
	@$(BIN)/mypy

contracts: $(READY) ## who may import whom
	@$(BIN)/lint-imports --no-logo

bench: $(READY) ## measure against floors taken in the same run
	@$(BIN)/python -m tests.benchmarks

lock: ## pin all packages anew, with hashes
	@deploy/lock.sh

clean: ## remove what the commands above made
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .demo
