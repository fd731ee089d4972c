# What a person does with this project. `make demo` shows it, `make test` checks everything, `make help` lists the rest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

CARGO := cargo
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
DATA := $(abspath data)
DEMO := $(TARGET)/demo
STAGE := scripts/stage
BINARIES := --bin meson-scheduler --bin meson-executor --bin mesonctl

# Findings of the repository's own tests need no backtrace; a panic still gets its own.
export RUST_LIB_BACKTRACE ?= 0

##@ Try it
.PHONY: setup build demo demo-full demo-full-setup

setup: ## Install what the demo needs, on a Debian machine
	@$(STAGE) "setup" scripts/setup demo

build: ## Build the three programs, optimised, into target/release
	@$(STAGE) "setup for the build" scripts/setup build
	@$(STAGE) "build the programs (release)" $(CARGO) build --release --locked $(BINARIES)

demo: setup build example-env ## Run the example pipeline on a scheduler and executor of this machine
	@$(STAGE) "demo" scripts/demo "$(TARGET)/release" "$(DEMO)" "$(DATA)"

demo-full-setup:
	@$(STAGE) "setup for the engines" scripts/setup demo-full

# Wherever a program or test is built beside others it is chosen by its name, never by its package: the libraries below it would
# be built a second time, with the features that this package alone asks for.
demo-full: demo-full-setup build engines example-data ## The same on real Hive, Spark, R, Scala, Docker and HDFS; needs root
	@$(STAGE) "build what starts the engines (release)" $(CARGO) build --release --locked --bin engines
	@$(STAGE) "full demo" scripts/demo-full "$(TARGET)/release" "$(TARGET)/release/engines" "$(TARGET)/demo-full" "$(DATA)"

##@ Check it
.PHONY: test check fmt-check clippy doc tidy test-setup test-build example-data example-env mesos-clients engines test-rust test-sim test-python test-sdks test-full deny

test: test-setup example-env mesos-clients engines fmt-check clippy test-build doc test-rust test-sim test-python test-sdks test-full ## Check everything, as CI does; needs root
	@printf '\nEverything passed.\n'

check: fmt-check clippy doc tidy ## Format, lints, documentation and style; never edits a file

fmt-check:
	@$(STAGE) "format" $(CARGO) fmt --all --check

clippy:
	@$(STAGE) "lints" $(CARGO) clippy --workspace --exclude meson-sim --all-targets --locked -- -D warnings
	@$(STAGE) "lints of the simulation and its seams" $(CARGO) clippy --workspace --test seeds --locked -- -D warnings

doc:
	@RUSTDOCFLAGS="-D warnings" $(STAGE) "documentation" $(CARGO) doc --workspace --no-deps --locked

tidy:
	@$(STAGE) "style, arrows and contracts" $(CARGO) test --workspace --exclude meson-sim --locked \
		--test arrows --test tidy --test contracts --test docs

test-setup:
	@$(STAGE) "setup for the tests" scripts/setup test

test-build:
	@$(STAGE) "build the programs (dev)" $(CARGO) build --workspace --bins --locked

example-data:
	@$(STAGE) "example data" scripts/fetch-movielens "$(DATA)/movielens"

example-env: example-data
	@$(STAGE) "example environment" scripts/setup-example-env "$(DATA)/venv"

mesos-clients:
	@$(STAGE) "foreign Mesos clients" scripts/setup-mesos-clients "$(DATA)/mesos-clients"

engines:
	@$(STAGE) "engines" scripts/setup-engines "$(DATA)/engines"

test-rust:
	@MESON_BIN_DIR="$(TARGET)/debug" EXAMPLE_DATA="$(DATA)" MESOS_CLIENTS="$(DATA)/mesos-clients" PATH="$(TARGET)/tools:$$PATH" \
		MESON_ENGINES="$(DATA)/engines" \
		$(STAGE) "tests" $(CARGO) test --workspace --exclude meson-sim --locked --no-fail-fast

# By itself: tested together with the rest, the seams that it turns on would be in the programs that the rest tests.
test-sim: ## The simulation: SIM_SEEDS=… SIM_FIRST=… runs others, and more of them
	@$(STAGE) "simulation" $(CARGO) test --workspace --test seeds --locked -- --nocapture

test-python:
	@$(STAGE) "tests of the examples" "$(DATA)/venv/bin/python" -m unittest discover -s examples/recommendations/tests -v
	@SCALA_JARS="$(SCALA_JARS)" $(STAGE) "tests of the full example" \
		"$(DATA)/venv/bin/python" -m unittest discover -s examples/recommendations-full/tests -v

# Where a Scala compiler is: the jars of an installed pyspark; several folders, parted by colons, for several versions.
SCALA_JARS ?= $(firstword $(wildcard $(DATA)/engines/spark/lib/python3*/site-packages/pyspark/jars))

test-sdks: ## What a step's own Python, R and Scala code says: needs Rscript, java and SCALA_JARS=…
	@SCALA_JARS="$(SCALA_JARS)" $(STAGE) "libraries for steps" scripts/test-sdks

# It begins with the second pass of the demo, which leads to the same last one: two passes, and what is carried between them.
test-full: ## The full example on the real engines, with the programs of test-build
	@$(STAGE) "full example" scripts/demo-full "$(TARGET)/debug" "$(TARGET)/debug/engines" "$(TARGET)/test-full" "$(DATA)" \
		regularisation=0.12

deny: ## Licences and sources of all dependencies; needs `cargo install --locked cargo-deny`
	@$(STAGE) "licences and sources" $(CARGO) deny --locked check bans licenses sources

##@ Hurt it
.PHONY: chaos chaos-kills chaos-setup chaos-build

# How long `make chaos` strikes, how many leaders `make chaos-kills` kills, and the seed of both, a fresh one if empty.
MINUTES ?= 60
KILLS ?= 200
SEED ?=
CHAOS = MESON_BIN_DIR="$(TARGET)/release" "$(TARGET)/release/chaos"
CHAOS_OPTIONS = --dir "$(TARGET)/chaos" $(if $(SEED),--seed $(SEED))

chaos: chaos-build ## Strike with faults of all kinds for MINUTES=60, by SEED=…; then check all promises
	@$(STAGE) "chaos" env $(CHAOS) mixed --seconds $$(($(MINUTES) * 60)) $(CHAOS_OPTIONS)

chaos-kills: chaos-build ## Kill KILLS=200 leaders in a row under load; writes the times to bench/results
	@$(STAGE) "kills of leaders" env $(CHAOS) kills --kills $(KILLS) $(CHAOS_OPTIONS) \
		--results "bench/results/$$(date +%Y-%m)-failover.md"

chaos-setup:
	@$(STAGE) "setup for chaos" scripts/setup chaos

chaos-build: chaos-setup build
	@$(STAGE) "build the chaos tests (release)" $(CARGO) build --release --locked --bin chaos --bin chaos-step

##@ Change it
.PHONY: fix contracts bench bench-mesos clean help

fix: ## Format and apply the lints' own remedies
	@$(STAGE) "lints" $(CARGO) clippy --fix --workspace --all-targets --locked --allow-dirty --allow-staged
	@$(STAGE) "format" $(CARGO) fmt --all
	@git ls-files -z '*.md' '*.toml' '*.proto' '*.py' '*.yaml' Makefile scripts | xargs -0 sed -i 's/[ \t]*$$//'

contracts: ## Take additions to the gRPC contracts into tests/contracts.lock
	@UPDATE_CONTRACTS=1 $(STAGE) "contracts" $(CARGO) test --workspace --exclude meson-sim --locked --test contracts

bench: build ## Measure; prints numbers against the budgets
	@MESON_BIN_DIR="$(TARGET)/release" $(STAGE) "bench" $(CARGO) run --release --locked --bin meson-bench

bench-mesos: build ## Measure 10,000 attempts over 200 agents of the stand-in of Mesos
	@MESON_BIN_DIR="$(TARGET)/release" $(STAGE) "bench on Mesos" $(CARGO) run --release --locked --bin meson-bench -- mesos

clean: ## Remove everything built, downloaded or run here; caches of Cargo, pip and Maven stay
	@$(CARGO) clean
	@rm -rf "$(DEMO)" "$(DATA)"

help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
