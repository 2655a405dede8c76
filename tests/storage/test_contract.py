"""The contract of a store, tested on every backend, and what each backend is used for through its URL."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import torch
from small_registry import NAME, package, ship

from fair_distill.data.remote_files import RemoteFiles
from fair_distill.distillation.checkpoint import CheckpointFolder
from fair_distill.registry.client import load
from fair_distill.registry.store import open_registry
from fair_distill.registry.verify import verify
from fair_distill.storage.schemes import open_object, open_store
from fair_distill.storage.store import Absent, Store, TooLarge


def test_a_created_content_is_read_back(store: Store) -> None:
    assert not store.exists("runs/1")
    assert store.create("runs/1", b"\x00first\n") is True
    assert store.exists("runs/1")
    assert store.read("runs/1") == b"\x00first\n"
    assert b"".join(store.stream("runs/1")) == b"\x00first\n"


def test_a_key_is_created_once(store: Store) -> None:
    store.create("runs/1", b"")

    assert store.create("runs/1", b"second") is False
    assert store.read("runs/1") == b""


def test_of_sixteen_racing_creates_one_succeeds(store: Store) -> None:
    barrier = Barrier(16)

    def race(i: int) -> bool:
        barrier.wait()
        return store.create("runs/1", b"%d" % i * 1000)

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(race, range(16)))

    assert results.count(True) == 1
    assert store.read("runs/1") == b"%d" % results.index(True) * 1000


def test_a_put_replaces_the_content(store: Store) -> None:
    store.put("runs/1", b"\x00first\n")
    assert store.read("runs/1") == b"\x00first\n"

    store.put("runs/1", b"")

    assert store.read("runs/1") == b""
    assert store.list("runs/") == ["runs/1"]


def test_an_absent_key_is_absent(store: Store) -> None:
    with pytest.raises(Absent, match=r"runs/1 does not exist"):
        store.read("runs/1")
    with pytest.raises(Absent, match=r"runs/1 does not exist"):
        list(store.stream("runs/1"))
    assert store.list() == []


def test_a_read_stops_at_the_size_limit(store: Store) -> None:
    store.put("runs/1", b"12345")

    assert store.read("runs/1", size_limit=5) == b"12345"
    with pytest.raises(TooLarge, match=r"runs/1 has 5 bytes; at most 4 are allowed"):
        store.read("runs/1", size_limit=4)


def test_a_listing_is_sorted_and_goes_by_prefix(store: Store) -> None:
    for key in ("b/2", "b/10", "a/1", "bc", "b/d/e"):
        store.put(key, key.encode())

    assert store.list() == ["a/1", "b/10", "b/2", "b/d/e", "bc"]
    assert store.list("b") == ["b/10", "b/2", "b/d/e", "bc"]
    assert store.list("b/") == ["b/10", "b/2", "b/d/e"]
    assert store.list("b/1") == ["b/10"]
    assert store.list("c/") == []
    assert store.list("b/", after="b/10") == ["b/2", "b/d/e"]
    assert store.list("b/", after="b/1", limit=2) == ["b/10", "b/2"]
    assert store.list("b/", after="b/d/e") == []


def test_a_listed_object_has_its_size_and_is_read(store: Store) -> None:
    store.put("runs/1", b"one")
    store.put("runs/22", b"twenty-two")

    objects = [found for page in store.pages("runs/") for found in page]

    assert [(found.key, found.size) for found in objects] == [("runs/1", 3), ("runs/22", 10)]
    assert [b"".join(store.stream(found)) for found in objects] == [b"one", b"twenty-two"]


def test_a_removed_content_is_gone_and_may_be_removed_again(store: Store) -> None:
    store.put("runs/1", b"1")
    store.put("runs/2", b"2")
    store.put("runs2/1", b"3")

    store.remove("runs/1")
    store.remove("runs/1")
    assert store.list("runs/") == ["runs/2"]

    store.clear("runs")
    store.clear("runs")
    assert store.list() == ["runs2/1"]


def test_an_object_is_opened_by_its_url(url: str, store: Store) -> None:
    store.put("runs/1.csv", b"1")

    parent, key = open_object(f"{url.rstrip('/')}/runs/1.csv", source="--policy-floor")

    assert (key, parent.read(key)) == ("1.csv", b"1")
    assert parent.address(key) == store.address("runs/1.csv")


def test_one_location_has_one_identity(url: str, store: Store) -> None:
    assert open_store(f"{url.rstrip('/')}/", source="--registry").identity == store.identity
    assert open_store(f"{url.rstrip('/')}/below", source="--registry").identity != store.identity


def test_a_registry_is_published_verified_and_loaded_there(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIR_DISTILL_CACHE", str(tmp_path / "cache"))
    made = package(1)

    ship(open_registry(url), made)

    for offline in (False, True):
        assert load(f"{NAME}@production", registry=url, offline=offline).images.tobytes() == made.set.images.tobytes()
    assert verify(NAME, registry=url)


def test_checkpoints_are_kept_there(url: str) -> None:
    state = {"images": torch.arange(3.0)}
    checkpoints = CheckpointFolder(url, "a" * 64, every=1)

    for step in (1, 2, 3):
        checkpoints.save_if_due(step, lambda: state)
    latest = CheckpointFolder(url, "a" * 64, every=1).latest()
    assert latest is not None
    assert torch.equal(latest["images"], state["images"])

    checkpoints.delete_all()
    assert checkpoints.latest() is None


def test_data_are_read_from_there(url: str, store: Store, tmp_path: Path) -> None:
    if "://" not in url:
        pytest.skip("data in a folder are read without a copy")
    store.put("data/a.csv", b"one")
    store.put("data/b.csv", b"two")

    files = RemoteFiles.from_url(f"{url.rstrip('/')}/data", cache=tmp_path / "cache").tables()[0]

    assert [file.path.read_bytes() for file in files] == [b"one", b"two"]
