# The front door. Every target does its own set-up and can be run twice; `make` alone says what there is.
# The sidecar and its tests are built by CMakeLists.txt, the extension by extension/Makefile.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
PYTHON := build/venv/bin/python
RELEASE := build/release
PG_CONFIG ?= pg_config

.DEFAULT_GOAL := help
.PHONY: help setup build extension install-extension quickstart quickstart-stop check check-deep sim check-matrix check-containers chaos bench bench-cache bench-extension bench-extension-instructions fuzz tidy format clean

help: ## Says what there is
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-28s %s\n", $$1, $$2}' Makefile

setup: ## Installs what is missing: Debian packages, and Python packages into build/venv
	@tools/setup.sh
	@tools/venv.sh

build: setup ## Builds the sidecar: build/release/bin/apex
	@tools/build.sh $(RELEASE) apex

extension: setup ## Builds the PostgreSQL extension
	@$(MAKE) -s -C extension PG_CONFIG=$(PG_CONFIG)

install-extension: extension ## Installs the extension into PostgreSQL's own directories
	@PG_CONFIG=$(PG_CONFIG) tools/install_extension.sh

quickstart: setup ## Starts everything, loads this machine's package database and shows what arrives where
	@$(PYTHON) examples/quickstart/run.py

quickstart-stop: ## Ends what quickstart left running
	@tools/venv.sh
	@$(PYTHON) examples/quickstart/run.py --stop

check: setup ## Builds and runs every test
	@$(PYTHON) tools/check.py

check-deep: setup ## check, then clang-tidy, the sanitizers and the long forms of the tests
	@tools/setup.sh tools/packages-deep.txt
	@$(PYTHON) tools/check.py --deep

check-matrix: setup ## Tests the extension on PostgreSQL 15, 17 and 18; with ASSERTS=1 on a 15 that checks assertions too; needs root
	@tools/setup.sh tools/packages-matrix.txt
	@$(PYTHON) tools/check_matrix.py $(if $(ASSERTS),--asserts)

sim: setup ## Runs the simulator: RUNS=2000 seeds from SEED=1 on
	@tools/build.sh $(RELEASE) unit_sim >/dev/null
	@APEX_SIM_RUNS=$(or $(RUNS),2000) APEX_SIM_SEED=$(or $(SEED),1) APEX_SIM_FIGURES=1 $(RELEASE)/unit_sim --gtest_brief=1 --gtest_filter='SimulationTest.KeepsItsPromises'

chaos: setup install-extension ## Kills, stops and cuts off every process under load, then compares every row: SECONDS=300 SEED=7
	@tools/build.sh $(RELEASE) apex >/dev/null
	@$(PYTHON) tests/chaos/run.py --seconds $(or $(SECONDS),300) $(if $(SEED),--seed $(SEED)) --takeovers 5

check-containers: setup ## Builds both images, rolls them out and back, and sends rows through them; needs root but no Docker
	@tools/setup.sh tools/packages-containers.txt
	@$(PYTHON) tools/check_containers.py

bench: build install-extension ## Measures the sidecar: rows a second, commit to readable, memory; beside its peers
	@tools/build.sh $(RELEASE) bench_sink
	@$(PYTHON) bench/sidecar/run.py

bench-cache: build install-extension ## Measures the cache: commit to invalidated, patterns and tags, reading through
	@tools/build.sh $(RELEASE) bench_cache_load
	@$(PYTHON) bench/cache/run.py

bench-extension: install-extension ## Measures what the extension costs its database: ids, captured writes, reads by key
	@$(PYTHON) bench/extension/run.py

bench-extension-instructions: install-extension ## Counts the instructions of a captured write and of an id, by valgrind
	@tools/setup.sh tools/packages-bench.txt
	@$(PYTHON) bench/extension/instructions.py

fuzz: setup ## Feeds the decoders anything at all for FUZZ_SECONDS (60): Bolt, configuration, mappings, outbox rows, Redis's replies
	@tools/setup.sh tools/packages-fuzz.txt
	@tools/fuzz.sh $(or $(FUZZ_SECONDS),60)

tidy: setup ## Runs clang-tidy over the sidecar and the extension's core
	@tools/setup.sh tools/packages-deep.txt
	@tools/tidy.sh

format: setup ## Formats the C++ sources
	@tools/setup.sh tools/packages-deep.txt
	@git ls-files -z '*.cpp' '*.h' | xargs -0 clang-format-14 -i

clean: quickstart-stop ## Removes everything that was built
	@$(PYTHON) tools/check_containers.py --remove
	@$(PYTHON) tools/check_matrix.py --remove
	rm -rf build
