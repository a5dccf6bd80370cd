# Two commands for a stranger: `make demo` and `make test`. Everything lives in .venv; nothing global
# is touched. pip's own PIP_* variables (index, proxy, cache) are honoured.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SECONDS_DEMO := $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS),)
TEST ?=
JOBS ?= 2
# COVERAGE=1 measures lines, in every process that the tests start.
PYTEST := $(BIN)/python -m $(if $(COVERAGE),coverage run -m )pytest
PEERS ?= .peers
PEER_NAMES := ccxt cryptofeed hft hummingbot nautilus vectorbt
LOCK := pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock"

.PHONY: help setup setup-dev demo test unjitted coverage smoke check bench peers soak sim nightly mutants docs lock clean
help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: $(VENV)/.run  ## a private environment with the locked run-time dependencies
setup-dev: $(VENV)/.dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "AlephTX needs Python 3.11 or newer; this is %s. Say: make PYTHON=python3.12 ..." % sys.version.split()[0])'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing. On Debian or Ubuntu: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.run

demo: setup  ## replay real recordings over real sockets and trade on them (DEMO_SECONDS=30 to bound it)
	$(BIN)/alephtx demo $(SECONDS_DEMO)

test: setup-dev  ## the whole suite
	$(BIN)/alephtx warm --quiet
	$(PYTEST) -n $(JOBS) --dist loadfile $(TEST)

unjitted: setup-dev  ## the small kernel examples as plain Python
	NUMBA_DISABLE_JIT=1 $(PYTEST) -n $(JOBS) -m kernel $(TEST)

coverage: setup-dev  ## what COVERAGE=1 runs left, against the floors
	$(BIN)/coverage combine -q
	$(BIN)/python .ci/floors.py

smoke: setup-dev  ## the quick selection
	$(PYTEST) -m smoke $(TEST)

check: setup-dev  ## ruff, mypy, import-linter, tidy
	$(BIN)/ruff check src tests bench .ci
	$(BIN)/ruff format --check src tests bench .ci
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/test_tidy.py tests/test_layers.py

peers: $(PEER_NAMES:%=$(PEERS)/%/.ready)  ## what the benches compare with, each in an environment of its own

PEER_PYTHON = $(PYTHON)
# NautilusTrader and hummingbot want a Python newer than ours need be; hummingbot none that is newest.
$(PEERS)/nautilus/.ready $(PEERS)/hummingbot/.ready: PEER_PYTHON = $(shell for p in python3.12 python3.13 $(PYTHON); do $$p -c "" 2>/dev/null && echo $$p && break; done)

$(PEERS)/%/.ready: bench/peers/%.txt
	$(PEER_PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q -r $<
	if [ $* = hummingbot ]; then $(@D)/bin/python bench/lib/build_hummingbot.py $(@D); fi
	touch $@

bench: setup-dev peers  ## one script per speed promise; prints ratios
	@for script in bench/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

soak: setup-dev  ## the long ones: torture and fuzz for SOAK_SECONDS each (default 300)
	ALEPHTX_TEST_SECONDS=$${SOAK_SECONDS:-300} $(BIN)/python -m pytest -m "soak or kernel" --timeout 0

sim: setup-dev  ## play SEEDS simulated worlds from seed FIRST: the whole stack under faults
	$(BIN)/alephtx warm --quiet
	$(BIN)/python -m alephtx.testing.world --seeds $(or $(SEEDS),20) --first $(or $(FIRST),1)

nightly: setup-dev  ## more and longer worlds
	$(BIN)/python -m alephtx.testing.world --seeds $(or $(SEEDS),10000) --first $(or $(FIRST),1)
	$(BIN)/python -m alephtx.testing.world --seeds 500 --first $(or $(FIRST),1) --seconds 600

mutants: setup-dev  ## break PART in SAMPLE places and see what the tests notice (docs/mutation.md)
	$(BIN)/python .ci/mutants.py --part $(or $(PART),gate) --sample $(or $(SAMPLE),200) --seed $(or $(SEED),1)

docs: setup-dev  ## run every example in the documentation
	$(BIN)/python -m pytest tests/test_docs.py

lock: setup-dev  ## re-resolve both lock files
	$(BIN)/uv $(LOCK) --extra dev pyproject.toml build-requirements.in -o requirements-dev.lock
	$(BIN)/uv $(LOCK) -c requirements-dev.lock pyproject.toml build-requirements.in -o requirements.lock

clean:
	rm -rf $(VENV) .venv-* .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
