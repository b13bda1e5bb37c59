# The two commands that matter: `make demo` and `make test`. Each makes .venv when it must, and does not install again.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NATIVE := $(VENV)/.native
# torch for the CPU alone, where that index can be reached (Linux; elsewhere PyPI's own build is one).
# For NVIDIA GPUs: make TORCH_INDEX=https://pypi.org/simple demo
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH := $(shell sed -n 's/^\(torch==[0-9.]*\).*/\1/p' constraints.txt)
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test native problems claims results test-slow lint format lock clean

demo: $(NATIVE)
	$(BIN)/bptt demo

test: $(NATIVE)
	$(BIN)/python -m pytest -n 2

# Builds the C++ kernels for the CPU again, and shows why where it fails.
native: $(READY)
	$(PIP) install ./native
	@touch $(NATIVE)

# Adding, copy, temporal order and embedded Reber by every strategy: docs/problems.md. Half an hour.
problems: $(NATIVE)
	$(BIN)/python benchmarks/problems.py --out docs

# What introductions to recurrent networks assert, measured: docs/claims.md. Twenty minutes on two cores with nothing else to do.
claims: $(NATIVE)
	$(BIN)/python benchmarks/claims --out docs

# What the tasks reach on public data: docs/results.md. Some hours.
results: $(NATIVE)
	$(BIN)/python benchmarks/results.py

test-slow: $(NATIVE)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "bptt needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "Installing into $(VENV) (once; a few minutes)"
	$(PYTHON) -m venv $(VENV)
	@if [ "$$(uname -s)" = Linux ]; then \
		$(PIP) install --quiet --index-url $(TORCH_INDEX) --retries 1 --timeout 15 --no-deps $(TORCH) \
			|| echo "The CPU build of torch is not at $(TORCH_INDEX); taking PyPI's, which is larger"; fi
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $(READY)

# Without a C++20 compiler everything works as well, only slower: torch's own layers take their place.
$(NATIVE): $(READY) $(shell find native -type f -not -path '*/build/*' -not -name '*.pyc')
	@echo "Building the native kernels (once; about a minute)"
	@$(PIP) install --quiet ./native 2> $(VENV)/native.log \
		|| echo "They could not be built: torch's layers are used instead ($(VENV)/native.log and bptt doctor say why)"
	@touch $@

# Keeps what is pinned where it still fits; delete a line of constraints.txt to move it.
lock: $(READY)
	$(PIP) install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --all-extras --no-header --no-annotate \
		pyproject.toml -o constraints.txt
	grep -Ev '^(nvidia-|cuda-|triton)' constraints.txt > constraints.tmp && mv constraints.tmp constraints.txt

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
