# make install    set up .venv with seqjax in it, and nothing else
# make demo       train configs/demo.py, score the test split and show ten translations
# make test       check the style of the project's files and run the tests
# make test-fast  run the tests that are not slow, in a minute or two
# make test-thorough  run further combinations of what these hold, which take long
# make documents  run every command of README.md and docs/, which trains models for minutes
# make format     bring the code into the house style
# make clean      remove .venv and caches; what is under runs/ stays
#
# `make demo` and `make test` set up .venv by themselves. PYTHON=python3.13 chooses the
# interpreter of a new .venv (`make clean` first to change it).

PYTHON ?= python3
WORKERS ?= 2

BIN := .venv/bin

# The project's files: what a user has added to the checkout is not checked.
OURS := $(or $(wildcard $(shell git ls-files '*.py' 2>/dev/null)),.)

# Without its cached bytecode every process would spend seconds on compiling its imports again.
unexport PYTHONDONTWRITEBYTECODE

ifneq ($(shell command -v uv 2>/dev/null),)
CREATE := uv venv --quiet --allow-existing --python $(PYTHON) .venv
INSTALL := uv pip install --quiet --python $(BIN)/python
else
CREATE := $(PYTHON) -m venv --upgrade-deps .venv
# A recent pip installs faster, and modules are compiled when they are first imported, not all at once.
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check
endif

.PHONY: help install demo test test-fast documents format clean test-thorough

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

install: .venv/installed
	@echo "seqjax is installed in .venv; next: make demo, or . .venv/bin/activate"

demo: .venv/installed
	$(BIN)/python launch.py train --config=configs/demo.py --workdir=runs/demo
	$(BIN)/python launch.py evaluate --workdir=runs/demo --split=test --show=10

test: .venv/installed-dev
	$(BIN)/ruff check $(OURS)
	$(BIN)/ruff format --check $(OURS)
	$(BIN)/python -m pytest -m "not minutes and not thorough" -n $(WORKERS) --dist=worksteal

test-thorough: .venv/installed-dev
	$(BIN)/python -m pytest -m "thorough" -n $(WORKERS) --dist=worksteal

test-fast: .venv/installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist=worksteal

documents: .venv/installed-dev
	$(BIN)/python -m pytest -m "" tests/test_documents.py

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './runs/*' -prune -exec rm -rf {} +

.venv/installed: pyproject.toml constraints.txt
	@echo "Installing seqjax into .venv ..."
	$(CREATE)
	$(INSTALL) -c constraints.txt -e .
	@touch $@

# Holds all that .venv/installed promises.
.venv/installed-dev: pyproject.toml constraints.txt
	@echo "Installing seqjax and its development tools into .venv ..."
	$(CREATE)
	$(INSTALL) -c constraints.txt -e '.[dev]'
	@touch .venv/installed $@
