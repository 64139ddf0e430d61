# All set-up is here: `make bench` and `make test` need Python >= 3.11 and make, nothing else.
#
# PYTHON=...  the interpreter to build with (else python3, or the newest of python3.13 to 3.11)
# VENV=...    the virtual environment to build (else .venv)
# ARGS=...    options for `make bench`, for example ARGS="--duration 5"

VENV ?= .venv
PYTHON ?=
ARGS ?=
MPM ?= worker
BENCHMARKS ?= kernel_overhead sim_speed server_cpu
LOAD_BENCHMARKS ?= load_generator load_peers gate_quality
HTTPD_BENCHMARKS ?= httpd_trace handler_cost
BIN := $(VENV)/bin
STAMP := $(VENV)/.mpmlab-installed

.DEFAULT_GOAL := help
.PHONY: help setup bench test lint format benchmarks load-benchmarks httpd-benchmarks clean

help:
	@echo "make bench       set up, then run  mpmlab bench --mpm worker  (ARGS=... adds options)"
	@echo "make test        set up, then ruff, mypy and pytest"
	@echo "make benchmarks  set up, then all of benchmarks/, about two minutes"
	@echo "make load-benchmarks  set up, then the load generator's, about 18 minutes on a quiet machine;"
	@echo "                 they need Debian's wrk, nginx-light, nghttp2-client and hey"
	@echo "make httpd-benchmarks  set up, then Apache httpd's; they need apache2-bin, lua-posix and strace"
	@echo "make format      set up, then let ruff format and sort imports"
	@echo "make setup       only build $(VENV)"
	@echo "make clean       remove $(VENV) and what the tools cache (results/ stays)"

# A shell function: the interpreter to build with, or one clear message.
define find_python
good() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }; \
if [ -n "$(PYTHON)" ]; then candidates="$(PYTHON)"; \
else candidates="python3 python3.13 python3.12 python3.11"; fi; \
python=; \
for name in $$candidates; do if good "$$name"; then python="$$name"; break; fi; done; \
if [ -z "$$python" ]; then \
  echo "mpmlab needs Python 3.11 or newer; tried: $$candidates. Name one with: make PYTHON=/path/to/python3" >&2; \
  exit 1; \
fi
endef

# Built from nothing unless this Makefile built it before and it still runs; a changed pyproject.toml
# only installs again. pip is silent but for its errors.
setup:
	@if [ ! -e $(STAMP) ] || ! $(BIN)/python -c '' 2>/dev/null; then \
	  $(find_python); \
	  echo "mpmlab: building $(VENV) with $$($$python --version)"; \
	  $$python -m venv --clear $(VENV) || { \
	    echo "mpmlab: '$$python -m venv' does not work (on Debian and Ubuntu: apt-get install python3-venv)" >&2; \
	    exit 1; }; \
	  rm -f $(STAMP); \
	fi
	@if [ ! -e $(STAMP) ] || [ pyproject.toml -nt $(STAMP) ]; then \
	  echo "mpmlab: installing into $(VENV), about a minute"; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input \
	    --editable '.[dev]' && touch $(STAMP); \
	fi

bench: setup
	@$(BIN)/mpmlab bench --mpm $(MPM) $(ARGS)

test: setup lint
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix --select I
	$(BIN)/ruff format

benchmarks: setup
	@for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name || exit 1; done

load-benchmarks: setup
	@for name in $(LOAD_BENCHMARKS); do $(BIN)/python -m benchmarks.$$name || exit 1; done

httpd-benchmarks: setup
	@for name in $(HTTPD_BENCHMARKS); do $(BIN)/python -m benchmarks.$$name || exit 1; done

clean:
	rm -rf $(VENV) .venv-second build dist .pytest_cache .mypy_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
