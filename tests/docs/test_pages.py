"""The documentation says what the code does, and its links lead somewhere."""

import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]+)(#[^)\s]+)?\)")


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(DOCS))
    monkeypatch.delitem(sys.modules, "reference", raising=False)
    import reference

    return reference


@pytest.mark.parametrize("name", ["commands.md", "params.md"])
def test_a_page_that_the_code_writes_is_the_codes(reference, name: str) -> None:
    written = reference.PAGES[name]().rstrip() + "\n"

    assert (DOCS / name).read_text(encoding="utf-8") == written, "write it anew: python docs/reference.py"


@pytest.mark.parametrize("page", [*PAGES, *sorted(DOCS.parent.glob("*.md"))], ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    wanted = [target for target, _ in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    missing = [target for target in wanted if not (page.parent / target).exists()]

    assert not missing


def test_every_page_stands_in_the_table_of_contents() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^([\w-]+)$", index, flags=re.MULTILINE))

    assert listed == {page.stem for page in PAGES} - {"index"}


def test_every_variable_that_is_read_has_its_row_and_no_other() -> None:
    code = (path for folder in ("fair_distill", "flows", "tasks") for path in (DOCS.parent / folder).rglob("*.py"))
    read = {name for path in code for name in re.findall(r"FAIR_DISTILL_[A-Z_]+", path.read_text(encoding="utf-8"))}
    rows = re.findall(r"^\| `(FAIR_DISTILL_[A-Z_]+)` \|", (DOCS / "environment.md").read_text(encoding="utf-8"), re.M)

    assert sorted(rows) == sorted(read)
