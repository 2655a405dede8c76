"""Configuration files of other tools satisfy the schemas that are published for them."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SCHEMAS = {
    "compose.yaml": "compose-spec",
    ".github/dependabot.yml": "dependabot",
    ".github/ISSUE_TEMPLATE/bug.yml": "github-issue-forms",
    ".github/ISSUE_TEMPLATE/feature.yml": "github-issue-forms",
    **{f".github/workflows/{path.name}": "github-workflows" for path in REPOSITORY.glob(".github/workflows/*.yml")},
    "fair_distill/template/github.yml": "github-workflows",
    "docs/ci/gitlab-gate.yml": "gitlab-ci",
    "fair_distill/template/gitlab.yml": "gitlab-ci",
    "CITATION.cff": "citation-file-format",
}
# For each schema, a key that every such file has, and a misspelling that the schema must reject.
MISSPELLINGS = {
    "compose-spec": ("restart:", "restarts:"),
    "dependabot": ("schedule:", "schedules:"),
    "github-issue-forms": ("validations:", "validation:"),
    "github-workflows": ("runs-on:", "runs_on:"),
    "gitlab-ci": ("script:", "skript:"),
    "citation-file-format": ("title:", "titel:"),
}


def is_valid(path: Path, schema: str) -> bool:
    arguments = ["check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(path)]
    completed = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False)
    assert completed.returncode in (0, 1), completed.stderr
    return completed.returncode == 0


@pytest.mark.parametrize(("name", "schema"), SCHEMAS.items())
def test_a_file_satisfies_its_schema(name: str, schema: str, tmp_path: Path) -> None:
    key, misspelling = MISSPELLINGS[schema]
    text = (REPOSITORY / name).read_text()
    misspelt = tmp_path / "misspelt.yml"
    misspelt.write_text(text.replace(key, misspelling))

    assert key in text
    assert is_valid(REPOSITORY / name, schema)
    assert not is_valid(misspelt, schema)


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob(".github/workflows/*.yml")), ids=lambda path: path.name)
def test_every_action_is_pinned_by_commit(path: Path) -> None:
    actions = [line.split("uses:")[1].split() for line in path.read_text().splitlines() if "uses:" in line]

    assert actions
    for name, *comment in actions:
        _, _, commit = name.partition("@")
        assert len(commit) == 40, f"{name} is not pinned by commit"
        assert comment[:1] == ["#"], f"{name} needs a comment that names its version"
