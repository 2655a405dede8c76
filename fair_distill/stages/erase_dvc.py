"""Find and remove what DVC stores of erased people: in its cache, in its remotes, and in the run cache of each.

Prepared files and assignments show whom they contain. Everything that was computed from such a file is found through
the recorded runs (`run_history`): if a run read a file of the people, all that it wrote is removed. The result of the
data contract is removed too, because its messages name examples; but nothing is removed because it read this result,
which only permits a stage to start.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fair_distill.data.dvc_cache import dvc_cache
from fair_distill.errors import FairDistillError
from fair_distill.files import parse_json
from fair_distill.stages.erase_traces import TraceCollector, has_units, local_copy
from fair_distill.storage.schemes import open_store
from fair_distill.storage.store import Store
from fair_distill.versioning.dvc_commands import ASSIGNMENTS
from fair_distill.versioning.dvc_remote import open_remote, remote_names
from fair_distill.versioning.git_commands import dvc_root
from fair_distill.versioning.lock_file import folder_md5
from fair_distill.versioning.run_history import Run, current_lock, earlier_locks, run_cache
from fair_distill.workspace import SPLITS, Workspace

_PREPARED = "artifacts/prepared"
_SPLIT_OF_FILE = {f"{_PREPARED}/{name}.arrow": name for name in SPLITS}
_VALIDATION = "artifacts/validation.json"
_ARROW = b"ARROW1"
# A listing of a folder; a larger one is not of a stage.
_MOST_LISTING = 64 * 2**20


@dataclass(frozen=True)
class Location:
    """A DVC cache or remote: its name in messages, its store, and the key of each stored content by MD5."""

    name: str
    store: Store
    keys: Mapping[str, str]
    runs: Sequence[Run]

    @classmethod
    def open(cls, name: str, store: Store) -> "Location":
        """List a location."""
        keys = {}
        for key in store.list("files/md5/"):
            folder, _, rest = key.removeprefix("files/md5/").partition("/")
            keys[folder + rest] = key
        return cls(name, store, keys, tuple(run_cache(store)))


@dataclass(frozen=True)
class DvcPlan:
    """What is removed from the locations of DVC.

    Attributes
    ----------
    derived : MD5s of contents that were computed from the people's data
    prepared : MD5s of the prepared files and assignments that contain them, which are removed last
    unreached : for each place that cannot be read, why
    unattributed : for each location, the number of contents of which no run is recorded
    """

    locations: tuple[Location, ...] = ()
    derived: frozenset[str] = frozenset()
    prepared: frozenset[str] = frozenset()
    unreached: tuple[tuple[str, str], ...] = ()
    unattributed: Mapping[str, int] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Return the number of contents that are removed from each location."""
        doomed = self.derived | self.prepared
        return {each.name: len(doomed & each.keys.keys()) for each in self.locations}

    def remove_derived(self) -> None:
        """Remove everything that was computed from the people's data, then the records of the runs that did so.

        The records go last: those of one location can show what to remove from another.
        """
        for location in self.locations:
            for md5 in sorted(self.derived & location.keys.keys()):
                location.store.remove(location.keys[md5])
        doomed = self.derived | self.prepared
        for location in self.locations:
            for run in location.runs:
                if not doomed.isdisjoint([*run.deps.values(), *run.outs.values()]):
                    location.store.remove(run.key)

    def remove_prepared(self) -> None:
        """Remove the prepared files. Without them, nothing shows whom other contents were computed from."""
        for location in self.locations:
            for md5 in sorted(self.prepared & location.keys.keys()):
                location.store.remove(location.keys[md5])


def plan_dvc(
    workspace: Workspace, collector: TraceCollector, *, registry: str, include_unknown: bool, folder: Path
) -> DvcPlan:
    """Return what is removed, and pass every prepared file to the collector. Changes nothing.

    Parameters
    ----------
    registry : the identity of the registry, whose remote `published` is not a location of DVC here
    include_unknown : also remove what was computed from prepared files that are no longer stored anywhere
    folder : an existing folder for temporary copies of files in buckets
    """
    locations, unreached = _locations(workspace, registry)
    locks = [current_lock(workspace.root), *earlier_locks(workspace.root)]
    runs = [*(run for lock in locks for run in lock), *(run for each in locations for run in each.runs)]
    files = _prepared_files(runs)
    known = {md5 for run in runs for md5 in [*run.deps.values(), *run.outs.values()]}
    known |= _members(locations, known)
    for location in locations:
        for md5, key in location.keys.items():
            unrecorded = md5 not in known and md5 not in files and not md5.endswith(".dir")
            if unrecorded and next(iter(location.store.stream(key)), b"").startswith(_ARROW):
                files[md5] = None
    holding, absent = set[str](), set[str]()
    for md5, name in files.items():
        holds = _holds(locations, md5, name, collector, folder)
        if holds:
            holding.add(md5)
        elif holds is None:
            absent.add(md5)
    units = collector.erased_units()
    for md5 in _assignments(runs) | {md5 for md5, name in files.items() if name is None}:
        for location in [each for each in locations if md5 in each.keys][:1]:
            with local_copy(location.store, location.keys[md5], folder) as path:
                if has_units(path, units):
                    holding.add(md5)
    derived = _derived(locations, runs, holding | absent if include_unknown else holding)
    uncertain = 0 if include_unknown else _stored(locations, _derived(locations, runs, holding | absent) - derived)
    if uncertain:
        unreached.append(
            (
                "DVC",
                f"{uncertain} stored contents were computed from prepared files that are no longer stored, so it is "
                "unknown whether they are of the people. Pass --include-unknown to remove them",
            )
        )
    attributed = known | holding
    return DvcPlan(
        locations=tuple(locations),
        derived=frozenset(derived),
        prepared=frozenset(holding),
        unreached=tuple(unreached),
        unattributed={each.name: len(each.keys.keys() - attributed) for each in locations},
    )


def _stored(locations: Sequence[Location], md5s: set[str]) -> int:
    return len({md5 for each in locations for md5 in md5s & each.keys.keys()})


def _locations(workspace: Workspace, registry: str) -> tuple[list[Location], list[tuple[str, str]]]:
    """Return the DVC cache and the remotes, and a reason for each that cannot be read."""
    root = dvc_root(workspace.root)
    locations, unreached = [], []
    cache = dvc_cache(workspace.root)
    if cache is not None and cache.is_dir():
        locations.append(Location.open("the DVC cache", open_store(str(cache), source="the DVC cache")))
    for name in remote_names(root):
        title = f"the DVC remote {name!r}"
        try:
            store = open_remote(root, name).store
            if store.identity.rstrip("/") != f"{registry}/objects":
                locations.append(Location.open(title, store))
        except FairDistillError as error:
            unreached.append((title, str(error)))
    return locations, unreached


def _prepared_files(runs: Iterable[Run]) -> dict[str, str | None]:
    """Return the split of each prepared file that a run read or wrote, by MD5."""
    return {
        md5: _SPLIT_OF_FILE[path]
        for run in runs
        for path, md5 in [*run.deps.items(), *run.outs.items()]
        if path in _SPLIT_OF_FILE
    }


def _assignments(runs: Iterable[Run]) -> set[str]:
    return {run.outs[ASSIGNMENTS] for run in runs if ASSIGNMENTS in run.outs}


def _holds(
    locations: Sequence[Location], md5: str, name: str | None, collector: TraceCollector, folder: Path
) -> bool | None:
    """Return whether a prepared file contains the people; None if it is not stored.

    A file of a recorded split that does not show whom it contains, as those of earlier releases, counts as one.
    """
    for location in locations:
        if md5 in location.keys:
            with local_copy(location.store, location.keys[md5], folder) as path:
                holds = collector.add(path, name)
            return name is not None if holds is None else holds
    return None


def _derived(locations: Sequence[Location], runs: Sequence[Run], holding: set[str]) -> set[str]:
    """Return the MD5s of what was computed from some prepared files, and of the files in these folders.

    A content that another run wrote from other data is left out: it shows nothing about the people.
    """
    folders = _prepared_folders(runs)
    tainted = holding | {md5 for md5, members in folders.items() if not holding.isdisjoint(members)}
    others, grown = list(runs), True
    while grown:
        rest = []
        for run in others:
            if any(path != _VALIDATION and md5 in tainted for path, md5 in run.deps.items()):
                tainted |= set(run.outs.values())
            else:
                rest.append(run)
        grown, others = len(rest) < len(others), rest
    for run in runs:
        if _VALIDATION in run.deps and not holding.isdisjoint(_splits_of(run)):
            tainted.add(run.deps[_VALIDATION])
    clean = {
        md5
        for run in others
        for path, md5 in run.outs.items()
        if holding.isdisjoint(run.outs.values()) and (path != _VALIDATION or run.deps.get(_PREPARED) in folders)
    }
    clean |= _members(locations, clean)
    written = {md5 for run in runs for md5 in run.outs.values()} & tainted
    return (written | _members(locations, written)) - clean - holding


def _splits_of(run: Run) -> set[str]:
    """Return the MD5s of the prepared files that a run read or wrote."""
    return {md5 for path, md5 in {**run.deps, **run.outs}.items() if path in _SPLIT_OF_FILE}


def _prepared_folders(runs: Sequence[Run]) -> dict[str, set[str]]:
    """Return the prepared files in each folder `artifacts/prepared` that runs show, by the MD5 of the folder.

    DVC records the folder without its files. A run that reads train and tune, and one that reads train and gate, show
    which three files belong together.
    """
    by_train: dict[str, dict[str, set[str]]] = {}
    for run in runs:
        read = {_SPLIT_OF_FILE[path]: md5 for path, md5 in {**run.deps, **run.outs}.items() if path in _SPLIT_OF_FILE}
        if "train" in read:
            for name, md5 in read.items():
                by_train.setdefault(read["train"], {}).setdefault(name, set()).add(md5)
    folders = {}
    for train, others in by_train.items():
        for tune in others.get("tune", ()):
            for gate in others.get("gate", ()):
                files = {"train.arrow": train, "tune.arrow": tune, "gate.arrow": gate}
                folders[folder_md5(files)] = set(files.values())
    return folders


def _members(locations: Sequence[Location], md5s: Iterable[str]) -> set[str]:
    """Return the MD5s of the files in stored folders."""
    members = set[str]()
    for md5 in md5s:
        if md5.endswith(".dir"):
            members |= set(_listing(locations, md5))
    return members


def _listing(locations: Sequence[Location], md5: str) -> Iterator[str]:
    for location in locations:
        if md5 in location.keys:
            # DVC writes a JSON array; `parse_json` reads objects.
            content = location.store.read(location.keys[md5], size_limit=_MOST_LISTING)
            files = parse_json(b'{"files": ' + content + b"}", name=md5)["files"]
            yield from (str(file["md5"]) for file in files if isinstance(file, dict) and "md5" in file)
            return
