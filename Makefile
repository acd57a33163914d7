# Everything one does with Correio. `make` alone lists it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup setup-build build run demo check test torture fuzz mutants bench bench-setup bench-own install

CARGO ?= cargo
PREFIX ?= /usr/local
DATA ?= $(CURDIR)/data
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
BIN := $(TARGET)/release

help: ## list these
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: ## install what building, running and testing need and is missing
	@tools/setup.sh build test

setup-build:
	@tools/setup.sh build

build: setup-build ## build mailserver and mailctl into target/release
	@$(CARGO) build --release --locked --bins

run: build ## start a server on loopback, ready to use, and say what to type next (ARGS="...")
	@tools/run.sh "$(BIN)" "$(DATA)" $(ARGS)

demo: setup build ## send real mail, kill the server half way, show that nothing is lost
	@tools/demo.sh "$(BIN)"

check: setup ## format, lints, docs, dependencies
	@tools/check.sh

test: setup check build ## everything above, then all tests with their totals
	@tools/test.sh

torture: setup build ## everything that was tried against Correio, at full length: hours (PARTS="sim kills" for some; docs/reliability.md)
	@tools/torture.sh $(PARTS)

fuzz: setup-build ## fuzz every parser that meets strangers (PARSERS="names ..." RUNS=10000000); needs nightly and cargo-fuzz
	@tools/fuzz.sh $(PARSERS)

mutants: setup ## take the guards of the promises away, one at a time, and see tests go red; then cargo-mutants on the core (hours)
	@tools/mutants.sh

bench: setup-build ## Correio beside other servers and the machine's limits (ONLY="correio:w1 redis", FRESH=1; bench/README.md)
	@bench/run

bench-setup: ## install the servers it is compared with (Debian, as root): Redis, NATS, RabbitMQ, Mosquitto
	@bench/setup.sh

bench-own: setup-build ## measure Correio's parts: acks per second, fan-out, restart, store, chat, mailbox, start-up (docs/figures.md)
	@$(CARGO) bench --locked --bench server --bench store --bench chat --bench mailbox --bench startup

install: build ## put both programs, their manual pages and completions below PREFIX (PREFIX=/usr/local)
	@tools/install.sh "$(BIN)" "$(DESTDIR)$(PREFIX)"
