# make demo    environment, install, both experiments on digits, tables and figures
# make test    environment, install, every test (slow ones too)
# make frameworks  PyTorch, Keras, Equinox, Haiku: whose tests `make test` then runs too
# make campaign  1, 2, 4, 8 devices; kills and hangs by the dozen: most of an hour
# make lint    ruff (lint, format) and mypy
# make fashion the experiments on Fashion-MNIST, under 90 minutes on two cores

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUNS ?= runs

.PHONY: demo test frameworks campaign lint fashion clean

$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/python -m launch.adv2know --preset=digits --workdir=$(RUNS)/adv2know-digits
	$(BIN)/python -m launch.know2adv --preset=digits --workdir=$(RUNS)/know2adv-digits

fashion: $(VENV)/installed
	$(BIN)/python -m launch.adv2know --preset=fashion --workdir=$(RUNS)/adv2know-fashion
	$(BIN)/python -m launch.know2adv --preset=fashion --workdir=$(RUNS)/know2adv-fashion

frameworks: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[frameworks]'

test: $(VENV)/installed
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 20

campaign: $(VENV)/installed
	$(BIN)/python -m pytest -m campaign
	$(BIN)/python tests/processes/kill_campaign.py --kills=20
	PYTHONPATH=tests $(BIN)/python tests/processes/deadlock_campaign.py --runs=50
	PYTHONPATH=tests $(BIN)/python tests/processes/deadlock_campaign.py --runs=50 --program=torch
	PYTHONPATH=tests $(BIN)/python tests/processes/deadlock_campaign.py --runs=50 --program=ahead

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build *.egg-info
