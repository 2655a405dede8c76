"""Tables and images in a bucket, and the copies of them that are here already.

What was read once is kept in a folder, under a digest of its address, ETag and size: an interrupted `prepare` goes on
where it was, and the next one reads only what is new or changed. Contents are kept as they came and not decoded, so
that they serve whatever params.yaml says of pixels. Nothing but speed is lost with the folder, nor with what `prune`
removes of it.

Not for: S3 itself; see `objects`.
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

from fair_distill.data.files.file import File
from fair_distill.data.grouped_dataset import Array
from fair_distill.errors import ConfigError, DataError
from fair_distill.files import atomic_file, write_bytes
from fair_distill.storage.schemes import open_object
from fair_distill.storage.store import Store, StoredObject

_SOURCE = "params.yaml: data.source.path"
_AT_ONCE = 16  # requests under way; S3 answers one in tens of milliseconds, whatever it is for
_PACK_IMAGES, _PACK_BYTES = 1024, 32 * 2**20  # in one file of the cache, and so lost when interrupted
_LISTED_AT_ONCE = 1000  # keys; S3 lists no more in one answer
_MOST_BYTES = 64 * 2**20  # of one PNG or JPEG
_ID = 16  # bytes of a digest

Contents = Callable[[], Iterator[tuple[str, bytes]]]


@dataclass(frozen=True, eq=False)
class Remote:
    """An object, or a folder of objects, in a bucket.

    Attributes
    ----------
    key : of the object; or of the folder, without the "/" at its end
    cache : the folder that contents are kept in
    """

    store: Store
    key: str
    cache: Path

    @classmethod
    def at(cls, url: str, *, cache: Path) -> "Remote":
        """Take an address apart: s3://bucket/key, with ?endpoint=URL if need be."""
        store, key = open_object(url, source=_SOURCE)
        return cls(store, key, cache)

    def file(self) -> File:
        """Return the object, copied."""
        for entry in self._listed(self.key):
            if entry.key == self.key:
                return self._copied(entry)
        raise DataError(f"{self.store.address(self.key)} is missing; mend params.yaml: data.source, or put it there")

    def tables(self, suffixes: Sequence[str]) -> list[File]:
        """Return the object if it is a table, or else the tables directly in the folder, copied."""
        if PurePosixPath(self.key).suffix in suffixes:
            return [self.file()]
        found = [
            entry
            for entry in self._listed(self._below)
            if "/" not in entry.key.removeprefix(self._below) and PurePosixPath(entry.key).suffix in suffixes
        ]
        if not found:
            raise DataError(
                f"{self.store.address(self._below)} has no files of {', '.join(suffixes)}; "
                "mend params.yaml: data.source.path"
            )
        return [self._copied(entry) for entry in sorted(found, key=lambda entry: entry.key)]

    def named(self, names: pa.Array, *, where: str) -> Contents:
        """Find images of the folder by their names; return what reads them in that order, as (address, content).

        Only what a listing of the folder shows is read, so no name leads out of it.
        """
        keys, etags, sizes = self._listing(_cuts(names))
        places = pa.compute.index_in(names, value_set=keys)
        if places.null_count:
            row = pa.compute.index(pa.compute.is_null(places), True).as_py()
            raise DataError(
                f"{where} of row {row + 1}: {names[row].as_py()[:80]!r} is no object in "
                f"{self.store.address(self._below)}; mend the table or add the object"
            )
        places = places.to_numpy()
        etags, sizes = etags.take(pa.array(places)), sizes[places]

        def entry(row: int) -> StoredObject:
            return StoredObject(self._below + names[row].as_py(), etags[row].as_py(), int(sizes[row]))

        return lambda: self._contents(entry, len(names), sizes)

    def _contents(self, entry: Callable[[int], StoredObject], count: int, sizes: Array) -> Iterator[tuple[str, bytes]]:
        packs = _Packs(self.cache / "images")
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            chunks = (
                self._chunk([entry(row) for row in range(start, stop)], packs, pool)
                for start, stop in _chunks(sizes, count)
            )
            ahead = next(chunks, None)
            try:
                while (chunk := ahead) is not None:
                    ahead = next(chunks, None)  # on its way while this one is being decoded
                    known = packs.kept(chunk.lacking)
                    for one, key in zip(chunk.entries, chunk.ids, strict=True):
                        yield self.store.address(one.key), known[key] if key in known else packs[key]
            finally:
                if ahead is not None:  # nobody wants more, or could not take more
                    packs.kept(ahead.lacking)

    def _chunk(self, entries: list[StoredObject], packs: "_Packs", pool: ThreadPoolExecutor) -> "_Chunk":
        ids = [self._id(one) for one in entries]
        lacking = {key: one for key, one in zip(ids, entries, strict=True) if key not in packs}
        return _Chunk(entries, ids, {key: pool.submit(self._read, one) for key, one in lacking.items()})

    def _read(self, entry: StoredObject) -> bytes:
        if entry.size > _MOST_BYTES:
            raise DataError(
                f"{self.store.address(entry.key)} has {entry.size:,} bytes; at most {_MOST_BYTES:,} are read "
                "of one image"
            )
        content = b"".join(self.store.stream(entry))
        if len(content) != entry.size:
            raise ConfigError(f"{self.store.address(entry.key)} ended before its {entry.size:,} bytes; run again")
        return content

    def _copied(self, entry: StoredObject) -> File:
        path = self.cache / "tables" / f"{self._id(entry).hex()}{PurePosixPath(entry.key).suffix}"
        if path.exists():
            _used(path)
        else:
            with atomic_file(path) as aside, aside.open("wb") as sink:
                came = sum(map(sink.write, self.store.stream(entry)))
                if came != entry.size:
                    raise ConfigError(f"{self.store.address(entry.key)} ended before its {entry.size:,} bytes")
        return File(path, self.store.address(entry.key))

    @property
    def _below(self) -> str:
        return f"{self.key}/" if self.key else ""

    def _listed(self, start: str) -> Iterator[StoredObject]:
        for page in self.store.pages(start):
            yield from page

    def _listing(self, cuts: Sequence[str] = ()) -> tuple[pa.Array, pa.Array, Array]:
        """Keys below the folder, ETags and sizes. In Arrow, where millions of them take no more than their letters.

        Parameters
        ----------
        cuts : names at which the listing is cut in parts that are asked for at once, since a page is of 1,000 keys
        """
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            parts = list(pool.map(self._listed_between, ["", *cuts], [*cuts, None]))
        return (
            pa.concat_arrays([keys for keys, _, _ in parts]),
            pa.concat_arrays([etags for _, etags, _ in parts]),
            np.concatenate([sizes for _, _, sizes in parts]),
        )

    def _listed_between(self, after: str, last: str | None) -> tuple[pa.Array, pa.Array, Array]:
        keys, etags, sizes = [], [], []
        for page in self.store.pages(self._below, after=after and self._below + after):
            names = [entry.key.removeprefix(self._below) for entry in page]
            # Keys come in the order of their bytes.
            n = len(names) if last is None else bisect_right(names, last.encode(), key=str.encode)
            keys.append(pa.array(names[:n], pa.large_string()))
            etags.append(pa.array([entry.etag for entry in page[:n]], pa.large_string()))
            sizes.append(np.array([entry.size for entry in page[:n]], dtype=np.int64))
            if n < len(names):
                break
        return pa.concat_arrays(keys), pa.concat_arrays(etags), np.concatenate(sizes)

    def _id(self, entry: StoredObject) -> bytes:
        said = f"{self.store.address(entry.key)}\0{entry.etag}\0{entry.size}"
        return hashlib.sha256(said.encode()).digest()[:_ID]


def prune(cache: Path, most: int) -> None:
    """Remove what was not used for longest, until the rest takes at most `most` bytes; by whole files."""
    files = sorted((path.stat().st_mtime_ns, str(path), path) for path in cache.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for _, _, path in files)
    for _, _, path in files:
        if size <= most:
            return
        size -= path.stat().st_size
        path.unlink(missing_ok=True)


def _used(path: Path) -> None:
    """Say that a file of the cache was used just now."""
    with suppress(OSError):
        os.utime(path)


def _cuts(names: pa.Array) -> list[str]:
    """Return names that cut these into parts of about the same size; none if there are few."""
    if len(names) < _LISTED_AT_ONCE * _AT_ONCE:
        return []
    some = sorted(names.take(pa.array(np.linspace(0, len(names) - 1, 64 * _AT_ONCE).astype(int))).to_pylist())
    return sorted({some[64 * i] for i in range(1, _AT_ONCE)}, key=str.encode)


def _chunks(sizes: Array, count: int) -> Iterator[tuple[int, int]]:
    """Yield the first row, and the one after the last, of what is read and kept together."""
    start = 0
    while start < count:
        fits = np.cumsum(sizes[start : start + _PACK_IMAGES]) <= _PACK_BYTES
        stop = start + max(1, int(fits.sum()))
        yield start, stop
        start = stop


@dataclass(frozen=True)
class _Chunk:
    """Some objects, their ids, and those of them that are not here and on their way."""

    entries: list[StoredObject]
    ids: list[bytes]
    lacking: dict[bytes, Future[bytes]]


class _Packs:
    """Contents by id, many in one Arrow file: a file for each of millions would be slower than fetching them again.

    Ids are numbers in order, 16 bytes an object: no Python object each.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._packs: list[tuple[Path, pa.Array, pa.Array]] = []
        self._seen: set[int] = set()
        for path in sorted(folder.glob("*.arrow")):
            self._open(path)
        heads = [_heads(ids) for _, ids, _ in self._packs]
        places = [np.arange(len(ids)) + i * _PACK_IMAGES for i, (_, ids, _) in enumerate(self._packs)]
        both = np.concatenate([np.empty(0, np.uint64), *heads]), np.concatenate([np.arange(0), *places])
        order = np.argsort(both[0], kind="stable")
        self._heads, self._places = both[0][order], both[1][order]

    def __contains__(self, key: bytes) -> bool:
        return self._place(key) is not None

    def __getitem__(self, key: bytes) -> bytes:
        place = self._place(key)
        assert place is not None
        pack, row = divmod(place, _PACK_IMAGES)
        path, _, contents = self._packs[pack]
        if pack not in self._seen:
            self._seen.add(pack)
            _used(path)
        content: bytes = contents[row].as_py()
        return content

    def kept(self, coming: dict[bytes, Future[bytes]]) -> dict[bytes, bytes]:
        """Wait for contents, keep them in a file of their own, and return them."""
        if not coming:
            return {}
        contents = {key: content.result() for key, content in coming.items()}
        table = {"id": pa.array(contents, pa.binary(_ID)), "content": pa.array(contents.values(), pa.large_binary())}
        batch = pa.record_batch(table)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        write_bytes(self._folder / f"{hashlib.sha256(b''.join(contents)).hexdigest()[:32]}.arrow", sink.getvalue())
        return contents

    def _place(self, key: bytes) -> int | None:
        first = int(np.searchsorted(self._heads, head := np.frombuffer(key, ">u8")[0]))
        for i in range(first, len(self._heads)):
            if self._heads[i] != head:
                return None
            pack, row = divmod(int(self._places[i]), _PACK_IMAGES)
            if self._packs[pack][1][row].as_py() == key:
                return int(self._places[i])
        return None

    def _open(self, path: Path) -> None:
        try:
            batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
            batch.validate(full=True)
            if len(batch) > _PACK_IMAGES:
                raise KeyError("there are too many")
            self._packs.append((path, batch.column("id").cast(pa.binary(_ID)), batch.column("content")))
        except (pa.ArrowException, OSError, KeyError):  # no more than a copy: what it had is read again
            path.unlink(missing_ok=True)


def _heads(ids: pa.Array) -> Array:
    """Return the first half of each id, a number."""
    return np.frombuffer(ids.buffers()[1], ">u8")[2 * ids.offset : 2 * (ids.offset + len(ids)) : 2].astype(np.uint64)
