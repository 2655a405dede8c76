"""Tables and images in a bucket, with a cache of local copies.

A copy has the digest of the object's address, ETag and size as its name. So an interrupted `prepare` continues where it
stopped, and the next one reads only new and changed objects. Images are cached as they are stored and not decoded, so
the cache does not depend on params.yaml: data.source.pixels. The cache may be deleted at any time; then the objects are
read again.

The requests themselves are in `fair_distill.storage`.
"""

import hashlib
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute

from fair_distill.data.files.input_file import InputFile
from fair_distill.data.files.table_names import TABLES, TableNames, select_tables, table_suffix
from fair_distill.data.grouped_dataset import Array
from fair_distill.errors import ConfigError, DataError
from fair_distill.files import atomic_file, write_bytes
from fair_distill.storage.schemes import open_object
from fair_distill.storage.store import Store, StoredObject

_SOURCE = "params.yaml: data.source.path"
# Concurrent requests. S3 answers a request of any size in tens of milliseconds.
_CONCURRENT_REQUESTS = 16
# The most images, and bytes, of one cache file. An interruption loses at most this much.
_PACK_IMAGES, _PACK_BYTES = 1024, 32 * 2**20
# The most keys that S3 lists in one answer.
_PAGE_KEYS = 1000
# The largest PNG, JPEG or WebP that is read.
_MAX_IMAGE_BYTES = 64 * 2**20
_ID_BYTES = 16

# Reads images, and yields the address and the content of each.
ImageReader = Callable[[], Iterator[tuple[str, bytes]]]


@dataclass(frozen=True, eq=False)
class RemoteFiles:
    """An object, or a folder of objects, in a bucket.

    Attributes
    ----------
    key : the key of the object, or of the folder without the final "/"
    cache : the local folder for copies
    """

    store: Store
    key: str
    cache: Path

    @classmethod
    def from_url(cls, url: str, *, cache: Path) -> "RemoteFiles":
        """Return the files at an address such as s3://bucket/key or s3://bucket/key?endpoint=URL."""
        store, key = open_object(url, source=_SOURCE)
        return cls(store, key, cache)

    def file(self) -> InputFile:
        """Return a local copy of the object."""
        for entry in self._list(self.key):
            if entry.key == self.key:
                return self._copy(entry)
        raise DataError(
            f"{self.store.address(self.key)} is missing. Correct params.yaml: data.source, or upload the object"
        )

    def is_table(self) -> bool:
        """Whether the key is the name of a table, and not of a folder."""
        return table_suffix(self.key) is not None

    def tables(self) -> tuple[list[InputFile], TableNames]:
        """Return local copies of the tables in the folder and its subfolders, and the names of all objects there."""
        # A key that ends with "/" is an empty object that a console creates for a folder.
        entries = {entry.key.removeprefix(self._prefix): entry for entry in self._list(self._prefix)}
        names = select_tables(name for name in entries if name and not name.endswith("/"))
        if not names.tables:
            raise DataError(
                f"{self.store.address(self._prefix)} has no files of {', '.join(TABLES)}. "
                "Correct params.yaml: data.source.path"
            )
        return [self._copy(entries[name]) for name in names.tables], names

    @property
    def address(self) -> str:
        """The address of the object or of the folder."""
        return self.store.address(self.key)

    def names_below(self, like: pa.Array) -> pa.Array:
        """Return the names of all objects in the folder and its subfolders.

        Parameters
        ----------
        like : some of the names, by which the listing is divided into concurrent requests
        """
        names = self._listing(_listing_cuts(like))[0]
        # A key that ends with "/" is an empty object that a console creates for a folder.
        return names.filter(pa.compute.invert(pa.compute.ends_with(names, "/")))

    def images(self, names: pa.Array, *, where: str) -> ImageReader:
        """Return a reader of the images with these names, in this order.

        Only objects in the listing of the folder are read, so a name cannot lead out of the folder.

        Parameters
        ----------
        where : the table and the column of the names, for messages
        """
        keys, etags, sizes = self._listing(_listing_cuts(names))
        positions = pa.compute.index_in(names, value_set=keys)
        for form in ("NFC", "NFD"):  # programs of macOS decompose letters such as é
            if positions.null_count:
                composed = pa.compute.utf8_normalize(names, form=form)
                positions = pa.compute.coalesce(positions, pa.compute.index_in(composed, value_set=keys))
        if positions.null_count:
            row = pa.compute.index(pa.compute.is_null(positions), True).as_py()
            raise DataError(
                f"{where} of row {row + 1}: {names[row].as_py()[:80]!r} is not an object in "
                f"{self.store.address(self._prefix)}. Correct the table, or upload the object"
            )
        positions = positions.to_numpy()
        keys, etags, sizes = keys.take(pa.array(positions)), etags.take(pa.array(positions)), sizes[positions]

        def entry(row: int) -> StoredObject:
            return StoredObject(self._prefix + keys[row].as_py(), etags[row].as_py(), int(sizes[row]))

        return lambda: self._read_images(entry, len(names), sizes)

    def _read_images(
        self, entry: Callable[[int], StoredObject], count: int, sizes: Array
    ) -> Iterator[tuple[str, bytes]]:
        cache = _ImageCache(self.cache / "images")
        with ThreadPoolExecutor(_CONCURRENT_REQUESTS) as pool:
            chunks = (
                self._request([entry(row) for row in range(start, stop)], cache, pool)
                for start, stop in _chunk_ranges(sizes, count)
            )
            upcoming = next(chunks, None)
            try:
                while (chunk := upcoming) is not None:
                    upcoming = next(chunks, None)  # is downloaded while this chunk is decoded
                    downloaded = cache.store(chunk.downloads)
                    for stored, key in zip(chunk.entries, chunk.ids, strict=True):
                        content = downloaded[key] if key in downloaded else cache[key]
                        yield self.store.address(stored.key), content
            finally:
                # If the consumer stops early, the images that are being downloaded are cached for the next run.
                if upcoming is not None:
                    cache.store(upcoming.downloads)

    def _request(self, entries: list[StoredObject], cache: "_ImageCache", pool: ThreadPoolExecutor) -> "_Chunk":
        ids = [self._id(entry) for entry in entries]
        missing = {key: entry for key, entry in zip(ids, entries, strict=True) if key not in cache}
        return _Chunk(entries, ids, {key: pool.submit(self._download, entry) for key, entry in missing.items()})

    def _download(self, entry: StoredObject) -> bytes:
        if entry.size > _MAX_IMAGE_BYTES:
            raise DataError(
                f"{self.store.address(entry.key)} has {entry.size:,} bytes; an image may have at most "
                f"{_MAX_IMAGE_BYTES:,}. Shrink it, or remove it"
            )
        content = b"".join(self.store.stream(entry))
        if len(content) != entry.size:
            raise ConfigError(self._incomplete(entry))
        return content

    def _copy(self, entry: StoredObject) -> InputFile:
        path = self.cache / "tables" / f"{self._id(entry).hex()}{PurePosixPath(entry.key).suffix}"
        if path.exists():
            _mark_used(path)
        else:
            with atomic_file(path) as temporary, temporary.open("wb") as sink:
                if sum(map(sink.write, self.store.stream(entry))) != entry.size:
                    raise ConfigError(self._incomplete(entry))
        return InputFile(path, self.store.address(entry.key))

    def _incomplete(self, entry: StoredObject) -> str:
        return f"the download of {self.store.address(entry.key)} ended before {entry.size:,} bytes. Run again"

    @property
    def _prefix(self) -> str:
        return f"{self.key}/" if self.key else ""

    def _list(self, prefix: str) -> Iterator[StoredObject]:
        for page in self.store.pages(prefix):
            yield from page

    def _listing(self, cuts: Sequence[str] = ()) -> tuple[pa.Array, pa.Array, Array]:
        """Return the names in the folder, their ETags and their sizes. As Arrow arrays, millions of them need little.

        Parameters
        ----------
        cuts : names that divide the listing into parts that are requested concurrently; a page has only 1,000 keys
        """
        with ThreadPoolExecutor(_CONCURRENT_REQUESTS) as pool:
            parts = list(pool.map(self._listing_between, ["", *cuts], [*cuts, None]))
        return (
            pa.concat_arrays([keys for keys, _, _ in parts]),
            pa.concat_arrays([etags for _, etags, _ in parts]),
            np.concatenate([sizes for _, _, sizes in parts]),
        )

    def _listing_between(self, after: str, last: str | None) -> tuple[pa.Array, pa.Array, Array]:
        keys, etags, sizes = [], [], []
        for page in self.store.pages(self._prefix, after=after and self._prefix + after):
            names = [entry.key.removeprefix(self._prefix) for entry in page]
            # S3 sorts keys by their bytes.
            n = len(names) if last is None else bisect_right(names, last.encode(), key=str.encode)
            keys.append(pa.array(names[:n], pa.large_string()))
            etags.append(pa.array([entry.etag for entry in page[:n]], pa.large_string()))
            sizes.append(np.array([entry.size for entry in page[:n]], dtype=np.int64))
            if n < len(names):
                break
        return pa.concat_arrays(keys), pa.concat_arrays(etags), np.concatenate(sizes)

    def _id(self, entry: StoredObject) -> bytes:
        identity = f"{self.store.address(entry.key)}\0{entry.etag}\0{entry.size}"
        return hashlib.sha256(identity.encode()).digest()[:_ID_BYTES]


def prune_cache(cache: Path, limit: int) -> None:
    """Delete the files that were not used for longest, until the others have at most `limit` bytes."""
    files = sorted((path.stat().st_mtime_ns, str(path), path) for path in cache.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for _, _, path in files)
    for _, _, path in files:
        if size <= limit:
            return
        size -= path.stat().st_size
        path.unlink(missing_ok=True)


def _mark_used(path: Path) -> None:
    """Set the time of last use of a cache file to now."""
    with suppress(OSError):
        os.utime(path)


def _listing_cuts(names: pa.Array) -> list[str]:
    """Return names that divide the listing into parts of about the same size; empty for few names."""
    if len(names) < _PAGE_KEYS * _CONCURRENT_REQUESTS:
        return []
    rows = np.linspace(0, len(names) - 1, 64 * _CONCURRENT_REQUESTS).astype(int)
    sample = sorted(names.take(pa.array(rows)).to_pylist())
    return sorted({sample[64 * i] for i in range(1, _CONCURRENT_REQUESTS)}, key=str.encode)


def _chunk_ranges(sizes: Array, count: int) -> Iterator[tuple[int, int]]:
    """Yield the first row and the end of each chunk of images that is downloaded and cached together."""
    start = 0
    while start < count:
        fits = np.cumsum(sizes[start : start + _PACK_IMAGES]) <= _PACK_BYTES
        stop = start + max(1, int(fits.sum()))
        yield start, stop
        start = stop


@dataclass(frozen=True)
class _Chunk:
    """Some objects, their ids, and the downloads of those that are not in the cache."""

    entries: list[StoredObject]
    ids: list[bytes]
    downloads: dict[bytes, Future[bytes]]


class _ImageCache:
    """Images by id, packed into Arrow files: millions of single files would be slower than downloading again.

    The index is two sorted arrays with 16 bytes per image, and has no Python object for each.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._packs: list[tuple[Path, pa.Array, pa.Array]] = []
        self._used: set[int] = set()
        for path in sorted(folder.glob("*.arrow")):
            self._open(path)
        prefixes = [_id_prefixes(ids) for _, ids, _ in self._packs]
        positions = [np.arange(len(ids)) + i * _PACK_IMAGES for i, (_, ids, _) in enumerate(self._packs)]
        all_prefixes = np.concatenate([np.empty(0, np.uint64), *prefixes])
        all_positions = np.concatenate([np.arange(0), *positions])
        order = np.argsort(all_prefixes, kind="stable")
        self._prefixes, self._positions = all_prefixes[order], all_positions[order]

    def __contains__(self, key: bytes) -> bool:
        return self._position(key) is not None

    def __getitem__(self, key: bytes) -> bytes:
        position = self._position(key)
        assert position is not None
        pack, row = divmod(position, _PACK_IMAGES)
        path, _, contents = self._packs[pack]
        if pack not in self._used:
            self._used.add(pack)
            _mark_used(path)
        content: bytes = contents[row].as_py()
        return content

    def store(self, downloads: dict[bytes, Future[bytes]]) -> dict[bytes, bytes]:
        """Wait for downloads, write them to a new cache file, and return their contents."""
        if not downloads:
            return {}
        contents = {key: download.result() for key, download in downloads.items()}
        table = {
            "id": pa.array(contents, pa.binary(_ID_BYTES)),
            "content": pa.array(contents.values(), pa.large_binary()),
        }
        batch = pa.record_batch(table)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        write_bytes(self._folder / f"{hashlib.sha256(b''.join(contents)).hexdigest()[:32]}.arrow", sink.getvalue())
        return contents

    def _position(self, key: bytes) -> int | None:
        """Return the pack times its size, plus the row; None if the image is not in the cache."""
        first = int(np.searchsorted(self._prefixes, prefix := np.frombuffer(key, ">u8")[0]))
        for i in range(first, len(self._prefixes)):
            if self._prefixes[i] != prefix:
                return None
            pack, row = divmod(int(self._positions[i]), _PACK_IMAGES)
            if self._packs[pack][1][row].as_py() == key:
                return int(self._positions[i])
        return None

    def _open(self, path: Path) -> None:
        try:
            batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
            batch.validate(full=True)
            if len(batch) > _PACK_IMAGES:
                raise KeyError("the pack has too many images")
            self._packs.append((path, batch.column("id").cast(pa.binary(_ID_BYTES)), batch.column("content")))
        except (
            pa.ArrowException,
            OSError,
            KeyError,
        ):  # an invalid cache file is deleted, and its images are read again
            path.unlink(missing_ok=True)


def _id_prefixes(ids: pa.Array) -> Array:
    """Return the first half of each id as a number."""
    return np.frombuffer(ids.buffers()[1], ">u8")[2 * ids.offset : 2 * (ids.offset + len(ids)) : 2].astype(np.uint64)
