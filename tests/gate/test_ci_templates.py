"""What the CI templates say: no step runs anything of a pull request, and everything that is installed is pinned.

tests/gate/test_pull_requests.py runs their steps.
"""

import re
from typing import Any

import pytest
import yaml
from pull_requests import GITHUB, GITLAB, TEMPLATES
from small_workspace import REPOSITORY

GITHUBS = (GITHUB, "fair_distill/template/github.yml")
GITLABS = (GITLAB, "fair_distill/template/gitlab.yml")
# The expressions that a GitHub template uses, and the one part of it in which they are text and not code.
ALLOWED = {
    "github.base_ref",
    "github.event.pull_request.head.sha",
    "github.token",
    "vars.FAIR_DISTILL_POLICY_FLOOR",
    "secrets.DVC_READ_KEY_ID",
    "secrets.DVC_READ_SECRET",
    "runner.temp",
}


def content_of(path: str) -> Any:
    return yaml.safe_load((REPOSITORY / path).read_text())


def script_of(path: str) -> str:
    content = content_of(path)
    if "jobs" in content:
        return "\n".join(step.get("run", "") for step in content["jobs"]["dataset-gate"]["steps"])
    return "\n".join(content["dataset-gate"]["script"])


@pytest.mark.parametrize("path", GITHUBS)
def test_a_github_workflow_is_not_taken_from_the_pull_request_and_may_only_read(path: str) -> None:
    content = content_of(path)

    (event,) = content[True]  # YAML 1.1 reads `on` as true
    assert event == "pull_request_target"
    # A job that `if` skips counts as passed, and a change of the target branch is an edit.
    assert content[True][event] == {"branches": ["main"], "types": ["opened", "synchronize", "reopened", "edited"]}
    assert content["permissions"] == {"contents": "read"}
    assert set(content) == {"name", True, "permissions", "jobs"}
    (job,) = content["jobs"].values()
    assert not {"if", "permissions", "continue-on-error", "container", "uses"} & job.keys()


@pytest.mark.parametrize("path", GITHUBS)
def test_a_github_workflow_checks_out_the_base_branch_alone(path: str) -> None:
    steps = content_of(path)["jobs"]["dataset-gate"]["steps"]
    (checkout,) = (step for step in steps if step.get("uses", "").startswith("actions/checkout@"))

    assert checkout["with"] == {"ref": "${{ github.base_ref }}", "persist-credentials": False}
    assert not re.search(r"git (checkout|worktree|switch|reset|restore|merge|pull|lfs|archive)", script_of(path))


@pytest.mark.parametrize("path", GITHUBS)
def test_actions_are_pinned_by_commit_and_expressions_are_never_code(path: str) -> None:
    for step in content_of(path)["jobs"]["dataset-gate"]["steps"]:
        assert "uses" not in step or re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"])
        assert "${{" not in step.get("run", "")
        assert not step.get("continue-on-error")
        assert step.get("if") in (None, "always()")
    used = set(re.findall(r"\$\{\{ (.+?) \}\}", (REPOSITORY / path).read_text()))
    assert used == ALLOWED


@pytest.mark.parametrize("path", GITHUBS)
def test_the_keys_of_the_remote_are_in_one_step_which_runs_the_gate_alone(path: str) -> None:
    steps = content_of(path)["jobs"]["dataset-gate"]["steps"]
    (step,) = (step for step in steps if "secrets." in str(step))

    commands = [line.split()[0] for line in step["run"].replace("\\\n", " ").splitlines()]
    assert commands == ["echo", "fair-distill"]


@pytest.mark.parametrize("path", GITLABS)
def test_a_gitlab_pipeline_is_that_of_the_protected_branch(path: str) -> None:
    job = content_of(path)["dataset-gate"]

    assert job["rules"] == [{"if": '$CI_PIPELINE_SOURCE == "trigger" && $CI_COMMIT_REF_PROTECTED == "true"'}]
    assert not job.get("allow_failure")
    assert job["artifacts"]["reports"]["junit"] == "gate.xml"
    assert not re.search(r"git (checkout|worktree|switch|reset|restore|merge|pull|lfs|archive)", script_of(path))


@pytest.mark.parametrize("path", GITLABS)
def test_no_command_of_a_gitlab_pipeline_but_the_gate_has_the_keys(path: str) -> None:
    job = content_of(path)["dataset-gate"]
    plain = job["variables"]["PLAIN"]

    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "GATE_STATUS_TOKEN"} <= set(
        re.findall(r"--unset=(\w+)", plain)
    )
    for line in job["script"]:
        if re.search(r"git .*fetch|pip", line):
            assert line.startswith("$PLAIN ")
        if "fair-distill gate" in line:
            assert line.startswith("env --unset=GATE_STATUS_TOKEN ")


@pytest.mark.parametrize("path", TEMPLATES)
def test_everything_installed_has_a_hash_or_comes_from_the_base_branch_or_is_the_pinned_release(path: str) -> None:
    installs = [line for line in script_of(path).splitlines() if " pip install " in line]
    ours = "pip install --quiet --no-deps --only-binary :all: fair-distill=={version}"
    if path in (GITHUB, GITLAB):
        ours = "pip install --quiet --no-index --no-deps "

    assert len(installs) == 2
    assert "--require-hashes --only-binary :all: --requirement gate-requirements.txt" in installs[0]
    assert ours in installs[1]


@pytest.mark.parametrize("path", TEMPLATES)
def test_a_template_judges_a_commit_and_writes_both_summaries(path: str) -> None:
    (line,) = (
        line for line in script_of(path).replace("\\\n", " ").splitlines() if "fair-distill gate pull-request" in line
    )

    for option in ("--head ", "--markdown ", "--junit "):
        assert option in line
    assert "enforce" not in script_of(path)
    assert "dvc" not in re.findall(r"[\w-]+", script_of(path))


def test_requirements_have_a_version_and_hashes_each_and_name_no_index() -> None:
    text = (REPOSITORY / "gate-requirements.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    requirements = [line for line in lines if not line.startswith("    ")]

    assert {"boto3", "numpy", "pyarrow", "pydantic", "securesystemslib", "setuptools"} <= {
        line.partition("==")[0] for line in requirements
    }
    assert all(re.match(r"[a-z0-9-]+==[\w.]+ (; .+ )?\\$", line) for line in requirements)
    assert all(
        re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in lines if line not in requirements
    )
    assert "://" not in text


def test_requirements_have_the_versions_that_the_tests_run_with() -> None:
    tested = dict(
        line.split("==")
        for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
        if "==" in line and ";" not in line
    )
    for name, version in re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", (REPOSITORY / "gate-requirements.txt").read_text()):
        assert tested[name] == version, name
