"""Files on disk: atomic writes, digests, and JSON and CSV as this package spells them."""

import csv
import hashlib
import io
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from fair_distill.errors import ConfigError, DataError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MD5 = re.compile(r"[0-9a-f]{32}")
# Far above what this package writes. Python needs up to a hundred bytes for a value of two bytes of JSON.
_MOST_VALUES, _DEEPEST, _MOST_DIGITS = 1_000_000, 64, 40
# Strings match as a whole, so brackets in them do not count for the depth.
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


def require_file(path: Path, *, made_by: str) -> Path:
    """Return `path` if it exists. Raises DataError with the command that writes it otherwise."""
    if not path.exists():
        raise DataError(f"{path} is missing; run `{made_by}`, which writes it")
    return path


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder, and rename it to `path` if the block succeeds.

    A reader sees the old file or the complete new one, also after a crash. If the block fails, the folders that were
    created for the file are removed.
    """
    new_folders = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    os.close(handle)
    try:
        yield Path(temporary)
        # mkstemp makes private files. The result gets the permissions of an ordinary new file.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        try:
            os.replace(temporary, path)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from None
        new_folders = []
    finally:
        Path(temporary).unlink(missing_ok=True)
        for folder in new_folders:
            with suppress(OSError):  # Another process may have put a file into it.
                folder.rmdir()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically. Raises ConfigError if the system refuses, for example because the disk is full."""
    with atomic_file(path) as temporary:
        try:
            temporary.write_bytes(content)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def to_json(value: object) -> bytes:
    """Return the only spelling of `value` that is hashed and stored: sorted keys, UTF-8, no NaN, final new line."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def to_csv(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    """Return a CSV file in UTF-8 with Unix line ends."""
    sink = io.StringIO()
    csv.writer(sink, lineterminator="\n").writerows([list(header), *rows])
    return sink.getvalue().encode()


def parse_json(content: bytes, *, name: str, error: Callable[[str], Exception] = DataError) -> dict[str, Any]:
    """Read a JSON object of bounded size, depth and numbers.

    Raises `error` for duplicate keys, NaN, text that is not Unicode, and anything that is not an object. The caller
    limits the number of bytes. This function limits the number of values and the depth before Python creates objects.
    """

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant[:20]} is not a JSON number")

    def finite(text: str) -> float:
        number = float(text)
        return number if len(text) <= _MOST_DIGITS and math.isfinite(number) else refuse(text)

    def whole(text: str) -> int:
        number = int(text) if len(text) <= _MOST_DIGITS else refuse(text)
        if not -(2**63) <= number < 2**63:  # NumPy, Arrow and C take 64 bits, and fail in different ways on more
            raise ValueError(f"{text[:20]}… does not fit in 64 bits")
        return number

    try:
        _check_structure(content)
        value = json.loads(
            content, object_pairs_hook=_no_duplicates, parse_constant=refuse, parse_float=finite, parse_int=whole
        )
        if b"\\u" in content:  # An escape is the only way to write half of a surrogate pair, which UTF-8 cannot encode.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as fault:
        raise error(f"{name} is not readable JSON: {fault}") from None
    if not isinstance(value, dict):
        raise error(f"{name} contains a JSON {type(value).__name__}; a JSON object is required")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has the same key twice")
    return value


def _check_structure(content: bytes) -> None:
    """Raise ValueError for more values or a greater depth than any document of this package has.

    Brackets and commas in strings count as values too: an upper bound is sufficient.
    """
    if sum(map(content.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise ValueError(f"it has more than {_MOST_VALUES:,} values")
    depth = 0
    for match in _STRUCTURE.finditer(content):
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(match[0], 0)
        if depth > _DEEPEST:
            raise ValueError(f"it is nested deeper than {_DEEPEST} levels")


def md5(content: bytes) -> str:
    """Return the MD5 in hexadecimal, by which DVC and S3 address a content. It protects against no attacker."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def sha256(content: bytes | Path) -> str:
    """Return the SHA-256 of bytes or of a file, in hexadecimal."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_sha256(text: object) -> bool:
    """Return whether a value is a SHA-256 in lower-case hexadecimal."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def is_md5(text: object) -> bool:
    """Return whether a value is an MD5 in lower-case hexadecimal."""
    return isinstance(text, str) and _MD5.fullmatch(text) is not None
