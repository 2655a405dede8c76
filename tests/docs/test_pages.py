"""The reference pages match the code, and every link of the documentation leads to a page and a heading."""

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
def test_a_generated_page_is_up_to_date(reference, name: str) -> None:
    generated = reference.PAGES[name]().rstrip() + "\n"

    assert (DOCS / name).read_text(encoding="utf-8") == generated, "run: python docs/reference.py"


@pytest.mark.parametrize("page", [*PAGES, *sorted(DOCS.parent.glob("*.md"))], ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    targets = [target for target, _ in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    missing = [target for target in targets if not (page.parent / target).exists()]

    assert not missing


@pytest.mark.parametrize("page", [*PAGES, *sorted(DOCS.parent.glob("*.md"))], ids=lambda page: page.name)
def test_every_link_to_a_heading_leads_to_one(page: Path) -> None:
    for target, fragment in LINK.findall(page.read_text(encoding="utf-8")):
        if fragment and "://" not in target:
            assert fragment.removeprefix("#") in anchors(page.parent / target), f"{target}{fragment}"
    for fragment in re.findall(r"\]\(#([^)\s]+)\)", page.read_text(encoding="utf-8")):
        assert fragment in anchors(page), f"#{fragment}"


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and Sphinx name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_terms_of_each_section_of_the_glossary_are_in_order() -> None:
    _, *sections = (DOCS / "glossary.md").read_text(encoding="utf-8").split("\n## ")
    for section in sections:
        terms = [term.lower() for term in re.findall(r"^### (.+)$", section, flags=re.MULTILINE)]
        assert terms == sorted(set(terms)), section.partition("\n")[0]


def test_every_page_is_in_the_table_of_contents() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^([\w-]+)$", index, flags=re.MULTILINE))

    assert listed == {page.stem for page in PAGES} - {"index"}


def test_the_page_of_environment_variables_lists_exactly_those_that_the_code_reads() -> None:
    code = (path for folder in ("fair_distill", "flows", "tasks") for path in (DOCS.parent / folder).rglob("*.py"))
    read = {name for path in code for name in re.findall(r"FAIR_DISTILL_[A-Z_]+", path.read_text(encoding="utf-8"))}
    rows = re.findall(r"^\| `(FAIR_DISTILL_[A-Z_]+)` \|", (DOCS / "environment.md").read_text(encoding="utf-8"), re.M)

    assert sorted(rows) == sorted(read)
