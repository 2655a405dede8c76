import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from small_workspace import CANDIDATES, REFERENCES, SETS, run, small_params, write_params

# Operations on small arrays are slower with two threads, and one thread waits for the other on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Clients remember the ledgers that they have read. The tests must not write to the cache of the user.
os.environ["FAIR_DISTILL_CACHE"] = tempfile.mkdtemp(prefix="fair-distill-tests-")
atexit.register(shutil.rmtree, os.environ["FAIR_DISTILL_CACHE"], ignore_errors=True)

# Stages record their costs in their workspace, and tests compare all files of a workspace.
os.environ["FAIR_DISTILL_COSTS"] = ""

# Hypothesis generates the same examples in every run, without a deadline, because the machine can be busy.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small workspace in which every stage ran once. Do not change it; use the fixture `workspace`, a copy."""
    root = tmp_path_factory.mktemp("mit Leerzeichen, größer")  # users' paths contain spaces and umlauts
    write_params(root, small_params())
    (root / "context.json").write_text("{}\n")
    stages = (("distill", CANDIDATES), ("references", REFERENCES), ("evaluate", SETS), ("judge", SETS))
    for command in [["prepare"], ["validate"], *([stage, name] for stage, names in stages for name in names)]:
        ended = run(root, *command)
        assert ended.code == 0, f"{' '.join(command)}: {ended.err}"
    return root


@pytest.fixture
def workspace(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished workspace that a test can change."""
    return Path(shutil.copytree(finished, tmp_path / "espace à moi"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real data sets, which most tests do not need."""
    folder = os.environ.get("FAIR_DISTILL_DATA")
    if not folder:
        pytest.skip("FAIR_DISTILL_DATA is not set; it names the folder of real data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Yield the address of an S3 server in this process that stores everything in memory."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Create a bucket, set the environment variables that commands need for it, and return its address."""
    import boto3

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL": s3,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",  # no retries, so that errors appear immediately
        "AWS_EC2_METADATA_DISABLED": "true",
        # The tests must not use the credentials of the user.
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
    }.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"
    boto3.Session().client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"
