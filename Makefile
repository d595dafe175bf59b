# Type `make` for the list of commands. Another Python: make lab PYTHON=python3.12
PYTHON ?= python3

BIN := .venv/bin
PREFLIGHT := $(PYTHON) orderstream/lab/author/preflight.py
CHROMIUM = $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
BROWSER_TESTS = $(if $(CHROMIUM),tests/browser)
# JupyterLab refuses to run as root (in a container, say) unless told so.
LAB_OPTIONS ?= $(if $(filter 0,$(shell id -u)),--allow-root)

.DEFAULT_GOAL := help
.PHONY: help lab test soak lint bench refresh services chromium clean

help:      ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

lab: .venv/lab-installed      ## open the course in JupyterLab (FRESH=04: with lesson 04 as it was)
	@$(BIN)/python -m orderstream.lab.edition.learner $(if $(FRESH),--fresh $(FRESH))
	@echo "JupyterLab opens in your browser. To stop it, press Ctrl-C here. What you do stays in learn/."
	@JUPYTER_CONFIG_PATH="$(CURDIR)/.jupyter" $(BIN)/jupyter lab --ServerApp.root_dir="$(CURDIR)" $(LAB_OPTIONS) learn/$(notdir $(wildcard notebooks/$(or $(FRESH),00)_*.ipynb))

test: lint chromium      ## everything: style, types, tests, every notebook compared with its committed output
	$(BIN)/pytest --nbval -n 2 --dist loadfile
	$(BIN)/pytest -n 2 --dist loadfile tests/chaos
	$(if $(BROWSER_TESTS),$(BIN)/pytest $(BROWSER_TESTS))

soak: .venv/dev-installed      ## kill workers and Redis at random, seed after seed, until Ctrl-C (or SEEDS=30)
	@$(BIN)/python -m tests.chaos.soak $(if $(SEEDS),--seeds $(SEEDS))

lint: .venv/dev-installed      ## style and types
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv-bench/installed      ## how fast it is, beside other libraries (ten minutes; QUICK=1: three)
	@.venv-bench/bin/python -m benchmarks $(if $(QUICK),--quick)

refresh: .venv/lab-installed      ## run every notebook and store its output
	$(BIN)/python -m orderstream.lab.author.refresh notebooks/*.ipynb

services:      ## a Redis 8 on localhost:6379, in Docker
	@docker compose version >/dev/null 2>&1 || { echo "This needs Docker with Compose. Without it: make lab brings its own Redis."; exit 1; }
	docker compose up -d --wait
	@echo "Redis answers on localhost:6379. To use it in the lab: REDIS_ADDR=localhost:6379 make lab. To stop it: docker compose down"

clean:      ## remove the environment and everything that was generated; learn/ stays
	rm -rf .venv .venv-bench build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name .ipynb_checkpoints -prune -exec rm -rf {} +

# The stamps make the second run quick: pip is asked again only when a list of requirements has changed.
.venv/lab-installed: requirements.txt pyproject.toml
	@$(PREFLIGHT)
	@echo "Installing into .venv. This takes a minute or two, and only once."
	@test -z "$$($(PREFLIGHT) --extra)" || echo "No redis-server of 6.2 or newer here: one is compiled, which takes a minute more."
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt $$($(PREFLIGHT) --extra)
	@touch $@

.venv/dev-installed: .venv/lab-installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

# The libraries we compare with never enter .venv: they would choose versions for everybody.
.venv-bench/installed: benchmarks/requirements.txt benchmarks/requirements-arq.txt pyproject.toml
	@$(PREFLIGHT)
	@echo "Installing the libraries to compare with into .venv-bench. This takes a minute, and only once."
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt $$($(PREFLIGHT) --extra)
	@$(PYTHON) -m venv .venv-bench/arq
	@.venv-bench/arq/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements-arq.txt
	@touch $@

chromium:
ifeq ($(CHROMIUM),)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing Chromium for the browser tests."; \
	    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium; \
	elif [ "$$CI" = true ]; then \
	    echo "The browser tests need Chromium, and in CI nothing may be left out."; exit 1; \
	else \
	    echo "No Chromium here: the browser tests are left out. With it they run: sudo apt-get install chromium"; \
	fi
endif
