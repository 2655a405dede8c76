import hashlib
from pathlib import Path
from typing import Any

import pytest
from places import PLACES, REAL, SERVERS, Bucket, Folder, Place
from small_registry import MemoryStore

from fair_distill.registry.store import RegistryStore

BUCKET = "registry-tests"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "registry"


def at(kind: str, request: pytest.FixtureRequest) -> Place:
    """Return an empty place of a kind; a server's is in this process's environment, as in a command's."""
    tmp_path: Path = request.getfixturevalue("tmp_path")
    if kind == "folder":
        return Folder(tmp_path / "registry")
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    endpoint = REAL if kind == "ceph" else request.getfixturevalue("s3")
    assert endpoint
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "secret-of-tester",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_MAX_ATTEMPTS", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    prefix = hashlib.sha256(str(tmp_path).encode()).hexdigest()[:20]
    return Bucket(BUCKET, f"of/{prefix}", _client(endpoint))


_CLIENTS: dict[str, Any] = {}


def _client(endpoint: str) -> Any:
    """One client a server, and the bucket made once."""
    if endpoint not in _CLIENTS:
        import boto3

        client = boto3.Session().client("s3", endpoint_url=endpoint)
        client.create_bucket(Bucket=BUCKET)
        _CLIENTS[endpoint] = client
    return _CLIENTS[endpoint]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    """Every place in turn that a registry may lie."""
    return at(request.param, request)


@pytest.fixture(params=[*PLACES, "memory"])
def store(request: pytest.FixtureRequest) -> RegistryStore:
    """Every store in turn: what is promised of one is promised of all."""
    return MemoryStore() if request.param == "memory" else at(request.param, request).store()


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Bucket:
    """Every S3 server in turn."""
    place = at(request.param, request)
    assert isinstance(place, Bucket)
    return place


@pytest.fixture(params=sorted({"folder", *SERVERS, "memory"}))
def every_store(request: pytest.FixtureRequest) -> RegistryStore:
    """The stores whose contract is tested, a server's always among them."""
    return MemoryStore() if request.param == "memory" else at(request.param, request).store()
