"""Every command that the documentation shows runs, or is checked as far as possible without a cluster.

Commands of `fair-distill` run in this process, in a small workspace whose set was published and promoted three times.
Commands of other programs are checked with their parsers and with the files of the repository. The exceptions are
listed below with their reasons.
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
from uuid import UUID

import pytest
import yaml
from shown import PAGES, PROGRAMS, REPOSITORY, Block, Command, blocks, commands, split_commands
from small_workspace import run, small_params, write_params

import fair_distill
from fair_distill.cli import build_parser
from fair_distill.config import load_config

SHOWN: dict[str, Command] = {str(command): command for page in PAGES for command in commands(page)}
# The values for the placeholders of the pages.
PLACEHOLDERS = {
    "NAME": "digits",
    "SET": "barycentric",
    "A": "digits@v1",
    "B": "digits@v2",
    "WHY": "a reason",
    "FILE": "file",
    "FILE.png": "file.png",
    "DIR": "folder",
    "ID": "00000000-0000-4000-8000-000000000000",
}
# Commands that are only parsed here; another test runs them.
RUN_ELSEWHERE = {
    "fair-distill run": "tests/flows/test_interfaces.py: it is `dvc repro`",
    "fair-distill stage distill trimmed": "tests/docs/test_own_barycenter.py: it needs a file of the page",
    "fair-distill registry approve": "tests/registry/test_package_alone.py: it needs a key",
    "fair-distill stage estimate": "tests/cli/test_estimate.py: it times real steps in new processes",
    "fair-distill erase": "tests/test_erase.py: it needs names of people",
    "fair-distill gate pull-request": "tests/gate/test_pull_requests.py: it needs a pull request",
    "fair-distill gate attest-model": "tests/gate/test_gate_model.py: it needs a key",
    "fair-distill gate model": "tests/gate/test_gate_model.py: it needs predictions of a model",
    "fair-distill gate attest": "tests/gate/test_pull_requests.py: it needs a key",
    "fair-distill doctor --registry s3:": "tests/cli/test_doctor.py: the bucket does not exist",
}
# Commands that can end with another exit code than 0.
ENDS = {"enforce": {0, 1}, "doctor": {0, 2}}
# Programs whose commands are neither run nor parsed here.
NOT_CHECKED = {
    "git": "CI clones the repository in its first step",
    "kubectl": "the tests have no cluster",
    "cd": "part of the shell",
    "export": "part of the shell",
    ".": "part of the shell",
}


@pytest.fixture(scope="module")
def published(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace whose candidate was published and promoted three times. Do not change it."""
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("published") / "workspace"))
    params = small_params()
    params["gate"]["limits"] = [{"metric": "eo_diag_max", "at_most": 1.0, "why": "a test"}]
    for steps in (5, 6, 7):
        params["distill"]["steps"] = steps
        write_params(root, params)
        for command in ("distill", "evaluate", "judge"):
            _succeed(root, command, "barycentric")
        _succeed(root, "publish")
        _succeed(root, "promote", "--to", "production")
    for command in ("distill", "evaluate", "judge"):  # with the last settings as well, because pages show it
        _succeed(root, command, "pooled")
    (root / "base").mkdir()
    shutil.copy(root / "params.yaml", root / "base")
    (root / "stricter.yaml").write_text(yaml.safe_dump(params["gate"]))
    (root / "reference.json").write_text(_succeed(root, "data", "reference", "digits@production"))
    _succeed(root, "pin", "digits@production", "--lock", str(root / "fair-distill.lock"))
    (root / "head.json").write_text(_succeed(root, "head", "digits"))
    return root


def _succeed(root: Path, *argv: str) -> str:
    ended = run(root, *argv)
    assert ended.code == 0, f"{' '.join(argv)}: {ended.err}"
    return ended.out


def _of(program: str) -> list[str]:
    return [text for text, command in SHOWN.items() if command.program == program]


@pytest.mark.parametrize("text", _of("fair-distill"))
def test_a_command_of_fair_distill_runs(
    text: str, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [_filled_in(word) for word in SHOWN[text].words[1:]]
    if not _parses(words):
        assert _names_a_command(words), "neither a command that parses nor the name of one, in a sentence"
        return
    if any(text.startswith(command) for command in RUN_ELSEWHERE):
        return
    root = Path(shutil.copytree(published, tmp_path / "workspace"))
    monkeypatch.chdir(root)
    if words[:2] == ["gate", "plan"]:  # It needs a policy with bounds; the published policy compares numbers.
        params = small_params()
        params["gate"] |= {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": 2}
        write_params(root, params)

    if words[:2] == ["registry", "gc"]:  # It needs a ledger that this machine has read, and this copy is new.
        _succeed(Path(), "log", "digits")

    ended = run(Path(), *words)

    assert ended.code in ENDS.get(words[0], {0}), ended.err
    assert ended.out


def _filled_in(word: str) -> str:
    name, at, version = word.partition("@")
    return PLACEHOLDERS.get(name, name) + at + version


def _names_a_command(words: list[str]) -> bool:
    parser = build_parser()
    for word in words:
        if word not in parser.subcommands:
            return False
        parser = parser.subcommands[word]
    return True


def _parses(words: list[str]) -> bool:
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            build_parser().parse_args(words)
        except SystemExit:
            return False
    return True


@pytest.mark.parametrize("text", [text for text, command in SHOWN.items() if command.program != "fair-distill"])
def test_a_command_of_another_program_is_valid(text: str) -> None:
    command = SHOWN[text]
    if command.program not in NOT_CHECKED:
        CHECKS[command.program](list(command.words[1:]))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_command_is_in_a_block_of_type_sh_or_console(page: Path) -> None:
    """The other tests read only these blocks."""
    typed = re.compile(rf"^ *(?:\$ )?(?:{'|'.join(PROGRAMS)}) ", re.MULTILINE)
    hidden = [
        block.line for block in blocks(page) if block.language not in ("sh", "console") and typed.search(block.text)
    ]

    assert not hidden, f"{page}: ```sh at lines {hidden}"
    assert not re.search(rf"^ {{4}}.*\b(?:{'|'.join(PROGRAMS)}) .*$", _without_blocks(page), re.MULTILINE)


def _without_blocks(page: Path) -> str:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def test_the_exceptions_are_commands_of_the_pages() -> None:
    for command, reason in RUN_ELSEWHERE.items():
        assert any(text.startswith(command) for text in SHOWN), command
        assert (REPOSITORY / reason.partition(":")[0]).exists(), reason
    programs = {command.program for command in SHOWN.values()}
    assert set(NOT_CHECKED) <= programs
    assert programs <= {"fair-distill", *CHECKS, *NOT_CHECKED}


# The checks of each program


def _make(words: list[str]) -> None:
    targets = re.findall(r"^([\w./-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert {word for word in words if "=" not in word} <= set(targets)


def _dvc(words: list[str]) -> None:
    from dvc.cli import parse_args

    parsed = parse_args(words)
    assert parsed.func
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    if words[0] in ("repro", "pull"):
        sets = {f"artifacts/sets/{name}" for name in load_config(REPOSITORY / "params.yaml").sets}
        files = {path for out in stages["prepare"]["outs"] for path in ([out] if isinstance(out, str) else out)}
        assert set(parsed.targets) <= set(stages) | sets | files


def _dask(words: list[str]) -> None:
    from distributed.cli import dask_scheduler, dask_worker

    of = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}
    of[words[0]].make_context(f"dask {words[0]}", words[1:])


def _prefect(words: list[str]) -> None:
    from prefect.cli._app import _app

    # `--no-prompt` is an option of the program, not of the command. ID stands for the id of a flow run.
    arguments = [str(UUID(int=0)) if word == "ID" else word for word in words if word != "--no-prompt"]
    _app.parse_args(arguments, exit_on_error=False, print_error=False)
    files = [REPOSITORY / "prefect.yaml", REPOSITORY / "fair_distill" / "template" / "prefect.yaml"]
    texts = [file.read_text().replace("{dataset}", "faces") for file in files]
    deployed = {deployment["name"] for text in texts for deployment in yaml.safe_load(text)["deployments"]}
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
        module = REPOSITORY / words[1].replace(".", "/")
        assert words[1] == "venv" or module.with_suffix(".py").is_file() or (module / "__main__.py").is_file()
        return
    if any(f"Save this as `{words[0]}`" in (REPOSITORY / page).read_text(encoding="utf-8") for page in PAGES):
        return  # the script of the page, which tests/docs/test_tutorial.py runs
    script = (REPOSITORY / words[0]).read_text(encoding="utf-8")
    assert all(word in script for word in words[1:] if word.startswith("--"))


def _docker(words: list[str]) -> None:
    if words[0] in ("ps", "stop"):
        return  # they take the names of containers
    if words[0] == "compose":
        services = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]
        assert words[1] in ("up", "exec")
        assert words[1] == "up" or words[2] in services
        return
    if words[0] == "stop":  # the container of a flow run, which Prefect's docker worker labels
        assert "label=io.prefect.flow-run-id=ID" in words[1]
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
def test_a_call_of_the_package_is_valid(block: Block) -> None:
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
def test_the_code_for_consumers_runs(block: Block, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line runs on the set of this test. The test above checks the arguments."""
    place = str(published / "registry")
    for name in ("load", "look_up"):
        found = getattr(fair_distill, name)("digits@production", registry=place)
        monkeypatch.setattr(fair_distill, name, lambda *_, found=found, **__: found)
    if block.text.startswith("import pandas"):
        pytest.skip("needs the census files; the test of examples/adult runs these lines")
    names: dict[str, Any] = {"fair_distill": fair_distill}

    exec(block.text, names)

    assert "fair_distill" in names


# The reader of commands


def test_a_line_of_shell_is_split_into_commands() -> None:
    line = "A=1 one --x 'two words' > out && three $(four five) | six  # seven"

    assert list(split_commands(line)) == [
        Command(("A=1",), ("one", "--x", "two words"), "out"),
        Command((), ("three", "$(four five)"), None),
        Command((), ("six",), None),
    ]
