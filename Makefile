# Type `make` for the list of commands. Another Python: make lab PYTHON=python3.12
PYTHON ?= python3

BIN := .venv/bin
AUTHOR := orderstream/lab/author
NAMED = $(if $(filter command environment,$(firstword $(origin PYTHON))),$(PYTHON))
# What looks at this machine and installs: the Python that you name; else .venv's own, which has to run the lab; else python3.
OWN = $(shell $(BIN)/python -c 'print("$(BIN)/python")' 2>/dev/null)
LOOKER = $(or $(NAMED),$(OWN),$(PYTHON))
CHROMIUM = $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
BROWSER_TESTS = $(if $(CHROMIUM),tests/browser)
.DEFAULT_GOAL := help
.PHONY: help lab test soak model lint bench refresh services chromium clean

help:      ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

lab: .venv/lab-installed      ## open the course in JupyterLab (FRESH=04: with lesson 04 as it was)
	@$(BIN)/python -m orderstream.lab.edition.jupyterlab $(if $(FRESH),--fresh $(FRESH)) -- learn $(LAB_OPTIONS)

test: lint chromium      ## everything: style, types, tests, every notebook compared with its committed output
	$(BIN)/pytest --nbval -n 2 --dist loadfile
	$(BIN)/pytest -n 2 --dist loadfile tests/chaos
	$(if $(BROWSER_TESTS),$(BIN)/pytest $(BROWSER_TESTS))

soak: .venv/dev-installed      ## kill workers and Redis at random, seed after seed, until Ctrl-C (or SEEDS=30)
	@$(BIN)/python -m tests.chaos.soak $(if $(SEEDS),--seeds $(SEEDS)) $(if $(CREW),--crew $(CREW))

model: .venv/dev-installed      ## look at all that can happen to a few orders, in every order (or SCOPES="pair poison")
	@$(BIN)/python -m orderstream.lab.model $(SCOPES)

lint: .venv/dev-installed      ## style and types
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv-bench/installed      ## how fast it is, beside other libraries (ten minutes; QUICK=1: three; WAITING=1: of handlers that wait)
	@.venv-bench/bin/python -m benchmarks$(if $(WAITING),.waiting) $(if $(QUICK),--quick)

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

# Asked each time, and quick: pip is asked again only when a list of requirements has changed.
.venv/lab-installed .venv/dev-installed: FORCE
	@command -v $(LOOKER) >/dev/null || { echo "There is no $(PYTHON) here; the lab needs Python 3.11 or newer. If yours has another name, type: make lab PYTHON=python3.12"; exit 1; }
	@$(LOOKER) $(AUTHOR)/preflight.py
	@$(LOOKER) $(AUTHOR)/install.py $(patsubst .venv/%-installed,%,$@) $(NAMED)

FORCE:

# The libraries we compare with never enter .venv: they would choose versions for everybody.
.venv-bench/installed: benchmarks/requirements.txt benchmarks/requirements-arq.txt benchmarks/requirements-bullmq.json pyproject.toml
	@$(PYTHON) $(AUTHOR)/preflight.py
	@echo "Installing the libraries to compare with into .venv-bench. This takes a minute, and only once."
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@$(PYTHON) -m venv .venv-bench/arq
	@.venv-bench/arq/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements-arq.txt
	@if command -v npm >/dev/null; then \
	    mkdir -p .venv-bench/bullmq && cp benchmarks/requirements-bullmq.json .venv-bench/bullmq/package.json; \
	    npm install --prefix .venv-bench/bullmq --silent --no-audit --no-fund || echo "npm could not install BullMQ; the table will say so."; \
	else \
	    echo "There is no npm here, so BullMQ is left out; the table will say so."; \
	fi
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
