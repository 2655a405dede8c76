"""The contract of a store, then what only a local folder can do wrong."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_registry import MemoryStore, files_of, local_registry

from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.registry.store import RegistryStore, locate, open_registry
from fair_distill.storage.store import Absent

KEY = "ledger/digits/000000000001.json"


def test_what_is_created_reads_back(every_store: RegistryStore):
    assert not every_store.exists(KEY)
    assert every_store.create(KEY, b"\x00first\n") is True
    assert every_store.exists(KEY)
    assert every_store.read(KEY) == b"\x00first\n"


def test_a_key_is_written_once(every_store: RegistryStore):
    every_store.create(KEY, b"first")

    assert every_store.create(KEY, b"second") is False
    assert every_store.read(KEY) == b"first"


def test_an_empty_content_is_a_content(every_store: RegistryStore):
    assert every_store.create(KEY, b"")
    assert every_store.read(KEY) == b""
    assert not every_store.create(KEY, b"later")


def test_an_absent_key_is_absent(every_store: RegistryStore):
    with pytest.raises(Absent, match=r"000000000001\.json"):
        every_store.read(KEY)
    assert every_store.list("") == []


def test_a_listing_is_sorted_and_goes_by_prefix(every_store: RegistryStore):
    for key in ("b/2", "b/10", "a/1", "bc", "b/d/e"):
        every_store.create(key, b"")

    assert every_store.list("") == ["a/1", "b/10", "b/2", "b/d/e", "bc"]
    assert every_store.list("b") == ["b/10", "b/2", "b/d/e", "bc"]
    assert every_store.list("b/") == ["b/10", "b/2", "b/d/e"]
    assert every_store.list("b/1") == ["b/10"]
    assert every_store.list("c/") == []
    assert every_store.list("b/", after="b/10") == ["b/2", "b/d/e"]
    assert every_store.list("b/", after="b/1", at_most=2) == ["b/10", "b/2"]
    assert every_store.list("b/", after="b/d/e") == []


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "..",
        "a/../b",
        "a//b",
        "a/",
        "a\\b",
        ".",
        "a/./b",
        ".aside/x",
        "a\0b",
        "a b",
        "é",
        "a\nb",
        "a:b",
    ],
)
def test_a_key_that_leads_elsewhere_is_refused_by_every_verb(every_store: RegistryStore, root: Path, key: str):
    for verb in (lambda: every_store.create(key, b"x"), lambda: every_store.read(key), lambda: every_store.exists(key)):
        with pytest.raises(ConfigError):
            verb()
    assert every_store.list("") == []
    assert not root.exists()


@pytest.mark.parametrize("prefix", ["/etc/", "../", "a/../", "a//", ".aside/"])
def test_a_prefix_that_leads_elsewhere_is_refused(every_store: RegistryStore, prefix: str):
    with pytest.raises(ConfigError):
        every_store.list(prefix)


def test_of_sixteen_who_create_a_key_at_once_one_did(every_store: RegistryStore):
    barrier = Barrier(16)

    def race(i: int) -> bool:
        barrier.wait()
        return every_store.create(KEY, b"%d" % i * 1000)

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(race, range(16)))

    assert won.count(True) == 1
    assert every_store.read(KEY) == b"%d" % won.index(True) * 1000


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b/c", "b/d", "b/c0"]), st.binary(max_size=8)), max_size=8))
def test_a_folder_does_what_a_dictionary_would(tmp_path_factory: pytest.TempPathFactory, writes: list):
    root, referee = tmp_path_factory.mktemp("registry"), MemoryStore()
    local = local_registry(root)

    for key, content in writes:
        assert local.create(key, content) == referee.create(key, content)

    for prefix in ("", "b", "b/", "b/c"):
        assert local.list(prefix) == referee.list(prefix)
    assert files_of(root) == referee.content


def test_a_content_reaches_the_disk_before_its_name_does(root: Path, monkeypatch: pytest.MonkeyPatch):
    steps: list[object] = []
    fsync, link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append(os.fstat(fd).st_ino), fsync(fd)))
    monkeypatch.setattr(os, "link", lambda aside, path: (steps.append("link"), link(aside, path)))

    local_registry(root).create("a/b", b"content")

    folders, file, folder = root.stat().st_ino, (root / "a/b").stat().st_ino, (root / "a").stat().st_ino
    assert steps[-3:] == [file, "link", folder]
    assert folders in steps[:-3]  # the new folder's own name


@pytest.mark.parametrize("verb", ["fsync", "link", "open"])
def test_a_full_disk_leaves_the_key_free(root: Path, monkeypatch: pytest.MonkeyPatch, verb: str):
    store = local_registry(root)
    store.create("a/first", b"")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, verb, full)
        with pytest.raises(ConfigError, match=r"cannot write .*second: No space left on device"):
            store.create("a/second", b"content")

    assert files_of(root) == {"a/first": b""}
    assert store.create("a/second", b"content")


def test_what_a_crashed_writer_left_aside_is_not_listed(root: Path):
    store = local_registry(root)
    store.create(KEY, b"")
    (root / ".aside" / "0123").write_bytes(b"half")

    assert store.list("") == [KEY]


def test_what_is_in_a_registry_is_not_writable(root: Path):
    local_registry(root).create(KEY, b"")

    assert (root / KEY).stat().st_mode & 0o222 == 0


@pytest.mark.parametrize("target", ["inside", "outside", "nowhere"])
def test_a_link_instead_of_a_file_is_refused_and_not_replaced(root: Path, target: str):
    store = local_registry(root)
    store.create("a/inside", b"content")
    (root.parent / "outside").write_bytes(b"content")
    links = {"inside": root / "a/inside", "outside": root.parent / "outside", "nowhere": root / "nowhere"}
    (root / "a/link").symlink_to(links[target])

    assert store.exists("a/link")
    assert store.create("a/link", b"content") is False
    with pytest.raises(IntegrityError, match="not an ordinary file"):
        store.read("a/link")


def test_a_linked_folder_is_refused_by_every_verb(root: Path):
    store = local_registry(root)
    store.create("a/b", b"content")
    outside = root.parent / "outside"
    (root / "a").rename(outside)
    (root / "a").symlink_to(outside)

    for verb in (
        lambda: store.read("a/b"),
        lambda: store.exists("a/b"),
        lambda: store.create("a/c", b""),
        lambda: store.list("a/"),
    ):
        with pytest.raises(IntegrityError, match="through a link"):
            verb()
    assert [path.name for path in outside.iterdir()] == ["b"]


def test_a_registry_may_itself_be_reached_through_a_link(root: Path):
    local_registry(root).create(KEY, b"content")
    (root.parent / "alias").symlink_to(root)

    assert local_registry(root.parent / "alias").read(KEY) == b"content"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_neither_a_pipe_nor_a_folder_is_read(root: Path, make):
    store = local_registry(root)
    store.create("a/b", b"")
    make(root / "a/odd")

    with pytest.raises(IntegrityError, match="not an ordinary file"):
        store.read("a/odd")


def test_a_file_where_the_registry_should_be_is_one_clear_line(root: Path):
    root.write_bytes(b"")

    for verb in (lambda s: s.create(KEY, b""), lambda s: s.read(KEY), lambda s: s.list("")):
        with pytest.raises(ConfigError, match=r"cannot (read|write)"):
            verb(local_registry(root))


def test_a_path_and_a_file_url_open_the_same_folder(tmp_path: Path):
    folder = tmp_path / "a b"
    local_registry(folder).create(KEY, b"content")

    for url in (str(folder), folder.as_uri(), f"file://localhost{folder.as_uri().removeprefix('file://')}"):
        assert open_registry(url).read(KEY) == b"content"


@pytest.mark.parametrize("url", ["gs://bucket/registry", "https://example.org/registry", "file://elsewhere/registry"])
def test_another_address_is_refused_and_says_what_is_supported(url: str):
    with pytest.raises(ConfigError, match=r"FAIR_DISTILL_REGISTRY.*file:///"):
        open_registry(url)


def test_the_registry_is_the_argument_else_the_environment_else_beside(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FAIR_DISTILL_REGISTRY", "from-environment")
    assert locate("given", folder=Path("work")) == "given"
    assert locate(None, folder=Path("work")) == "from-environment"
    monkeypatch.delenv("FAIR_DISTILL_REGISTRY")
    assert locate(None, folder=Path("work")) == "work/registry"
    assert locate(None) == "registry"
