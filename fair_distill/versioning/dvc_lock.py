"""Whether dvc.lock is up to date for the verdict on one set, checked without DVC.

DVC compares a lock with the files of a workspace. A CI job has few of these files, and no DVC. This module compares
the lock with dvc.yaml and params.yaml, the stages of the lock with each other, and the lock with files that exist.
All three files may come from a pull request: malformed content ends in one line.
"""

import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fair_distill.config.loading import read_params
from fair_distill.errors import ConfigError, IntegrityError, MeasurementError
from fair_distill.versioning.dvc_graph import Stage, lookup, read_graph
from fair_distill.versioning.lock_file import (
    RecordedFile,
    StageRecord,
    difference_on_disk,
    folder_md5,
    lacks_files,
    read_lock,
)


def check_lock(root: Path, set_name: str | None, *, references: Sequence[str] = (), judged: bool = False) -> bool:
    """Check that everything which `judge@SET` reads is up to date in dvc.lock.

    The check covers the stages before `judge@SET`. Of a folder that `judge` reads, only outputs of the set and of
    `references` count. Absent files are not an error. A file in artifacts/prepared with more than 16 MB is compared
    by size only: its content is bound by the SHA-256 that predictions name.

    Parameters
    ----------
    set_name : None for a set that is not in the graph, such as a published version; then only `references` are checked
    references : sets whose predictions the policy's clauses compare with
    judged : also compare the record of `judge@SET` with the outputs that it read. The stage `judge` leaves it out,
        because DVC writes that record when the stage has finished.

    Returns
    -------
    Whether the lock covers the set: False without `set_name`, and if the workspace has no dvc.yaml or no dvc.lock.

    Raises
    ------
    MeasurementError
        If the lock is stale, or lacks a stage. `dvc repro` fixes it.
    IntegrityError
        If a file is not the one in the lock, or the lock contradicts itself in a way that `dvc repro` does not cause.
    ConfigError
        If a file is malformed, or dvc.yaml uses a feature that the check does not support.
    """
    if not ((root / "dvc.yaml").is_file() and (root / "dvc.lock").is_file()):
        return False
    params = read_params(root / "params.yaml")
    graph, unsupported = read_graph(root / "dvc.yaml", params)
    records = read_lock(root / "dvc.lock")
    names = tuple(name for name in (set_name, *references) if name is not None)
    if not names:
        return False
    judge = graph.get(f"judge@{names[0]}")
    if judge is None and "judge" in unsupported:
        raise ConfigError(f"{root / 'dvc.yaml'}: stages.judge: {unsupported['judge']}")
    if judge is None:
        raise ConfigError(f"{root / 'dvc.yaml'} has no stage 'judge@{names[0]}'; add the set to 'sets' in params.yaml")
    check = _Check(root, graph, records, params, f"dvc repro evaluate@{names[0]}", unsupported)
    check.sources(judge, names)
    if judged:
        check.judge(judge)
    return set_name is not None


@dataclass(frozen=True)
class _Check:
    root: Path
    graph: Mapping[str, Stage]
    records: Mapping[str, StageRecord]
    params: Mapping[Any, Any]
    command: str
    unsupported: Mapping[str, str]
    # Stages with the output as dvc.yaml writes it: by the output's path, and by each folder above it.
    outs: dict[str, list[tuple[Stage, str]]] = field(default_factory=dict)
    members: dict[str, list[tuple[Stage, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for stage in self.graph.values():
            for out in stage.outs:
                path = posixpath.normpath(out)
                self.outs.setdefault(path, []).append((stage, out))
                for folder in _folders(path):
                    self.members.setdefault(folder, []).append((stage, out))

    def sources(self, judge: Stage, names: tuple[str, ...]) -> None:
        """Check every stage before `judge`."""
        pending, rows = [], set()
        for dep in judge.deps:
            for stage, out in self._writers(dep):
                is_member = posixpath.normpath(dep) != posixpath.normpath(out)
                if is_member and stage.row and stage.row not in names:
                    continue
                if is_member:
                    rows.add(stage.row)
                pending.append(stage)
        if rows and (missing := [name for name in names if name not in rows]):
            raise ConfigError(
                f"dvc.yaml has no stage that evaluates {missing[0]!r}; add the set to 'sets' in params.yaml"
            )
        self._distinct(judge)
        checked: set[str] = set()
        order: list[Stage] = []
        while pending:
            stage = pending.pop()
            if stage.name not in checked:
                checked.add(stage.name)
                order.append(stage)
                pending += [writer for dep in stage.deps for writer, _ in self._writers(dep)]
        for stage in order:
            self._refuse_unknown_writers(stage)
        # In the graph's order: the first error names the first stage that DVC would run.
        positions = {name: position for position, name in enumerate(self.graph)}
        order.sort(key=lambda stage: positions[stage.name])
        for stage in order:
            self._stage(stage)
        for stage in order:
            self._disk(stage)

    def _refuse_unknown_writers(self, stage: Stage) -> None:
        """Refuse a dependency that no stage writes, if a stage that this check cannot read may write it."""
        for dep in stage.deps:
            if self.unsupported and "://" not in dep and not self._writers(dep):
                name, problem = next(iter(self.unsupported.items()))
                raise ConfigError(
                    f"dvc.yaml: stages.{name}: {problem}. Stage {stage.name!r} may read what it writes ({dep!r})"
                )

    def judge(self, judge: Stage) -> None:
        """Check the record of `judge` itself: what it read is what the stages before it wrote."""
        record = self._recorded(judge)
        for dep in judge.deps:
            self._dep(judge, record, dep)

    def _writers(self, dep: str) -> list[tuple[Stage, str]]:
        """Return the stages that write a dependency, files in it or the folder that it is in, with that output."""
        path = posixpath.normpath(dep)
        folders = [writer for folder in _folders(path) for writer in self.outs.get(folder, [])]
        return [*self.outs.get(path, []), *self.members.get(path, []), *folders]

    def _distinct(self, judge: Stage) -> None:
        """Refuse equal outputs of two sets in a folder that `judge` reads: each of these files names its set."""
        owners: dict[str, str] = {}
        for dep in judge.deps:
            for stage, out in self._writers(dep):
                record = self.records.get(stage.name)
                file = record.outs.get(out) if record else None
                if not stage.row or file is None or not file.md5 or posixpath.normpath(dep) == posixpath.normpath(out):
                    continue
                earlier = owners.setdefault(file.md5, out)
                if earlier != out:
                    raise IntegrityError(
                        f"dvc.lock has the same MD5 for {out!r} and {earlier!r} ({file.md5}), which belong to "
                        f"different sets. {self._repair()}"
                    )

    def _recorded(self, stage: Stage) -> StageRecord:
        record = self.records.get(stage.name)
        if record is None:
            raise self._stale(f"stage {stage.name!r} is not in dvc.lock")
        return record

    def _stage(self, stage: Stage) -> None:
        record = self._recorded(stage)
        if record.cmd != stage.cmd:
            raise self._stale(
                f"stage {stage.name!r}: cmd is {_short_repr(stage.cmd)} in dvc.yaml, "
                f"{_short_repr(record.cmd)} in dvc.lock"
            )
        for key in stage.params:
            self._param(stage, record, key)
        for dep in stage.deps:
            self._dep(stage, record, dep)
        for out in stage.outs:
            self._entry(stage, record.outs, out)

    def _param(self, stage: Stage, record: StageRecord, key: str) -> None:
        if set(key) & set("*?[]!"):
            raise ConfigError(
                f"dvc.yaml: params of {stage.name!r}: the pattern {key[:80]!r} is not supported; name a key"
            )
        try:
            value = lookup(self.params, key)
        except LookupError:
            raise self._stale(f"stage {stage.name!r} depends on {key!r}, which params.yaml lacks") from None
        if key not in record.params:
            raise self._stale(
                f"stage {stage.name!r}: {key!r} is {_short_repr(value)} in params.yaml and missing in dvc.lock"
            )
        if value != record.params[key]:
            path, new, old = _difference(key, value, record.params[key])
            raise self._stale(f"stage {stage.name!r}: {path!r} is {new} in params.yaml, {old} in dvc.lock")

    def _entry(self, stage: Stage, files: Mapping[str, RecordedFile], path: str) -> RecordedFile:
        file = files.get(path)
        if file is None:
            raise self._stale(f"stage {stage.name!r}: {path!r} is in dvc.yaml and not in dvc.lock")
        if not file.md5 and "://" not in path:
            raise self._stale(f"stage {stage.name!r}: {path!r} has no MD5 of DVC 3 in dvc.lock")
        return file

    def _dep(self, stage: Stage, record: StageRecord, path: str) -> None:
        """Compare a dependency with the outputs that it consists of."""
        file = self._entry(stage, record.deps, path)
        members: dict[str, RecordedFile] = {}
        for writer, out in self._writers(path):
            written = self._entry(writer, self._recorded(writer).outs, out)
            relative = posixpath.relpath(posixpath.normpath(out), posixpath.normpath(path))
            if relative == ".":
                self._equal(stage, file, writer, written)
                return
            members[relative] = written
        if members:
            self._folder(stage, file, members)

    def _equal(self, stage: Stage, file: RecordedFile, writer: Stage, written: RecordedFile) -> None:
        if file.md5 != written.md5:
            raise self._stale(
                f"stage {stage.name!r} read {file.path!r} with MD5 {file.md5[:80]!r}; stage {writer.name!r} wrote "
                f"{written.md5[:80]!r}"
            )
        if (file.size, file.count) != (written.size, written.count):
            raise IntegrityError(
                f"dvc.lock has two sizes for {file.path!r} with one MD5: {written.size} bytes from {writer.name!r}, "
                f"{file.size} bytes in {stage.name!r}. {self._repair()}"
            )

    def _folder(self, stage: Stage, file: RecordedFile, members: Mapping[str, RecordedFile]) -> None:
        """Compare a folder that a stage read with the outputs in it, or a file with the output folder that has it."""
        hashes = {relative: member.md5 for relative, member in members.items()}
        folder = _resolved(self.root, file.path)
        if any(name.startswith("..") or member.is_folder for name, member in members.items()):
            # The lock has no list of the files in a folder: only the files themselves have.
            if folder is None or lacks_files(file, folder):
                raise MeasurementError(
                    f"stage {stage.name!r}: dvc.lock alone cannot show what {file.path!r} contains. Run "
                    f"`dvc pull {stage.name}`."
                )
            self._compare(file, folder)
        elif file.md5 != folder_md5(hashes) and not (folder and self._matches(file, folder)):
            raise self._stale(
                f"stage {stage.name!r} read {file.path!r} with MD5 {file.md5[:80]!r}, which is not that of the outputs "
                f"in it"
            )

    def _matches(self, file: RecordedFile, path: Path) -> bool:
        """Whether a folder on disk, with every file, is the recorded one: it may contain files that no stage writes."""
        try:
            # Without the number of files, a folder of which a CI job has some files is not the recorded one.
            return difference_on_disk(replace(file, count=None), path) is None
        except OSError:
            return False

    def _disk(self, stage: Stage) -> None:
        """Compare files that exist with the record: outputs, and dependencies that no stage writes."""
        record = self._recorded(stage)
        sources = [record.deps[dep] for dep in stage.deps if not self._writers(dep)]
        for file in [*sources, *(record.outs[out] for out in stage.outs)]:
            path = _resolved(self.root, file.path)
            if path is not None:
                self._compare(file, path)

    def _compare(self, file: RecordedFile, path: Path) -> None:
        try:
            difference = difference_on_disk(file, path)
        except OSError as error:
            raise MeasurementError(f"{file.path!r} cannot be read: {error.strerror}") from None
        if difference:
            raise IntegrityError(f"{file.path!r} is not the one in dvc.lock: {difference}. {self._repair()}")

    def _stale(self, problem: str) -> MeasurementError:
        return MeasurementError(f"dvc.lock is not up to date: {problem}. {self._repair()}")

    def _repair(self) -> str:
        return f"Run `{self.command}`, then `git add dvc.lock`."


def _resolved(root: Path, path: str) -> Path | None:
    """Return where a path of dvc.yaml is on this machine; None if it is remote or absent."""
    if "://" in path or "\0" in path:
        return None
    return root / path if os.path.exists(root / path) else None


def _folders(path: str) -> list[str]:
    """Return every folder above a path, the nearest first."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1) if parts[0]]


def _difference(key: str, new: Any, old: Any) -> tuple[str, str, str]:
    """Return the first key below `key` that differs, with both values as text."""
    if isinstance(new, dict) and isinstance(old, dict):
        for name in [*new, *old]:
            if name not in new or name not in old:
                sides = [_short_repr(side[name]) if name in side else "missing" for side in (new, old)]
                return f"{key}.{str(name)[:80]}", sides[0], sides[1]
            if new[name] != old[name]:
                return _difference(f"{key}.{str(name)[:80]}", new[name], old[name])
    return key, _short_repr(new), _short_repr(old)


def _short_repr(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
