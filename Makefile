# `make demo` and `make test` need nothing but Python 3.11 and make: everything else is installed into .venv.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo unit test coverage faults bench bench-check check lint types imports docs format lock clean

help:  ## Show what there is.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(STAMP): pyproject.toml requirements/dev.lock
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: install it, or name yours with 'make PYTHON=...'"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	    { echo "$(PYTHON) is no Python 3.11, 3.12 or 3.13: name one that is with 'make PYTHON=...'"; exit 1; }
	@echo "Installing classpulse and what it needs into $(VENV), 1.3 GB: one to three minutes, in which pip says nothing."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@echo "Installed."
	@touch $@

demo: $(STAMP)  ## Play a simulated school morning through everything, and check the result (a minute).
	@$(BIN)/classpulse demo

# End-to-end tests mostly wait, so several run at once. AT_ONCE=0 runs them one after the other.
AT_ONCE ?= 4

unit: $(STAMP)  ## Pass the tests that need no service (under a minute).
	$(BIN)/python -m pytest -n $(AT_ONCE) --dist worksteal tests/unit

test: $(STAMP)  ## Pass the whole suite (a quarter of an hour on two cores).
	@echo "The whole suite, with real brokers and databases: a quarter of an hour on two cores. 'make check' takes a minute."
	$(BIN)/python -m pytest -n $(AT_ONCE) --dist worksteal

coverage: $(STAMP)  ## Show what the tests that start no process of their own do not reach (five minutes).
	$(BIN)/python -m pytest -n $(AT_ONCE) --dist worksteal --cov --cov-report=term tests/unit tests/property tests/model tests/integration

faults: $(STAMP)  ## Break every part at every step, and check that nothing is lost or counted twice.
	$(BIN)/python -m pytest -n $(AT_ONCE) --dist worksteal tests/faults tests/model

# The peers of the benchmark that cannot live beside classpulse.
PEERS := .classpulse/peers
BENCH ?=

$(PEERS)/.installed: tests/lab/bench/peers/requirements.txt $(STAMP)
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/lab/bench/peers/requirements.txt
	@touch $@

# A peer that cannot be installed here is reported as not measured.
bench: $(STAMP)  ## Measure throughput beside the bare client's ceiling and the peers (minutes; options in BENCH='...').
	-@$(MAKE) --no-print-directory $(PEERS)/.installed
	@$(BIN)/classpulse bench $(BENCH)

bench-check: $(STAMP)  ## Fail if classpulse has become much slower than the ceiling of the same run (a minute).
	$(BIN)/classpulse bench --check $(BENCH)

check: lint types imports  ## Lint, types, import rules.

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

docs: $(STAMP)  ## Write the pages that are generated from code.
	$(BIN)/python -m docs.generate
	$(BIN)/python -m tests.lab.bench.page

format: $(STAMP)  ## Give every file the form that 'make check' asks for.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One file for every Python and platform. An upgrade is asked for: make lock LOCK=--upgrade
LOCK ?=
COMPILE = UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
    --generate-hashes --no-annotate $(LOCK)

lock: $(STAMP)  ## Lock every dependency of pyproject.toml by version and hash.
	$(COMPILE) pyproject.toml --output-file requirements/product.lock
	$(COMPILE) pyproject.toml --all-extras --output-file requirements/dev.lock
	$(COMPILE) --group pyproject.toml:build --output-file requirements/build.lock

clean:  ## Remove what was installed and produced here.
	rm -rf $(VENV) .classpulse .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
