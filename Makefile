# Everything from python3 and make alone: each target makes .venv and installs what it needs when that is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PAPER := .venv-paper
export OMP_NUM_THREADS ?= 2

.PHONY: demo test lint figures test-paper clean

demo: $(VENV)/ready
	$(BIN)/python demo.py

test: $(VENV)/ready lint
	$(BIN)/python -m pytest

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/mypy

# The README's figures that need nothing but what is in git; those of real clips are in benchmarks/quality.md.
LOGS := benchmarks/logs/stdnet-s-x4
figures: $(VENV)/ready
	$(BIN)/python -m STDNet.visualize pipeline --out Figs/pipeline.png
	$(BIN)/python -m STDNet.visualize comparison --dataset sample --weights stdnet-s-x4 --out Figs/comparison_x4.png
	$(BIN)/python -m STDNet.visualize slices --dataset sample --weights stdnet-s-x4 --out Figs/slices_x4.png
	$(BIN)/python -m STDNet.visualize network --dataset sample --weights stdnet-s-x4 --out Figs/network_x4.png
	$(BIN)/python -m STDNet.visualize curves --runs $(LOGS)/*.jsonl --out Figs/curves_x4.png
	$(BIN)/python -m STDNet.statistics --dataset synthetic --weights stdnet-s-x4 --out Figs/long_tail_synthetic_x4.png

$(VENV)/ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev,figures,log,video,exr,hub,drive,export,app]'
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
