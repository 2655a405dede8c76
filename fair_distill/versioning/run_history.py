"""The files that every recorded run of a stage read and wrote: in DVC's run cache, dvc.lock, and git's history."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fair_distill.config.loading import parse_mapping
from fair_distill.errors import ConfigError
from fair_distill.storage.store import Store
from fair_distill.versioning.git_commands import git_output
from fair_distill.versioning.lock_file import StageRecord, parse_lock, read_lock, stage_record

_RUNS = "runs/"
# Records of stages are small; a larger file is not one.
_MOST_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Run:
    """A recorded run of a stage.

    Attributes
    ----------
    deps, outs : the MD5 of each file or folder, by path
    key : the key of the record in the run cache; empty for a record of dvc.lock
    """

    deps: dict[str, str]
    outs: dict[str, str]
    key: str = ""


def run_cache(store: Store) -> Iterator[Run]:
    """Yield the runs in the run cache of a DVC cache or remote. Files that are not records are skipped."""
    for key in store.list(_RUNS):
        with suppress(ConfigError, TypeError, ValueError, AttributeError, LookupError):
            text = store.read(key, size_limit=_MOST_BYTES).decode()
            yield _run(stage_record(parse_mapping(text, name=key)), key=key)


def current_lock(workspace: Path) -> list[Run]:
    """Return the runs in dvc.lock; none if there is no such file."""
    path = workspace / "dvc.lock"
    return list(map(_run, read_lock(path).values())) if path.exists() else []


def earlier_locks(workspace: Path) -> Iterator[Sequence[Run]]:
    """Yield the runs of dvc.lock in each commit that changed it, on all branches."""
    commits = git_output(workspace, "log", "--all", "--format=%H", "--", "dvc.lock") or ""
    for commit in commits.split():
        text = git_output(workspace, "show", f"{commit}:./dvc.lock")
        if text:
            with suppress(ConfigError):  # an old lock of another format names nothing that this DVC stores
                name = f"dvc.lock in {commit[:12]}"
                yield list(map(_run, parse_lock(parse_mapping(text, name=name), name=name).values()))


def _run(record: StageRecord, *, key: str = "") -> Run:
    deps = {path: file.md5 for path, file in record.deps.items() if file.md5}
    return Run(deps, {path: file.md5 for path, file in record.outs.items() if file.md5}, key)
