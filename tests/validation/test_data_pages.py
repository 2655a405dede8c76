"""The pages: their content, that they make no external requests, and that they replace only earlier pages."""

import socket
from pathlib import Path

import pandas as pd
import pytest

from fair_distill.errors import ConfigError
from fair_distill.validation.data_docs import write_data_docs
from fair_distill.validation.drift import Profile
from fair_distill.validation.expectations import Expectation, Suite
from fair_distill.validation.result import Failure, Validation

FACTS = pd.DataFrame({"class": ["cat", "wombat", None], "count": [1, 2, 77]})
SUITES = [
    Suite(
        "train",
        FACTS,
        [
            (Expectation("ExpectColumnValuesToNotBeNull", {"column": "class"}), "error"),
            (Expectation("ExpectColumnValuesToBeBetween", {"column": "count", "max_value": 2}), "warn"),
            (Expectation("ExpectColumnValuesToBeInSet", {"column": "class", "value_set": ["cat"]}), "warn"),
            (Expectation("ExpectColumnValuesToBeBetween", {"column": "count", "min_value": 1}), "error"),
        ],
    ),
    Suite("classes of every split", FACTS, [(Expectation("ExpectColumnToExist", {"column": "class"}), "error")]),
    Suite("nothing asked", FACTS, []),
]

FAULT = "class '<dog>' has no example of group 'f'; at least 5 are needed"
OUTCOME = Validation(
    expectations=5,
    failures=(Failure("support", "train", "Own", "count", "error", "<dog>", "f", 0, (), FAULT),),
    off=(),
    cells={"train": {"cat": {"f": 1200, "m": 600}, "<dog>": {"f": 0, "m": 7}}},
    imbalance={"train": {"cat": 2.0, "<dog>": None}},
    unknown={"train": {"cat": 0.0, "<dog>": 0.0}},
    profile=Profile(cells={}),
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def refused(*_: object) -> None:
        raise AssertionError("a connection was opened")

    folder = tmp_path_factory.mktemp("docs") / "pages"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refused)
        write_data_docs(SUITES, OUTCOME, folder, restricted=False)
    return folder


def text(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.rglob("*.html")))


def test_the_index_says_what_was_not_met_and_leads_to_every_page(pages: Path) -> None:
    index = (pages / "index.html").read_text()

    assert "3 of 4 not met" in index
    assert "all 1 met" in index
    assert '<span class="error">expect_column_values_to_not_be_null: class</span>' in index
    assert '<span class="warn">expect_column_values_to_be_between: count</span>' in index
    assert "nothing asked" not in index
    links = [part.split('"')[0] for part in index.split('href="')[1:]]
    assert len(links) == 2
    assert all((pages / link).is_file() for link in links)


def test_the_index_says_the_outcome_in_sentences_and_has_the_cells(pages: Path) -> None:
    index = (pages / "index.html").read_text()

    assert "The data are refused" in index
    assert '<span class="error">error (support)</span>: class &#x27;&lt;dog&gt;&#x27; has no example' in index
    assert "<tr><td>cat</td><td>1,200</td><td>600</td><td>2.0</td></tr>" in index
    assert '<tr><td>&lt;dog&gt;</td><td><span class="error">0</span></td><td>7</td><td>–</td></tr>' in index
    assert "train: 1,807 examples" in index


def test_the_pages_show_what_came_and_need_no_other_host(pages: Path) -> None:
    written = text(pages)

    assert "wombat" in written
    for outside in ("<script", "<link", "<img", "src=", "url("):
        assert outside not in written


def test_pages_of_restricted_data_show_no_value(tmp_path: Path) -> None:
    write_data_docs(SUITES, OUTCOME, tmp_path / "pages", restricted=True)

    assert "wombat" not in text(tmp_path / "pages")


def test_pages_replace_earlier_pages_and_nothing_else(pages: Path, tmp_path: Path) -> None:
    (pages / "validations" / "old.html").write_text("old")
    (tmp_path / "index.html").write_text("somebody's site")

    write_data_docs(SUITES[1:2], OUTCOME, pages, restricted=False)
    assert not (pages / "validations" / "old.html").exists()
    assert "3 of 4 not met" not in (pages / "index.html").read_text()

    with pytest.raises(ConfigError, match="is not empty, and has no pages of an earlier run"):
        write_data_docs(SUITES, OUTCOME, tmp_path, restricted=False)
    assert (tmp_path / "index.html").read_text() == "somebody's site"


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match=r"cannot write pages to .*Name another folder with --docs"):
        write_data_docs(SUITES, OUTCOME, tmp_path / "file" / "pages", restricted=False)
