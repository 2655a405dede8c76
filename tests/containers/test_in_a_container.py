"""The image, and a flow run that distils in a container, by Prefect's docker worker over podman's socket.

`make test-containers` builds the image first. What this does not show: GPU requests and memory limits, which podman
without control groups ignores without a word.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running_prefect import REPOSITORY, Prefect, until
from small_repository import commit, fewest_stages, git, repository

from fair_distill import versioning
from fair_distill.artifacts import parse_json

IMAGE = "localhost/fair-distill:latest"

pytestmark = pytest.mark.skipif(
    "FAIR_DISTILL_CONTAINERS" not in os.environ, reason="make test-containers builds the image and sets this"
)


def podman(*arguments: str) -> str:
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def inside(*command: str) -> str:
    """Run a command in the image, on a read-only root file system."""
    return podman("run", "--rm", "--read-only", "--tmpfs", "/tmp", "--network", "host", IMAGE, *command)


@pytest.fixture(scope="module")
def digest() -> str:
    return podman("image", "inspect", "--format", "{{.Digest}}", IMAGE)


def test_it_is_not_root_and_runs_on_a_read_only_file_system() -> None:
    assert inside("id", "-u") == "1000"
    assert "Distil group-labelled data" in inside("fair-distill", "--help")


def test_it_has_flows_tasks_git_and_no_compiler() -> None:
    assert inside("python", "-c", "import flows.stage, tasks.stages; print('there')") == "there"
    assert inside("git", "--version").startswith("git version")
    assert inside("sh", "-c", "command -v gcc cc c++ || echo none") == "none"


def test_it_has_the_versions_of_the_constraints() -> None:
    wanted = dict(line.split("==") for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if line)
    listed = inside("python", "-c", _VERSIONS).splitlines()
    found = dict(line.split("==") for line in listed)

    other = {name: version for name, version in found.items() if version.partition("+")[0] != wanted.get(name, version)}
    assert found["torch"].startswith("2.13.0")
    assert not other


_VERSIONS = (
    "import re; from importlib.metadata import distributions as d\n"
    "for x in d(): print(re.sub('[-_.]+', '-', x.metadata['Name']).lower() + '==' + x.version)"
)


def test_its_labels_name_the_revision() -> None:
    labels = json.loads(podman("image", "inspect", "--format", "{{json .Labels}}", IMAGE))

    assert labels["org.opencontainers.image.revision"] == versioning.revision(REPOSITORY).removesuffix("+")


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory, digest: str) -> Iterator[Prefect]:
    """A server with every deployment of prefect.yaml, and a docker worker that talks to podman."""
    home = tmp_path_factory.mktemp("prefect")
    socket = home / "podman.sock"
    running = Prefect(home, {"DOCKER_HOST": f"unix://{socket}"})
    try:
        running.start("podman", "system", "service", "--time=0", f"unix://{socket}", log="podman.log")
        running.serve()
        for name, kind, template in (
            ("here", "process", None),
            ("containers", "docker", "flows/pools/docker.json"),
            ("cluster", "kubernetes", "flows/pools/kubernetes.json"),
        ):
            more = ("--base-job-template", template) if template else ()
            running.do("prefect", "work-pool", "create", name, "--type", kind, *more)
        running.do("prefect", "--no-prompt", "deploy", "--all")
        until(socket.exists, what="podman's socket")
        running.start("prefect", "worker", "start", "--pool", "containers", "--type", "docker", log="worker.log")
        yield running
    finally:
        running.close()


def test_a_flow_run_distils_in_a_container_and_who_asked_runs_nothing(
    prefect: Prefect, digest: str, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    asking = repository(tmp_path / "asking", fewest_stages())
    config = asking.root / ".dvc" / "config"
    config.write_text(config.read_text().replace("../dvc-remote", str(shared / "remote")))
    commit(asking.root, "one remote for both")
    (shared / "remote").mkdir(parents=True)
    git(tmp_path, "clone", "--quiet", str(asking.root), str(shared / "there"))
    for folder in (tmp_path, *tmp_path.parents):  # the container's user has to come through
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    for path in (shared, *shared.rglob("*")):
        shutil.chown(path, 1000, 1000)

    state = run(prefect, "run-stage/container", shared, digest, repository=str(shared / "there"), stage="distill")
    said: list[str] = []
    with versioning.Dvc(asking.root) as dvc:
        ran = dvc.repro("distill", say=said.append, pull=True)

    assert state == "Completed", prefect.logged()["worker.log"][-3000:]
    assert ran == ()
    assert any("is cached - skipping run" in line for line in said)
    provenance = asking.set("barycentric") / "provenance.json"
    assert parse_json(provenance.read_bytes(), name="provenance")["image"] == digest


def run(prefect: Prefect, deployment: str, shared: Path, digest: str, **parameters: Any) -> str:
    """Run a deployment in a container that sees `shared`; return the name of the state it ended in."""
    variables = {
        "image": IMAGE,
        "network_mode": "host",
        "volumes": [f"{shared}:{shared}"],
        "env": {"FAIR_DISTILL_IMAGE": digest, "PREFECT_API_URL": prefect.env["PREFECT_API_URL"]},
    }
    code = (
        "import json, sys; from prefect.deployments import run_deployment\n"
        "name, parameters, variables = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])\n"
        "run = run_deployment(name, parameters=parameters, job_variables=variables, timeout=900)\n"
        "print(run.state.name)"
    )
    return prefect.do("python", "-c", code, deployment, json.dumps(parameters), json.dumps(variables)).split()[-1]
