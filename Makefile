# Everything that is done with this repository, by name; `make help` lists it.
# The first target that needs it makes a private environment in .venv; nothing else outside build/ is written,
# but for Debian packages, which are installed only as root and only when one is missing.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# The tests' modules are many, and each worker imports them all: once compiled they stay so.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
ARGS ?=

# What `make test` goes through before the tests themselves; the tests come last, so that their summary is the last word.
CHECKS := lint type imports docs unit-others

# Tests that need no kernel, but start programs, install distributions or build runtimes.
PROGRAMS := tests/kit tests/starting tests/distributions tests/composing

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 14

.PHONY: demo
demo: ## set up, then run a real container and show what plugins do
	@tools/setup run
	$(BIN)/python -m examples.demo.demo $(ARGS)

.PHONY: test
test: ## set up, then every check and every test; what CI runs
	@tools/setup test
	failed=
	for check in $(CHECKS); do
	    $(MAKE) $$check || failed+=" $$check"
	done
	rm -rf build/lanes
	ORLOP_LANE=host $(BIN)/python -m pytest tests/unit --numprocesses auto $(ARGS) || failed+=" unit"
	ORLOP_LANE=host $(BIN)/python -m pytest $(PROGRAMS) --numprocesses auto $(ARGS) || failed+=" programs"
	ORLOP_LANE=host $(BIN)/python -m pytest tests/attacks tests/engines tests/linux $(ARGS) || failed+=" real"
	$(BIN)/python -m pytest tests/vm $(ARGS) || failed+=" vm"
	$(BIN)/python -m tests.lanes $(if $(ARGS),--partial) || failed+=" lanes"
	if [ -n "$$failed" ]; then echo "make test: failed:$$failed" >&2; exit 1; fi

.PHONY: lint
lint: ## style, docstrings and changelog fragments
	@tools/setup check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/towncrier build --draft --version next >build/changelog.md

.PHONY: fmt
fmt: ## rewrite the code in the house style
	@tools/setup check
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: type
type: ## mypy --strict
	@tools/setup check
	$(BIN)/mypy --strict

.PHONY: imports
imports: ## the import rules between the packages
	@tools/setup check
	$(BIN)/lint-imports --cache-dir build/import-linter

.PHONY: unit
unit: ## unit tests: no root, no kernel, seconds
	@tools/setup check
	$(BIN)/python -m pytest tests/unit --numprocesses auto $(ARGS)

.PHONY: programs
programs: ## tests that start programs, install distributions or build runtimes: no root, no kernel
	@tools/setup check
	$(BIN)/python -m pytest $(PROGRAMS) --numprocesses auto $(ARGS)

.PHONY: unit-others
unit-others: ## unit tests, the kit and the launcher on each other supported Python that is here
	@tools/setup others
	failed=
	for python in build/pythons/*/bin/python; do
	    [ -x "$$python" ] || continue
	    "$$python" -m pytest tests/unit tests/kit tests/starting --numprocesses auto -q -o cache_dir="$${python%/bin/python}/pytest" $(ARGS) || failed+=" $$python"
	done
	[ -z "$$failed" ]

.PHONY: linux
linux: ## real containers, as root
	@tools/setup check
	$(BIN)/python -m pytest tests/linux $(ARGS)

.PHONY: engines
engines: ## engines with orlop as their runtime, as root
	@tools/setup test
	$(BIN)/python -m pytest tests/engines $(ARGS)

.PHONY: vm
vm: ## tests in the virtual machine: make vm ARGS='tests/linux/kernel/test_cgroups.py -k freez'
	@tools/setup vm
	$(BIN)/python -m tests.vm $(ARGS)

.PHONY: docs
docs: ## build the site into build/docs, warnings are errors
	@tools/setup check
	SOURCE_DATE_EPOCH=0 $(BIN)/sphinx-build --fail-on-warning --keep-going --nitpicky --quiet \
	    --builder html --doctree-dir build/doctrees docs build/docs

.PHONY: pages
pages: ## rewrite the reference pages that are made from the code
	@tools/setup check
	$(BIN)/python tools/reference.py
	$(BIN)/python -m tools.properties
	$(BIN)/python -m orlop.plugins.reference >build/hooks.md
	mv build/hooks.md docs/reference/hooks.md
	$(BIN)/python -m orlop.cli.reference >build/cli.md
	mv build/cli.md docs/reference/cli.md
	$(BIN)/python -m orlop.plugins.stability >build/contract.md
	mv build/contract.md docs/reference/contract.md
	$(BIN)/python -m orlop.kit.reference >build/rules.md
	mv build/rules.md docs/reference/rules.md
	$(BIN)/python -m tests.engines.comparison --page >build/differences.md
	mv build/differences.md docs/reference/differences.md

.PHONY: bench
bench: ## measure against runc and crun, as root
	@tools/setup test
	$(BIN)/python benchmarks/lifecycle.py $(ARGS)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/fake.py
	$(BIN)/python -m benchmarks.engines

.PHONY: clean
clean: ## remove all that make has made
	rm -rf .venv build dist .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
