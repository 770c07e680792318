PYTHON ?=
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
# Every target with a ## comment is a command, none is a file.
.PHONY: $(shell awk -F: '/^[a-z0-9-]+:.*## /{print $$1}' Makefile)

help:  ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml scripts/setup
	@PYTHON="$(PYTHON)" scripts/setup $(VENV)

setup: $(STAMP)  ## make the virtual environment from the lock file

run: $(STAMP)  ## run the example shop on a private local broker and show what happened
	@$(BIN)/python examples/shop/run.py

servers: $(STAMP)  ## install RabbitMQ and Redis from the system's packages where missing (starts no service)
	@$(BIN)/python -m laneway.local install

broker43: $(STAMP)  ## install RabbitMQ 4.3 in a folder of its own (root, about 90 seconds, 250 MB)
	@$(BIN)/python -m laneway.local install-43

bugsink: $(STAMP)  ## show the licence of Bugsink, ask, and install it for the tests of Sentry (60 seconds, 200 MB)
	@$(BIN)/python -m laneway.local install-bugsink

chart-tools: $(STAMP)  ## install what judges the chart: kubernetes-validate, checkov, promtool (2 minutes, 450 MB)
	@PYTHONPATH=tests $(BIN)/python -P -m support.chart_tools

chart-golden: $(STAMP) kubernetes-tools  ## write the chart's reviewed output anew (tests/chart/golden): read the diff
	@PYTHONPATH=tests $(BIN)/python -P -m support.chart_golden

kubernetes-tools: $(STAMP)  ## install helm and kubectl in a folder of their own, for rendering and the tests
	@$(BIN)/python -m laneway.local install-kubernetes-tools

container-tools: $(STAMP)  ## install Docker Compose and hadolint likewise, for the tests
	@$(BIN)/python -m laneway.local install-container-tools

test: $(STAMP) servers kubernetes-tools container-tools chart-tools  ## all tests, on RabbitMQ of the system and, where installed, on 4.3
	@$(BIN)/python scripts/test $(BIN)

test-unit: $(STAMP)  ## the tests without servers (seconds)
	@$(BIN)/pytest tests/unit -q

test-broker43: $(STAMP) broker43  ## the integration tests on RabbitMQ 4.3
	@$(BIN)/pytest tests/integration --broker=4.3

bench: $(STAMP)  ## Laneway beside its peers, up to 45 minutes (BENCH="--quick": 3 minutes)
	@$(BIN)/laneway bench $(BENCH)

chaos: $(STAMP) broker43 servers  ## seeded faults under load, every job accounted for (SEED=, MINUTES=, JOBS=, NODES=1|3, CHAOS=)
	@PYTHONPATH=tests:benchmarks $(BIN)/python -P -m chaos \
		$(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) \
		$(if $(JOBS),--jobs $(JOBS)) $(if $(NODES),--nodes $(NODES)) $(CHAOS)

cluster-tools: $(STAMP) kubernetes-tools  ## build a Kubernetes control plane and KEDA for the tests (Go 1.26, 40 minutes, once)
	@PYTHONPATH=tests $(BIN)/python -P -m cluster.build

cluster-test: $(STAMP) kubernetes-tools  ## the tests on a real Kubernetes control plane (root; CLUSTER="-k keda")
	@$(BIN)/pytest tests/cluster $(CLUSTER)

format: $(STAMP)  ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix-only -q .

lint: $(STAMP)  ## format and lint, as a check
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: $(STAMP)  ## mypy, strict
	@$(BIN)/mypy

layers: $(STAMP)  ## the import layers of docs/design/layers.md
	@$(BIN)/lint-imports

render: $(STAMP) kubernetes-tools  ## write chart values, manifests, Compose and supervisord files from queues/
	@$(BIN)/laneway render

verify: $(STAMP) kubernetes-tools  ## fail if one of them is not what queues/ say
	@$(BIN)/laneway render --check

lock: $(STAMP)  ## renew both lock files: the engine's and that of the benchmarks' peers
	@scripts/lock $(BIN)

ci: lint types layers verify test  ## everything that decides whether a change lands

clean:  ## remove what the targets above made
	@rm -rf $(VENV) .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
