"""`init --schedule` writes flows that run from the workspace, and `doctor` finds those that do not fit the package."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_workspace import REPOSITORY, run, tree

from fair_distill.cli import schedule
from fair_distill.cli.doctor import _flows
from fair_distill.cli.schedule import STAMP, flow_files


def scheduled(folder: Path) -> dict[str, bytes]:
    """Return the files of a workspace without those of git."""
    return {path: content for path, content in tree(folder).items() if not path.startswith(".git/")}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    assert run(tmp_path, "init", "--schedule", str(folder)).code == 0
    return folder


def test_a_workspace_gets_the_flows_and_tasks_of_the_package(workspace: Path) -> None:
    for name in ("flows", "tasks"):
        ours = {path.name for path in (REPOSITORY / name).glob("*.py")}
        assert ours
        assert {path.name for path in (workspace / name).glob("*.py")} == ours
    for path in flow_files():
        assert (workspace / path).read_bytes() == (REPOSITORY / path).read_bytes()
    assert [check.state for check in _flows(workspace)] == ["ok"]


def test_every_import_of_the_flows_is_in_the_workspace_or_in_the_package(workspace: Path) -> None:
    for path in flow_files():
        if not path.endswith(".py"):
            continue
        for node in ast.walk(ast.parse((workspace / path).read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in filter(lambda module: module.partition(".")[0] in ("flows", "tasks"), modules):
                assert (workspace / f"{module.replace('.', '/')}.py").is_file(), f"{path} imports {module}"


def test_the_commands_create_the_pool_before_anything_needs_it(workspace: Path) -> None:
    text = (workspace / "prefect.yaml").read_text()
    page = (REPOSITORY / "docs/orchestration.md").read_text()
    pools = {deployment["work_pool"]["name"] for deployment in yaml.safe_load(text)["deployments"]}
    commands = (
        "work-pool create fair-distill --type process",
        "--no-prompt deploy --all",
        "worker start --pool fair-distill",
    )

    assert pools == {"fair-distill"}
    for document in (text, page[page.index("## Schedule a workspace") :]):
        places = [document.index(f"prefect {command}") for command in commands]
        assert places == sorted(places)


def test_the_deployments_name_flows_with_their_parameters_and_no_absolute_path(workspace: Path) -> None:
    text = (workspace / "prefect.yaml").read_text()
    deployed: Any = yaml.safe_load(text)["deployments"]

    assert [deployment["entrypoint"].partition(":")[2] for deployment in deployed] == ["refresh", "regate", "sweep"]
    for deployment in deployed:
        path, _, name = deployment["entrypoint"].partition(":")
        nodes = ast.parse((workspace / path).read_text()).body
        flow = next(node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == name)
        assert set(deployment["parameters"]) <= {argument.arg for argument in flow.args.args}
        assert (deployment["name"], deployment["tags"]) == ("faces", ["fair-distill"])
        if deployment["schedules"]:
            assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    for path, content in scheduled(workspace).items():
        assert str(workspace).encode() not in content, path


def test_an_existing_workspace_gets_the_flows_only(tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    assert run(tmp_path, "init", str(folder), "--dataset", "people").code == 0
    before = scheduled(folder)

    ended = run(tmp_path, "init", "--schedule", str(folder))

    assert ended.code == 0, ended.err
    after = scheduled(folder)
    assert {path: after[path] for path in before} == before
    assert set(after) - set(before) == {*flow_files(), STAMP, "prefect.yaml", "prefect.toml"}
    assert yaml.safe_load(after["prefect.yaml"])["deployments"][0]["name"] == "people"
    assert run(tmp_path, "init", "--schedule", str(folder), "--dataset", "faces").code == 2


def test_without_the_option_nothing_is_scheduled(tmp_path: Path) -> None:
    assert run(tmp_path, "init", str(tmp_path / "faces")).code == 0

    assert not (tmp_path / "faces" / "prefect.yaml").exists()
    assert list(_flows(tmp_path / "faces")) == []


def test_after_an_upgrade_the_same_command_replaces_what_was_not_changed(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = "# my schedule\n" + (workspace / "prefect.yaml").read_text()
    (workspace / "prefect.yaml").write_text(mine)
    new = flow_files() | {"flows/refresh.py": b"# newer\n", "flows/more.py": b"# more\n"}
    del new["tasks/fan_out.py"]
    monkeypatch.setattr(schedule, "flow_files", lambda: new)

    (outdated,) = _flows(workspace)
    ended = run(workspace, "init", "--schedule", str(workspace))

    assert (outdated.state, outdated.result) == ("fail", "flows and tasks are of another release of fair-distill")
    assert ended.code == 0, ended.err
    assert {path: (workspace / path).read_bytes() for path in new} == new
    assert not (workspace / "tasks" / "fan_out.py").exists()
    assert (workspace / "prefect.yaml").read_text() == mine
    assert [check.state for check in _flows(workspace)] == ["ok"]


@pytest.mark.parametrize(("stamped", "says"), [(True, "was changed since"), (False, "is not of fair-distill")])
def test_a_file_of_the_user_is_never_overwritten(tmp_path: Path, stamped: bool, says: str) -> None:
    folder = tmp_path / "faces"
    options = ["--schedule"] if stamped else []
    assert run(tmp_path, "init", *options, str(folder)).code == 0
    (folder / "flows").mkdir(exist_ok=True)
    (folder / "flows" / "refresh.py").write_text("# mine\n")
    before = scheduled(folder)

    ended = run(tmp_path, "init", "--schedule", str(folder))

    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert f"refresh.py {says}" in ended.err
    assert scheduled(folder) == before


def test_the_doctor_names_a_changed_and_a_missing_file(workspace: Path) -> None:
    (workspace / "flows" / "refresh.py").write_text("# mine\n")
    (workspace / "tasks" / "stages.py").unlink()

    checks = list(_flows(workspace))

    assert [check.state for check in checks] == ["fail", "fail"]
    assert checks[0].result == "flows/refresh.py was changed since `init --schedule` wrote it"
    assert checks[1].result == "tasks/stages.py is missing"
    assert all(check.fix for check in checks)


@pytest.mark.parametrize(
    "stamp", ["{}", "nonsense", '{"files": 1}', json.dumps({"files": {"../params.yaml": "0"}}), '{"files": {"a": 1}}']
)
def test_a_broken_stamp_is_one_line_and_removes_nothing(workspace: Path, stamp: str) -> None:
    (workspace / STAMP).write_text(stamp)
    before = scheduled(workspace)

    ended = run(workspace, "init", "--schedule", str(workspace))

    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert scheduled(workspace) == before
    assert [check.state for check in _flows(workspace)] == ["fail"]
