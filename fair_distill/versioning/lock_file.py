"""dvc.lock as values: what DVC recorded of each stage, and how a file on disk differs from its record.

The file may come from a pull request: malformed content ends in a ConfigError of one line.
"""

import hashlib
import json
import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fair_distill.config.loading import read_mapping
from fair_distill.errors import ConfigError

# Splits above this size are compared by size only, because hashing them takes seconds.
HASHED_SPLIT_BYTES = 16_000_000
_SPLITS = "artifacts/prepared/"


@dataclass(frozen=True)
class RecordedFile:
    """What dvc.lock records of a file or folder; the MD5 of a folder ends in `.dir`."""

    path: str
    md5: str
    size: int | None
    count: int | None

    @property
    def is_folder(self) -> bool:
        return self.md5.endswith(".dir")


@dataclass(frozen=True)
class StageRecord:
    """What dvc.lock records of a stage."""

    cmd: str | tuple[str, ...]
    deps: dict[str, RecordedFile]
    params: dict[str, Any]
    outs: dict[str, RecordedFile]


def read_lock(path: Path) -> dict[str, StageRecord]:
    return parse_lock(read_mapping(path, missing="run `dvc repro`"), name=str(path))


def parse_lock(raw: dict[Any, Any], *, name: str) -> dict[str, StageRecord]:
    """Return the records of all stages in a dvc.lock; `name` is for messages."""
    schema, stages = raw.get("schema"), raw.get("stages", {})
    if schema != "2.0" or not isinstance(stages, dict):
        raise ConfigError(f"{name}: schema is {str(schema)[:80]!r}; this check reads schema '2.0'. Run `dvc repro`.")
    try:
        return {str(stage): stage_record(record) for stage, record in stages.items()}
    except (TypeError, ValueError, AttributeError, LookupError):
        raise ConfigError(f"{name} is malformed; restore it from git and run `dvc repro`") from None


def stage_record(raw: dict[Any, Any]) -> StageRecord:
    """Return the record of a stage. Raises TypeError, ValueError, AttributeError or LookupError if it is malformed."""
    params = raw.get("params", {}).get("params.yaml", {})
    cmd = raw["cmd"]
    if not isinstance(params, dict) or not isinstance(cmd, str | list):
        raise TypeError
    return StageRecord(tuple(cmd) if isinstance(cmd, list) else cmd, _files(raw, "deps"), params, _files(raw, "outs"))


def _files(raw: dict[Any, Any], key: str) -> dict[str, RecordedFile]:
    files = {}
    for entry in raw.get(key, []):
        size, count = entry.get("size"), entry.get("nfiles")
        # Without `hash: md5` the lock is DVC 2's, whose MD5 of a text file does not depend on its line ends.
        md5 = entry["md5"] if entry.get("hash") == "md5" and "md5" in entry else ""
        file = RecordedFile(entry["path"], md5, size, count)
        if not isinstance(file.path, str) or not isinstance(md5, str) or file.path in files:
            raise TypeError
        if any(number is not None and type(number) is not int for number in (size, count)):
            raise TypeError
        files[file.path] = file
    return files


def difference_on_disk(file: RecordedFile, path: Path) -> str | None:
    """Return how a file or folder differs from its record in dvc.lock, or None."""
    if file.is_folder != path.is_dir() or not (path.is_dir() or path.is_file()):
        return "one is a file and the other a folder"
    members = {member.relative_to(path).as_posix(): member for member in _walk(path)} if file.is_folder else {"": path}
    sizes = [member.stat().st_size for member in members.values()]
    count = file.count if file.is_folder else None
    if count is not None and len(members) != count:
        # A CI job has only some of the files, and a set's manifest among them binds the rest.
        return f"it has {len(members)} files instead of {count}" if len(members) > count else None
    if file.size is not None and sum(sizes) != file.size:
        return f"it has {sum(sizes)} bytes instead of {file.size}"
    is_split = posixpath.normpath(file.path).startswith(_SPLITS)
    if is_split and file.size is not None and file.size > HASHED_SPLIT_BYTES:
        return None
    md5 = folder_md5({name: _md5(member) for name, member in members.items()}) if file.is_folder else _md5(path)
    return None if md5 == file.md5 else "the MD5 differs"


def lacks_files(file: RecordedFile, path: Path) -> bool:
    return file.count is not None and path.is_dir() and sum(1 for _ in _walk(path)) < file.count


def _walk(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent) / name for name in names)


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def folder_md5(hashes: Mapping[str, str]) -> str:
    """Return DVC's MD5 of a folder: that of the JSON list of its files."""
    listing = [{"md5": hashes[relative], "relpath": relative} for relative in sorted(hashes)]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
