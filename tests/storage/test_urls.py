"""Every legal name of a folder and every key of S3 can be written in an address, and is read as it was written."""

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fair_distill.storage.local import LocalStore
from fair_distill.storage.s3 import S3Store
from fair_distill.storage.schemes import open_store
from fair_distill.storage.urls import path_of, read_address

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)


def key_of(url: str) -> str:
    parts, _ = read_address(url, source="a test", parameters=("endpoint",))
    return path_of(parts).removeprefix("/")


@given(TEXT)
def test_an_encoded_key_is_read_as_it_was_written(key: str):
    assert key_of(f"s3://bucket/{quote(key)}?endpoint=http://127.0.0.1:9000") == key


@given(TEXT.map(lambda text: text.translate({ord(letter): "-" for letter in "%?@"})))
def test_a_key_as_it_is_typed_is_read_as_it_was_typed(key: str):
    assert key_of(f"s3://bucket/{key}") == key


@given(st.lists(st.binary(min_size=1, max_size=10).filter(lambda name: not set(name) & set(b"/\0")), min_size=1))
def test_a_file_url_of_any_path_leads_to_the_path(names: list[bytes]):
    path = Path("/", *(name.decode(errors="surrogateescape") for name in names))

    objects = open_store(path.as_uri(), source="a test")

    assert isinstance(objects, LocalStore)
    assert objects.root == path


@pytest.mark.parametrize("name", ["run#2", "run#2/a b", "100 %25", "größe", "a+b", "a;b=c"])
def test_a_bucket_s_prefix_is_what_was_typed(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    bucket = open_store(f"s3://bkt/{name}", source="a test")

    assert isinstance(bucket, S3Store)
    assert bucket.prefix == name.replace("%25", "%")
