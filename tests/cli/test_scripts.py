"""What scripts and shells are given: JSON, completion, no colours, help with examples that parse."""

import json
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from small_workspace import SETS, run, small_params, write_params

import fair_distill
from fair_distill.cli import _parser
from fair_distill.cli.completion import SHELLS
from fair_distill.cli.examples import EXAMPLES
from fair_distill.cli.parser import HEADINGS, subcommands


def commands(parser: Any, before: str = "") -> list[str]:
    """Every command that does something, by its full name."""
    found = []
    for name, sub in subcommands(parser).items():
        full = f"{before} {name}".strip()
        found += commands(sub, full) or [full]
    return found


COMMANDS = commands(_parser())


def test_every_command_has_examples_and_no_example_is_of_none() -> None:
    assert set(EXAMPLES) == set(COMMANDS)


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line, _ in lines])
def test_an_example_parses(line: str) -> None:
    words = shlex.split(line.partition(" | ")[0].partition(" > ")[0])

    assert words[0] == "fair-distill"
    _parser().parse_args(words[1:])


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_examples(tmp_path: Path, name: str) -> None:
    shown = run(tmp_path, *name.split(), "--help").out

    for line, meaning in EXAMPLES[name]:
        assert f"  {line}\n      {meaning}" in shown


@pytest.mark.parametrize(
    "argv",
    [
        ["table", "--json"],
        ["where", "--json"],
        ["validate", "--json"],
        ["data", "describe", "--json"],
        ["gate", "replay", "--json"],
        ["judge", "pooled", "--json"],
        ["enforce", "pooled", "--json"],
        ["report", "--json"],
    ],
    ids=" ".join,
)
def test_json_is_json_and_nothing_else(workspace: Path, argv: list[str]) -> None:
    ended = run(workspace, *argv)

    assert ended.code in (0, 1)
    json.loads(ended.out)
    assert ended.err == ""


def test_a_plan_is_told_to_scripts_as_to_people(workspace: Path) -> None:
    params = small_params()
    params["gate"] |= {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": 2}
    write_params(workspace, params)

    told = json.loads(run(workspace, "gate", "plan", "--accuracy", "0.9", "--json").out)

    assert [row["clause"] for row in told["rows"]] == [limit["metric"] for limit in params["gate"]["limits"]]
    assert set(told) == {"rows", "advice"}


def test_what_json_says_is_what_the_words_say(finished: Path) -> None:
    told = json.loads(run(finished, "table", "--json").out)
    assert list(told) == sorted(SETS)
    assert json.loads(run(finished, "where", "--json").out)["sets"] == told
    for name in SETS:
        written = json.loads((finished / "artifacts" / "evaluation" / f"{name}.json").read_text())
        for network, report in written.items():
            shown = told[name]["networks"][network]
            assert shown.keys() == report.keys()
            assert shown.pop("mean_over_runs") == pytest.approx(report.pop("mean_over_runs"))
            assert shown == pytest.approx(report)

    numbers = json.loads(run(finished, "report", "pooled", "--json").out)
    assert numbers["set"] == "pooled"
    assert len(numbers["cells"]["convnet"]) == 20
    assert numbers["verdict"]["outcome"] == told["pooled"]["verdict"]


def test_the_registry_speaks_json(workspace: Path) -> None:
    params = small_params()
    params["gate"]["limits"] = [{"metric": "eo_diag_max", "at_most": 1.0, "why": "a test"}]
    write_params(workspace, params)
    registry = ["--registry", str(workspace / "registry")]

    published = json.loads(run(workspace, "publish", "--json").out)
    promoted = json.loads(run(workspace, "promote", "--to", "production", "--json").out)
    checked = json.loads(run(workspace, "verify", "digits@production", "--json", *registry).out)
    off = json.loads(run(workspace, "demote", "digits@production", "--reason", "x", "--json", *registry).out)
    gone = json.loads(run(workspace, "revoke", "digits@v1", "--reason", "x", "--json", *registry).out)

    assert (off["event"], off["channel"]) == ("demote", "production")
    assert (published["number"], published["new"]) == (1, True)
    assert promoted["version"] == published["version"] == gone["version"]
    assert {"manifest", "set.parquet", "verdicts"} <= {one["what"] for one in checked}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_is_taught_every_command(tmp_path: Path, shell: str) -> None:
    script = run(tmp_path, "completion", shell).out

    assert all(word in script for name in COMMANDS for word in name.split())


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(run(tmp_path, "completion", "bash").out)

    def completed(*words: str) -> list[str]:
        line = f"COMP_WORDS=({shlex.join(['fair-distill', *words])}); COMP_CWORD={len(words)}"
        body = f'source {script}; {line}; _shtab_fair_distill; printf "%s\\n" "${{COMPREPLY[@]}}"'
        return subprocess.run(["bash", "-c", body], capture_output=True, text=True, check=True).stdout.split()

    assert completed("rep") == ["report"]
    assert completed("gate", "pl") == ["plan"]
    assert "--out" in completed("report", "--o")


def test_colours_are_off_when_asked(finished: Path) -> None:
    def shown(*argv: str, **more: str) -> str:
        environment = {"PATH": "/usr/bin:/bin", "FORCE_COLOR": "1", "TERM": "xterm-256color", **more}
        command = [sys.executable, "-m", "fair_distill", "--workspace", str(finished), *argv, "table"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert "\x1b[3" in shown()  # or the rest would show nothing
    for plain in (shown("--no-color"), shown(NO_COLOR="1")):
        assert not any(f"\x1b[{code}" in plain for code in range(30, 50))


def test_help_sets_the_commands_apart_in_the_order_they_are_used(tmp_path: Path) -> None:
    shown = run(tmp_path, "--help").out

    places = [shown.index(f"\n\n    {title}:\n    {command} ") for command, title in HEADINGS.items()]
    assert places == sorted(places)


def test_it_says_which_release_it_is(tmp_path: Path) -> None:
    ended = run(tmp_path, "--version")

    assert (ended.code, ended.out) == (0, f"fair-distill {version('fair-distill')}\n")
    assert fair_distill.__version__ == version("fair-distill")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["distil", "pooled"], "did you mean 'distill'?"),
        (["gate", "paln"], "did you mean 'plan'?"),
        (["completion", "ksh93"], "choose from bash, zsh, fish"),
        (["distill"], "required: candidate. See fair-distill distill --help"),
        (["table", "--workspace", "."], "--workspace and --no-color stand before the command"),
        (["evaluate", "pooled", "--fast"], "unrecognized arguments: --fast. See fair-distill --help"),
    ],
)
def test_a_wrong_command_line_is_one_line_with_a_way_out(tmp_path: Path, argv: list[str], says: str) -> None:
    ended = run(tmp_path, *argv)

    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert says in ended.err
