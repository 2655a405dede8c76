"""Addresses: every legal folder name and every S3 key survives being written into an address and read from it."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fair_distill.errors import ConfigError
from fair_distill.storage import s3
from fair_distill.storage.local import LocalStore
from fair_distill.storage.s3 import S3Store
from fair_distill.storage.schemes import open_object, open_store
from fair_distill.storage.store import Store
from fair_distill.storage.urls import path_of, read_address

# S3 keys have any characters, in any position; only "/" at the end means a folder.
KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from("/#?%@ \n"), min_size=1)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)


class Client:
    """A client of S3 that makes no request."""

    class meta:
        endpoint_url = "http://127.0.0.1:9"

        class events:
            @staticmethod
            def register(*_: object) -> None:
                """Do nothing."""


@pytest.fixture(autouse=True, scope="module")
def without_connections() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3, "open_client", lambda *_: Client)
        yield


def full_key(objects: Store, key: str) -> str:
    """The key of the object that a store requests from the server."""
    assert isinstance(objects, S3Store)
    return objects._full(key)


@given(KEYS.filter(lambda key: not key.endswith("/")), st.sampled_from([quote, partial(quote, safe="")]))
def test_an_object_at_an_encoded_address_is_the_object_of_its_key(key: str, encode: Callable[[str], str]):
    for address in (f"s3://bkt/{encode(key)}", f"s3://bkt/{encode(key)}?endpoint=http://h", f"S3://bkt/{encode(key)}"):
        assert full_key(*open_object(address, source="a test")) == key


@given(KEYS.filter(lambda key: not key.endswith("/")))
def test_a_printed_address_leads_to_the_same_object(key: str):
    objects, name = open_object(f"s3://bkt/{quote(key)}", source="a test")

    assert full_key(*open_object(objects.address(name), source="a test")) == key


@given(KEYS, KEYS)
def test_a_key_below_a_prefix_starts_with_the_prefix_as_it_was_written(prefix: str, key: str):
    expected = prefix.rstrip("/")  # a prefix has no "/" at its end, however many were written
    for written in (quote(prefix), f"{quote(prefix)}/"):
        objects = open_store(f"s3://bkt/{written}", source="a test")

        assert full_key(objects, key) == (f"{expected}/{key}" if expected else key)


@given(st.lists(KEYS, min_size=2, max_size=2, unique=True))
def test_two_prefixes_are_two_stores(prefixes: list[str]):
    first, second = (open_store(f"s3://bkt/{quote(prefix)}", source="a test") for prefix in prefixes)

    if prefixes[0].rstrip("/") != prefixes[1].rstrip("/"):
        assert first.address("a") != second.address("a")
        assert first.identity != second.identity


def test_an_address_that_is_not_utf_8_is_refused():
    with pytest.raises(ConfigError, match="which is not UTF-8"):
        open_store("s3://bkt/%FF", source="a test")


def test_a_message_shows_the_whole_key_but_no_parameters():
    assert str(ConfigError("s3://bkt/run#2/a is missing")) == "s3://bkt/run#2/a is missing"
    assert str(ConfigError("s3://bkt/run#2?endpoint=http://h#x is wrong")) == "s3://bkt/run#2?... is wrong"


def key_of(url: str) -> str:
    parts, _ = read_address(url, source="a test", parameters=("endpoint",))
    return path_of(parts).removeprefix("/")


@given(TEXT)
def test_a_percent_encoded_key_is_decoded(key: str):
    assert key_of(f"s3://bucket/{quote(key)}?endpoint=http://127.0.0.1:9000") == key


@given(TEXT.map(lambda text: text.translate({ord(letter): "-" for letter in "%?@"})))
def test_an_unencoded_key_is_read_unchanged(key: str):
    assert key_of(f"s3://bucket/{key}") == key


@given(st.lists(st.binary(min_size=1, max_size=10).filter(lambda name: not set(name) & set(b"/\0")), min_size=1))
def test_a_file_url_leads_to_its_path(names: list[bytes]):
    path = Path("/", *(name.decode(errors="surrogateescape") for name in names))

    objects = open_store(path.as_uri(), source="a test")

    assert isinstance(objects, LocalStore)
    assert objects.root == path


@pytest.mark.parametrize("name", ["run#2", "run#2/a b", "100 %25", "größe", "a+b", "a;b=c"])
def test_the_prefix_of_a_bucket_is_read_unchanged(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    bucket = open_store(f"s3://bkt/{name}", source="a test")

    assert isinstance(bucket, S3Store)
    assert bucket.prefix == name.replace("%25", "%")
