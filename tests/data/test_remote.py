"""Tables and images in a bucket are read as those in a folder are, once, and what is wrong is one line."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from small_files import SPLITS, N, images, png, written
from small_workspace import Ended, run, small_params, write_params

from fair_distill.data.remote_files import RemoteFiles, prune_cache
from fair_distill.data.sources import CACHE, read_source
from fair_distill.errors import DataError
from fair_distill.storage.s3 import S3Store
from fair_distill.storage.store import Absent
from fair_distill.workspace import SPLITS as NAMES
from fair_distill.workspace import Workspace

ReadKeys = Callable[[], list[str]]


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


@cache
def client(endpoint: str) -> Any:
    """One for all tests: making one takes longer than using it a hundred times."""
    return boto3.Session().client("s3", endpoint_url=endpoint)


def s3_client() -> Any:
    return client(os.environ["AWS_ENDPOINT_URL"])


def put(bucket: str, key: str, content: bytes) -> None:
    s3_client().put_object(Bucket=bucket.removeprefix("s3://"), Key=key, Body=content)


def remove(bucket: str, key: str) -> None:
    s3_client().delete_object(Bucket=bucket.removeprefix("s3://"), Key=key)


def uploaded(form: str, bucket: str, folder: Path) -> dict[str, Any]:
    """Write a form, put its files into the bucket below `data/`; return its source, with addresses for paths."""
    folder.mkdir()
    source = plain(written(form, folder))
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            put(bucket, f"data/{path.relative_to(folder)}", path.read_bytes())
    paths = ("path", "metadata", "images", "labels", "attributes")
    return source | {key: f"{bucket}/data/{source[key]}" for key in paths if key in source}


def prepared(root: Path, source: dict[str, Any], **data: Any) -> Ended:
    root.mkdir(exist_ok=True)
    write_params(root, small_params() | {"data": {"source": source, "splits": SPLITS} | data})
    return run(root, "prepare")


def contents(root: Path) -> dict[str, bytes]:
    return {name: Workspace(root).split(name).read_bytes() for name in NAMES}


@pytest.fixture
def read_keys(monkeypatch: pytest.MonkeyPatch) -> ReadKeys:
    """Return the keys that were read from the bucket since the previous call."""
    keys: list[str] = []
    stream = S3Store.stream

    def recording(self: S3Store, entry: Any) -> Any:
        keys.append(self.address(entry.key).split("/", 3)[3])  # s3://bucket/key
        return stream(self, entry)

    monkeypatch.setattr(S3Store, "stream", recording)

    def since() -> list[str]:
        original = sorted(keys)
        keys.clear()
        return original

    return since


FORMS = ["tensors in Parquet", "PNG in a folder of Parquet", "pixels in CSV", "folder", "idx"]


@pytest.mark.parametrize("form", FORMS)
def test_a_bucket_gives_the_files_that_a_folder_gives_and_is_read_once(
    form: str, bucket: str, read_keys: ReadKeys, tmp_path: Path
) -> None:
    source = uploaded(form, bucket, tmp_path / "local")
    here = prepared(tmp_path / "local", _local(source, bucket))

    there = prepared(tmp_path / "remote", source)

    assert (here.code, there.code) == (0, 0), here.err + there.err
    assert contents(tmp_path / "remote") == contents(tmp_path / "local")
    assert len(read_keys()) == len({*_objects(bucket)})
    assert prepared(tmp_path / "remote", source).code == 0
    assert read_keys() == []
    assert contents(tmp_path / "remote") == contents(tmp_path / "local")


def _local(source: dict[str, Any], bucket: str) -> dict[str, Any]:
    return {
        key: item.removeprefix(f"{bucket}/data/") if isinstance(item, str) else item for key, item in source.items()
    }


def _objects(bucket: str) -> list[str]:
    return [entry["Key"] for entry in s3_client().list_objects_v2(Bucket=bucket.removeprefix("s3://"))["Contents"]]


def test_the_endpoint_may_stand_in_the_address(
    bucket: str, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = uploaded("tensors in Parquet", bucket, tmp_path / "local")
    monkeypatch.delenv("AWS_ENDPOINT_URL")

    ended = prepared(tmp_path / "remote", source | {"path": f"{source['path']}?endpoint={s3}"})

    assert (ended.code, ended.err) == (0, "")


def test_a_bucket_of_images_is_painted_as_any_source_is(bucket: str, tmp_path: Path) -> None:
    source = uploaded("folder", bucket, tmp_path / "local")
    source["columns"].pop("groups")
    painted = {"colours": {"grey": "grey", "colour": "original"}, "owners": ["grey", "colour"], "own_share": 0.8}

    for where, of in (("remote", source), ("local", _local(source, bucket))):
        ended = prepared(tmp_path / where, of, paint="stroke", **painted)
        assert (ended.code, ended.err) == (0, "")

    assert contents(tmp_path / "remote") == contents(tmp_path / "local")


def test_a_refresh_reads_only_what_is_new_or_changed(bucket: str, read_keys: ReadKeys, tmp_path: Path) -> None:
    source = uploaded("folder", bucket, tmp_path / "local")
    assert prepared(tmp_path / "local", _local(source, bucket)).code == 0  # its images have the same splits later
    assert prepared(tmp_path / "remote", source).code == 0
    read_keys()

    put(bucket, "data/pictures/0.png", png(255 - images()[0]))
    put(bucket, "data/pictures/not-in-the-table.png", png(images()[0]))
    assert prepared(tmp_path / "remote", source).code == 0

    assert read_keys() == ["data/pictures/0.png"]
    (tmp_path / "local/pictures/0.png").write_bytes(png(255 - images()[0]))
    assert prepared(tmp_path / "local", _local(source, bucket)).code == 0
    assert contents(tmp_path / "remote") == contents(tmp_path / "local")


def test_what_is_kept_does_not_depend_on_how_pixels_are_read(bucket: str, read_keys: ReadKeys, tmp_path: Path) -> None:
    source = uploaded("folder", bucket, tmp_path / "local")
    assert prepared(tmp_path / "remote", source).code == 0
    first = contents(tmp_path / "remote")
    read_keys()

    larger = {"channels": 3, "size": 16, "resize": "stretch"}
    assert prepared(tmp_path / "remote", source | {"pixels": larger}).code == 0

    assert read_keys() == []
    assert contents(tmp_path / "remote") != first


def test_an_interrupted_prepare_goes_on_where_it_was(
    bucket: str, read_keys: ReadKeys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fair_distill.data.remote_files._PACK_IMAGES", 8)
    source = uploaded("folder", bucket, tmp_path / "local")
    put(bucket, "data/pictures/deep/20.png", b"no image")
    assert prepared(tmp_path / "remote", source).code == 2
    before = read_keys()
    assert not (tmp_path / "remote/artifacts").exists()

    put(bucket, "data/pictures/deep/20.png", png(images()[20]))
    assert prepared(tmp_path / "remote", source).code == 0

    # Nothing is lost but what was changed: not of the pack that broke off, nor of the one that was on its way.
    assert len(before) == 1 + 32
    assert read_keys() == sorted(f"data/pictures/{'deep/' if i % 3 else ''}{i}.png" for i in [20, *range(32, N)])


def test_a_broken_copy_is_read_again(bucket: str, read_keys: ReadKeys, tmp_path: Path) -> None:
    source = uploaded("folder", bucket, tmp_path / "local")
    assert prepared(tmp_path / "remote", source).code == 0
    first = contents(tmp_path / "remote")
    read_keys()
    for pack in (tmp_path / "remote" / CACHE / "images").iterdir():
        pack.write_bytes(pack.read_bytes()[:100])

    assert prepared(tmp_path / "remote", source).code == 0

    assert len(read_keys()) == N
    assert contents(tmp_path / "remote") == first


def test_a_listing_in_parts_is_the_listing(bucket: str, tmp_path: Path) -> None:
    names = ["a", "a.b", "a/b", "é", "z", "Z", "日本", "0"]
    for name in names:
        put(bucket, f"data/{name}", name.encode())
    put(bucket, "data-of-others/a", b"-")
    remote = RemoteFiles.from_url(f"{bucket}/data", cache=tmp_path)

    whole = remote._listing()

    assert sorted(whole[0].to_pylist()) == sorted(names)
    for cuts in (["a/b"], ["b", "y"], ["0", "Z", "a", "z", "é"], ["zz", "日本", "日本語"]):
        assert all(
            part.tolist() == of_whole.tolist() for part, of_whole in zip(remote._listing(cuts), whole, strict=True)
        )


def test_images_in_a_bucket_that_no_table_lists_are_named(bucket: str, tmp_path: Path) -> None:
    source = uploaded("folder", bucket, tmp_path / "local")
    assert "not read" not in prepared(tmp_path / "remote", source).out
    for name in ("deep/forgotten.png", "late.png"):
        put(bucket, f"data/pictures/{name}", b"-")
    put(bucket, "data-of-others/a.png", b"-")

    ended = prepared(tmp_path / "remote", source)

    assert ended.code == 0, ended.err
    assert f"not read: 2 files in {source['path']}, such as deep/forgotten.png (not in the table)\n" in ended.out


def test_what_was_not_used_for_longest_is_removed_first(tmp_path: Path) -> None:
    for age, name in enumerate(["images/new", "tables/c.csv", "images/b", "tables/a.csv"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, ns=(0, 10**9 - age))

    prune_cache(tmp_path, limit=250)

    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["c.csv", "new"]
    prune_cache(tmp_path / "not-there", limit=0)


def test_prepare_keeps_its_copies_within_bounds_and_says_which_it_used(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIR_DISTILL_SOURCE_CACHE", str(tmp_path / "shared"))
    source = uploaded("folder", bucket, tmp_path / "local")
    assert prepared(tmp_path / "remote", source).code == 0
    copies = sorted(path for path in (tmp_path / "shared").rglob("*") if path.is_file())
    assert {path.parent.name for path in copies} == {"images", "tables"}
    assert not (tmp_path / "remote" / CACHE).exists()
    for path in copies:
        os.utime(path, ns=(0, 0))

    assert prepared(tmp_path / "remote", source).code == 0
    assert all(path.stat().st_mtime_ns > 0 for path in copies)

    monkeypatch.setenv("FAIR_DISTILL_SOURCE_CACHE_GB", "0")
    assert prepared(tmp_path / "remote", source).code == 0
    assert not any(path.exists() for path in copies)
    monkeypatch.setenv("FAIR_DISTILL_SOURCE_CACHE_GB", "much")
    ended = prepared(tmp_path / "remote", source)
    assert (ended.code, "FAIR_DISTILL_SOURCE_CACHE_GB is 'much'" in ended.err) == (2, True)


def deleted(bucket: str, source: dict[str, Any]) -> str:
    """Take an object away between the listing and the reading."""
    original = RemoteFiles.images

    def named(self: RemoteFiles, *arguments: Any, **more: Any) -> Any:
        result = original(self, *arguments, **more)
        remove(bucket, "data/pictures/0.png")
        return result

    pytest.MonkeyPatch().setattr(RemoteFiles, "images", named)
    return "data/pictures/0.png does not exist"


def changed(bucket: str, source: dict[str, Any]) -> str:
    original = RemoteFiles.images

    def named(self: RemoteFiles, *arguments: Any, **more: Any) -> Any:
        result = original(self, *arguments, **more)
        put(bucket, "data/pictures/0.png", png(255 - images()[0]))
        return result

    pytest.MonkeyPatch().setattr(RemoteFiles, "images", named)
    return "data/pictures/0.png was changed while it was read; run the command again"


def absent(bucket: str, source: dict[str, Any]) -> str:
    remove(bucket, "data/pictures/0.png")
    return "about.csv: file_name of row 1: '0.png' is not an object in s3://"


def outside(bucket: str, source: dict[str, Any]) -> str:
    put(bucket, "data/about.csv", b'file_name,kind,sex,age\n"../about.csv",cat,f,old\n"deep/1.png",dog,m,young\n')
    return "'../about.csv' is not an object in s3://"


def no_table(bucket: str, source: dict[str, Any]) -> str:
    remove(bucket, "data/about.csv")
    return "data/about.csv is missing. Correct params.yaml: data.source"


def no_bucket(bucket: str, source: dict[str, Any]) -> str:
    source["path"] = "s3://nobody-has-this-one/pictures"
    return "the bucket does not exist"


def no_folder(bucket: str, source: dict[str, Any]) -> str:
    source["path"] = f"{bucket}/data/nothing"
    return "'0.png' is not an object in s3://"


def another_scheme(bucket: str, source: dict[str, Any]) -> str:
    source["path"] = "http://example.org/pictures"
    return "params.yaml: data.source.path is 'http://example.org/pictures'"


def a_broken_image(bucket: str, source: dict[str, Any]) -> str:
    put(bucket, "data/pictures/0.png", b"GIF89a")
    return "data/pictures/0.png is not a readable PNG, JPEG or WebP image"


def an_empty_image(bucket: str, source: dict[str, Any]) -> str:
    put(bucket, "data/pictures/0.png", b"")
    return "data/pictures/0.png is not a readable PNG, JPEG or WebP image"


BROKEN = [
    deleted, changed, absent, outside, no_table, no_bucket, no_folder, another_scheme, a_broken_image, an_empty_image
]  # fmt: skip


@pytest.mark.parametrize("wrong", BROKEN)
def test_what_is_wrong_in_a_bucket_is_one_line_and_leaves_no_splits(
    wrong: Callable[[str, dict[str, Any]], str], bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = uploaded("folder", bucket, tmp_path / "local")
    named = RemoteFiles.images
    monkeypatch.setattr(RemoteFiles, "images", named)  # monkeypatch restores it at the end
    message = wrong(bucket, source)

    ended = prepared(tmp_path / "remote", source)

    assert (ended.code, ended.out) == (2, ""), ended.err
    assert len(ended.err.splitlines()) == 1, ended.err
    assert message in ended.err
    assert not (tmp_path / "remote/artifacts").exists()


def test_a_folder_without_tables_is_refused(bucket: str, tmp_path: Path) -> None:
    put(bucket, "data/notes.txt", b"-")

    with pytest.raises(DataError, match=r"data/ has no files of \.parquet"):
        RemoteFiles.from_url(f"{bucket}/data", cache=tmp_path).tables()


def test_a_table_that_vanishes_is_one_line(bucket: str, tmp_path: Path) -> None:
    put(bucket, "data/a.csv", b"-")
    remote = RemoteFiles.from_url(f"{bucket}/data/a.csv", cache=tmp_path)
    pages = S3Store.pages

    def vanishing(self: S3Store, prefix: str = "", *, after: str = "") -> Any:
        original = list(pages(self, prefix, after=after))
        remove(bucket, "data/a.csv")
        yield from original

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3Store, "pages", vanishing)
        with pytest.raises(Absent, match=r"s3://.*/data/a\.csv does not exist"):
            remote.file()
    assert not any(tmp_path.rglob("*.csv"))


def test_a_name_in_another_folder_that_starts_alike_is_not_found(bucket: str, tmp_path: Path) -> None:
    source = uploaded("folder", bucket, tmp_path / "local")
    put(bucket, "data/pictures-of-others/0.png", png(images()[0]))

    listing = RemoteFiles.from_url(source["path"], cache=tmp_path)._listing()[0].to_pylist()

    assert sorted(listing) == sorted(f"{'deep/' if i % 3 else ''}{i}.png" for i in range(N))
    options = {key: value for key, value in source.items() if key != "name"}
    assert np.array_equal(read_source("image_folder", options, root=tmp_path).images, images())
