# Every command of this project: `make help` lists them. Each recipe can be typed without make.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test install lint test-rust test-verify test-e2e attack chaos fuzz bench bench-growth bench-profile bench-audit test-bench check fmt

export CARGO_TARGET_DIR ?= $(CURDIR)/target

# Tests end, whatever happens: macOS has no timeout, and does without.
LIMIT := $(if $(shell command -v timeout),timeout --kill-after=10)

help: ## List the targets.
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: ## Run the three-party story on loopback; ARGS=--exit ends afterwards.
	cargo run --locked --quiet -- demo $(ARGS)

test: install $(if $(CI),lint) test-rust test-verify test-e2e test-bench ## Install what the tests need, and run all of them; in CI after lint.

install: ## Install what the build and the tests need, where it is missing.
	tests/install.sh

lint: ## Formatting and clippy, as CI demands them.
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

test-rust: ## The Rust tests; ARGS is a filter.
	cargo test --locked --no-run
	$(and $(LIMIT),$(LIMIT) 900) cargo test --locked $(ARGS)

VERIFY_ALONE := --locked --no-default-features --features verify-http,verify-axum,verify-testing

test-verify: ## What a Rust backend builds to verify tokens: without the server, and with its least features.
	cargo check --locked --no-default-features --features verify
	cargo test $(VERIFY_ALONE) --lib --test verify_alone --no-run
	$(and $(LIMIT),$(LIMIT) 300) cargo test $(VERIFY_ALONE) --lib --test verify_alone

test-e2e: ## A real identity provider, real clients and real backends against the built binary.
	cargo build --locked
	cargo build --locked --example axum-backend
	tests/e2e/run.sh

# One core for all, a debug build, a few requests: whether they work, not how fast. They need Linux.
SHORT_BENCH := BENCH_NO_BUILD=1 PROCURA_BIN="$(CARGO_TARGET_DIR)/debug/procura" BENCH_SERVER_CORE=0 BENCH_LOAD_CORE=0 \
	BENCH_SECONDS=1 BENCH_TOKENS=200 BENCH_CONNECTIONS=2 BENCH_LIMIT=300

test-bench: ## The benchmarks in their shortest form; what they print here is no figure.
	cargo build --locked
ifeq ($(shell uname),Linux)
	$(SHORT_BENCH) BENCH_ONLY="peer sqlite postgres es256 own client_credentials jwks listed forward_auth" bench/run.sh
	$(SHORT_BENCH) BENCH_ONLY="events" BENCH_AUDIT_ROWS=2000 bench/run.sh growth.mjs
endif

attack: ## Every attack by its id, chains spliced in every way, hops that must stop; ARGS=jose:: for some of them.
	@echo "Each test sends its attack through the real router or a real socket, and expects the stated answer and one audit event."
	cargo test --locked --no-run --test it
	$(and $(LIMIT),$(LIMIT) 600) cargo test --locked --test it attacks::$(ARGS)

chaos: ## Kill the server CHAOS_KILLS=200 times under load on each database, and let each database fail for CHAOS_FAULT_SECONDS=12; prints figures.
	@echo "Each test runs the real program under load, harms it or its database, and then counts tokens, events and changes."
	cargo test --locked --no-run --test it
	CHAOS_KILLS=$${CHAOS_KILLS:-200} CHAOS_FAULT_SECONDS=$${CHAOS_FAULT_SECONDS:-12} $(and $(LIMIT),$(LIMIT) 1800) \
		cargo test --locked --test it chaos::$(ARGS) -- --nocapture --test-threads=1

check: lint ## All that needs no running: lint, documentation, dependencies (installs cargo-deny, which takes minutes).
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
	cargo deny --version || cargo install --locked cargo-deny
	cargo deny --locked check --hide-inclusion-graph bans licenses sources

fmt: ## Format the code.
	cargo fmt

# Coverage for libFuzzer, by a pass that stable rustc has; sanitizers would need nightly.
FUZZ_FLAGS := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing
FUZZ_TARGETS ?= token_form compact_jwt jwks registry_file basic_header
FUZZ_SECONDS ?= 30
FUZZ_HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
FUZZ_OUT := $(CARGO_TARGET_DIR)/fuzz

# What libFuzzer says of its own progress, and the dictionary that it recommends; the counts and a finding are left.
FUZZ_NOISE := ^(INFO|WARNING: Failed to find|\#[0-9]+.*(NEW|REDUCE)|[[:space:]]*NEW_FUNC)|^\#{6} |\# Uses: [0-9]+$$

# With --target, build scripts and macros are not instrumented. New inputs and findings stay in the target directory.
fuzz: ## Fuzz each parser FUZZ_SECONDS=30; FUZZ_TARGETS picks; a finding ends it and names its file (docs/decisions/0016).
	cp Cargo.lock fuzz/Cargo.lock
	@echo "Building with coverage: the first time every dependency, which takes minutes."
	@RUSTFLAGS='$(FUZZ_FLAGS)' cargo build --manifest-path fuzz/Cargo.toml --target-dir $(FUZZ_OUT) --target $(FUZZ_HOST)
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p $(FUZZ_OUT)/corpus/$$target $(FUZZ_OUT)/findings; \
		echo "== $$target, $(FUZZ_SECONDS) s"; \
		$(and $(LIMIT),$(LIMIT) $$(($(FUZZ_SECONDS) + 60))) $(FUZZ_OUT)/$(FUZZ_HOST)/debug/$$target \
			-max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 -max_len=16384 -print_final_stats=1 -verbosity=1 \
			-artifact_prefix=$(FUZZ_OUT)/findings/$$target- \
			$(FUZZ_OUT)/corpus/$$target fuzz/corpus/$$target 2>&1 | grep -vE '$(FUZZ_NOISE)' | tail -n 40; \
	done

bench: install ## What one core does, beside other servers; BENCH_SECONDS=3 is quick, bench/bench.mjs has the settings.
	bench/run.sh

bench-audit: ## How long `audit verify` takes on one core for AUDIT_EVENTS=1000000 events in SQLite.
	cargo build --locked --release
	trail=$$(mktemp -d); trap 'rm -rf "$$trail"' EXIT; procura=$(CARGO_TARGET_DIR)/release/procura; cd "$$trail"; \
	"$$procura" demo --exit --keep . >/dev/null; database=$$(ls *.db); \
	python3 $(CURDIR)/bench/long_trail.py "$$database" $${AUDIT_EVENTS:-1000000}; \
	export PROCURA_ISSUER=http://127.0.0.1:8420 PROCURA_DATABASE_URL="sqlite://$$database"; \
	time taskset -c 1 "$$procura" audit checkpoint; time taskset -c 1 "$$procura" audit verify

bench-growth: install ## The same load on more consents, clients, policies and audit events; bench/growth.mjs has the settings.
	bench/run.sh growth.mjs

bench-profile: install ## Where the processor time of one exchange goes, by Linux perf; bench/profile.mjs has the settings.
	bench/run.sh profile.mjs
