# The verbs of the project; `make help` lists them. Everything happens in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help

.PHONY: help setup demo dev test fix docs bench clean

help: ## list the verbs
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

# What is compiled is made anew with them.
$(VENV)/.installed: pyproject.toml $(wildcard ampel_dagster/*/*.px[di] ampel_dagster/*/*.pyx)
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; try: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded,plot]'
	touch $@

$(VENV)/.test-installed: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded,kafka,plot,test]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[sn]' \
		|| echo 'sncosmo cannot be built here (is there a C compiler?): the tests of SNFit are skipped'
	touch $@

setup: $(VENV)/.installed ## make the virtual environment and install

demo: $(VENV)/.installed ## a night from packets to report; ALERTS=path for real packets
	$(BIN)/ampel-dagster demo $(if $(ALERTS),--alerts '$(ALERTS)')

dev: $(VENV)/.installed ## the Dagster UI on loopback, with sensors and schedules
	$(BIN)/ampel-dagster dev

test: $(VENV)/.test-installed ## ruff, mypy and all tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q -n auto

fix: $(VENV)/.test-installed ## mend style where it can be done by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.test-installed ## write the generated pages of docs/ anew
	$(BIN)/python docs/generate.py

bench: $(VENV)/.installed ## measure speed; PEER=1 measures AMPEL beside it
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/python bench/run.py $(if $(PEER),--peer)

clean: ## remove caches and the virtual environment (not the instance)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist *.egg-info
	rm -f ampel_dagster/*/*.so $(patsubst %.pyx,%.c,$(wildcard ampel_dagster/*/*.pyx))
