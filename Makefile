# Two commands matter: `make demo` and `make test`. Each sets up all it needs on a fresh machine.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
# One more than the two cores it is made for: many tests wait for a peer or a child process.
TEST_PROCESSES ?= 3
CONSTRAINTS := docker/constraints.txt
COMPILED := $(wildcard node/receive/usual_*.pyx)
INSTALLED_FROM := pyproject.toml $(CONSTRAINTS) $(COMPILED) $(wildcard node/receive/usual_*.pxd)

.PHONY: demo test check format install peers clean bench-receive bench-completeness bench-infer crash-test

demo: $(VENV)/.installed
	$(BIN)/radnode demo

# The peers come first: a C compiler is one of them.
test: peers $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Options by ARGS, as in `make bench-receive ARGS="--rounds 9 --write docs/benchmarks.md"`.
bench-receive: peers $(VENV)/.installed-dev
	$(BIN)/python -m tests.benchmarks.receive $(ARGS)

bench-completeness: $(VENV)/.installed-dev
	$(BIN)/python -m tests.benchmarks.completeness $(ARGS)

bench-infer: $(VENV)/.installed-dev
	$(BIN)/python -m tests.benchmarks.infer $(ARGS)

crash-test: $(VENV)/.installed-dev
	$(BIN)/python -m tests.crash $(ARGS)

install: $(VENV)/.installed

# The counterparts of the tests: Debian's packages where they may be installed, and the FHIR server's npm packages.
peers:
	docker/install-test-peers.sh

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "radnode needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

# What was compiled of an older source must not outlive a build without a compiler.
$(VENV)/.installed: $(INSTALLED_FROM) | $(BIN)/python
	rm -f $(COMPILED:.pyx=.*.so)
	$(PIP) install --constraint $(CONSTRAINTS) --editable .
	touch $@

$(VENV)/.installed-dev: $(INSTALLED_FROM) | $(BIN)/python
	rm -f $(COMPILED:.pyx=.*.so)
	$(PIP) install --constraint $(CONSTRAINTS) --editable '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist radnode-demo-out tests/peers/fhir_r4_server/node_modules
	rm -f $(COMPILED:.pyx=.c) $(COMPILED:.pyx=.*.so)
