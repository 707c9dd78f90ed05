# Everything is installed into .venv; nothing else on the machine is touched.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready
WORKERS ?= 3
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-header

# some images forbid bytecode, and then every process of every test compiles all it imports
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test check e2e bench soak lock

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## install everything into .venv, by hash

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Quietnote needs Python 3.11 or newer")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing (about 600 MB, hash-checked) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## a whole spoken call, then the pages on http://127.0.0.1:8080
	@$(BIN)/quietnote demo

test: $(STAMP) ## all tests, with the real parts running
	@$(BIN)/python -m pytest -m "not soak" -n $(WORKERS)

check: $(STAMP) ## formatting of imports, lint, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

e2e: $(STAMP) ## the browser tests alone
	@$(BIN)/python -m pytest tests/e2e

bench: $(STAMP) ## the measured claims that need no recordings of your own
	@$(BIN)/quietnote demo --json --exit

soak: $(STAMP) ## the long tests
	@$(BIN)/python -m pytest -m soak --timeout 1800

lock: ## write the locks anew, for every Python from 3.11 on (needs uv)
	uv pip compile $(LOCK) --extra dev --extra e2e --extra postgres pyproject.toml -o requirements.lock
	uv pip compile $(LOCK) --extra postgres --constraint requirements.lock pyproject.toml -o requirements.runtime.lock
	echo 'hatchling>=1.27,<2' | uv pip compile $(LOCK) --constraint requirements.lock - -o requirements.build.lock
