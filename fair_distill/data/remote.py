"""Tables and images in a bucket, and the copies of them that are here already.

What was read once is kept in a folder of the workspace, under a digest of its address, ETag and size: an interrupted
`prepare` goes on where it was, and the next one reads only what is new or changed. Contents are kept as they came and
not decoded, so that they serve whatever params.yaml says of pixels. Nothing but speed is lost with the folder.

Not for: S3 itself; see `objects`.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute

from fair_distill.artifacts import write_bytes, written_aside
from fair_distill.data.files.file import File
from fair_distill.data.grouped import Array
from fair_distill.errors import ConfigError, DataError
from fair_distill.objects import open_objects
from fair_distill.s3 import Bucket, Entry

_SAID_BY = "params.yaml: data.source.path"
_AT_ONCE = 16  # requests under way; S3 answers one in tens of milliseconds, whatever it is for
_PACK_IMAGES, _PACK_BYTES = 1024, 32 * 2**20  # in one file of the cache, and so lost when interrupted
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

    bucket: Bucket
    key: str
    cache: Path

    @classmethod
    def at(cls, url: str, *, cache: Path) -> "Remote":
        """Take an address apart: s3://bucket/key, with ?endpoint=URL if need be."""
        objects = open_objects(url, said_by=_SAID_BY)
        if not isinstance(objects, Bucket):
            raise ConfigError(f"{_SAID_BY} is {url!r}; a path, or s3://bucket/key, was wanted")
        return cls(Bucket(objects.name, "", objects.client, _SAID_BY), objects.prefix, cache)

    def file(self) -> File:
        """Return the object, copied."""
        for entry in self._listed(self.key):
            if entry.key == self.key:
                return self._copied(entry)
        raise DataError(f"{self.bucket.address(self.key)} is missing; mend params.yaml: data.source, or put it there")

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
                f"{self.bucket.address(self._below)} has no files of {', '.join(suffixes)}; "
                "mend params.yaml: data.source.path"
            )
        return [self._copied(entry) for entry in sorted(found, key=lambda entry: entry.key)]

    def named(self, names: pa.Array, *, where: str) -> Contents:
        """Find images of the folder by their names; return what reads them in that order, as (address, content).

        Only what a listing of the folder shows is read, so no name leads out of it.
        """
        keys, etags, sizes = self._listing()
        places = pa.compute.index_in(names, value_set=keys)
        if places.null_count:
            row = pa.compute.index(pa.compute.is_null(places), True).as_py()
            raise DataError(
                f"{where} of row {row + 1}: {names[row].as_py()[:80]!r} is no object in "
                f"{self.bucket.address(self._below)}; mend the table or add the object"
            )
        places = places.to_numpy()
        etags, sizes = etags.take(pa.array(places)), sizes[places]

        def entry(row: int) -> Entry:
            return Entry(self._below + names[row].as_py(), etags[row].as_py(), int(sizes[row]))

        return lambda: self._contents(entry, len(names), sizes)

    def _contents(self, entry: Callable[[int], Entry], count: int, sizes: Array) -> Iterator[tuple[str, bytes]]:
        packs = _Packs(self.cache / "images")
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            start = 0
            while start < count:
                fits = np.cumsum(sizes[start : start + _PACK_IMAGES]) <= _PACK_BYTES
                stop = start + max(1, int(fits.sum()))
                entries = [entry(row) for row in range(start, stop)]
                ids = [self._id(one) for one in entries]
                lacking = {key: one for key, one in zip(ids, entries, strict=True) if key not in packs}
                if lacking:
                    packs.add(dict(zip(lacking, pool.map(self._read, lacking.values()), strict=True)))
                yield from ((self.bucket.address(one.key), packs[key]) for key, one in zip(ids, entries, strict=True))
                start = stop

    def _read(self, entry: Entry) -> bytes:
        if entry.size > _MOST_BYTES:
            raise DataError(
                f"{self.bucket.address(entry.key)} has {entry.size:,} bytes; at most {_MOST_BYTES:,} are read "
                "of one image"
            )
        content = b"".join(self.bucket.read(entry))
        if len(content) != entry.size:
            raise ConfigError(f"{self.bucket.address(entry.key)} ended before its {entry.size:,} bytes; run again")
        return content

    def _copied(self, entry: Entry) -> File:
        path = self.cache / "tables" / f"{self._id(entry).hex()}{PurePosixPath(entry.key).suffix}"
        if not path.exists():
            with written_aside(path) as aside, aside.open("wb") as sink:
                came = sum(map(sink.write, self.bucket.read(entry)))
                if came != entry.size:
                    raise ConfigError(f"{self.bucket.address(entry.key)} ended before its {entry.size:,} bytes")
        return File(path, self.bucket.address(entry.key))

    @property
    def _below(self) -> str:
        return f"{self.key}/" if self.key else ""

    def _listed(self, start: str) -> Iterator[Entry]:
        for page in self.bucket.entries(start):
            yield from page

    def _listing(self) -> tuple[pa.Array, pa.Array, Array]:
        """Keys below the folder, ETags and sizes. In Arrow, where millions of them take no more than their letters."""
        keys, etags, sizes = [], [], []
        for page in self.bucket.entries(self._below):
            keys.append(pa.array([entry.key.removeprefix(self._below) for entry in page], pa.large_string()))
            etags.append(pa.array([entry.etag for entry in page], pa.large_string()))
            sizes.append(np.array([entry.size for entry in page], dtype=np.int64))
        return pa.concat_arrays(keys), pa.concat_arrays(etags), np.concatenate(sizes)

    def _id(self, entry: Entry) -> bytes:
        said = f"{self.bucket.address(entry.key)}\0{entry.etag}\0{entry.size}"
        return hashlib.sha256(said.encode()).digest()[:_ID]


class _Packs:
    """Contents by id, many in one Arrow file: a file for each of millions would be slower than fetching them again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._where: dict[bytes, int] = {}  # pack and row in one number: there may be millions
        self._contents: list[pa.Array] = []
        for path in sorted(folder.glob("*.arrow")):
            self._open(path)

    def __contains__(self, key: bytes) -> bool:
        return key in self._where

    def __getitem__(self, key: bytes) -> bytes:
        pack, row = divmod(self._where[key], _PACK_IMAGES)
        content: bytes = self._contents[pack][row].as_py()
        return content

    def add(self, contents: dict[bytes, bytes]) -> None:
        """Keep contents in a file of their own, and serve them from there."""
        table = {"id": pa.array(contents, pa.binary(_ID)), "content": pa.array(contents.values(), pa.large_binary())}
        batch = pa.record_batch(table)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        path = self._folder / f"{hashlib.sha256(b''.join(contents)).hexdigest()[:32]}.arrow"
        write_bytes(path, sink.getvalue())
        self._open(path)

    def _open(self, path: Path) -> None:
        try:
            batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
            batch.validate(full=True)
            ids = batch.column("id").to_pylist()
        except (pa.ArrowException, OSError, KeyError):  # no more than a copy: what it had is read again
            path.unlink(missing_ok=True)
            return
        self._where |= {key: len(self._contents) * _PACK_IMAGES + row for row, key in enumerate(ids)}
        self._contents.append(batch.column("content"))
