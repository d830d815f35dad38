# make demo: the main job on the images that come with fit50. make test: every check. Both set themselves up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check slow setup clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,dev]'
	touch $@

demo: setup
	$(BIN)/fit50 optimize fashion-mini --effort demo --latency 20ms --max-drop 2 --out runs

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest -q --numprocesses auto --dist loadfile

slow: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[executorch]'
	$(BIN)/pytest -q -m slow

clean:
	rm -rf $(VENV) runs
