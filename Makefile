# SPDX-License-Identifier: Apache-2.0
#
# Needs Python 3.11 or newer and make; everything else is installed into .venv.
# `make PYTHON=python3.12 test` chooses the interpreter, `AIRFLOW_VERSION=3.1.8 make system-test` the Airflow,
# `make demo ARGS=--help` tells what else the demo can do.

PYTHON ?= python3
BIN := .venv/bin
# Named after the interpreter, so that another PYTHON makes another .venv.
STAMP := .venv/.installed-with-$(notdir $(PYTHON))
ENVIRONMENTS := $(BIN)/python scripts/environments.py

.DEFAULT_GOAL := help
.PHONY: help install demo test test-kiota test-versions test-lowest lint types docs bench system-test stack-test system-test-smoke dist audit wheel-check clean

help:  ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(STAMP)  ## install Airflow, this package and the tools into .venv

# The bridge is installed as a copy: an editable install does not follow its changes.
$(STAMP): pyproject.toml airflow_provider_async/_airflow_bridge.py
	@$(PYTHON) -c '' 2>/dev/null \
	    || { echo "$(PYTHON) is not installed: choose another interpreter with \`make PYTHON=...\`." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1): choose another with \`make PYTHON=...\`." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	    || { echo "$(PYTHON) cannot make virtual environments: install its venv module (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@echo "Installing into .venv: about a minute, once."
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --editable . --group dev
	@touch $@

demo: $(STAMP)  ## run the main job on real input: 2,000 files from an SFTP server into a database
	@$(BIN)/python -m airflow_provider_async.example_dags.demo $(ARGS)

test: $(STAMP)  ## run the tests, and check how much of the code they cover
	@$(BIN)/python scripts/http_servers.py || [ -z "$$CI" ]  # without them, their tests are skipped
	@$(BIN)/python -m pytest --cov --cov-report=term
	@report=$$($(BIN)/coverage report --include='airflow_provider_async/core/*' --fail-under=100) \
	    || { echo "$$report"; echo "The tests must cover the whole of core/." >&2; exit 1; }

test-versions: $(STAMP)  ## run the tests on every supported Airflow with every Python found
	@$(ENVIRONMENTS) test $(AIRFLOW_VERSION)

test-lowest: $(STAMP)  ## run the tests with the lower bounds of the dependencies
	@$(ENVIRONMENTS) test lowest

test-kiota: $(STAMP)  ## run the tests of Graph with the newest kiota, which Airflow's azure provider keeps out of .venv
	@$(ENVIRONMENTS) test 3.3.2 -- tests/msgraph

lint: $(STAMP)  ## check style, layers and declared dependencies
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/deptry .

types: $(STAMP)  ## check types
	@$(BIN)/mypy

docs: $(STAMP)  ## build the documentation in docs/_build/html
	@$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs docs/_build/html

bench: $(STAMP)  ## measure each performance claim, and draw the pictures in the documentation (an hour and a half)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --group peers --group stack
	@failed=0; \
	for script in core.py import_time.py task_overhead.py approaches.py 'sftp.py --save' 'published.py --save' 'on_airflow.py --save' rest.py graph.py auto.py shards.py smtp.py; do \
	    echo "== benchmarks/$$script"; $(BIN)/python benchmarks/$$script || failed=1; \
	done; exit $$failed

system-test: $(STAMP)  ## run whole DAGs on every supported Airflow (SYSTEM_TEST_RUNS=3: three times)
	@$(ENVIRONMENTS) system-test $(AIRFLOW_VERSION); code=$$?; $(BIN)/python -m system_tests.hazard_table; exit $$code
	@[ -n "$(AIRFLOW_VERSION)" ] || $(MAKE) --no-print-directory stack-test

stack-test: $(STAMP)  ## run DAGs on PostgreSQL, Redis and Celery workers, and kill each of them (ARGS='-m "not long"': a part)
	@$(ENVIRONMENTS) system-test stack -- $(ARGS)

system-test-smoke: $(STAMP)  ## a part of them: the oldest and the newest Airflow, nothing under core's own decorator
	@$(ENVIRONMENTS) system-test 3.0.6 3.3.2 -- --ignore=system_tests/test_core.py -m "not long"
	@$(ENVIRONMENTS) system-test 3.1.8 -- -k progress_page
	@$(ENVIRONMENTS) system-test stack -- -m "not long"

dist: $(STAMP)  ## build wheel, source distribution and a list of what they need (SBOM) into dist/, and check them
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --group release
	@rm -rf dist
	@SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} $(BIN)/uv build --quiet --out-dir dist
	@rm -f dist/.gitignore
	@$(BIN)/twine check --strict dist/*
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venvs/dist
	@$(BIN)/uv pip install --quiet --python .venvs/dist/bin/python dist/*.whl
	@$(BIN)/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
	    --output-file dist/sbom.cdx.json .venvs/dist/bin/python

audit: dist  ## look for known weaknesses of what an installation consists of
	@$(BIN)/uv pip freeze --quiet --python .venvs/dist/bin/python | grep -v '^apache-airflow-providers-async' \
	    | $(BIN)/pip-audit --strict --disable-pip --no-deps --requirement /dev/stdin

wheel-check: $(STAMP)  ## build the wheel and check that Airflow registers it
	@$(BIN)/python -m pytest -m wheel tests/registration

clean:  ## remove everything that was made here
	rm -rf .venv .venvs build dist docs/_build .coverage* .hypothesis .import_linter_cache \
	    .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
