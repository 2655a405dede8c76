"""The files of a workspace that Prefect runs: the flows, their tasks and prefect.yaml.

They are not an importable part of the package, because the names `flows` and `tasks` would collide with those of other
packages. `fair-distill init --schedule` writes them into the workspace, with the digest of each file. By these digests
the same command replaces the files of an earlier release, and `doctor` finds files that do not fit the package.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from fair_distill.errors import ConfigError, DataError
from fair_distill.files import parse_json, to_json

# The release that wrote the files, and their digests.
STAMP = "flows/release.json"
_FOLDERS = {"flows": (".py", ".yaml"), "tasks": (".py",)}
# Users change these files, so they are written only where they are missing.
_SETTINGS = ("prefect.yaml", "prefect.toml")


@dataclass(frozen=True)
class Schedule:
    """What to do with the files in a workspace.

    Attributes
    ----------
    write : contents, by path in the workspace
    remove : files of an earlier release that this release does not have
    """

    write: Mapping[str, bytes]
    remove: tuple[str, ...]


def flow_files() -> dict[str, bytes]:
    """Return the files of the flows and tasks of this release, by path in a workspace."""
    template = files("fair_distill") / "template"
    return {
        f"{folder}/{file.name}": file.read_bytes()
        for folder, suffixes in _FOLDERS.items()
        for file in sorted((template / folder).iterdir(), key=lambda file: file.name)
        if file.name.endswith(suffixes)
    }


def plan_schedule(folder: Path, dataset: str) -> Schedule:
    """Return the files that `init --schedule` writes to a workspace and removes from it.

    Raises
    ------
    ConfigError
        If a file would be overwritten that is not of an earlier release, or was changed since.
    """
    new, stamped = flow_files(), _stamped(folder)
    for path, content in _existing(folder, new).items():
        if content != new[path] and _digest(content) != stamped.get(path):
            origin = "was changed since `init --schedule` wrote it" if path in stamped else "is not of fair-distill"
            raise ConfigError(
                f"{folder / path} {origin}, and would be overwritten; move it, and run "
                f"`fair-distill init --schedule {folder}` again"
            )
    gone = {path: digest for path, digest in stamped.items() if path not in new}
    unchanged = [path for path, content in _existing(folder, gone).items() if _digest(content) == gone[path]]
    stamp = {"release": version("fair-distill"), "files": {path: _digest(content) for path, content in new.items()}}
    template = files("fair_distill") / "template"
    settings = {
        name: (template / name).read_text(encoding="utf-8").replace("{dataset}", dataset).encode()
        for name in _SETTINGS
        if not (folder / name).exists()
    }
    return Schedule({**new, STAMP: to_json(stamp), **settings}, tuple(unchanged))


def schedule_faults(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each reason why the flows in a workspace do not fit the installed package, with its fix."""
    stamped, new = _stamped(folder), flow_files()
    again = f"run `fair-distill init --schedule {folder}`, then commit the files"
    if stamped != {path: _digest(content) for path, content in new.items()}:
        yield "flows and tasks are of another release of fair-distill", again
        return
    existing = _existing(folder, new)
    for path in new:
        if path not in existing:
            yield f"{path} is missing", again
        elif _digest(existing[path]) != stamped[path]:
            yield (
                f"{path} was changed since `init --schedule` wrote it",
                "undo the change, or move the flow to another file and name it in prefect.yaml",
            )


def is_scheduled(folder: Path) -> bool:
    """Return whether `init --schedule` has written the flows to a workspace."""
    return (folder / STAMP).exists()


def _stamped(folder: Path) -> dict[str, str]:
    """Return the digests of the files that `init --schedule` wrote, by path; empty if it did not."""
    stamp = folder / STAMP
    if not stamp.exists():
        return {}
    digests = parse_json(stamp.read_bytes(), name=str(stamp)).get("files")
    if not isinstance(digests, dict) or not all(isinstance(digest, str) for digest in digests.values()):
        raise DataError(f"{stamp} lacks the digests in `files`; restore the file from git")
    outside = [path for path in digests if path.partition("/")[0] not in _FOLDERS or path.count("/") != 1]
    if outside:
        raise DataError(f"{stamp} names {outside[0]}, which is not a file in flows or tasks; restore it from git")
    return digests


def _existing(folder: Path, paths: Mapping[str, object]) -> dict[str, bytes]:
    return {path: (folder / path).read_bytes() for path in paths if (folder / path).is_file()}


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()
