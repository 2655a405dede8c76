"""One registry has one identity, however its address is spelled; its memory and its pins go by that."""

import os
import warnings
from pathlib import Path
from urllib.parse import quote

import pytest
from faulty import proxy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from places import Bucket, Folder
from small_registry import NAME, MemoryStore, local_registry, package, promote, publish, ship

from fair_distill.cli import main
from fair_distill.errors import ConfigError, FairDistillWarning, IntegrityError
from fair_distill.files import sha256, to_json
from fair_distill.registry.client import load
from fair_distill.registry.client_state import CachedStore, remember, settled
from fair_distill.registry.entry import entry_key
from fair_distill.registry.layout import manifest_key
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.pins import pin, read_pins
from fair_distill.registry.store import identity_of, open_registry
from fair_distill.storage.s3_client import server_name

ONE, TWO = package(1), package(2)
PRODUCTION = f"{NAME}@production"
# Within a property test the fixtures are the same for each example, and that is what is wanted.
SAME_FIXTURES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAIR_DISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def spellings_of_folder(root: Path) -> list[str]:
    link = root.parent / "link"
    if not link.exists():
        link.symlink_to(root.parent, target_is_directory=True)
    return [
        str(root),
        f"{root}/",
        f"{root}//",
        f"{root.parent}/./../{root.parent.name}/{root.name}",
        os.path.relpath(root),
        root.as_uri(),
        f"{root.as_uri()}/",
        f"file://localhost{quote(str(root))}",
        "file://" + "".join(f"%{byte:02x}" if byte != ord("/") else "/" for byte in str(root).encode()),
        str(link / root.name),
    ]


def spellings_of_bucket(place: Bucket) -> list[str]:
    endpoint = place.client.meta.endpoint_url
    port = endpoint.rpartition(":")[2]
    return [
        place.url,
        f"{place.url}/",
        f"{place.url}//",
        place.url.replace("s3://", "S3://"),
        f"{place.url}?endpoint={endpoint}",
        f"{place.url}?endpoint={endpoint}/",
        f"{place.url}/?endpoint={quote(endpoint, safe='')}",
        f"{place.url}?endpoint=http://LOCALHOST:{port}",
        f"s3://{place.bucket}/"
        + "".join(f"%{byte:02x}" if byte != ord("/") else "/" for byte in place.prefix.encode()),
    ]


def spellings_of(place: Folder | Bucket) -> list[str]:
    return spellings_of_folder(place.root) if isinstance(place, Folder) else spellings_of_bucket(place)


@SAME_FIXTURES
@given(name=st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20))
def test_a_folder_of_any_name_has_one_identity(tmp_path: Path, name: str):
    if name in (".", ".."):
        return
    root = tmp_path / name

    for url in spellings_of_folder(root):
        if "://" not in url or url.startswith("file:"):
            assert open_registry(url).identity == str(root)


def test_every_spelling_of_a_place_has_one_identity(place: Folder | Bucket):
    assert {open_registry(url).identity for url in spellings_of(place)} == {place.store().identity}


def test_other_places_have_other_identities(server: Bucket, tmp_path: Path):
    urls = [
        server.url,
        f"{server.url}2",
        f"{server.url}/below",
        f"s3://{server.bucket}",
        f"s3://{server.bucket}2/{server.prefix}",
        f"{server.url}?endpoint=http://127.0.0.1:1",
        f"{server.url}?endpoint=http://127.0.0.2",
        str(tmp_path / server.bucket / server.prefix),
    ]

    assert len({open_registry(url).identity for url in urls}) == len(urls)


def test_an_endpoint_in_a_configuration_file_is_the_endpoint(
    server: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    wanted = server.store().identity
    (tmp_path / "config").write_text(f"[default]\nendpoint_url = {server.client.meta.endpoint_url}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_ENDPOINT_URL")

    assert open_registry(server.url).identity == wanted


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        ("https://s3.amazonaws.com", "aws"),
        ("https://s3.eu-west-1.amazonaws.com", "aws"),
        ("https://s3.dualstack.eu-west-1.amazonaws.com/", "aws"),
        ("https://bucket.vpce-1a2b.s3.us-east-1.vpce.amazonaws.com", "aws"),
        ("https://s3.us-gov-west-1.amazonaws.com", "aws-us-gov"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "aws-cn"),
        ("https://Minio.Example.org.:443/", "minio.example.org"),
        ("http://minio.example.org", "minio.example.org"),
        ("http://minio.example.org:9000", "minio.example.org:9000"),
        ("http://[::1]:9000", "127.0.0.1:9000"),
        ("https://x.example.co/storage/v1/s3/", "x.example.co/storage/v1/s3"),
        ("https://evilamazonaws.com", "evilamazonaws.com"),
    ],
)
def test_a_server_has_one_name(endpoint: str, name: str):
    assert server_name(endpoint) == name


def test_a_ledger_that_was_cut_is_refused_by_every_spelling(place: Folder | Bucket, cache: Path):
    ship(place.store(), ONE)
    ship(place.store(), TWO)
    load(PRODUCTION, registry=place.url)
    for number in range(5, 9):
        place.remove(entry_key(NAME, number))

    for url in spellings_of(place):
        with pytest.raises(IntegrityError, match="has 4 entries, and had 8"):
            load(PRODUCTION, registry=url)


def test_one_address_at_two_servers_is_two_registries(server: Bucket, cache: Path, monkeypatch: pytest.MonkeyPatch):
    ship(server.store(), ONE)
    ship(server.store(), TWO)
    load(PRODUCTION, registry=server.url)
    for number in range(5, 9):
        server.remove(entry_key(NAME, number))

    with proxy(server.client.meta.endpoint_url) as (other, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", other)
        assert load(PRODUCTION, registry=server.url).images.tobytes() == ONE.set.images.tobytes()


def written_by_release_0(cache: Path, url: str, name: str, number: int, digest: str) -> Path:
    """A head as release 0 kept it: under the spelling of the address."""
    path = cache / "registries" / sha256(url.encode())[:24] / "heads" / f"{name}.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(to_json({"number": number, "digest": digest, "registry": url}))
    return path


@pytest.mark.parametrize("name", [NAME, f"vision/{NAME}"])
def test_what_release_0_remembered_under_any_spelling_still_counts(place: Folder | Bucket, cache: Path, name: str):
    for made in (ONE, TWO):
        publish(place.store(), made, name=name)
        promote(place.store(), made, name=name)
    newest = read_ledger(place.store(), name)[-1]
    spelling = [url for url in spellings_of(place) if "://" in url][-2]
    head = written_by_release_0(cache, spelling, name, newest.number, newest.digest)
    content = place.get(entry_key(name, 8))
    place.remove(entry_key(name, 8))

    with pytest.raises(IntegrityError, match="has 7 entries, and had 8") as refusal:
        load(f"{name}@production", registry=place.url)

    assert str(head) in str(refusal.value)
    place.put(entry_key(name, 8), content)
    assert load(f"{name}@production", registry=place.url)
    head.unlink()
    place.remove(entry_key(name, 8))
    with pytest.raises(IntegrityError, match="has 7 entries, and had 8"):
        load(f"{name}@production", registry=place.url)


def test_what_release_0_cached_loads_offline(server: Bucket, cache: Path):
    ship(server.store(), ONE)
    load(PRODUCTION, registry=server.url)
    (place,) = (cache / "registries").iterdir()
    earlier = cache / "registries" / sha256(server.url.encode())[:24]
    place.rename(earlier)
    newest = read_ledger(server.store(), NAME)[-1]
    (earlier / "heads" / f"{NAME}.json").write_bytes(
        to_json({"number": newest.number, "digest": newest.digest, "registry": server.url})
    )

    loaded = load(PRODUCTION, registry=f"{server.url}/", offline=True)

    assert loaded.images.tobytes() == ONE.set.images.tobytes()


def test_a_pin_holds_for_every_spelling_and_is_replaced_by_each(place: Folder | Bucket, tmp_path: Path):
    ship(place.store(), ONE)
    ship(place.store(), TWO)
    lock = tmp_path / "lock"

    for url in spellings_of(place):
        pin(lock, PRODUCTION, ONE.version, registry=url)

        assert len(read_pins(lock)) == 1
        assert load(PRODUCTION, registry=place.url, lock=lock).images.tobytes() == ONE.set.images.tobytes()


# A cache that cannot be written: `load` goes on, and says so once.


def unwritable(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, as the system reports it: permissions do not stop root."""

    def full(path: Path, content: bytes) -> None:
        raise ConfigError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("fair_distill.registry.client_state.write_bytes", full)


@pytest.mark.parametrize("kind", ["full", "a file", "no folder"])
def test_a_cache_that_cannot_be_written_is_one_warning(
    place: Folder | Bucket, cache: Path, kind: str, monkeypatch: pytest.MonkeyPatch
):
    ship(place.store(), ONE)
    if kind == "full":
        unwritable(cache, monkeypatch)
    elif kind == "a file":
        cache.write_bytes(b"")
    else:
        monkeypatch.setenv("FAIR_DISTILL_CACHE", "/proc/cache")

    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("default")
        loaded = load(PRODUCTION, registry=place.url)

    assert loaded.images.tobytes() == ONE.set.images.tobytes()
    (warning,) = [one for one in given if issubclass(one.category, FairDistillWarning)]
    assert "FAIR_DISTILL_CACHE" in str(warning.message)
    assert "\n" not in str(warning.message)


def test_the_command_line_shows_the_warning_as_one_line(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    ship(local_registry(root), ONE)
    unwritable(cache, monkeypatch)

    assert main(["log", NAME, "--registry", str(root)]) == 0

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fair-distill: warning: the cache {cache} cannot be written: No space left on device")


def test_offline_a_memory_that_cannot_be_written_is_refused(
    place: Folder | Bucket, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    if not isinstance(place, Folder):
        pytest.skip("a bucket's ledger is read from the cache alone, and nothing new is seen")
    ship(place.store(), ONE)
    unwritable(cache, monkeypatch)

    with pytest.raises(ConfigError, match=r"No space left on device.*FAIR_DISTILL_CACHE"):
        load(PRODUCTION, registry=place.url, offline=True)


def test_a_memory_that_cannot_be_read_names_the_setting(root: Path, cache: Path):
    ship(local_registry(root), ONE)
    load(PRODUCTION, registry=str(root))
    (head,) = cache.rglob("heads/*.json")
    head.unlink()
    head.mkdir()

    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory.*FAIR_DISTILL_CACHE"):
        load(PRODUCTION, registry=str(root))


def test_a_manifest_that_was_read_through_a_cache_is_read_from_it_offline_and_fetched_again_if_damaged(tmp_path: Path):
    store, key = MemoryStore(), manifest_key(ONE.version)
    ship(store, ONE)
    online, offline = CachedStore(tmp_path, store), CachedStore(tmp_path, None)

    content = online.read(key)
    copy = tmp_path / "contents" / key
    assert copy.read_bytes() == offline.read(key) == content == store.read(key)
    assert offline.list("versions/") == [key]

    copy.write_bytes(content[:-1])
    assert not offline.exists(key)
    assert online.read(key) == content == offline.read(key)


def test_every_entry_before_the_newest_that_was_seen_is_settled(root: Path, cache: Path):
    store = local_registry(root)
    ship(store, ONE)
    entries = read_ledger(store, NAME)

    for seen in range(1, len(entries) + 1):
        remember(cache, NAME, entries[:seen], url=str(root))
        wanted = {entry_key(NAME, entry.number) for entry in entries[: seen - 1]}
        assert settled(cache, NAME, identity_of(str(root))) == wanted


def test_without_a_home_folder_nothing_is_remembered_and_a_set_is_loaded(root: Path, monkeypatch: pytest.MonkeyPatch):
    ship(local_registry(root), ONE)
    for name in ("FAIR_DISTILL_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # what it does for a user that is not in passwd

    with pytest.warns(FairDistillWarning, match="no home folder"):
        assert load(PRODUCTION, registry=str(root))
