# Everything here is a short name for a script that can be called directly.

STACK := deploy/local/stack

.DEFAULT_GOAL := help
.PHONY: help demo demo-kill soak test test-unit fuzz compose-test bench bench-compare bench-rivals mutants lint stack-up stack-down

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## migrate a live MongoDB from start to finish, here
	@deploy/local/demo

demo-kill: ## the same, while each program and server is killed once
	@deploy/local/demo --kill

soak: ## migrate while everything fails at random: MINUTES=30 SEED=1
	@deploy/local/soak

test: ## every test, on real servers: 15 minutes; T=name: some
	@deploy/local/test $(T)

test-unit: ## tests that need no server: 5 seconds, once they are built
	@deploy/local/test unit

fuzz: ## look for bytes that are taken badly: SECONDS_EACH=60
	@tests/fuzz/run

compose-test: ## prove docker compose up, with kills and a comparison
	@deploy/local/compose-test

bench: ## throughput, latency and cost of four workloads: 6 minutes
	@deploy/local/bench

bench-compare: ## the same of two commits, in alternation: BASE=commit
	@deploy/local/bench-compare $(or $(BASE),$(error say BASE=commit)) --rounds $(or $(ROUNDS),3) -- $(BENCH)

bench-rivals: ## the same beside Debezium and a Python script
	@deploy/local/bench-rivals

mutants: ## break the protocol's rules one by one; tests have to go red
	@deploy/local/test mutants

lint: ## formatting, clippy, imports, mutants, docs/faults.md
	deploy/local/imports
	docs/check
	tests/mutants/run --check
	cargo fmt --all --check
	cargo clippy --profile $(or $(PROFILE),dev) --workspace --all-targets -- -D warnings

stack-up: ## start MongoDB, Kafka and PostgreSQL, print their addresses
	@$(STACK) up
	@$(STACK) env

stack-down: ## stop them; their data stays
	@$(STACK) down
