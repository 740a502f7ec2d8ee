# Two commands do everything on a fresh Debian or Ubuntu machine, as root or as a user with sudo: `make demo` shows the
# project at work, `make test` checks it. Each target prepares what it needs and is fast when that is there already.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?=
export PYTHON

venv := .venv/bin
images := $(venv)/python examples/images/build.py
# Evaluated when a recipe uses it, that is after `setup`.
with_images = TF_EXAMPLE_IMAGES="$$($(images) --print-dir)"

.PHONY: help
help: ## say what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r target what; do \
	  printf '  make %-13s %s\n' "$$target" "$$what"; done

.PHONY: setup
setup: packages .venv/.installed ## install the missing system packages, make .venv

.PHONY: packages
packages:
	@node/install-packages.sh node images python tests

.venv/.installed: pyproject.toml .ci/make-venv | packages
	@.ci/make-venv $@ dev

.venv/.installed-bench: .venv/.installed
	@.ci/make-venv $@ dev bench

.PHONY: images
images: setup ## build the example images (nginx, PostgreSQL, Redis), once
	@$(images)

.PHONY: demo
demo: images ## run the example suites against a private local location
	@$(with_images) $(venv)/pytest examples --tf-location=local

.PHONY: test
test: images ## run every check: ruff, mypy and the whole test suite
	@$(with_images) $(venv)/tox run

.PHONY: fuzz
fuzz: setup ## feed what reads strangers' words with millions of malformed inputs (TF_FUZZ=times, TF_FUZZ_SEED=number)
	@TF_FUZZ="$${TF_FUZZ:-50}" $(venv)/pytest tests/fuzz --timeout=3600

.PHONY: docs
docs: .venv/.installed ## write the documentation: HTML in build/docs
	@$(venv)/tox run -q -e docs

.PHONY: man
man: .venv/.installed ## write the man pages anew, after a change of a command
	@$(venv)/python docs/man_pages.py share/man/man1

.PHONY: bench
bench: images .venv/.installed-bench ## measure, beside Docker where there is one; writes benchmarks/results, tables, chart
	@$(with_images) $(venv)/python -m benchmarks.run
	@$(venv)/python -m benchmarks.document
	@$(venv)/python -m benchmarks.chart

FAULTS ?= 10000
SEED ?= 1

.PHONY: faults
faults: setup ## the long campaign of faults (FAULTS=10000 SEED=1) against a private location
	@$(venv)/python -m tests.faults.campaign --faults $(FAULTS) --seed $(SEED)

ROLLBACKS ?= 10000
SPAWNS ?= 2000

.PHONY: soak
soak: images ## a long life of a private location (ROLLBACKS=10000 SPAWNS=2000), and what is left of it
	@$(with_images) $(venv)/python -m benchmarks.soak --rollbacks $(ROLLBACKS) --spawns $(SPAWNS)

.PHONY: clean
clean: ## remove what was made in this directory
	rm -rf .venv .tox .mypy_cache .ruff_cache .pytest_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: clean-images
clean-images: ## remove the example images from the user's cache
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/pytest-tf/example-images"
