# Everything that a machine needs beyond Python 3.11 and make is made by these targets. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# Tests start hundreds of processes. Without files of bytecode, each of them would compile every module again.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What running needs, and what tests and checks need besides.
RUNNABLE := $(VENV)/.runnable
INSTALLED := $(VENV)/.installed
# What makes an editable install, of requirements-dev.txt, as in deploy/Dockerfile.
BUILD_TOOLS := hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers
# The pinned files are complete. Without `--no-deps`, pip looks at the newest version of a package that is pinned with an
# extra, and fails for lack of its hash.
PINNED := --quiet --no-deps --require-hashes
# npm writes this file last: it is there when the install is complete.
NODE_INSTALLED := tests/node/node_modules/.package-lock.json
# What test-clients drives beside the SDKs that `make test` does.
CLIENTS := langchain pydantic-ai litellm
# Other targets run the rest.
QUICK := not quiet and not alerts and not clients and not stores and not ledger
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
  --no-emit-index-url --no-strip-extras --upgrade

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-17s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: $(RUNNABLE) ## start the service on 127.0.0.1:8080; without ANTHROPIC_API_KEY: before its own simulator
	@exec $(BIN)/tidegate serve $(if $(strip $(ANTHROPIC_API_KEY)),,--upstream simulator)

.PHONY: stack
stack: $(INSTALLED) ## try it all, until Ctrl-C: service, simulator, lively load, Prometheus, Alertmanager, collector, trace view
	@tests/install-tools.sh stack
	-@$(MAKE) --no-print-directory .tools/stack/.installed
	@exec $(BIN)/python -m deploy.stack

.PHONY: test
test: $(INSTALLED) $(NODE_INSTALLED) ## run the tests, and require 100 % coverage of core and engine, 95 % of everything
	$(BIN)/coverage erase
	$(BIN)/pytest -m "$(QUICK)" -n 4 --dist worksteal --cov --cov-report=
	$(BIN)/coverage report --include="service/tidegate/core/*,service/tidegate/engine/*" --fail-under=100
	$(BIN)/coverage report --fail-under=95

.PHONY: test-properties
test-properties: $(INSTALLED) ## try three times as many examples of each property as `make test`, at random (in CI: the same each time)
	$(BIN)/pytest -m "hypothesis and $(QUICK)" --hypothesis-profile=full -n 2 --dist worksteal

.PHONY: test-clients
test-clients: $(INSTALLED) $(NODE_INSTALLED) $(CLIENTS:%=.tools/%/.installed) .tools/anthropic-0.121/.installed .tools/claude-code/.installed .tools/stack/.installed ## drive further clients through the service, hold books beside the upstream's, and run a thousand turns of coding agents
	@tests/install-tools.sh test-clients
	$(BIN)/pytest -m clients -n 3 --dist worksteal

.PHONY: test-alerts
test-alerts: $(INSTALLED) | test-tools ## provoke every fault in a running service, see its alerts fire and resolve, and query every panel
	$(BIN)/pytest -n 5 --dist worksteal -o faulthandler_timeout=0 tests/monitoring/alerts tests/monitoring/rules/test_quiet.py \
	  tests/monitoring/test_cardinality.py
	$(BIN)/pytest -m quiet tests/monitoring/dashboards

.PHONY: pictures
pictures: $(INSTALLED) | test-tools ## draw the Overview during every fault: make pictures VIEWER=a-program ARGS="--fault key_revoked"
	PYTHONPATH=tests $(BIN)/python -m pictures --viewer "$(VIEWER)" $(ARGS)

.PHONY: test-stores
test-stores: $(INSTALLED) | test-tools ## run replicas on real Valkey servers, let each part fail, and see that no answer is lost
	$(BIN)/pytest -m stores -n 2 --dist worksteal --timeout=300 -o faulthandler_timeout=0 tests/e2e/stores

.PHONY: test-ledger
test-ledger: $(INSTALLED) $(NODE_INSTALLED) | test-tools ## try the ledger on a real PostgreSQL server and under load, and its page in a browser
	@tests/install-tools.sh test-ledger
	$(BIN)/pytest -m ledger -n 2 --dist worksteal --timeout=300 -o faulthandler_timeout=0

.PHONY: chaos
chaos: $(INSTALLED) | test-tools ## measure what clients notice while a replica, the store or the network fails: make chaos ARGS=--help
	PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

.PHONY: prove-restarts
prove-restarts: $(INSTALLED) | test-tools ## restart the service under open streams and steady calls, and count what clients notice
	PYTHONPATH=tests $(BIN)/python -m restarts $(ARGS)

.PHONY: prove-quiet
prove-quiet: $(INSTALLED) | test-tools ## see for 20 minutes of healthy load, a start, a reload and drains that no alert fires
	PYTHONPATH=tests $(BIN)/python -m quiet $(ARGS)

.PHONY: check
check: $(INSTALLED) ## check format, lint, types, layers, and the files for Prometheus, Alertmanager and Grafana
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if command -v promtool >/dev/null; then \
	  promtool check rules --lint=all --lint-fatal deploy/prometheus/rules/*.yml && \
	  promtool check config deploy/prometheus/prometheus.yml; \
	else echo 'promtool is missing: rules are not checked here, but by make test'; fi
	@if command -v amtool >/dev/null; then amtool check-config service/tidegate/monitoring/alertmanager.yml; \
	else echo 'amtool is missing: routes are not checked here, but by make test'; fi
	$(BIN)/python -m dashboards.lint

.PHONY: format
format: $(INSTALLED) ## format the code and mend what lint can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: bench
bench: $(INSTALLED) ## measure acquire_token() beside aiolimiter
	PYTHONPATH=tests $(BIN)/python -m benchmarks.bench_acquire $(ARGS)

.PHONY: bench-goodput
bench-goodput: $(INSTALLED) ## measure how much of the quota is used, and how often the upstream refuses
	PYTHONPATH=tests $(BIN)/python -m benchmarks.goodput $(ARGS)

.PHONY: bench-limiter
bench-limiter: $(INSTALLED) ## measure the limiter's CPU time and memory, and what cancelling does, beside four others
	PYTHONPATH=tests $(BIN)/python -m benchmarks.limiter $(ARGS)

.PHONY: bench-gateway
bench-gateway: $(INSTALLED) .tools/litellm/.installed ## measure the relay beside nginx, a bare relay and litellm's proxy
	@tests/install-tools.sh bench-gateway
	PYTHONPATH=tests $(BIN)/python -m benchmarks.gateway $(ARGS)

.PHONY: bench-overload
bench-overload: $(INSTALLED) ## measure admitted calls, refusals and health checks under twenty times the quota
	PYTHONPATH=tests $(BIN)/python -m benchmarks.overload $(ARGS)

.PHONY: bench-store
bench-store: $(INSTALLED) ## measure calls per second through a shared store, beside two limiters on the same server
	@tests/install-tools.sh bench-store
	PYTHONPATH=tests $(BIN)/python -m benchmarks.store $(ARGS)

.PHONY: soak
soak: $(INSTALLED) ## see what grows in the service under 30 minutes of mixed load: make soak ARGS="--minutes 5 --rate 50"
	PYTHONPATH=tests $(BIN)/python -m soak $(ARGS)

.PHONY: profile
profile: $(INSTALLED) ## see where the relay's CPU time goes under load
	@tests/install-tools.sh bench-gateway
	PYTHONPATH=tests $(BIN)/python -m benchmarks.gateway.profile $(ARGS)

.PHONY: mutate
mutate: $(INSTALLED) ## change the core in small ways, and list what no test notices: make mutate MODULES="bucket ramp"
	PYTHONPATH=tests $(BIN)/python -m mutation $(MODULES)

.PHONY: fuzz-http
fuzz-http: $(INSTALLED) ## send a million mutated byte streams through our HTTP and that of others: make fuzz-http COUNT=1000
	PYTHONPATH=tests $(BIN)/python -m differential $(COUNT)

.PHONY: requirements
requirements: $(INSTALLED) ## pin and hash every dependency again, at its newest version
	$(COMPILE) pyproject.toml -o requirements.txt
	$(COMPILE) pyproject.toml --all-extras -c requirements.txt -o requirements-extras.txt
	$(COMPILE) pyproject.toml --all-extras --group dev -c requirements-extras.txt -o requirements-dev.txt
	for each in tests/clients/requirements-*.in deploy/stack/requirements.in; do \
	  $(COMPILE) $$each -o $${each%.in}.txt || exit; done

.PHONY: clean
clean: ## remove everything that these targets made
	rm -rf $(VENV) .tools tests/node/node_modules .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache \
	  .pytest_cache .ruff_cache dist
	find service tests dashboards deploy -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNNABLE): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo 'Tidegate needs Python 3.11 or newer as "$(PYTHON)"; name another with: make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo 'Tidegate needs the venv module of "$(PYTHON)"; on Debian: apt-get install python3-venv' >&2; exit 1; }
	@echo 'Installing Tidegate in $(VENV): once, about a minute'
	@$(PYTHON) -m venv $(VENV)
	@awk '/^[a-z]/ { wanted = /^($(BUILD_TOOLS))==/ } wanted' requirements-dev.txt > $(VENV)/build-tools.txt
	@$(BIN)/pip install $(PINNED) -r requirements.txt -r $(VENV)/build-tools.txt
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(INSTALLED): requirements-dev.txt $(RUNNABLE)
	@echo 'Installing what tests and checks need in $(VENV)'
	@$(BIN)/pip install $(PINNED) -r requirements-dev.txt
	@touch $@

# Environments of their own: what these programs ask for must not decide on our versions.
.PRECIOUS: .tools/%/.installed
.tools/%/.installed: tests/clients/requirements-%.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/pip install $(PINNED) -r $<
	touch $@

.tools/stack/.installed: deploy/stack/requirements.txt | $(INSTALLED)
	@echo 'Installing a collector and a trace view in $(@D): once, 650 MB'
	@$(PYTHON) -m venv --clear $(@D)
	@$(BIN)/uv pip install --quiet --require-hashes --python $(@D)/bin/python -r $<
	@touch $@

# Its install script, which npm may be told not to run, puts the program of this platform in its place.
.tools/claude-code/.installed: tests/clients/claude-code/package.json tests/clients/claude-code/package-lock.json | test-tools
	mkdir -p $(@D)
	cp $(filter %.json,$^) $(@D)
	npm ci --silent --ignore-scripts --prefix $(@D)
	cd $(@D)/node_modules/@anthropic-ai/claude-code && node install.cjs
	touch $@

$(NODE_INSTALLED): tests/node/package.json tests/node/package-lock.json | test-tools
	npm ci --prefix tests/node

.PHONY: test-tools
test-tools:
	@tests/install-tools.sh
