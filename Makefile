# Shikomi's own commands. `make help` lists them. Nothing here needs root.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# The first Python from 3.11 to 3.13 that runs; another one: make setup PYTHON=/path/to/python
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	"$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo "$$name" && break; done)
STORE ?= store
RECIPE ?= recipes/quickstart.toml
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# How tests are started; CI puts coverage in front of it.
PYTEST ?= $(BIN)/python -m pytest

.PHONY: help setup quickstart test test-slow test-quickstart lint format setup-dev bench-setup reference clean

help:  ## list these commands
	@awk -F':.*##' '/^[a-z-]+:.*##/ { printf "make %-16s %s\n", $$1, $$2 }' Makefile

setup: .venv/.setup  ## make .venv and install Shikomi at the pinned versions
	@$(BIN)/shikomi --help >/dev/null || { \
	  echo "hint: was this folder moved? its .venv knows the old place: make clean setup" >&2; exit 3; }

.venv/.setup: pyproject.toml constraints.txt | .venv/bin/python
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv  # cut off half-way before
	$(PIP) install --quiet -c constraints.txt setuptools
	$(PIP) install -c constraints.txt --no-build-isolation -e .
	@touch $@

.venv/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
	  echo "Python 3.11, 3.12 or 3.13 was not found." >&2; \
	  echo "hint: Debian has it as python3 and python3-venv; or name one: make setup PYTHON=/path/to/python" >&2; exit 3; fi
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: its venv module is not complete." >&2; \
	  echo "hint: on Debian, as root: apt-get install python3-venv" >&2; exit 3; }
	"$(PYTHON)" -m venv --clear .venv

setup-dev: setup .venv/.setup-dev  ## setup, and what tests and checks need

.venv/.setup-dev: .venv/.setup
	$(PIP) install -c constraints.txt --no-build-isolation -e '.[cluster,dev]'
	@touch $@

quickstart: setup  ## build recipes/quickstart.toml and talk to its model
	$(BIN)/shikomi doctor
	$(BIN)/shikomi plan $(RECIPE) --store $(STORE)
	$(BIN)/shikomi build $(RECIPE) --store $(STORE)
	$(BIN)/shikomi report $(RECIPE) --store $(STORE)
	$(BIN)/shikomi chat $(RECIPE) --store $(STORE)

test: setup-dev  ## run the tests that take seconds (tests that need Chromium or real data skip where these are absent)
	$(PYTEST) -m "not slow and not quickstart"

test-slow: setup-dev  ## run the tests that take minutes
	$(PYTEST) -m "slow"

test-quickstart: setup-dev  ## build the quickstart and check what it promises (up to 10 minutes on 2 cores)
	$(PYTEST) -m "quickstart and not slow"

lint: setup-dev  ## style, types and import contracts, as CI checks them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: setup-dev  ## put files into the one style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: setup  ## write docs/reference/ anew from the recipe pages and the command line
	$(BIN)/python docs/reference/generate.py
	$(BIN)/python docs/reference/generate_commands.py

bench-setup:  ## make one environment per peer under .venv-bench/ (for bench/)
	PYTHON="$(PYTHON)" sh bench/setup.sh

clean:  ## remove what was installed and cached; the store stays
	rm -rf .venv .venv-bench build dist htmlcov .coverage .coverage.* .pytest_cache .ruff_cache .hypothesis
	rm -rf .import_linter_cache src/shikomi.egg-info
	find src tests bench docs -name __pycache__ -type d -prune -exec rm -rf {} +
