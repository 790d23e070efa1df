# Everything from python3 and make alone: each target makes .venv and installs what it needs when that is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PAPER := .venv-paper
export OMP_NUM_THREADS ?= 2

.PHONY: demo test lint test-paper clean

demo: $(VENV)/ready
	$(BIN)/python demo.py

test: $(VENV)/ready lint
	$(BIN)/python -m pytest

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/mypy

$(VENV)/ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev,figures,log,video,exr,app]'
	touch $@

# The paper's environment (requirements-paper.txt); building mmcv's operators takes about ten minutes.
test-paper: $(PAPER)/ready
	$(PAPER)/bin/python -m pytest

$(PAPER)/ready: requirements-paper.txt
	$(PYTHON) -m venv $(PAPER)
	$(PAPER)/bin/python -m pip install --quiet -r requirements-paper.txt pytest
	MMCV_WITH_OPS=1 $(PAPER)/bin/python -m pip install --no-build-isolation --no-deps mmcv-full==1.7.2
	touch $@

clean:
	rm -rf $(VENV) $(PAPER) build *.egg-info
