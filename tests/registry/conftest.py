from pathlib import Path

import pytest
from small_registry import MemoryStore

from fair_distill.registry.store import LocalStore, Store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "registry"


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, root: Path) -> Store:
    """Every store in turn: what is promised of one is promised of all."""
    return LocalStore(root) if request.param == "local" else MemoryStore()
