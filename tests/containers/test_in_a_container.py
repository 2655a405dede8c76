"""The image, and a flow run that distils in a container, by Prefect's docker worker over podman's socket.

`make test-containers` builds the image first. What this does not show: GPU requests and memory limits, which podman
without control groups ignores without a word.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_prefect import REPOSITORY, Prefect, free_port, stop, until
from small_repository import commit, fewest_stages, git, repository

from fair_distill.registry.client import provenance
from fair_distill.versioning import git_commands

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

    assert labels["org.opencontainers.image.revision"] == git_commands.revision(REPOSITORY).removesuffix("+")


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


@pytest.fixture
def git_server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which its repositories are served to parent and container."""
    served, port = tmp_path / "served", free_port()
    served.mkdir()
    options = ("--reuseaddr", "--export-all", "--enable=receive-pack", "--listen=127.0.0.1")
    daemon = subprocess.Popen(
        ["git", "daemon", *options, f"--port={port}", f"--base-path={served}"], start_new_session=True
    )
    yield served, f"git://127.0.0.1:{port}"
    stop(daemon, signal.SIGKILL)


def test_refresh_has_a_container_distil_and_runs_nothing_of_it_itself(
    prefect: Prefect, digest: str, git_server: tuple[Path, str], tmp_path: Path
) -> None:
    """Parent and container share no folder but the DVC remote: the one in the test's place of an object store."""
    served, address = git_server
    remote = tmp_path / "remote"
    remote.mkdir()
    workspace = repository(tmp_path / "workspace", fewest_stages())
    config = workspace.root / ".dvc" / "config"
    config.write_text(config.read_text().replace("../dvc-remote", str(remote)))
    commit(workspace.root, "one remote for both")
    git(tmp_path, "clone", "--quiet", "--bare", str(workspace.root), str(served / "digits.git"))
    open_to(remote, 1000)
    in_this_image(prefect, digest, remote)

    code = (
        "import os, sys; from flows.refresh import refresh\n"
        "os.umask(0)  # what it pushes to the remote the container's user has to add to\n"
        "refresh(sys.argv[1], registry=sys.argv[2], elsewhere={'distill': 'run-stage/container'})"
    )
    registry = str(tmp_path / "registry")
    flow = prefect.start("python", "-c", code, f"{address}/digits.git", registry, log="flow.log",
                         FAIR_DISTILL_REPORTS=str(tmp_path / "reports"), PYTHONPATH=str(REPOSITORY))  # fmt: skip
    ended = flow.wait(timeout=1500)

    said = prefect.logged()["flow.log"]
    assert ended == 0, said[-3000:] + prefect.logged()["worker.log"][-3000:]
    # What the container needed and was not there, it made; so the parent makes nothing up to there.
    assert "Task run 'distill' - Stage 'distill@barycentric' is cached - skipping run" in said
    assert "Running stage 'distill@barycentric'" not in said
    _, (made_in,) = provenance("digits@production", registry=registry)
    assert made_in["image"] == digest


def open_to(folder: Path, user: int) -> None:
    """Give a folder to the user of the image, and let it come there."""
    shutil.chown(folder, user, user)
    for above in folder.parents:
        if above.is_relative_to("/tmp") and above != Path("/tmp"):
            above.chmod(0o755)


def in_this_image(prefect: Prefect, digest: str, remote: Path) -> None:
    """Have the deployment that prefect.yaml made run the image of this machine, with a volume for the remote."""
    deployment = prefect.ask("deployments/name/run-stage/container", method="GET")
    variables = deployment["job_variables"]
    here = {
        "image": IMAGE,
        "network_mode": "host",
        "volumes": [f"{remote}:{remote}"],
        "env": variables["env"] | {"FAIR_DISTILL_IMAGE": digest, "PREFECT_API_URL": prefect.env["PREFECT_API_URL"]},
    }
    prefect.ask(f"deployments/{deployment['id']}", {"job_variables": variables | here}, method="PATCH")
