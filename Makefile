# Two commands do everything on a machine with Python 3.11+ and make:
#   make simulate    environment, install, run a whole federation
#   make test        the same environment, then lint, types, layering, tests (`make long`: the long ones)
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
ARGS ?=
PYTEST = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION := 1

.PHONY: simulate test lint types layers unit long coverage bars demo-deployment bad-days browser nginx clean

simulate: $(VENV)/.installed
	$(BIN)/leelight simulate $(ARGS)

test: lint types layers unit

lint: $(VENV)/.developed
	$(BIN)/ruff check .

types: $(VENV)/.developed
	$(BIN)/mypy

layers: $(VENV)/.developed
	$(BIN)/lint-imports

unit: $(VENV)/.developed browser
	$(PYTEST)

# Whole federations again and again, people with very many records, every page; and properties on more examples.
long: $(VENV)/.developed browser nginx
	$(PYTEST) -m long
	$(PYTEST) -m "hypothesis and not bad_days" --hypothesis-profile=thorough

# Tracing makes the tests half as slow again.
coverage: $(VENV)/.developed browser nginx
	$(PYTEST) -m "not bad_days" --cov --cov-report=term:skip-covered

# A coordinator and three partners as processes of their own on loopback; DATA=folder of the public sets, or invented records.
demo-deployment: $(VENV)/.installed
	$(BIN)/python -m simulations.deployment $(or $(FOLDER),outputs/deployment-$(shell date +%H%M%S)) $(if $(DATA),--data $(DATA))

# Real processes on bad days: killed, cut off, lied to, intruded on. An hour, and root for a network and a small disk.
bad-days: $(VENV)/.developed
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -m bad_days tests/system

# The accuracy bars on real texts; takes a few minutes and needs DATA=folder of the public sets.
bars: $(VENV)/.installed
	$(BIN)/python -m simulations.bars $(DATA)

browser:
	@command -v chromium >/dev/null || { \
	  echo "Chromium is needed for the browser tests; installing Debian's package."; \
	  apt-get update -qq && apt-get install -y -qq chromium chromium-driver >/dev/null; }

nginx:
	@command -v nginx >/dev/null || test -x /usr/sbin/nginx || { \
	  echo "nginx is needed for the tests of the proxy; installing Debian's package."; \
	  apt-get update -qq && apt-get install -y -qq nginx >/dev/null; }

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q -e .
	touch $@

$(VENV)/.developed: pyproject.toml $(VENV)/.installed
	$(BIN)/pip install -q -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
