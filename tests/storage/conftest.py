import hashlib
from pathlib import Path

import pytest
from memory import MemoryStorage

from fair_distill.storage.schemes import SCHEMES, open_store
from fair_distill.storage.store import Store

# To test a new backend, add its name here and its URL in `url`.
BACKENDS = ["folder", "file", "bucket", "bucket/and/prefix", "memory"]


@pytest.fixture
def memory_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register a third backend, as a contributor would: with one line."""
    monkeypatch.setitem(SCHEMES, "memory", MemoryStorage)


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty location, of every backend in turn."""
    kind, _, prefix = request.param.partition("/")
    if kind == "bucket":
        return f"{request.getfixturevalue('bucket')}/{prefix}"
    if kind == "memory":
        request.getfixturevalue("memory_scheme")
        return f"memory://{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}/prefix"
    folder = tmp_path / "x"
    return folder.as_uri() if kind == "file" else str(folder)


@pytest.fixture
def store(url: str) -> Store:
    """The store at that location."""
    return open_store(url, source="--checkpoints")
