# Each target sets up all it needs: a virtual environment in .venv, with the package in it.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: demo test long check types fast-tests fuzz bench kill format clean distclean

demo: .venv/installed  ## the whole path on built-in data; opens nothing, writes demo/report.html
	rm -rf demo
	OMP_NUM_THREADS=2 $(BIN)/partlabel demo --out demo

test: .venv/installed-dev  ## all tests but the long ones
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not long"

long: .venv/installed-dev  ## the tests that `test` leaves out: before a release
	$(BIN)/python -m pytest -n 2 -m long

check: .venv/installed-dev  ## format, lint, layers, types, fast tests and doctests: under two minutes on 2 cores
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory -j 2 --output-sync types fast-tests

types: .venv/installed-dev
	$(BIN)/mypy

fast-tests: .venv/installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not long"

fuzz: .venv/installed-dev  ## every reader of label and score files on 10,000 inputs each: over an hour
	PARTLABEL_FUZZ=10000 $(BIN)/python -m pytest -n 2 tests/formats/test_fuzz.py tests/formats/test_fuzz_tools.py tests/formats/test_fuzz_instances.py

bench: .venv/installed-dev  ## the grids of the documentation that need no data of yours
	$(BIN)/partlabel bench benchmarks/digit_scenes.toml --out runs/digit_scenes

kill: .venv/installed-dev  ## commands killed at 200 random moments, given again, and compared: about an hour
	$(BIN)/python benchmarks/kill.py 200

format: .venv/installed-dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.venv/python: 
	$(PYTHON) -m venv .venv || { echo "python3 needs venv: on Debian, apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@touch $@

# --no-compile: of what is installed little is ever imported, and that is compiled then.
.venv/installed: .venv/python pyproject.toml
	@echo "installing partlabel (torch with CUDA is several GB; a few minutes the first time)"
	$(BIN)/python -m pip install --quiet --no-compile --editable .
	@touch $@

.venv/installed-dev: .venv/installed pyproject.toml
	$(BIN)/python -m pip install --quiet --no-compile --editable . --group dev
	@touch $@

.venv-consumers/installed: pyproject.toml  ## the programs that files are written for, to open them in tests (1.5 GB)
	$(PYTHON) -m venv .venv-consumers
	.venv-consumers/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	.venv-consumers/bin/python -m pip install --quiet --no-compile --group consumers
	@touch $@

clean:  ## what was made, without the environment
	rm -rf demo runs

distclean: clean
	rm -rf .venv .venv-consumers
