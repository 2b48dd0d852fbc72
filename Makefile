# One entry point for every action; CI calls the same targets.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-mutants test-fault fuzz soak test-kube kube-binaries bench bench-node bench-gate bench-gate-baseline bench-gate-proof
.PHONY: kind-up helm node-up images install e2e node-shell node-down test-node
.PHONY: lint layers type fmt proto proto-check constraints all clean

help: ## What there is to make
	@awk -F':.*## ' '/^[a-z][a-z-]*:.*## /{printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Two steps, because an editable install cannot be checked by hash: first everything of others, by version and hash; then us.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "kruntimes needs Python 3.11 or later; set PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(INSTALLED) ## Install everything into .venv

demo: $(INSTALLED) ## Local mode, 120 Runs over the texts in examples/, one result, nothing left running
	@$(BIN)/python examples/demo.py

# A test here waits more than it computes: two at a time take half as long on two cores. All of a file run in one process, in order.
WORKERS ?= 2
test: $(INSTALLED) ## Unit, contract and whole-system tests; needs nothing but Python; WORKERS=n at a time
	$(BIN)/python -m pytest -m "not kube and not fault and not mutation and not node" --numprocesses=$(WORKERS) --dist=loadfile $(PYTEST)

test-mutants: $(INSTALLED) ## The model of the ownership protocol to its end; each rule taken out of it and of the code in turn: the test named for it must fail
	$(BIN)/python -m pytest -m mutation

REPEAT ?= 1
test-fault: $(INSTALLED) ## Every row of docs/reliability.md that one machine can show; REPEAT=3 for three passes
	@rm -f .fault/figures.jsonl
	@for pass in $$(seq $(REPEAT)); do echo "pass $$pass of $(REPEAT)"; $(BIN)/python -m pytest tests/fault -m fault -o faulthandler_timeout=200 || exit 1; done

fuzz: $(INSTALLED) ## A million hostile Runs into everything that looks into one; CASES=n, SEED=n
	$(BIN)/python -m tests.fault.fuzz --cases $(or $(CASES),1000000) $(if $(SEED),--seed $(SEED))

MINUTES ?= 20
soak: $(INSTALLED) ## Mixed Runs and a random fault every few seconds, a verdict per promise; MINUTES=n, SOAK="--help" for options
	$(BIN)/python -m tests.fault.soak --minutes $(MINUTES) $(SOAK)

kube-binaries: ## Build etcd, kube-apiserver and kubectl once (cached outside the repo), or take KUBEBUILDER_ASSETS
	@tests/cluster/build-binaries.sh

helm: ## Build helm once (cached outside the repo)
	@tests/cluster/build-binaries.sh --helm

test-kube: $(INSTALLED) kube-binaries helm ## The same contract suite and more, against a real kube-apiserver with etcd
	$(BIN)/python -m pytest -m kube

kind-up: ## A kind cluster with the images of this tree and kruntimes in it, and what to type next (needs Docker and kind)
	@k8s/kind-up.sh

NODE := tests/node
node-up: ## A whole Kubernetes of one node in a network namespace of its own (root; docs/install.md); prints its kubeconfig
	@$(NODE)/up.sh

images: ## Build the images from k8s/images/Dockerfile and load them into the node if it is up; prints their tag
	@$(NODE)/packages.sh
	@$(NODE)/images.sh

WITH ?= kustomize
install: node-up ## Put the platform onto the node, with the images of this tree; WITH=helm by the chart
	@$(NODE)/install.sh $(WITH)

# A KUBECONFIG of the environment is somebody's cluster, and not meant: only one that is given to make counts.
ifeq ($(origin KUBECONFIG),command line)
E2E = KUBECONFIG=$(KUBECONFIG)
else
E2E = eval "$$($(NODE)/access.sh)" &&
endif
e2e: $(INSTALLED) ## The suite of real Pods, on the node or on your cluster: KUBECONFIG=path E2E_TAG=tag E2E_REGISTRY=host/; PYTEST="-k drained"
	@$(E2E) $(BIN)/python -m pytest tests/e2e -m "node$(if $(E2E_LONG),, and not long)" -o faulthandler_timeout=400 $(PYTEST)

node-shell: ## A shell with kubectl and krt on the node
	@eval "$$($(NODE)/access.sh)" && PATH=$(abspath $(BIN)):$$PATH exec $${SHELL:-sh}

node-down: ## End the node, and forget it with PURGE=1
	@$(NODE)/down.sh $(if $(PURGE),--purge)

test-node: $(INSTALLED) ## Node up, images, install by the chart, e2e, and everything down again; after a failure its logs stay
	@$(NODE)/down.sh --purge; $(NODE)/up.sh && $(NODE)/install.sh helm && $(MAKE) --no-print-directory e2e; status=$$?; \
	  if [ $$status = 0 ]; then $(NODE)/down.sh --purge; else $(NODE)/down.sh; fi; exit $$status

bench: $(INSTALLED) ## Latency, throughput, writes and CPU on both API servers beside the floor probe; BENCH="--help" for options
	$(BIN)/python -m bench $(BENCH)

bench-node: $(INSTALLED) ## The same on the node of make install, beside plain Jobs, with the CPU of everything on it; BENCH="--update-docs"
	@eval "$$($(NODE)/access.sh)" && $(BIN)/python -m bench --node $(BENCH)

bench-gate: $(INSTALLED) kube-binaries ## Fail when a Run has become slower, dearer or chattier than the committed baseline allows
	$(BIN)/python -m bench.gate

bench-gate-baseline: $(INSTALLED) kube-binaries ## Record the baseline of the gate anew, on a machine with nothing else to do
	$(BIN)/python -m bench.gate record

bench-gate-proof: $(INSTALLED) kube-binaries ## Show that the gate passes unchanged code every time and sees 5 ms in any step; GATE="--help"
	$(BIN)/python -m bench.gate proof $(GATE)

lint: $(INSTALLED) ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

layers: $(INSTALLED) ## Import direction
	$(BIN)/lint-imports

type: $(INSTALLED) ## mypy --strict
	$(BIN)/mypy
	$(BIN)/mypy examples/demo.py

fmt: $(INSTALLED) ## Format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

PROTOS = $(shell find proto -name '*.proto')

proto: $(INSTALLED) ## Generate the stubs from proto/
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=proto --pyi_out=proto --grpc_python_out=proto $(PROTOS)

constraints: ## Resolve the dependencies anew into constraints.txt: versions and hashes, no addresses (needs uv)
	uv pip compile pyproject.toml --extra local --group dev --generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
	  --python-version 3.11 --upgrade --output-file constraints.txt

all: lint layers type test ## What a change must pass

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
