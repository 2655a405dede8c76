# `make help` lists the targets. `make demo` runs the whole pipeline; `make test` runs every check that a change must pass.

PYTHON ?= python3
# On a machine without a GPU, TORCH_INDEX=https://download.pytorch.org/whl/cpu saves 4 GB.
TORCH_INDEX ?=
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DO_NOT_TRACK := 1
# Clients remember the ledgers that they have read. This keeps what they remember about the demo in this folder.
export FAIR_DISTILL_CACHE := $(CURDIR)/.cache

.PHONY: help demo test test-kills test-report test-gate test-mutants test-s3 test-histories test-light test-flows \
	test-containers test-server coverage lint format docs dist clean

help: ## List the targets.
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
		printf '%-16s %s\n' "$$name" "$$text"; done

demo: .venv/.ready ## Run the pipeline on handwritten digits, up to a promoted version that a consumer loads.
	@dvc repro
	@fair-distill publish
	@fair-distill promote --to production
	@python examples/consume.py digits@production artifacts/prepared/gate.arrow
	@fair-distill table --paths

test: lint ## Run the linters and the fast tests. Every change must pass them.
	python -m pytest --numprocesses auto --dist loadfile

lint: .venv/.ready ## Run the linters, the type checker and the checks of prose and names.
	ruff check
	ruff format --check
	mypy
	lint-imports
	python tests/prose.py
	python tests/wrap_markdown.py

format: .venv/.ready ## Format the Python files.
	ruff check --fix
	ruff format

docs: .venv/.ready ## Build the documentation in build/docs.
	python -m sphinx -W --keep-going -q -b html docs build/docs

coverage: .venv/.ready ## Run the fast tests and report which lines they reach, in build/coverage.
	.venv/bin/uv pip install --quiet --python .venv --constraint constraints.txt --editable '.[coverage]'
	python -m pytest --numprocesses auto --dist loadfile --cov --cov-report=term:skip-covered --cov-report=html

dist: .venv/.ready ## Build the source distribution, build the wheel from it, and check both.
	rm -rf dist
	.venv/bin/uv build --quiet --out-dir dist
	python tests/check_dist.py dist

test-kills: .venv/.ready ## Kill 20 distillations at different steps and resume them (3 minutes).
	FAIR_DISTILL_KILLS=20 python -m pytest tests/faults/test_killed_runs.py

test-report: .venv/.ready ## Open the report in the system's Chromium: console, overflow, axe-core.
	.venv/bin/uv pip install --quiet --python .venv --constraint constraints.txt --editable '.[browser]'
	FAIR_DISTILL_BROWSER=required python -m pytest tests/report

test-gate: .venv/.ready ## Check the gate's statistics in a full simulation (15 minutes).
	python tests/gate/simulation.py benchmarks/results/gate_simulation.json
	python tests/gate/simulation_networks.py benchmarks/results/gate_networks.json
	python tests/gate/boundary_simulation.py benchmarks/results/gate_boundaries.json
	FAIR_DISTILL_CASES=2000 python -m pytest tests/gate

test-mutants: .venv/.ready ## Change the files that a verdict is bound to, and check that every interface notices (12 minutes).
	PYTHONPATH=tests:tests/gate python -m mutation.run --every 2 --least 5000
	PYTHONPATH=tests:tests/gate python -m mutation.pull_requests --count 800 --least 600

export CEPH_PORT ?= 7480
test-s3: .venv/.ready ## Test the registry on a real S3 server, Ceph from Debian, and its faults (8 minutes).
	tests/s3/ceph.sh install
	tests/s3/ceph.sh new .ceph
	FAIR_DISTILL_S3=http://127.0.0.1:$(CEPH_PORT) FAIR_DISTILL_CEPH=$(CURDIR)/.ceph \
		python -m pytest tests/registry -k ceph || { tests/s3/ceph.sh stop .ceph; exit 1; }
	tests/s3/ceph.sh stop .ceph
	rm -rf .ceph

test-histories: .venv/.ready ## Run 300 random histories of a registry in a folder, and 60 on Ceph (25 minutes).
	FAIR_DISTILL_HISTORIES=300 python -m pytest tests/registry/test_histories.py
	tests/s3/ceph.sh install
	CEPH_PORT=7481 tests/s3/ceph.sh new .ceph-histories
	FAIR_DISTILL_HISTORIES=60 FAIR_DISTILL_S3=http://127.0.0.1:7481 \
		python -m pytest tests/registry/test_histories.py || { CEPH_PORT=7481 tests/s3/ceph.sh stop .ceph-histories; exit 1; }
	CEPH_PORT=7481 tests/s3/ceph.sh stop .ceph-histories
	rm -rf .ceph-histories

test-light: .venv/.ready ## Install the wheel without extras, and load a set from a folder and a bucket (1 minute).
	FAIR_DISTILL_LIGHT=1 python -m pytest tests/registry/test_fresh_environment.py

test-flows: .venv/.ready ## Run the flows refresh, regate, sweep and run-stage on a server and a Dask cluster (12 minutes).
	FAIR_DISTILL_FLOWS=1 python -m pytest tests/flows

test-containers: .venv/.ready ## Build the image and run a flow in a container; needs podman and root (15 minutes).
	tests/containers/image.sh
	FAIR_DISTILL_CONTAINERS=1 python -m pytest tests/containers

test-server: .venv/.ready ## Kill and restart Prefect's server, workers and database; needs root (30 minutes).
	FAIR_DISTILL_SERVER=1 python -m pytest tests/server

.venv/.ready: constraints.txt pyproject.toml
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --constraint constraints.txt $(TORCH_INDEX:%=--extra-index-url %) torch uv
	.venv/bin/uv pip install --quiet --compile-bytecode --python .venv --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean: ## Remove everything that the demo and the builds write.
	rm -rf build dist artifacts .checkpoints .cache registry dvc-remote .dvc/cache .dvc/tmp dvc.lock dvc_plots
