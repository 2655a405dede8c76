"""The manifest of a version. Its SHA-256 is the version.

It contains the files, the card, the digest of the source data, the params sections that determine the set, and
`engine`. It contains no clock, host, image or policy. So making the same set again gives the same version, and judging
it again gives no new one.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fair_distill.card import DatasetCard
from fair_distill.errors import DataError, IntegrityError
from fair_distill.files import is_md5, is_sha256, md5, parse_json, require_file, sha256, to_json, write_bytes
from fair_distill.formats.strict_json import check_fields
from fair_distill.registry.layout import key_fault

SET_FILE = "set.parquet"
MANIFEST_FILE = "manifest.json"
PROVENANCE_FILE = "provenance.json"
_FORMAT = 1


@dataclass(frozen=True)
class FileEntry:
    """A file of a version.

    Attributes
    ----------
    path : relative to the folder of the version; it cannot lead out of it
    size : in bytes
    sha256 : the digest that is trusted
    md5 : the digest that DVC names the content by, which determines its key; see `dvc_layout`
    """

    path: str
    size: int
    sha256: str
    md5: str

    def __post_init__(self) -> None:
        fault = key_fault(self.path)
        if fault:
            raise IntegrityError(f"a manifest names a file that is not allowed: {fault}")
        valid = is_sha256(self.sha256) and is_md5(self.md5) and type(self.size) is int and self.size >= 0
        if not valid:
            raise IntegrityError(
                f"{self.path}: size, SHA-256 and MD5 are {self.size!r}, {self.sha256!r} and {self.md5!r}; at least one "
                "of them is not valid"
            )

    @classmethod
    def describe(cls, path: str, content: bytes) -> "FileEntry":
        """Return the entry of a file with a content."""
        return cls(path, len(content), sha256(content), md5(content))


@dataclass(frozen=True)
class Manifest:
    """The contents of one version.

    Attributes
    ----------
    files : the files of the version; empty for the full-data reference, which is the source itself
    source : SHA-256 of the prepared training split
    params : the sections of params.yaml that determine the set
    engine : the version of the code that determines the bytes of a set
    """

    files: tuple[FileEntry, ...]
    card: DatasetCard
    source: str
    params: dict[str, Any]
    engine: int

    def to_json(self) -> bytes:
        """Return the bytes of manifest.json."""
        return to_json({"format": _FORMAT, **asdict(self), "card": self.card.to_dict()})

    @property
    def version(self) -> str:
        """The SHA-256 that names this version."""
        return sha256(self.to_json())

    @property
    def own(self) -> dict[str, str]:
        """The SHA-256 of the source of each custom component (`package.module:callable`) that made the set."""
        recorded = self.params.get("own", {})
        texts = isinstance(recorded, dict) and all(isinstance(digest, str) for digest in recorded.values())
        if not texts:
            raise IntegrityError(
                f"manifest: params.own is {str(recorded)[:80]!r}; expected an object of SHA-256 digests"
            )
        return dict(recorded)

    @classmethod
    def from_json(cls, content: bytes, *, name: str = "manifest") -> "Manifest":
        """Read a manifest. Raises IntegrityError unless writing it again gives the same bytes."""
        value = parse_json(content, name=name, error=IntegrityError)
        if value.get("format") != _FORMAT or isinstance(value["format"], bool):
            raise IntegrityError(f"{name}: format is {str(value.get('format'))[:80]!r}; expected {_FORMAT}")
        del value["format"]
        check_fields(value, _Fields, name=name, error=IntegrityError)
        try:
            manifest = cls(
                files=tuple(FileEntry(**entry) for entry in value["files"]),
                card=DatasetCard.from_dict(value["card"]),
                source=value["source"],
                params=value["params"],
                engine=value["engine"],
            )
            same = manifest.to_json() == content
        except (DataError, ValueError) as error:
            raise IntegrityError(f"{name}: {error}") from None
        if len({entry.path for entry in manifest.files}) != len(manifest.files):
            raise IntegrityError(f"{name} names a file twice")
        if not same:
            raise IntegrityError(f"{name} is not in the form in which it was written; it was edited")
        return manifest


@dataclass(frozen=True)
class _Fields:
    """The fields of a manifest in JSON, for `check_fields`. `DatasetCard` checks the card."""

    files: tuple[FileEntry, ...]
    card: Any
    source: str
    params: dict[str, Any]
    engine: int


def check_file(entry: FileEntry, content: bytes, *, name: str) -> None:
    """Raise IntegrityError unless `content` has the size and the digests in the manifest."""
    if FileEntry.describe(entry.path, content) != entry:
        raise IntegrityError(
            f"{name} is not the file in its manifest: expected {entry.size} bytes with SHA-256 {entry.sha256[:12]}…, "
            f"got {len(content)} with {sha256(content)[:12]}…"
        )


def write_version(folder: Path, manifest: Manifest, files: dict[str, bytes]) -> None:
    """Write the folder of a set. The manifest is written last, so a folder with a manifest is complete."""
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    for path, content in files.items():
        write_bytes(folder / path, content)
    write_bytes(folder / MANIFEST_FILE, manifest.to_json())


def read_version(folder: Path, *, made_by: str) -> tuple[Manifest, dict[str, bytes]]:
    """Read the folder of a set and check every file against the manifest."""
    manifest = Manifest.from_json(
        require_file(folder / MANIFEST_FILE, made_by=made_by).read_bytes(), name=str(folder / MANIFEST_FILE)
    )
    files = {}
    for entry in manifest.files:
        content = require_file(folder / entry.path, made_by=made_by).read_bytes()
        check_file(entry, content, name=str(folder / entry.path))
        files[entry.path] = content
    return manifest, files
