# Sets up in .venv what it needs, then runs. PYTHON names the interpreter to use, 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test docs notebooks clean

demo: .venv/ready
	$(BIN)/cojax demo

# Two workers that each start as many threads of linear algebra as there are cores wait for each other. A file stays
# with one worker: its fixtures are made and its programs compiled once.
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
# Tests spend most of their time compiling, and XLA most of that optimising: only those of bits and of compiled programs,
# marked `optimised`, need what users run. The flags are `UNOPTIMISED` of cojax/_support/compiling.py.
QUICK := --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1

test: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	XLA_FLAGS="$(QUICK)" $(TESTS) -m "not exhaustive and not optimised"
	$(TESTS) -m "optimised and not exhaustive"
	$(MAKE) docs

docs: .venv/ready
	$(BIN)/sphinx-build --quiet --fail-on-warning -c docs . build/docs

notebooks: .venv/ready
	$(BIN)/jupyter execute --inplace notebooks/*.ipynb

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cojax needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[cli,plots,data,docs,dev]'
	touch .venv/ready

clean:
	rm -rf .venv
