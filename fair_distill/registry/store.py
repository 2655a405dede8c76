"""Where a registry keeps its bytes. A store has four verbs, and keys that are written once and never again.

Everything in a registry rests on one promise: `create` puts the whole content under a key that was free, or
leaves the key as it is and says so. No overwriting, no deleting, no renaming, no locks: local folders and
object stores both promise this much. Not for: what the bytes mean.

A registry lies like this; <version> is the SHA-256 of a manifest, <sha256> that of the file it names:

    objects/files/md5/<first 2>/<other 30>           the files of versions, each once however many versions have it:
                                                     a DVC remote, see `remote`
    versions/<version>/manifest.json                 written last: a version with a manifest is whole
    versions/<version>/verdicts/<sha256>.json        what was judged of it; judging again adds one
    versions/<version>/predictions/<sha256>.parquet  what the verdicts were made from
    versions/<version>/provenance/<sha256>.json      image, commit, device and libraries it was made with
    versions/<version>/statements/<sha256>.json      who stands by a verdict or a provenance: signed envelopes
    ledger/<name>/<number, 12 digits>.json           what happened to the versions of `dataset` or `team/dataset`
    publishing/<version>-<time>-<operation>.json     the keys that a publication is about to write, see `announcements`
    collecting/<sha256>.json                         the keys that `gc` is removing; gone when it ends
    snapshots/<name>/<first>-<last>/<sha256>.json    the bytes of many entries together, see `snapshots`
"""

import builtins
import os
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from fair_distill.errors import ConfigError, DataError, FairDistillError, IntegrityError
from fair_distill.files import md5, sha256
from fair_distill.storage.s3 import open_bucket
from fair_distill.storage.urls import path_of, read_address
from fair_distill.text import address_without_secrets

ENVIRONMENT = "FAIR_DISTILL_REGISTRY"
FOLDER = "registry"
# Where predictions lie, if not with the rest: they name the group of each example, and what is published is for others.
APART = "FAIR_DISTILL_PREDICTIONS"
# The kinds of evidence that lie beside a version, and what their files end in.
EVIDENCE = {"verdicts": "json", "predictions": "parquet", "provenance": "json", "statements": "json"}
# How far the clock of a writer may be from the store's. What is written under these prefixes carries a time.
MOST_SKEW = timedelta(minutes=5)
_TIMED = ("ledger/", "publishing/")
# Far above what is written. A set is bounded by its manifest as well.
MOST_ENTRY_BYTES = MOST_STATEMENT_BYTES = 64 * 2**10
MOST_JSON_BYTES = 16 * 2**20
MOST_FILE_BYTES = 4 * 2**30
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


class Absent(DataError):
    """Nothing is stored under the key."""


class TooLarge(IntegrityError):
    """A content has more bytes than anything that a registry writes under such a key."""


class Unanswered(FairDistillError):
    """The store gave no answer. A write may have taken place: read back, or repeat the operation under the same id."""


class Store(Protocol):
    """What a registry asks of storage."""

    def create(self, key: str, content: bytes) -> bool:
        """Write `content` under `key`, whole and durable; True if this call did, False if the key was taken.

        Raises ConfigError if it cannot be written, Unanswered if nobody can say whether it was.
        """

    def read(self, key: str, *, at_most: int | None = None) -> bytes:
        """Return what lies under `key`. Raises Absent if nothing does, ConfigError if it cannot be read.

        Raises TooLarge, before anything is read, if the content has more than `at_most` bytes, or more than
        `most_bytes(key)`. This and what follows raise Unanswered if the store does not answer.
        """

    def exists(self, key: str) -> bool:
        """Say whether `key` is taken."""

    def list(self, prefix: str, *, after: str = "", at_most: int | None = None) -> builtins.list[str]:
        """Return the keys that begin with `prefix`, sorted: those after the key `after`, `at_most` of them."""


class Located(Store, Protocol):
    """A store at a place. Stores with the same identity are the same place, however their addresses are spelled."""

    @property
    def identity(self) -> str:
        """Return the one name of the place: an absolute path without links, or s3://bucket/prefix with its server."""


class Removing(Located, Protocol):
    """A store that can remove keys, for `garbage` alone: no other command of a registry removes anything."""

    def remove(self, key: str) -> None:
        """Remove a content. Raises ConfigError if that fails."""


def key_fault(key: object) -> str | None:
    """Say what is wrong with a key, or with a path in a manifest; None if nothing is."""
    if not isinstance(key, str) or not key:
        return f"a path was wanted, got {key!r}"
    for part in key.split("/"):
        if not _PART.fullmatch(part):
            return (
                f"{key!r} is no relative path of letters, digits, '.', '_' and '-' "
                f"in which no part is empty or begins with '.': {part!r}"
            )
    return None


def check_key(key: str) -> None:
    fault = key_fault(key)
    if fault:
        raise ConfigError(f"not a key of a registry: {fault}")


def check_folder(key: str) -> None:
    fault = key_fault(key) if key else None
    if fault:
        raise ConfigError(f"not a folder of a registry: {fault}")


def object_key(md5: str) -> str:
    return f"objects/files/md5/{md5[:2]}/{md5[2:]}"


def manifest_key(version: str) -> str:
    return f"versions/{version}/manifest.json"


def evidence_key(version: str, kind: str, digest: str) -> str:
    return f"versions/{version}/{kind}/{digest}.{EVIDENCE[kind]}"


def is_named_so(key: str, content: bytes) -> bool:
    """Say whether a content is what its key says; the ledger's keys are numbers, and say nothing."""
    kind, *rest = key.split("/")
    name = rest[-1].partition(".")[0]
    if kind == "objects":
        return rest[-2] + name == md5(content)
    if kind == "snapshots":
        return sha256(content) == name
    if kind == "versions":
        return sha256(content) == (rest[0] if rest[1:] == ["manifest.json"] else name)
    return True


def most_bytes(key: str) -> int:
    """Return the size that no content under such a key exceeds: the one place that bounds what readers take in."""
    kind, _, rest = key.partition("/")
    if kind == "ledger":
        return MOST_ENTRY_BYTES
    if kind == "versions" and "/statements/" in rest:
        return MOST_STATEMENT_BYTES
    return MOST_JSON_BYTES if key.endswith((".json", ".dir")) else MOST_FILE_BYTES


def check_size(key: str, size: int, *, at_most: int | None, shown: str) -> None:
    """Raise TooLarge unless a content of this size may be read."""
    most = min(most_bytes(key), most_bytes(key) if at_most is None else at_most)
    if size > most:
        raise TooLarge(f"{shown} has {size:,} bytes; at most {most:,} are allowed there. It was damaged or exchanged")


def check_written(key: str, content: bytes) -> None:
    """Raise ConfigError for a content that readers would refuse for its size: nothing can be removed afterwards."""
    if len(content) > most_bytes(key):
        raise ConfigError(
            f"{key} would have {len(content):,} bytes; at most {most_bytes(key):,} are read there. Nothing was written "
            "there. Make what it says shorter"
        )


def put(store: Store, key: str, content: bytes) -> None:
    """See that `content` lies under `key`, written now or before. Raises IntegrityError if something else does."""
    check_written(key, content)
    try:
        same = store.create(key, content) or store.read(key, at_most=len(content)) == content
    except TooLarge:
        same = False
    if not same:
        raise IntegrityError(f"{key} is in the registry with other bytes than were written there; it was damaged")


def carries_time(key: str) -> bool:
    """Say whether the content of a key states a time, so that its writer needs a clock that is right."""
    return key.startswith(_TIMED)


def check_clock(here: datetime, there: datetime, *, store: str) -> None:
    """Compare the clock of this machine with the store's. Raises ConfigError if they differ by more than MOST_SKEW."""
    if abs(here - there) > MOST_SKEW:
        raise ConfigError(
            f"this machine's clock says {_shown(here)} and the clock of {store} says {_shown(there)}; they may differ "
            f"by {MOST_SKEW.seconds // 60} minutes, because ledger entries carry the time of their writer. Nothing was "
            "entered. Set the clock that is wrong (NTP), then repeat the command"
        )


def _shown(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def locate(registry: str | None, *, beside: Path = Path()) -> str:
    """Return where the registry is: as given, else FAIR_DISTILL_REGISTRY, else the folder `registry` in `beside`."""
    return registry or os.environ.get(ENVIRONMENT) or str(beside / FOLDER)


def open_store(url: str) -> Removing:
    """Return the store at a path, file:// URL or s3://bucket/prefix; predictions may be said to lie elsewhere.

    Opening neither reads nor writes.
    """
    found = _at(url, f"--registry or {ENVIRONMENT}")
    apart = os.environ.get(APART)
    return Apart(found, _at(apart, APART)) if apart else found


def identity_of(url: str) -> str:
    """Return the identity of the place that an address leads to; see `Located`."""
    return _at(url, ENVIRONMENT).identity


def same_place(url: str, identity: str) -> bool:
    """Say whether an address leads to the place that has an identity; False if it leads nowhere."""
    try:
        return _at(url, ENVIRONMENT).identity == identity
    except FairDistillError:
        return False


def _at(url: str, said_by: str) -> Removing:
    from fair_distill.registry.bucket import BucketStore
    from fair_distill.registry.folder import LocalStore

    if "://" not in url:
        return LocalStore(Path(url))
    if url.partition("://")[0].lower() == "s3":
        return BucketStore(open_bucket(url, said_by=said_by, attempts=1))
    address, _ = read_address(url, said_by=said_by)
    if address.scheme == "file" and address.netloc in ("", "localhost"):
        return LocalStore(Path(path_of(address)))
    raise ConfigError(
        f"the registry is {address_without_secrets(url)!r}; the path of a folder, file:///its/path or "
        f"s3://bucket/prefix is supported. Change {said_by}"
    )


@dataclass(frozen=True)
class Apart:
    """A store whose predictions lie in another one, which fewer people may read."""

    public: Removing
    private: Removing

    @property
    def identity(self) -> str:
        return self.public.identity

    def create(self, key: str, content: bytes) -> bool:
        return self._of(key).create(key, content)

    def read(self, key: str, *, at_most: int | None = None) -> bytes:
        return self._of(key).read(key, at_most=at_most)

    def exists(self, key: str) -> bool:
        return self._of(key).exists(key)

    def list(self, prefix: str, *, after: str = "", at_most: int | None = None) -> builtins.list[str]:
        private = (key for key in self.private.list(prefix, after=after) if self._of(key) is self.private)
        return sorted({*self.public.list(prefix, after=after, at_most=at_most), *private})[:at_most]

    def remove(self, key: str) -> None:
        # Predictions from before they were kept in a place of their own are on the public side.
        for side in (self.public, self._of(key)):
            if side.exists(key):
                side.remove(key)

    def _of(self, key: str) -> Removing:
        return self.private if "/predictions/" in key else self.public
