# Two commands do everything: `make demo` plans the quickstart, `make test` runs what CI runs.
# Needs make and Python 3.11 or newer with venv (Debian, Ubuntu: apt-get install make python3-venv).

PYTHON ?= python3
VENV ?= .venv
OUT ?= out/quickstart
# The torch that the tests compare with. TORCH_INDEX chooses another package index for it, say one with CPU builds.
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
# Test processes; `make test JOBS=0` runs the tests in one.
JOBS ?= auto

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

.PHONY: demo test lint types check browser bench format clean

demo: $(VENV)/.core
	@$(BIN)/plan build plans/quickstart/workloads.yaml -o $(OUT)
	@echo "The reports: $(OUT)/report.html and $(OUT)/report.pdf; the plan: $(OUT)/plan.json"

test: lint types check

lint: $(VENV)/.full
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.full
	$(BIN)/mypy --strict planner validation

check: $(VENV)/.full
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

# Looks at the reports in a real browser; needs Chromium and npm.
browser: $(VENV)/.full
	npm install --prefix tests/browser --no-audit --no-fund
	$(BIN)/python -m pytest -q -m browser tests/browser

bench: $(VENV)/.core
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/configurations.py
	$(BIN)/python benchmarks/solver.py

format: $(VENV)/.full
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) out dist build

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -c constraints.txt -e .
	touch $@

$(VENV)/.full: $(VENV)/.core
	$(PIP) -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -e '.[test,validate]' '$(TORCH)'
	touch $@
