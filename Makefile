# `make help` lists the targets. `make demo` and `make test` set up all they need by themselves.
VENV := .venv
BIN := $(VENV)/bin
BOARD ?= mps2-an386
OUT ?= edgecodec-demo
PYTEST_ARGS ?=
JOBS ?= auto
FUZZ_SECONDS ?= 60
NAMES ?=
C_SOURCES := $(shell find firmware tests tools -name '*.[ch]' -not -path 'tests/golden/*' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help setup demo test fuzz mutate prove check lint format types wheel golden bench boards clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "  make %-8s %s\n", $$1, $$2 }'

setup: ## install missing tools and make .venv (done by every target that needs it)
	@tools/setup.sh $(VENV)

demo: setup ## train, quantise, build, run on the emulated board, verify, report (OUT=DIR, BOARD=NAME)
	@$(BIN)/edgecodec demo --board $(BOARD) --output $(OUT)

test: setup ## run all tests, some side by side (PYTEST_ARGS="-k name" for some, JOBS=0 for one process)
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

fuzz: setup ## run the fuzzers from where the last run ended, a minute each (FUZZ_SECONDS=N; takes clang)
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

mutate: setup ## break the code in one place at a time and see that tests notice (NAMES="crc* cobs*" for some)
	@$(BIN)/python -m tools.mutate $(NAMES)

prove: setup ## prove the C for all inputs within bounds (takes cbmc)
	@$(BIN)/python -m tests.proofs

check: lint types test wheel ## what CI runs: lint, types, tests, the installed wheel

lint: setup ## ruff, clang-format and the order of the rooms (import-linter), changing nothing
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo --cache-dir .cache/imports
	@$(BIN)/clang-format --dry-run -Werror $(C_SOURCES)

types: setup ## mypy
	@$(BIN)/mypy

format: setup ## format Python and C
	@$(BIN)/ruff check --fix --exit-zero .
	@$(BIN)/ruff format .
	@$(BIN)/clang-format -i $(C_SOURCES)

wheel: setup ## build the wheel, install it elsewhere and build firmware with it
	@tools/check_wheel.sh $(VENV)

golden: setup ## write rendered C, schemas and docs/config.md anew
	@EDGECODEC_UPDATE_GOLDEN=1 $(BIN)/python -m pytest tests/golden $(PYTEST_ARGS)

bench: setup ## measure kernels on every emulated core and write docs/bench.md (OUT=DIR of the demo)
	@test -d $(OUT)/bundle || $(MAKE) demo
	@$(BIN)/python -m tools.bench $(OUT)/bundle

boards: setup ## run the demo's codec on every board and write docs/boards.md (OUT=DIR, CODECS="NAME=BUNDLE ...")
	@test -d $(OUT)/bundle || $(MAKE) demo
	@$(BIN)/python -m tools.boards $(OUT)/bundle $(CODECS)

clean: ## remove what builds, tests and the demo left (.venv stays)
	@rm -rf build dist $(OUT) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find edgecodec tests -name __pycache__ -type d -prune -exec rm -rf {} +
