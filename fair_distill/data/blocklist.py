"""The blocklist: people and examples that were erased, so that `prepare` leaves them out if the source has them again.

blocklist.json has no names. It has keyed hashes (HMAC-SHA256), and the key is in the environment variable
FAIR_DISTILL_BLOCKLIST_KEY. Without the key, nobody can test whether a name is on the list. params.yaml names the
SHA-256 of the file (`data.blocklist`), so that DVC prepares the data again when it changes.

N examples.
"""

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from fair_distill.data.column_builders import CategoryColumn, dense_ranks
from fair_distill.data.columns import SourceData
from fair_distill.data.grouped_dataset import Array
from fair_distill.data.image_stream import ImageStream, StreamPart
from fair_distill.errors import ConfigError, DataError
from fair_distill.files import is_sha256, parse_json, sha256, to_json

KEY_VARIABLE = "FAIR_DISTILL_BLOCKLIST_KEY"
# The kinds of names, as `units` uses them, and the column of the source that has each.
KINDS = {"cluster": "cluster", "pair": "pair", "example": "example_id"}
# A key that can be guessed does not protect a name that can be guessed.
_MIN_KEY_LENGTH = 32
_FORMAT = 1


@dataclass(frozen=True)
class Blocklist:
    """Keyed hashes of the names of people, pairs or examples.

    Attributes
    ----------
    key : the first 16 hex digits of a hash of the key, by which another key is recognised; empty for an empty list
    hashes : HMAC-SHA256 of the kind and the name, in hexadecimal
    """

    key: str = ""
    hashes: frozenset[str] = field(default_factory=frozenset)

    def __len__(self) -> int:
        return len(self.hashes)

    def with_names(self, kind: str, names: Iterable[str], *, key: bytes) -> "Blocklist":
        """Return the list with more names. Raises ConfigError if the list was made with another key."""
        self._check_key(key)
        return Blocklist(_key_id(key), self.hashes | {_hash(key, kind, name) for name in names})

    def blocked(self, source: SourceData, *, key: bytes) -> Array:
        """Return which examples of a source are on the list, by their cluster, their pair or their id, bool (N,).

        Raises ConfigError if the list was made with another key: no name would be recognised.
        """
        self._check_key(key)
        blocked = np.zeros(len(source), dtype=bool)
        for kind, numbers, names in (
            ("cluster", source.clusters, source.cluster_names),
            ("pair", source.pairs, source.pair_names),
        ):
            if numbers is not None:
                texts = map(str, range(int(numbers.max()) + 1)) if names is None else names.to_pylist()
                blocked |= self._listed(kind, texts, key)[numbers]
        if source.ids is not None:
            blocked |= self._listed("example", source.ids.to_pylist(), key)
        return blocked

    def to_json(self) -> bytes:
        """Return the content of the file. Equal lists give equal bytes."""
        return to_json({"format": _FORMAT, "key": self.key, "hashes": sorted(self.hashes)})

    @classmethod
    def from_json(cls, content: bytes, *, name: str) -> "Blocklist":
        """Read the file. Raises ConfigError, with `name`, unless writing it again gives the same bytes."""
        value = parse_json(content, name=name, error=ConfigError)
        key, hashes = value.get("key"), value.get("hashes")
        valid = isinstance(key, str) and isinstance(hashes, list) and all(map(is_sha256, hashes))
        if not valid or cls(str(key), frozenset(hashes or ())).to_json() != content:
            raise ConfigError(f"{name} is not a blocklist of format {_FORMAT}; restore it from git")
        return cls(str(key), frozenset(hashes or ()))

    def _listed(self, kind: str, names: Iterable[str], key: bytes) -> Array:
        return np.array([_hash(key, kind, name) in self.hashes for name in names], dtype=bool)

    def _check_key(self, key: bytes) -> None:
        if self.hashes and self.key != _key_id(key):
            raise ConfigError(
                f"blocklist.json was made with another key than {KEY_VARIABLE} has, so it would block nobody. Set the "
                "variable to the key that was used for the first erasure"
            )


def read_blocklist(path: Path) -> Blocklist:
    """Return the list in a file; an empty list if there is no file."""
    if not path.exists():
        return Blocklist()
    return Blocklist.from_json(path.read_bytes(), name=str(path))


def blocklist_key(environment: Mapping[str, str]) -> bytes:
    """Return the key in the environment. It is never written to a file. Raises ConfigError if it is too short."""
    key = environment.get(KEY_VARIABLE, "")
    if len(key) < _MIN_KEY_LENGTH:
        state = "is not set" if not key else f"has {len(key)} characters"
        raise ConfigError(
            f"{KEY_VARIABLE} {state}; the blocklist needs a secret key of at least {_MIN_KEY_LENGTH} characters. "
            "Store one where all machines that prepare the data can read it, and set the variable"
        )
    return key.encode()


def apply_blocklist(
    source: SourceData, path: Path, declared: str | None, *, environment: Mapping[str, str]
) -> tuple[SourceData, SourceData | None]:
    """Return a source without the examples on the blocklist, and those examples without pixels; None if there are none.

    Parameters
    ----------
    path : blocklist.json in the workspace
    declared : the SHA-256 of the file in params.yaml, `data.blocklist`; None if params.yaml names no list

    Raises
    ------
    ConfigError
        If the file is not the one in params.yaml, or its key is missing. Then erased people could return.
    DataError
        If all examples are on the list.
    """
    if declared is None and not path.exists():
        return source, None
    actual = sha256(path) if path.exists() else None
    if actual != declared:
        state = "is missing" if actual is None else f"has the SHA-256 {actual}"
        raise ConfigError(
            f"{path} {state}, and params.yaml: data.blocklist is {declared or 'missing'}. Restore both files from git, "
            "so that erased people stay out"
        )
    blocklist = read_blocklist(path)
    if not len(blocklist):
        return source, None
    blocked = blocklist.blocked(source, key=blocklist_key(environment))
    if not blocked.any():
        return source, None
    if blocked.all():
        raise DataError(f"all {len(source):,} examples of the source are on {path}; add data, or correct data.source")
    return select_examples(source, ~blocked), replace(select_examples(source, blocked), images=np.empty((0,)))


def select_examples(source: SourceData, mask: Array) -> SourceData:
    """Return the examples of a source where a mask, bool (N,), is true, as if the source had no others."""
    clusters, cluster_names = _selected_numbers(source.clusters, source.cluster_names, mask)
    pairs, pair_names = _selected_numbers(source.pairs, source.pair_names, mask)
    return replace(
        source,
        images=_selected_images(source.images, mask),
        labels=source.labels[mask],
        group_indices=None if source.group_indices is None else source.group_indices[mask],
        attribute_columns={
            name: CategoryColumn(column.codes[mask], column.values) for name, column in source.attribute_columns.items()
        },
        pairs=pairs,
        clusters=clusters,
        pair_names=pair_names,
        cluster_names=cluster_names,
        splits=None if source.splits is None else CategoryColumn(source.splits.codes[mask], source.splits.values),
        ids=None if source.ids is None else source.ids.filter(pa.array(mask)),
        weights=None if source.weights is None else source.weights[mask],
    )


def _selected_numbers(
    numbers: Array | None, names: pa.Array | None, mask: Array
) -> tuple[Array | None, pa.Array | None]:
    """Return the numbers of the selected examples, from 0 without gaps. Numbers without names are names themselves."""
    if numbers is None or names is None:
        return (None if numbers is None else numbers[mask]), names
    remaining = np.unique(numbers[mask])
    return dense_ranks(numbers[mask])[0], names.take(pa.array(remaining))


def _selected_images(images: Array | ImageStream, mask: Array) -> Array | ImageStream:
    if not isinstance(images, ImageStream):
        return images[mask]
    parts, start = [], 0
    for part in images.parts:
        own = mask[start : start + part.count]
        if own.any():
            parts.append(replace(part, count=int(own.sum()), read=partial(_selected_batches, part, own)))
        start += part.count
    return ImageStream(tuple(parts))


def _selected_batches(part: StreamPart, mask: Array, size: int) -> Iterator[Array]:
    start = 0
    for batch in part.read(size):
        own = mask[start : start + len(batch)]
        start += len(batch)
        if start > len(mask):
            break
        if own.any():
            yield batch[own]
    if start != len(mask):
        raise DataError(
            f"{part.name} had {len(mask)} images when they were counted, and {start} or more when they were read. "
            "Do not change the source while it is read, and run again"
        )


def _hash(key: bytes, kind: str, name: str) -> str:
    return hmac.digest(key, f"{kind}\0{name}".encode(), hashlib.sha256).hex()


def _key_id(key: bytes) -> str:
    return hmac.digest(key, b"fair-distill blocklist", hashlib.sha256).hex()[:16]
