"""docs/data-contract.md: its table matches the code, and its blocks run unchanged."""

import json
import re
from pathlib import Path

import pytest
import yaml
from small_workspace import REPOSITORY, run, small_params, write_params

from fair_distill.config import CHECKS
from fair_distill.validation.ids import ENVIRONMENT
from fair_distill.workspace import Workspace

PAGE = (REPOSITORY / "docs" / "data-contract.md").read_text()
# The first line of a block names its file. JSON has no comments, so its files are listed here.
FILES: dict[str, str] = dict(re.findall(r"^```\w+\n# (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
(SUITE,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def section(name: str) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(FILES[name])["validate"]
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a prepared workspace with the files that the page adds."""
    (tmp_path / "house.py").write_text(FILES["house.py"])
    (tmp_path / "house.json").write_text(SUITE)
    params = small_params()
    params["data"]["source"]["size"] = 16
    write_params(tmp_path, params)
    assert run(tmp_path, "prepare").code == 0
    return tmp_path


def test_the_table_lists_exactly_the_checks_of_the_code() -> None:
    assert re.findall(r"^\| `(\w+)` \| .* \| (error|warn) \|$", PAGE, re.MULTILINE) == list(CHECKS.items())


def test_the_checks_of_the_page_pass_on_the_digits(root: Path) -> None:
    params = yaml.safe_load((root / "params.yaml").read_text())
    assert run(root, "validate").code == 0
    (root / "reference.json").write_bytes(Workspace(root).validation.read_bytes())
    params["validate"] = section("params.yaml") | section("drift.yaml") | section("own.yaml")
    write_params(root, params)

    ended = run(root, "validate", "--docs", str(root / "pages"))

    assert (ended.code, ended.err) == (0, "")
    assert "expectations hold" in ended.out
    outcome = json.loads(Workspace(root).validation.read_bytes())
    assert outcome["failures"] == []
    assert outcome["off"] == ["near"]
    assert outcome["drift"]["cells"] == outcome["drift"]["intensity"] == {"psi": 0.0, "variation": 0.0}
    assert set(outcome["sources"]) == {"reference.json", "house:ExpectSomethingBright", "house.json"}
    assert (root / "pages" / "index.html").is_file()


def test_restricted_data_need_the_settings_of_the_page(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["validate"] |= section("restricted.yaml")
    write_params(root, params)

    assert ENVIRONMENT in run(root, "validate").err
    assert ENVIRONMENT in PAGE
    monkeypatch.setenv(ENVIRONMENT, "0123456789abcdef")
    assert run(root, "validate").code == 0
