"""Every command that the documentation shows is run, or checked as far as it goes without a cluster; none is left over.

`fair-distill` runs, in this process, in a small workspace whose set was published and promoted three times. What other
programs are asked is held against their own parsers and our files. What is neither is listed here, with its reason.
"""

import ast
import contextlib
import inspect
import io
import re
import shutil
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from shown import PAGES, PROGRAMS, REPOSITORY, Block, Command, blocks, commands, taken_apart
from small_workspace import run, small_params, write_params

import fair_distill
from fair_distill.cli import _parser
from fair_distill.cli.examples import EXAMPLES
from fair_distill.config import load_config

SHOWN: dict[str, Command] = {str(command): command for page in PAGES for command in commands(page)}
# What a page calls something that its reader has a name for.
STANDS_FOR = {
    "NAME": "digits",
    "SET": "barycentric",
    "A": "digits@v1",
    "B": "digits@v2",
    "WHY": "a reason",
    "FILE": "file",
    "FILE.png": "file.png",
    "DIR": "folder",
}
# Commands of ours that are parsed here and run there.
RUN_ELSEWHERE = {
    "fair-distill run": "tests/flows/test_three_doors.py: it is `dvc repro`",
    "fair-distill distill trimmed": "tests/docs/test_own_barycenter.py: it needs the page's own file",
    "fair-distill approve": "tests/registry/test_package_alone.py: it needs a key",
    "fair-distill estimate": "tests/cli/test_estimate.py: it times real steps in processes of their own",
    "fair-distill gate reserve --fresh": "tests/registry/test_attempts.py: no split that was asked is fresh",
    "fair-distill gate pull-request": "tests/gate/test_pull_requests.py: it needs a pull request",
    "fair-distill attest": "tests/gate/test_pull_requests.py: it needs a key",
    "fair-distill doctor --registry s3:": "tests/cli/test_doctor.py: there is no such bucket",
}
# A command that may end in another way than well, and how.
ENDS = {"enforce": {0, 1}, "doctor": {0, 2}}
# Programs whose commands are neither run nor parsed here.
NOT_CHECKED = {
    "git": "git's own words; that a clone works is what CI does first",
    "kubectl": "there is no cluster here",
    "cd": "the shell's",
    "export": "the shell's",
    ".": "the shell's",
}


@pytest.fixture(scope="module")
def published(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose candidate was published and promoted three times. Read only."""
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("published") / "workspace"))
    params = small_params()
    params["gate"]["limits"] = [{"metric": "eo_diag_max", "at_most": 1.0, "why": "a test"}]
    for steps in (5, 6, 7):
        params["distill"]["steps"] = steps
        write_params(root, params)
        for command in ("distill", "evaluate", "judge"):
            _well(root, command, "barycentric")
        _well(root, "publish")
        _well(root, "promote", "--to", "production")
    for command in ("distill", "evaluate", "judge"):  # by the last settings too: pages show it
        _well(root, command, "pooled")
    (root / "base").mkdir()
    shutil.copy(root / "params.yaml", root / "base")
    (root / "stricter.yaml").write_text(yaml.safe_dump(params["gate"]))
    (root / "reference.json").write_text(_well(root, "data", "reference", "digits@production"))
    _well(root, "pin", "digits@production", "--lock", str(root / "fair-distill.lock"))
    (root / "head.json").write_text(_well(root, "head", "digits"))
    return root


def _well(root: Path, *argv: str) -> str:
    ended = run(root, *argv)
    assert ended.code == 0, f"{' '.join(argv)}: {ended.err}"
    return ended.out


def _of(program: str) -> list[str]:
    return [text for text, command in SHOWN.items() if command.program == program]


@pytest.mark.parametrize("text", _of("fair-distill"))
def test_a_command_of_ours_does_what_it_should(
    text: str, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [_stood_for(word) for word in SHOWN[text].words[1:]]
    if not _parses(words):
        assert " ".join(words) in EXAMPLES, "neither a command that parses nor the name of one, in a sentence"
        return
    if any(text.startswith(known) for known in RUN_ELSEWHERE):
        return
    root = Path(shutil.copytree(published, tmp_path / "workspace"))
    monkeypatch.chdir(root)
    if words[:2] == ["gate", "plan"]:  # which is for bounds; what is published here keeps a limit by its bare number
        params = small_params()
        params["gate"] |= {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": 2}
        write_params(root, params)

    if words[0] == "gc":  # which asks this machine how far the ledger goes, and the copy was never read here
        _well(Path(), "log", "digits")

    ended = run(Path(), *words)

    assert ended.code in ENDS.get(words[0], {0}), ended.err
    assert ended.out


def _stood_for(word: str) -> str:
    name, at, version = word.partition("@")
    return STANDS_FOR.get(name, name) + at + version


def _parses(words: list[str]) -> bool:
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            _parser().parse_args(words)
        except SystemExit:
            return False
    return True


@pytest.mark.parametrize("text", [text for text, command in SHOWN.items() if command.program != "fair-distill"])
def test_a_command_of_another_program_is_one_that_it_knows(text: str) -> None:
    command = SHOWN[text]
    if command.program not in NOT_CHECKED:
        CHECKS[command.program](list(command.words[1:]))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_what_is_typed_stands_in_a_block_that_says_so(page: Path) -> None:
    """Or the tests above would not see it."""
    typed = re.compile(rf"^ *(?:\$ )?(?:{'|'.join(PROGRAMS)}) ", re.MULTILINE)
    hidden = [
        block.line for block in blocks(page) if block.language not in ("sh", "console") and typed.search(block.text)
    ]

    assert not hidden, f"{page}: ```sh at lines {hidden}"
    assert not re.search(rf"^ {{4}}.*\b(?:{'|'.join(PROGRAMS)}) .*$", _without_blocks(page), re.MULTILINE)


def _without_blocks(page: Path) -> str:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def test_nothing_is_listed_that_is_not_shown() -> None:
    for known, why in RUN_ELSEWHERE.items():
        assert any(text.startswith(known) for text in SHOWN), known
        assert (REPOSITORY / why.partition(":")[0]).exists(), why
    programs = {command.program for command in SHOWN.values()}
    assert set(NOT_CHECKED) <= programs
    assert programs <= {"fair-distill", *CHECKS, *NOT_CHECKED}


# What each program is asked


def _make(words: list[str]) -> None:
    targets = re.findall(r"^([\w./-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert {word for word in words if "=" not in word} <= set(targets)


def _dvc(words: list[str]) -> None:
    from dvc.cli import parse_args

    parsed = parse_args(words)
    assert parsed.func
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    if words[0] in ("repro", "pull"):
        made = {f"artifacts/sets/{name}" for name in load_config(REPOSITORY / "params.yaml").sets}
        assert set(parsed.targets) <= set(stages) | made


def _dask(words: list[str]) -> None:
    from distributed.cli import dask_scheduler, dask_worker

    of = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}
    of[words[0]].make_context(f"dask {words[0]}", words[1:])


def _prefect(words: list[str]) -> None:
    from prefect.cli._app import _app

    without = [word for word in words if word != "--no-prompt"]  # the one word that belongs to the program itself
    _app.parse_args(without, exit_on_error=False, print_error=False)
    deployed = {one["name"] for one in yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]}
    for before, word in pairwise(words):
        assert not word.startswith("flows/") or (REPOSITORY / word).is_file(), word
        assert before != "--name" or word in deployed, word
        assert before != "run" or word.partition("/")[2] in deployed, word


def _pip(words: list[str]) -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert words[0] == "install"
    if words[-1] == "torch":
        return
    named = re.fullmatch(r"fair-distill(?:\[([\w,]+)\])?", words[-1])
    assert named is not None
    assert set(filter(None, (named[1] or "").split(","))) <= set(extras)


def _python(words: list[str]) -> None:
    if words[0] == "-m":
        assert words[1] == "venv" or (REPOSITORY / f"{words[1].replace('.', '/')}.py").is_file()
        return
    if any(f"Save this as `{words[0]}`" in (REPOSITORY / page).read_text(encoding="utf-8") for page in PAGES):
        return  # the page's own script, which tests/docs/test_tutorial.py runs
    script = (REPOSITORY / words[0]).read_text(encoding="utf-8")
    assert all(word in script for word in words[1:] if word.startswith("--"))


def _docker(words: list[str]) -> None:
    if words[0] == "compose":
        services = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]
        assert words[1] in ("up", "exec")
        assert words[1] == "up" or words[2] in services
        return
    assert words[0] == "build"
    declared = re.findall(r"^ARG (\w+)", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    given = [words[i + 1].partition("=")[0] for i, word in enumerate(words) if word == "--build-arg"]
    assert set(given) <= set(declared)


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "dask": _dask,
    "docker": _docker,
    "dvc": _dvc,
    "make": _make,
    "pip": _pip,
    "prefect": _prefect,
    "python": _python,
    "python3": _python,
}


# Python


PYTHON = [block for page in PAGES for block in blocks(page) if block.language == "python"]


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: f"{block.page}:{block.line}")
def test_a_call_of_ours_is_one_that_the_package_answers(block: Block) -> None:
    tree = ast.parse(block.text)
    names = {"fair_distill": fair_distill}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "fair_distill":
            names |= {alias.name: getattr(fair_distill, alias.name) for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (called := _looked_up(node.func, names)) is not None:
            inspect.signature(called).bind(*node.args, **{str(word.arg): word.value for word in node.keywords})


def _looked_up(node: ast.expr, names: dict[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _looked_up(node.value, names)
        return None if owner is None else getattr(owner, node.attr)
    return None


@pytest.mark.parametrize(
    "block", [block for block in PYTHON if "fair_distill.load(" in block.text], ids=lambda block: str(block.page)
)
def test_a_consumer_gets_what_a_page_shows(block: Block, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of it, on the one set that there is here; what is asked for is checked by the test above."""
    place = str(published / "registry")
    for name in ("load", "look_up"):
        found = getattr(fair_distill, name)("digits@production", registry=place)
        monkeypatch.setattr(fair_distill, name, lambda *_, found=found, **__: found)
    names: dict[str, Any] = {}

    exec(block.text, names)

    assert "fair_distill" in names


# The reader itself


def test_a_line_of_shell_is_taken_apart() -> None:
    line = "A=1 one --x 'two words' > out && three $(four five) | six  # seven"

    assert list(taken_apart(line)) == [
        Command(("A=1",), ("one", "--x", "two words"), "out"),
        Command((), ("three", "$(four five)"), None),
        Command((), ("six",), None),
    ]
