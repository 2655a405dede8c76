"""The outputs of stages that a dvc.lock names, and their download from a DVC remote.

A dvc.lock and a listing may come from a pull request, so their types, sizes and paths are checked here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fair_distill.errors import IntegrityError, MeasurementError
from fair_distill.files import is_md5
from fair_distill.registry.layout import key_fault
from fair_distill.registry.manifest import MANIFEST_FILE
from fair_distill.text import printable
from fair_distill.versioning.dvc_remote import DvcRemote
from fair_distill.workspace import Workspace

# The largest files that are downloaded, in bytes, and the most files in one folder.
_LISTING, _PREDICTIONS, _DATA = 10**6, 512 * 10**6, 16_000 * 10**6
_MEMBERS = 1000


@dataclass(frozen=True)
class Output:
    """A file or folder that a stage wrote, as dvc.lock names it. The MD5 of a folder ends in ".dir"."""

    md5: str
    size: int


def locked_outputs(lock: Mapping[Any, Any], name: str) -> dict[str, Output]:
    """Return the outputs of all stages in a dvc.lock, by path.

    Raises
    ------
    IntegrityError
        If an entry has another form than the one that DVC writes.
    """
    outputs: dict[str, Output] = {}
    stages = lock.get("stages")
    if not isinstance(stages, dict):
        raise IntegrityError(f"{name} has no mapping `stages`; run `dvc repro` and commit dvc.lock")
    for stage, entry in stages.items():
        outs = (entry.get("outs") or []) if isinstance(entry, dict) else []
        for output in outs if isinstance(outs, list) else [outs]:
            parsed = _parse_output(output)
            if parsed is None:
                raise IntegrityError(
                    f"{name}: stage {printable(str(stage))[:80]!r} has an output without path, size and MD5; "
                    "run `dvc repro` and commit dvc.lock"
                )
            path = output["path"]
            if outputs.setdefault(path, parsed) != parsed:
                raise IntegrityError(f"{name} names {printable(path)[:80]} twice; run `dvc repro`")
    return outputs


def _parse_output(entry: object) -> Output | None:
    """Return the output of an entry in dvc.lock; None if the entry has another form than the one that DVC 3 writes."""
    if not isinstance(entry, dict) or entry.get("hash") != "md5" or not isinstance(entry.get("path"), str):
        return None
    md5, size = entry.get("md5"), entry.get("size")
    if not isinstance(md5, str) or not is_md5(md5.removesuffix(".dir")):
        return None
    if type(size) is not int or not 0 <= size < 2**63:
        return None
    return Output(md5, size)


@dataclass(frozen=True)
class OutputDownload:
    """Download of outputs from a DVC remote into a workspace.

    Attributes
    ----------
    outputs : the outputs of a dvc.lock, by path from the workspace's folder
    """

    remote: DvcRemote
    workspace: Workspace
    outputs: Mapping[str, Output]

    def name(self, path: Path) -> str:
        """Return a path of the workspace as dvc.lock names it."""
        return path.relative_to(self.workspace.root).as_posix()

    def output(self, path: Path, file: str) -> Output:
        """Return the output at a path. Raises MeasurementError with the description `file` if dvc.lock lacks it."""
        output = self.outputs.get(self.name(path))
        if output is None:
            raise MeasurementError(f"dvc.lock has no {self.name(path)} ({file}); run `dvc repro` and commit dvc.lock")
        return output

    def fetch_predictions(self, name: str) -> None:
        """Write the predictions of a set."""
        self._fetch(self.workspace.predictions(name), f"the predictions file of set {name!r}", limit=_PREDICTIONS)

    def fetch_split(self, name: str) -> None:
        """Write a split."""
        self._fetch(self.workspace.split(name), f"the {name} split", limit=_DATA)

    def fetch_set(self, name: str) -> None:
        """Write all files of a set's folder, so that an incomplete push is reported here."""
        file, folder = f"the listing of set {name!r}", self.workspace.set(name)
        output = self.output(folder, file)
        if not output.md5.endswith(".dir"):
            raise IntegrityError(f"dvc.lock: {self.name(folder)} is a file, not a folder; run `dvc repro`")
        listing = folder / "listing.json"
        self.remote.fetch(output.md5, listing, file=file, limit=_LISTING)
        members = _parse_listing(listing.read_bytes(), name)
        listing.unlink()
        remaining = min(output.size, _DATA)
        for member, md5 in members.items():
            self.remote.fetch(md5, folder / member, file=f"{member} of set {name!r}", limit=remaining)
            remaining -= (folder / member).stat().st_size
        if MANIFEST_FILE not in members:
            raise IntegrityError(f"the folder of set {name!r} has no {MANIFEST_FILE}; run `dvc repro` and `dvc push`")

    def _fetch(self, path: Path, file: str, *, limit: int) -> None:
        output = self.output(path, file)
        if output.md5.endswith(".dir"):
            raise IntegrityError(f"dvc.lock: {self.name(path)} is a folder, not a file; run `dvc repro`")
        self.remote.fetch(output.md5, path, file=file, limit=limit, size=output.size)


def _parse_listing(listing: bytes, name: str) -> dict[str, str]:
    """Return the MD5s of the files in a folder, by path. Raises IntegrityError if DVC would not write this listing."""
    fault = f"the listing of set {name!r} is not a listing that DVC writes"
    try:
        entries = json.loads(listing)
    except (ValueError, RecursionError):
        raise IntegrityError(f"{fault}: not JSON; run `dvc push` again") from None
    if isinstance(entries, list) and len(entries) > _MEMBERS:
        raise IntegrityError(f"{fault}: {len(entries):,} files, at most {_MEMBERS:,} are allowed; remove some")
    members: dict[str, str] = {}
    for entry in entries if isinstance(entries, list) else [None]:
        path, md5 = (entry.get(key) if isinstance(entry, dict) else None for key in ("relpath", "md5"))
        if not (isinstance(path, str) and isinstance(md5, str) and is_md5(md5)) or key_fault(path):
            raise IntegrityError(f"{fault}: {printable(json.dumps(entry))[:120]}; run `dvc push` again")
        if path in members:
            raise IntegrityError(f"{fault}: {printable(path)[:80]} is in it twice; run `dvc push` again")
        members[path] = md5
    return members
