"""What scripts and shells rely on: JSON, completion, old spellings, no colours, and help whose examples parse."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from small_workspace import REPOSITORY, SETS, run, small_params, write_params

import fair_distill
from fair_distill.cli import SHELLS, build_parser
from fair_distill.cli.aliases import ALIASES, without_aliases
from fair_distill.cli.output import print_sentence, print_table
from fair_distill.cli.parser import Parser


def commands(parser: Parser, group: str = "") -> Iterator[tuple[str, Parser]]:
    """Every command that is not a group, by its full name."""
    for name, command in parser.subcommands.items():
        full_name = f"{group} {name}".strip()
        if command.subcommands:
            yield from commands(command, full_name)
        else:
            yield full_name, command


COMMANDS = dict(commands(build_parser()))
EXAMPLES = {
    name: re.findall(r"^  (fair-distill (?:.*\\\n)*.*)\n      (\S.*)$", command.epilog or "", re.MULTILINE)
    for name, command in COMMANDS.items()
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_ends_with_examples_of_it(tmp_path: Path, name: str) -> None:
    text = run(tmp_path, *name.split(), "--help").out

    assert EXAMPLES[name]
    for line, meaning in EXAMPLES[name]:
        assert re.match(rf"fair-distill (--workspace \S+ )?{name}\b", line)
        assert f"  {line}\n      {meaning}" in text


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line, _ in lines])
def test_an_example_parses(line: str) -> None:
    words = shlex.split(line.partition(" | ")[0].partition(" > ")[0].replace("\\\n", ""))

    build_parser().parse_args(words[1:])


@pytest.mark.parametrize("name", ["", *sorted({name.partition(" ")[0] for name in COMMANDS} | set(COMMANDS))])
def test_help_fits_80_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    lines = run(tmp_path, *name.split(), "--help").out.splitlines()

    assert max(map(len, lines)) <= 80
    assert name or len(lines) <= 32


# --- old spellings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", ALIASES)
def test_an_old_spelling_names_a_command_that_exists(old: str) -> None:
    new = ALIASES[old]

    assert without_aliases([old, "x"]) == [*new, "x"]
    assert without_aliases(["--no-color", "--workspace", "prepare", old]) == [
        "--no-color",
        "--workspace",
        "prepare",
        *new,
    ]
    assert without_aliases(["--work", "w", "--workspace=w", old]) == ["--work", "w", "--workspace=w", *new]
    assert " ".join(new) in COMMANDS or new in (("table", "--paths"), ("--print-completion",))
    assert without_aliases(new) == list(new)


def test_the_name_of_a_set_is_not_an_old_spelling() -> None:
    assert without_aliases(["enforce", "judge"]) == ["enforce", "judge"]


@pytest.mark.parametrize("path", ["dvc.yaml", "examples/mtt/dvc.yaml", "examples/adult/dvc.yaml"])
def test_every_command_in_dvc_yaml_parses(path: str) -> None:
    stages = yaml.safe_load((REPOSITORY / path).read_text())["stages"]

    for stage in stages.values():
        words = shlex.split(stage.get("do", stage)["cmd"] if "cmd" not in stage else stage["cmd"])
        assert words[0] == "fair-distill"
        build_parser().parse_args(without_aliases(words[1:]))


def test_croissant_was_an_option_of_the_card() -> None:
    assert build_parser().parse_args(without_aliases(["card", "digits@v1", "--croissant"])).croissant


def test_old_spellings_are_not_in_the_help(tmp_path: Path) -> None:
    listed = re.findall(r"^  ([a-z][a-z-]*)  ", run(tmp_path, "--help").out, re.MULTILINE)

    assert set(listed) == set(build_parser().subcommands)
    assert not set(listed) & set(ALIASES)


# --- JSON -------------------------------------------------------------------------------------------------------------


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
            assert shown.pop("undefined", {}).keys() == report.pop("undefined", {}).keys()
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


# --- shells -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", SHELLS)
def test_the_completion_script_of_a_shell_has_every_command(tmp_path: Path, shell: str) -> None:
    script = run_and_exit(tmp_path, "--print-completion", shell)

    assert all(word in script for name in COMMANDS for word in name.split())
    assert run_and_exit(tmp_path, "completion", shell) == script


def run_and_exit(root: Path, *argv: str) -> str:
    ended = run(root, *argv)
    assert ended.code == 0, ended.err
    return ended.out


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(run_and_exit(tmp_path, "--print-completion", "bash"))

    def completed(*words: str) -> list[str]:
        line = f"COMP_WORDS=({shlex.join(['fair-distill', *words])}); COMP_CWORD={len(words)}"
        body = f'source {script}; {line}; _shtab_fair_distill; printf "%s\\n" "${{COMPREPLY[@]}}"'
        return subprocess.run(["bash", "-c", body], capture_output=True, text=True, check=True).stdout.split()

    assert completed("re") == ["report", "registry"]
    assert completed("gate", "pl") == ["plan"]
    assert completed("ju") == []
    assert "--out" in completed("report", "--o")
    assert "--croissant" not in completed("export", "card", "--")


def test_colours_are_off_when_asked(finished: Path) -> None:
    def shown(*argv: str, **more: str) -> str:
        environment = {"PATH": "/usr/bin:/bin", "FORCE_COLOR": "1", "TERM": "xterm-256color", **more}
        command = [sys.executable, "-m", "fair_distill", "--workspace", str(finished), *argv, "table"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert "\x1b[3" in shown()  # or the rest would show nothing
    for plain in (shown("--no-color"), shown(NO_COLOR="1")):
        assert not any(f"\x1b[{code}" in plain for code in range(30, 50))


def test_it_says_which_release_it_is(tmp_path: Path) -> None:
    ended = run(tmp_path, "--version")

    assert (ended.code, ended.out) == (0, f"fair-distill {version('fair-distill')}\n")
    assert fair_distill.__version__ == version("fair-distill")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["distil", "pooled"], "unknown command 'distil'; did you mean 'stage distill'? See fair-distill --help"),
        (["stage", "distil"], "did you mean 'distill'? See fair-distill stage --help"),
        (["describe"], "did you mean 'data describe'?"),
        (["gate", "paln"], "did you mean 'plan'?"),
        (["xyz"], "unknown command 'xyz'; choose from init, doctor, "),
        (["reproduce", "--data", "."], "unknown command 'reproduce'; run `python -m benchmarks.reproduce`"),
        (["completion", "ksh93"], "--print-completion is 'ksh93'; choose from bash, zsh, fish"),
        (["distill"], "required: candidate. See fair-distill stage distill --help"),
        (["table", "--workspace", "."], "--workspace and --no-color go before the command"),
        (["evaluate", "pooled", "--fast"], "unrecognized arguments: --fast. See fair-distill --help"),
    ],
)
def test_a_wrong_command_line_is_one_line_with_a_way_out(tmp_path: Path, argv: list[str], says: str) -> None:
    ended = run(tmp_path, *argv)

    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert says in ended.err


def test_a_sentence_is_wrapped_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    print_sentence("  ok  ", "the gap is\nbelow the limit")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    print_sentence("  ok  ", "the gap is\nbelow the limit")

    assert capsys.readouterr().out.splitlines() == [
        "  ok  the gap is\\nbelow the limit",
        "  ok  the gap is\\nbelow",
        "      the limit",
    ]


@pytest.mark.parametrize(("columns", "narrow"), [("80", False), ("40", True)])
def test_a_table_is_never_cut_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str, narrow: bool
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")

    print_table("a title", ["clause", "examples a cell"], [["accuracy over balanced [x]", "1,234 / 5,678"]])

    text = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert "accuracy over balanced [x]" in text
    assert "1,234 / 5,678" in text
    assert ("│" in text) is not narrow
