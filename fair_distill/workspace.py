"""Where a workspace keeps its files, and how a file comes to be: written aside, then renamed.

Not for: what is in the files. Each room reads and writes its own.
"""

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from fair_distill.errors import ConfigError, DataError

SPLITS = ("train", "tune", "gate")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MD5 = re.compile(r"[0-9a-f]{32}")
# Far above what is written. Python needs up to a hundred bytes for a value that is two bytes of JSON.
_MOST_VALUES, _DEEPEST, _MOST_DIGITS = 1_000_000, 64, 40
# Texts are skipped whole, so that their brackets do not count for the depth.
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True)
class Workspace:
    """The folder that holds params.yaml and dvc.yaml, and the names of everything the stages write."""

    root: Path

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    def split(self, name: str) -> Path:
        return self.artifacts / "prepared" / f"{name}.arrow"

    @property
    def validation(self) -> Path:
        return self.artifacts / "validation.json"

    def set(self, name: str) -> Path:
        """The folder of one distilled set, candidate or reference: set.parquet and manifest.json."""
        return self.artifacts / "sets" / name

    def experts(self, name: str) -> Path:
        """The folder of the trajectories that one candidate follows, where its method follows any."""
        return self.artifacts / "experts" / name

    def losses(self, name: str) -> Path:
        return self.artifacts / "losses" / f"{name}.csv"

    def predictions(self, name: str) -> Path:
        return self.artifacts / "predictions" / f"{name}.parquet"

    def evaluation(self, name: str) -> Path:
        return self.artifacts / "evaluation" / f"{name}.json"

    def rates(self, name: str) -> Path:
        return self.artifacts / "rates" / f"{name}.csv"

    @property
    def projection(self) -> Path:
        return self.artifacts / "projection.csv"

    def report(self, name: str) -> Path:
        """The page for people. Not a product of the graph: it also tells what the registry knows."""
        return self.artifacts / "reports" / f"{name}.html"

    @property
    def checkpoints(self) -> Path:
        """Where interrupted runs are taken up from, unless said otherwise. Not a product: DVC knows nothing of it."""
        return self.root / ".checkpoints"

    @property
    def context(self) -> Path:
        """What a verdict needs from the registry. No stage writes it; absent means empty."""
        return self.root / "context.json"

    def attestation(self, name: str) -> Path:
        """An evaluator's signed statement on a set's predictions. In git: no stage writes it."""
        return self.root / "attestations" / f"{name}.json"

    def verdict(self, name: str) -> Path:
        return self.artifacts / "verdicts" / f"{name}.json"

    def grid(self, name: str) -> Path:
        return self.artifacts / "pictures" / f"{name}.png"


def needed(path: Path, *, made_by: str) -> Path:
    """Return `path` if it is there; say which command makes it if not."""
    if not path.exists():
        raise DataError(f"{path} is missing; `{made_by}` writes it")
    return path


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it onto `path` only if the block ends well.

    A reader sees the old file or the whole new one, and a crash leaves no half of anything under the
    name that others read. Where the block fails, the folders that were made for the file go too.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    os.close(handle)
    try:
        yield Path(aside)
        # mkstemp makes private files; these are to be read by whoever may read the folder.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(aside, 0o666 & ~umask)
        try:
            os.replace(aside, path)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from None
        made = []
    finally:
        Path(aside).unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):  # another file has come to be in it
                folder.rmdir()


def write_bytes(path: Path, content: bytes) -> None:
    with written_aside(path) as aside:
        try:
            aside.write_bytes(content)
        except OSError as error:  # a full disk is the reader's to mend
            raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def to_json(value: object) -> bytes:
    """Return the one spelling of `value` that is hashed and stored: sorted keys, UTF-8, no NaN, final newline."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def to_csv(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    sink = io.StringIO()
    csv.writer(sink, lineterminator="\n").writerows([list(header), *rows])
    return sink.getvalue().encode()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def parse_json(content: bytes, *, name: str, error: Callable[[str], Exception] = DataError) -> dict[str, Any]:
    """Read a JSON object of bounded size, depth and numbers.

    Raises `error` for duplicate keys, NaN, text that is not Unicode, and anything that is not an object. Its caller
    bounds the bytes; the number of values and the depth are bounded here, before Python makes objects of them.
    """

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant[:20]} is no JSON number")

    def finite(text: str) -> float:
        number = float(text)
        return number if len(text) <= _MOST_DIGITS and math.isfinite(number) else refuse(text)

    def whole(text: str) -> int:
        number = int(text) if len(text) <= _MOST_DIGITS else refuse(text)
        if not -(2**63) <= number < 2**63:  # NumPy, Arrow and C take 64 bits, and fail in their own ways on more
            raise ValueError(f"{text[:20]}… does not fit in 64 bits")
        return number

    try:
        _check_structure(content)
        value = json.loads(
            content, object_pairs_hook=_no_duplicates, parse_constant=refuse, parse_float=finite, parse_int=whole
        )
        if b"\\u" in content:  # the only way to half of a surrogate pair, which no UTF-8 has
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as fault:
        raise error(f"{name} is not readable JSON: {fault}") from None
    if not isinstance(value, dict):
        raise error(f"{name}: a JSON object was wanted, got {type(value).__name__}")
    return value


def _check_structure(content: bytes) -> None:
    """Raise ValueError for more values or a greater depth than any document of ours has.

    Brackets and commas in texts count as values too: a bound needs no better estimate.
    """
    if sum(map(content.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise ValueError(f"it has more than {_MOST_VALUES:,} values")
    depth = 0
    for match in _STRUCTURE.finditer(content):
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(match[0], 0)
        if depth > _DEEPEST:
            raise ValueError(f"it is nested deeper than {_DEEPEST} levels")


def md5(content: bytes) -> str:
    """Return what DVC and S3 call a content, in hexadecimal. A name and a checksum of transport: nothing trusts it."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def sha256(content: bytes | Path) -> str:
    """Return the SHA-256 of bytes or of a file, in hexadecimal."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_sha256(text: object) -> bool:
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def is_md5(text: object) -> bool:
    return isinstance(text, str) and _MD5.fullmatch(text) is not None
