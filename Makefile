# Everything runs in .venv, which is made when it is missing or pyproject.toml is newer.
PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help deepbench test lowest style clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

deepbench: $(VENV)/.installed ## run the DeepBench inference suites on VTA (ARGS="--quick": under a minute)
	$(VENV)/bin/isa-embed deepbench --isa vta $(ARGS)

test: $(VENV)/.installed-test ## run the tests, ruff and mypy (ARGS="-k layout": some of them)
	$(VENV)/bin/python -m pytest $(ARGS)

lowest: ## run the tests with the oldest libraries that pyproject.toml allows, in .venv-lowest
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[test]" \
	  $$(sed -n '/^dependencies/,/^]/p' pyproject.toml | grep -oE '[a-z0-9_-]+>=[0-9.]+' | sed 's/>=/==/; s/$$/.*/')
	.venv-lowest/bin/python -m pytest $(ARGS)

style: $(VENV)/.installed-test ## format the code and show what ruff and mypy say
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

clean: ## remove .venv, caches and results
	rm -rf $(VENV) .venv-lowest build dist deepbench-results .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml $(VENV)/.installed | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	@touch $@
