"""Files that other tools read keep the schemas that are published for them."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SCHEMAS = {
    "compose.yaml": "compose-spec",
    ".github/workflows/dataset-gate.yml": "github-workflows",
    ".github/workflows/nightly.yml": "github-workflows",
    "fair_distill/template/github.yml": "github-workflows",
    "docs/ci/gitlab-gate.yml": "gitlab-ci",
    "fair_distill/template/gitlab.yml": "gitlab-ci",
    "CITATION.cff": "citation-file-format",
}
# In each, a word that its schema does not know in place of one that it does.
SPOILT = {
    "compose-spec": ("restart:", "restarts:"),
    "github-workflows": ("runs-on:", "runs_on:"),
    "gitlab-ci": ("script:", "skript:"),
    "citation-file-format": ("title:", "titel:"),
}


def keeps(path: Path, schema: str) -> bool:
    asked = ["check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(path)]
    done = subprocess.run([sys.executable, "-m", *asked], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0


@pytest.mark.parametrize(("name", "schema"), SCHEMAS.items())
def test_a_file_keeps_the_schema_of_who_reads_it(name: str, schema: str, tmp_path: Path) -> None:
    good, bad = SPOILT[schema]
    text = (REPOSITORY / name).read_text()
    spoilt = tmp_path / "spoilt.yml"
    spoilt.write_text(text.replace(good, bad))

    assert good in text
    assert keeps(REPOSITORY / name, schema)
    assert not keeps(spoilt, schema)
