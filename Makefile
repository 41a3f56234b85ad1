# Liaison. `make demo` and `make test` each work alone on a fresh clone of a machine with Python 3.11+, npm and make.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
NAME   ?=
PHOTOS ?=
REPORT ?= demo-out/report.json

# Verifies the face engine's files; installs them, and prints their licences, where they are not there.
ENGINE := $(BIN)/agency-node engine show > /dev/null 2>&1 || $(BIN)/agency-node engine pull
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check

.PHONY: setup setup-demo engine demo test test-fast lint format proto readme bench lock baseline clean help

help:
	@echo "make demo       run a whole federation on this machine and search it   (PHOTOS=folder, REPORT=file)"
	@echo "make test       all tests          make test-fast   those that need no process and no model"
	@echo "make lint       ruff, mypy, import contracts, wire contract, shipped policies"
	@echo "make bench      all benchmarks     make bench NAME=search_path   one of them"
	@echo "make setup      everything that development needs   make proto   regenerate the wire contract's Python"

# Each stamp is made once for each state of the lock file it belongs to.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: requirements/demo.lock pyproject.toml | $(VENV)/bin/python
	$(PIP_INSTALL) --require-hashes -r requirements/demo.lock
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: requirements/test.lock pyproject.toml | $(VENV)/bin/python
	$(PIP_INSTALL) --require-hashes -r requirements/test.lock
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.demo

setup-demo: $(VENV)/.demo
setup: $(VENV)/.test engine

# The default face engine, from the npm client and the installed packages; every file is checked against its pin.
engine: | setup-demo
	@$(ENGINE)

demo: setup-demo
	@$(ENGINE)
	@PHOTOS="$(PHOTOS)" REPORT="$(REPORT)" $(BIN)/python -m demo

test: $(VENV)/.test
	@$(ENGINE)
	$(BIN)/pytest -n 2 --dist loadfile

test-fast: $(VENV)/.test
	$(BIN)/pytest -n 2 -m "not slow"

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m protos.generate --check
	$(BIN)/buf lint
	$(BIN)/buf breaking --against protos/baseline.binpb
	$(BIN)/hub policy check policies

format: $(VENV)/.test
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

proto: $(VENV)/.test
	$(BIN)/python -m protos.generate

# What `buf breaking` compares with: renewed only with a release.
baseline: $(VENV)/.test
	$(BIN)/buf build --output protos/baseline.binpb

readme: $(VENV)/.test
	$(BIN)/python -m demo.readme

bench: $(VENV)/.test
	@$(ENGINE)
	$(BIN)/python -m bench $(NAME)

lock: $(VENV)/.test
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --extra demo pyproject.toml --output-file requirements/demo.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --extra dev pyproject.toml --output-file requirements/test.lock

clean:
	rm -rf $(VENV) build *.egg-info demo-out bench-out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
