# Needs Python 3.11 or later, git and make. Everything else is installed into .venv from constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: decide test lint ui
decide: .venv/installed  ## measure this machine, decide, print the answer
	dvc repro

test: .venv/installed  ## the whole suite
	pytest -n auto --dist worksteal

lint: .venv/installed  ## style, types, import rules
	ruff check .
	ruff format --check .
	mypy

ui: .venv/installed  ## the runs, in the browser
	@echo 'in some seconds: http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=answer (docs/mlflow.md)'
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --workers 1 --backend-store-uri sqlite:///mlruns/mlflow.db

.venv/installed: constraints.txt pyproject.toml
	$(PYTHON) -c "import sys; sys.exit('Python 3.11 or later is needed, this is ' + sys.version if sys.version_info < (3, 11) else 0)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
