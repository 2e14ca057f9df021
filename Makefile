.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON := .venv/bin/python
# Options for pytest, the demo or the benchmarks, e.g. make test ARGS="tests/config -x"
ARGS ?=
export PYTHONPATH := $(CURDIR)
export TF_CPP_MIN_LOG_LEVEL ?= 3
WITH_JAVA := java_home=$$(tools/find_java.sh) && JAVA_HOME=$$java_home

.PHONY: help
help: ## Show this help
	@echo "usage: make TARGET [ARGS=\"...\"]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Make .venv with the pinned packages and Horovod, fetch Delta's jars, archive Java's classes; does only what is missing
	@tools/setup.sh

.PHONY: demo
demo: setup ## The main job: a simulated shop's events become profiles, a model, scores and a report
	@./tools/demo.sh $(ARGS)

.PHONY: test
test: setup ## Run all tests, three at a time (8 GB); ARGS goes to pytest
	-@tools/setup.sh avro kafka # what cannot be fetched is skipped, and said
	@$(WITH_JAVA) $(PYTHON) -m pytest -n 3 --dist loadgroup --durations 25 -rs $(ARGS)

.PHONY: test-fast
test-fast: setup ## Run the tests that take seconds
	@$(WITH_JAVA) $(PYTHON) -m pytest -m "not slow" $(ARGS)

.PHONY: test-long
test-long: setup ## Run the property tests of the profiles on ten times as many random cases
	@seed=$${INTENT_SPARK_SEED:-$$RANDOM} && echo "INTENT_SPARK_SEED=$$seed" && \
		$(WITH_JAVA) INTENT_SPARK_CASES=5000 INTENT_SPARK_SEED=$$seed $(PYTHON) -m pytest tests/profiles/test_against_oracle.py tests/profiles/test_late_rebuild.py $(ARGS)

.PHONY: check
check: setup ## Check style (ruff), types (mypy --strict) and that imports run downhill (import-linter)
	@$(PYTHON) -m ruff check --quiet --output-format concise .
	@$(PYTHON) -m ruff format --check --quiet . || { echo "Not formatted: run 'make format'."; exit 1; }
	@$(PYTHON) -m mypy --strict intent_spark jobs
	@report=$$(.venv/bin/lint-imports --no-logo) && tail -n 1 <<<"$$report" || { echo "$$report"; exit 1; }

.PHONY: format
format: setup ## Format the code and sort its imports (ruff)
	@$(PYTHON) -m ruff check --quiet --select I --fix .
	@$(PYTHON) -m ruff format --quiet .

.PHONY: bench
bench: setup ## Measure speed and quality beside what a user would pick instead
	@$(WITH_JAVA) $(PYTHON) -m benchmarks $(ARGS)

.PHONY: bench-quality
bench-quality: setup ## Measure all candidates on the simulated shop and the real sets there are; ARGS="--only cdnow --cdnow FILE"
	@$(WITH_JAVA) $(PYTHON) -m benchmarks.quality $(ARGS)

.PHONY: wheel
wheel: setup ## Build dist/*.whl, what a cluster installs
	@rm -rf build/lib build/bdist.* dist
	@$(PYTHON) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

.PHONY: clean
clean: ## Remove the wheel and caches; .venv, build/jars and tables stay
	@rm -rf dist build/lib build/bdist.* *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: contracts
contracts: setup ## Write docs/data-contracts.md from the contracts in the code
	@$(PYTHON) -m tools.write_contracts docs/data-contracts.md

.PHONY: catalogue
catalogue: setup ## Write docs/features.md from conf/features.yaml
	@$(PYTHON) -m tools.write_catalogue docs/features.md
