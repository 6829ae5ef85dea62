# Two commands do everything on a fresh Debian or Ubuntu machine: `make run` and `make test`.
# Both first set up what is missing (.setup/setup.sh); a second run skips that in about a second.

.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

# Node.js that the set-up brought, where the machine has none.
export PATH := $(CURDIR)/.node/bin:$(PATH)

BIN := .venv/bin
FLASK := $(BIN)/flask --app app
JOBS ?= 2
COVERED := fieldapp/*/operations.py,fieldapp/*/models.py,fieldapp/*/transitions.py,fieldapp/outbox.py,fieldapp/sync/*
STORES := tests/test_ticket_stores.py tests/stores tests/faults/test_x22_storms.py tests/faults/test_x22_x25_the_store_fails.py
PYTEST := $(BIN)/pytest -n $(JOBS) --dist worksteal

.PHONY: help
help: ## List these commands
	@echo 'make …'
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- Use ---------------------------------------------------------------------------------------------------------

.PHONY: run
run: setup ## Serve the demo day on http://127.0.0.1:8000 (PORT, FIELDAPP_DATA_DIR … as in the README)
	@FIELDAPP_DEMO=$${FIELDAPP_DEMO-1} exec $(FLASK) serve

.PHONY: setup
setup: ## Install what `run` needs, into this folder
	@.setup/setup.sh run

.PHONY: setup-test
setup-test: ## Install what the tests and checks need as well, a browser included
	@.setup/setup.sh test

# --- Test --------------------------------------------------------------------------------------------------------

.PHONY: test
test: setup-test ## Run every test, in the browser too (ARGS="-k word" to choose)
	@exec $(PYTEST) $(ARGS)

.PHONY: browser-tests
browser-tests: setup-test ## Run only the tests that drive a browser
	@exec $(PYTEST) -m browser $(ARGS)

.PHONY: quick
quick: setup-test ## Run the tests without a browser and without crash rounds
	@exec $(PYTEST) -m 'not browser and not crash' $(ARGS)

.PHONY: test-stores
test-stores: setup-test ## Run the tests against real and doubled ticket stores (ARGS="-k rt" to choose)
	@exec $(PYTEST) $(STORES) $(ARGS)

.PHONY: coverage
coverage: setup-test ## Run the tests without a browser and show uncovered branches
	@$(PYTEST) -m 'not browser' --cov --cov-report= $(ARGS)
	@$(BIN)/coverage report --show-missing --skip-covered
	@echo 'Every branch of these must be covered:'
	@$(BIN)/coverage report --show-missing --include='$(COVERED)' --fail-under=100

.PHONY: bench
bench: setup-test ## Measure pages, completion, PDF and growth against a bare Flask route
	@exec $(BIN)/python -m tests.bench $(ARGS)

.PHONY: soak
soak: setup-test ## Let 50 simulated phones work for 10 minutes behind a bad network (ARGS="--minutes 1 --phones 20")
	@exec $(BIN)/python -m tests.bench.soak $(ARGS)

.PHONY: machine
machine: setup-test ## Try new random journeys of phones and office for an hour (ARGS="--minutes 10")
	@exec $(BIN)/python -m tests.offline.test_state_machine $(ARGS)

.PHONY: storm
storm: setup-test ## Send 200 reports to a live RT and a live Redmine through a wire that loses, while 30 workers are killed
	@$(BIN)/python -m tests.faults.storm rt $(ARGS)
	@$(BIN)/python -m tests.faults.storm redmine $(ARGS)

.PHONY: race
race: setup-test ## Let two workers race for the same lanes of a live RT for 10 minutes (ARGS="redmine --minutes 2")
	@exec $(BIN)/python -m tests.faults.race $(ARGS)

# --- Check: exactly what CI runs ---------------------------------------------------------------------------------

.PHONY: check
check: static-checks test ## Everything CI checks: style, types, imports, templates, JavaScript, migrations, tests

.PHONY: static-checks
static-checks: check-python check-templates check-javascript check-migrations ## All of `check` but the tests

.PHONY: check-python
check-python: setup-test
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/deptry .

.PHONY: check-templates
check-templates: setup-test
	@$(BIN)/djlint templates --lint --quiet

.PHONY: check-javascript
check-javascript: setup-test
	@node_modules/.bin/eslint --config .setup/eslint.config.mjs --max-warnings 0 --no-warn-ignored static/js
	@node_modules/.bin/tsc --project .setup/jsconfig.json

# The models say what the newest migration makes: upgrade an empty database, then compare.
.PHONY: check-migrations
check-migrations: setup-test
	@folder=$$(mktemp -d) && trap 'rm -r "$$folder"' EXIT && \
	export FIELDAPP_DATA_DIR="$$folder" FIELDAPP_DATABASE_URL="sqlite:///$$folder/check.sqlite3" \
		FIELDAPP_SECRET_KEY=only-for-this-check-0123456789abcdef && \
	$(FLASK) db upgrade && $(FLASK) db check

# --- Change ------------------------------------------------------------------------------------------------------

.PHONY: fix
fix: setup-test ## Mend what a tool can mend: imports, format, simple lint
	@$(BIN)/ruff check --fix --show-fixes || true
	@$(BIN)/ruff format
	@node_modules/.bin/eslint --config .setup/eslint.config.mjs --fix --no-warn-ignored static/js || true

.PHONY: messages
messages: setup-test ## Collect texts for translation and prefill Traditional from Simplified Chinese
	@$(BIN)/python .setup/messages.py
	@.setup/setup.sh test

.PHONY: lock
lock: setup-test ## Renew the lock files after a change in pyproject.toml or package.json (ARGS=--upgrade for newer)
	@.setup/lock.sh $(ARGS)
	@.setup/setup.sh test
