# make demo: from real images to a promoted, loadable distilled set.  make test: everything a change must pass.

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DO_NOT_TRACK := 1

.PHONY: demo test test-kills test-gate test-flows test-containers test-server lint clean

demo: .venv/.ready
	@dvc repro
	@fair-distill publish
	@fair-distill promote --to production
	@python examples/consume.py digits@production artifacts/prepared/gate.arrow
	@fair-distill where

test: lint
	python -m pytest

test-kills: .venv/.ready  # 20 runs killed at different steps and taken up; about 3 minutes
	FAIR_DISTILL_KILLS=20 python -m pytest tests/faults/test_killed_runs.py

test-gate: .venv/.ready  # the gate's promises by simulation, in full; about 15 minutes
	python tests/gate/simulation.py benchmarks/results/gate_simulation.json
	FAIR_DISTILL_CASES=2000 python -m pytest tests/gate

test-flows: .venv/.ready  # refresh, regate, sweep and run-stage against a server; about 6 minutes
	FAIR_DISTILL_FLOWS=1 python -m pytest tests/flows

test-containers: .venv/.ready  # the image, and a flow run in a container; podman, as root; about 10 minutes
	tests/containers/image.sh
	FAIR_DISTILL_CONTAINERS=1 python -m pytest tests/containers

test-server: .venv/.ready  # servers, workers and a database that are killed and come back; as root; about 10 minutes
	FAIR_DISTILL_SERVER=1 python -m pytest tests/server

lint: .venv/.ready
	ruff check
	ruff format --check
	mypy
	lint-imports

.venv/.ready: constraints.txt pyproject.toml
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --constraint constraints.txt torch uv
	.venv/bin/uv pip install --quiet --python .venv --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf artifacts .checkpoints registry dvc-remote .dvc/cache .dvc/tmp dvc.lock dvc_plots
