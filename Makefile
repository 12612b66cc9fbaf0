# Everything runs in .venv, made on the first use with the Python named here.
PYTHON ?= python3
# 0 means any free port.
EMULATOR_PORT ?= 0
# What needs nothing but Python, less what a scheduler takes minutes for: syncs, waits and jobs in real runs.
DAGS = $(addprefix tests/dags/test_,dag_files.py nightly_aggregates.py kinds_of_runs.py)
PURE = $(DAGS) tests/unit tests/emulator tests/docker
IN = $(PYTHON) demo/environment.py

.DEFAULT_GOAL := help
.PHONY: help demo ui test test-all conformance versions bench lint types format clean python

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: python ## seven nights of aggregates into a lake and two segment syncs, by a real Airflow, in about two minutes
	@$(IN) --with demo -- -m demo.nightly --port $(or $(PORT),0) --emulator-port $(EMULATOR_PORT)

ui: python ## the demo's Airflow with its web UI (PORT=8080) and the emulator, until Ctrl-C
	@$(IN) --with demo -- -m demo.ui --port $(or $(PORT),8080) --emulator-port $(EMULATOR_PORT)

test: python ## every quick test that needs only Python, in under five minutes
	@$(IN) --with dev -- -m pytest -n auto --dist loadgroup $(PURE)

test-all: python ## every test there is: also the demo, services, browser, conformance, chaos and the oldest Airflow
	@$(IN) --with dev,test-all -- -m pytest -n auto --dist loadgroup tests
	@$(MAKE) --no-print-directory versions

conformance: python ## the official Python SDKs, of 2020 and of today, against the emulator
	@$(IN) --with dev -- -m pytest tests/conformance

versions: python ## the tests that need only Python, on the oldest Airflow that is supported
	@$(IN) --venv .venvs/airflow31 --with dev --requirements tests/versions/airflow31.txt -- \
		-m pytest -n auto --dist loadgroup tests/unit tests/emulator tests/dags

bench: python ## the figures this project promises, measured side by side; one wants PostgreSQL's server
	@$(IN) --with dev,test-all -- -m tests.benchmarks

lint: python ## ruff: rules and format
	@$(IN) --with dev -- -m ruff check .
	@$(IN) --with dev -- -m ruff format --check .

types: python ## mypy --strict
	@$(IN) --with dev -- -m mypy

format: python ## let ruff put right what it can
	@$(IN) --with dev -- -m ruff check --fix .
	@$(IN) --with dev -- -m ruff format .

clean: ## remove what the other targets made
	rm -rf .demo .venv .venvs .pytest_cache .mypy_cache .ruff_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@command -v $(PYTHON) > /dev/null || { echo "There is no $(PYTHON). Name a Python of 3.10 or newer, for instance: make demo PYTHON=python3.12"; exit 1; }
