"""`fair-distill init`: create a workspace that runs at once.

Its params.yaml and dvc.yaml are those of the demo, so a team starts with files that the tests run. The command only
inserts the name of the dataset and a comment on custom data. With `--schedule` it adds the flows that Prefect runs, to
a new workspace or to an existing one.
"""

import re
import shlex
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import combining, normalize

from fair_distill.cli.output import print_line
from fair_distill.cli.parser import Arguments, Parser
from fair_distill.errors import ConfigError

if TYPE_CHECKING:
    from fair_distill.cli.schedule import Schedule

# The path in the new workspace of each template file.
TARGETS = {
    "params.yaml": "params.yaml",
    "dvc.yaml": "dvc.yaml",
    "context.json": "context.json",
    "README.md": "README.md",
    "gitignore": ".gitignore",
    "dvcignore": ".dvcignore",
    "dvc-config": ".dvc/config",
    "dvc-gitignore": ".dvc/.gitignore",
    "github.yml": ".github/workflows/dataset-gate.yml",
    "gitlab.yml": ".gitlab-ci.yml",
    "gate-requirements.txt": "gate-requirements.txt",
}
# Templates with placeholders for the dataset and the release.
_WITH_PLACEHOLDERS = ("README.md", "github.yml", "gitlab.yml")


def add_commands(parser: Parser) -> None:
    """Add the command."""
    command = parser.add_command(
        "init",
        _init,
        "create a workspace that runs at once",
        examples=[
            ("fair-distill init faces", "create the folder faces with the demo's configuration"),
            ("fair-distill init --schedule faces", "the same, and add the flows that Prefect runs"),
        ],
    )
    command.add_argument(
        "folder", type=Path, metavar="DIR", help="the folder; it is created if missing, and no file is overwritten"
    )
    command.add_argument("--dataset", metavar="NAME", help="the name in the registry (default: the name of the folder)")
    command.add_argument(
        "--schedule",
        action="store_true",
        help="add flows, tasks and prefect.yaml, also to an existing workspace; after an upgrade, replace the flows of "
        "the earlier release",
    )


def _init(arguments: Arguments) -> None:
    from fair_distill.files import write_bytes
    from fair_distill.versioning.git_commands import ensure_repository

    folder = arguments.folder.resolve()
    exists = (folder / "params.yaml").exists()
    contents = {} if arguments.schedule and exists else _new_workspace(folder, arguments.dataset)
    removed: tuple[str, ...] = ()
    if arguments.schedule:
        schedule = _schedule(folder, arguments.dataset, exists=exists)
        contents, removed = contents | dict(schedule.write), schedule.remove
    for path, content in contents.items():
        write_bytes(folder / path, content)
    for path in removed:
        (folder / path).unlink()
    new_repository = ensure_repository(folder)
    print_line(f"{folder}: {len(contents)} files{', and a git repository' if new_repository else ''}")
    here = f"cd {shlex.quote(str(folder))}"
    if not exists:
        print_line(f"next: {here} && fair-distill doctor && dvc repro")
    if arguments.schedule:
        print_line(f"next: {here} && git add --all && git commit; then run the commands at the top of prefect.yaml")


def _new_workspace(folder: Path, dataset: str | None) -> dict[str, bytes]:
    """Return the files of a new workspace. Raises ConfigError if one of them exists."""
    contents = scaffold(dataset or slug(folder.name))
    existing = [path for path in contents if (folder / path).exists()]
    if existing:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise ConfigError(
            f"{folder} already has {existing[0]}{more}; choose an empty folder, because init overwrites no file"
        )
    return {path: content.encode() for path, content in contents.items()}


def _schedule(folder: Path, dataset: str | None, *, exists: bool) -> "Schedule":
    """Return the files to write and to remove, for a new workspace or for one that exists."""
    from fair_distill.cli.schedule import plan_schedule
    from fair_distill.config import load_config

    if not exists:
        return plan_schedule(folder, dataset or slug(folder.name))
    named = load_config(folder / "params.yaml").dataset
    if dataset not in (None, named):
        raise ConfigError(
            f"--dataset is {dataset!r}, and {folder / 'params.yaml'} has {named!r}; omit --dataset, or change it there"
        )
    return plan_schedule(folder, named)


def slug(name: str) -> str:
    """Return the name of a folder as the name of a dataset: letters without accents, digits, '-' and '_'."""
    plain = "".join(letter for letter in normalize("NFKD", name) if not combining(letter))
    return re.sub(r"[^A-Za-z0-9_-]+", "-", plain).strip("-") or "mine"


def scaffold(dataset: str) -> dict[str, str]:
    """Return the files of a new workspace, by their path in it.

    Raises
    ------
    ConfigError
        If params.yaml does not accept the name of the dataset.
    """
    if slug(dataset) != dataset:
        raise ConfigError(f"--dataset is {dataset!r}; use only letters, digits, '-' and '_'")
    contents = {path: _template(name) for name, path in TARGETS.items()}
    values = {"{dataset}": dataset, "{version}": version("fair-distill")}
    for name in _WITH_PLACEHOLDERS:
        for placeholder, value in values.items():
            contents[TARGETS[name]] = contents[TARGETS[name]].replace(placeholder, value)
    contents["params.yaml"] = _params(contents["params.yaml"], dataset)
    return contents


def _params(demo: str, dataset: str) -> str:
    named = re.sub(r"(?m)^dataset: \S+", f"dataset: {dataset}", demo)
    return named.replace("\ndata:\n", "\ndata:\n" + _template("own-data.yaml"), 1)


def _template(name: str) -> str:
    return (files("fair_distill") / "template" / name).read_text(encoding="utf-8")
