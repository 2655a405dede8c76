# make demo: from real images to a promoted, loadable distilled set.  make test: everything a change must pass.

PYTHON ?= python3
# TORCH_INDEX=https://download.pytorch.org/whl/cpu is 4 GB less, where there is no GPU.
TORCH_INDEX ?=
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DO_NOT_TRACK := 1
# What a consumer remembers of the demo's registry goes with it.
export FAIR_DISTILL_CACHE := $(CURDIR)/.cache

.PHONY: demo test test-kills test-report test-gate test-mutants test-s3 test-histories test-light test-flows test-containers test-server lint docs clean

demo: .venv/.ready
	@dvc repro
	@fair-distill publish
	@fair-distill promote --to production
	@python examples/consume.py digits@production artifacts/prepared/gate.arrow
	@fair-distill table --paths

test: lint
	python -m pytest --numprocesses auto --dist loadfile

docs: .venv/.ready  # into build/docs
	python -m sphinx -W --keep-going -q -b html docs build/docs

test-kills: .venv/.ready  # 20 runs killed at different steps and taken up; about 3 minutes
	FAIR_DISTILL_KILLS=20 python -m pytest tests/faults/test_killed_runs.py

test-report: .venv/.ready  # the report in a headless Chromium (the system's): the console, overflow, axe-core
	.venv/bin/uv pip install --quiet --python .venv --constraint constraints.txt --editable '.[browser]'
	FAIR_DISTILL_BROWSER=required python -m pytest tests/report

test-gate: .venv/.ready  # the gate's promises by simulation, in full; about 15 minutes
	python tests/gate/simulation.py benchmarks/results/gate_simulation.json
	FAIR_DISTILL_CASES=2000 python -m pytest tests/gate

test-mutants: .venv/.ready  # what a verdict is bound to, altered in every way, against every interface; about 12 minutes
	PYTHONPATH=tests:tests/gate python -m mutation.run --every 2 --least 5000
	PYTHONPATH=tests:tests/gate python -m mutation.pull_requests --count 800 --least 600

export CEPH_PORT ?= 7480
test-s3: .venv/.ready  # the registry on a real S3 server (Ceph, from Debian's packages), and its faults; 8 minutes on two busy cores
	tests/s3/ceph.sh install
	tests/s3/ceph.sh new .ceph
	FAIR_DISTILL_S3=http://127.0.0.1:$(CEPH_PORT) FAIR_DISTILL_CEPH=$(CURDIR)/.ceph \
		python -m pytest tests/registry -k ceph || { tests/s3/ceph.sh stop .ceph; exit 1; }
	tests/s3/ceph.sh stop .ceph
	rm -rf .ceph

# 300 random histories on a folder, then 60 on Ceph where it can be installed; about 25 minutes on two cores
test-histories: .venv/.ready
	FAIR_DISTILL_HISTORIES=300 python -m pytest tests/registry/test_histories.py
	tests/s3/ceph.sh install
	CEPH_PORT=7481 tests/s3/ceph.sh new .ceph-histories
	FAIR_DISTILL_HISTORIES=60 FAIR_DISTILL_S3=http://127.0.0.1:7481 \
		python -m pytest tests/registry/test_histories.py || { CEPH_PORT=7481 tests/s3/ceph.sh stop .ceph-histories; exit 1; }
	CEPH_PORT=7481 tests/s3/ceph.sh stop .ceph-histories
	rm -rf .ceph-histories

test-light: .venv/.ready  # a consumer's new environment: the wheel without extras, from a folder and a bucket; a minute
	FAIR_DISTILL_LIGHT=1 python -m pytest tests/registry/test_fresh_environment.py

test-flows: .venv/.ready  # refresh, regate, sweep and run-stage and a Dask cluster, against a server; about 12 minutes
	FAIR_DISTILL_FLOWS=1 python -m pytest tests/flows

test-containers: .venv/.ready  # the image, and a flow run in a container; podman, as root; about 15 minutes
	tests/containers/image.sh
	FAIR_DISTILL_CONTAINERS=1 python -m pytest tests/containers

test-server: .venv/.ready  # servers, workers and a database that are killed and come back; as root; about 15 minutes
	FAIR_DISTILL_SERVER=1 python -m pytest tests/server

lint: .venv/.ready
	ruff check
	ruff format --check
	mypy
	lint-imports

.venv/.ready: constraints.txt pyproject.toml
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --constraint constraints.txt $(TORCH_INDEX:%=--extra-index-url %) torch uv
	.venv/bin/uv pip install --quiet --compile-bytecode --python .venv --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf build artifacts .checkpoints .cache registry dvc-remote .dvc/cache .dvc/tmp dvc.lock dvc_plots
