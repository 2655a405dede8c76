"""`fair-distill init DIR`: a workspace that runs at once, to put one's own data in.

Its params.yaml and dvc.yaml are the demo's own, so that what the tests run is what a team begins with; only the name
and a comment on one's own data are put in.
"""

import re
import shlex
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from unicodedata import combining, normalize

from fair_distill.cli.arguments import Arguments, Commands, add_command
from fair_distill.cli.show import say
from fair_distill.errors import ConfigError

# What stands in the package, and what it is called in a workspace.
PLACES = {
    "params.yaml": "params.yaml",
    "dvc.yaml": "dvc.yaml",
    "context.json": "context.json",
    "prefect.yaml": "prefect.yaml",
    "README.md": "README.md",
    "gitignore": ".gitignore",
    "dvcignore": ".dvcignore",
    "dvc-config": ".dvc/config",
    "dvc-gitignore": ".dvc/.gitignore",
    "github.yml": ".github/workflows/dataset-gate.yml",
    "gitlab.yml": ".gitlab-ci.yml",
    "gate-requirements.txt": "gate-requirements.txt",
}
# Files that speak of the workspace by name.
_FILLED = ("prefect.yaml", "README.md", "github.yml", "gitlab.yml")


def add_commands(commands: Commands) -> None:
    sub = add_command(commands, "init", _init, "lay a workspace that runs at once, to put your own data in")
    sub.add_argument("folder", type=Path, metavar="DIR", help="made if it is not there; nothing in it is overwritten")
    sub.add_argument("--dataset", metavar="NAME", help="the name it is published under (default: the folder's)")


def _init(arguments: Arguments) -> None:
    from fair_distill.files import write_bytes
    from fair_distill.versioning.git_commands import ensure_repository

    folder = arguments.folder.resolve()
    contents = scaffold(arguments.dataset or slug(folder.name), folder)
    taken = [place for place in contents if (folder / place).exists()]
    if taken:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise ConfigError(f"{folder} has {taken[0]}{more} already, which are not overwritten; choose an empty folder")
    for place, content in contents.items():
        write_bytes(folder / place, content.encode())
    new = ensure_repository(folder)
    say(f"{folder}: {len(contents)} files{', and a git repository' if new else ''}")
    say(f"next: cd {shlex.quote(str(folder))} && fair-distill doctor && dvc repro")


def slug(name: str) -> str:
    """Return a folder's name as a dataset's: letters without accents, digits, '-' and '_'."""
    plain = "".join(letter for letter in normalize("NFKD", name) if not combining(letter))
    return re.sub(r"[^A-Za-z0-9_-]+", "-", plain).strip("-") or "mine"


def scaffold(dataset: str, folder: Path) -> dict[str, str]:
    """Return the files of a new workspace, by their place in it.

    Raises
    ------
    ConfigError
        If the name of the dataset is none that params.yaml takes.
    """
    if slug(dataset) != dataset:
        raise ConfigError(f"--dataset is {dataset!r}; a name is made of letters, digits, '-' and '_'")
    contents = {place: _template(name) for name, place in PLACES.items()}
    filled = {"{dataset}": dataset, "{version}": version("fair-distill"), "{folder}": str(folder)}
    for name in _FILLED:
        for mark, value in filled.items():
            contents[PLACES[name]] = contents[PLACES[name]].replace(mark, value)
    contents["params.yaml"] = _own_params(contents["params.yaml"], dataset)
    return contents


def _own_params(demo: str, dataset: str) -> str:
    named = re.sub(r"(?m)^dataset: \S+", f"dataset: {dataset}", demo)
    return named.replace("\ndata:\n", "\ndata:\n" + _template("own-data.yaml"), 1)


def _template(name: str) -> str:
    return (files("fair_distill") / "template" / name).read_text(encoding="utf-8")
