"""The page as a whole: it stands alone, says everything twice (drawn and in words), and trusts no name."""

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from small_rows import dataset
from small_workspace import SETS, run, small_params, write_params

from fair_distill.config import load_config
from fair_distill.distilled_set import DistilledSet
from fair_distill.report.page import page
from fair_distill.report.report_data import ReportData
from fair_distill.stages.report import read_report_data
from fair_distill.workspace import Workspace


class Elements(HTMLParser):
    """Every start tag with its attributes, and all text."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def material_of(root: Path, name: str = "barycentric") -> ReportData:
    workspace = Workspace(root)
    config = load_config(workspace.params)
    return read_report_data(workspace, config, name, registry=str(root / "registry"))


@pytest.fixture(scope="module")
def whole(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """Everything there is to tell, of a workspace whose projection was made and whose candidate was published."""
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("report") / "workspace"))
    params = small_params()
    params["gate"]["limits"] = [{"metric": "eo_diag_max", "at_most": 1.0, "why": "a test"}]
    write_params(root, params)
    for command in (["project"], ["publish"], ["promote", "--to", "production"]):
        assert run(root, *command).code == 0
    return material_of(root)


def test_the_page_stands_alone(whole: ReportData) -> None:
    seen = Elements(page(whole))

    assert not seen.of("script")
    assert not [a for a in seen.of("link") if a["rel"] != "icon"]
    assert all((a["src"] or "").startswith("data:image/png;base64,") for a in seen.of("img"))
    assert all((a["href"] or "").startswith("#") for a in seen.of("a"))
    assert "http:" not in page(whole).decode()
    assert "https:" not in page(whole).decode()
    assert "url(" not in page(whole).decode()


def test_every_figure_is_said_in_words_and_every_link_leads_somewhere(whole: ReportData) -> None:
    seen = Elements(page(whole))
    ids = [a["id"] for _, a in seen.found if "id" in a]

    assert len(ids) == len(set(ids))
    assert all((a["href"] or "")[1:] in ids for a in seen.of("a") + seen.of("use"))
    drawn = [a for a in seen.of("svg") if a.get("role") == "img"]
    assert len(drawn) > 20
    assert all(a["aria-label"] for a in drawn)
    assert all(a["alt"] for a in seen.of("img"))
    # Within the picture: a mark outside of it would be a number outside of its axis.
    places = [a[side] for a in seen.of("use") for side in ("x", "y") if side in a]
    assert places
    assert all(-0.5 <= float((place or "").removesuffix("%")) <= 100.5 for place in places)


def test_equal_material_gives_equal_bytes(whole: ReportData) -> None:
    assert page(whole) == page(whole)


def test_the_page_tells_all_there_is(whole: ReportData) -> None:
    seen = Elements(page(whole))
    told = " ".join(seen.text.split())

    assert "barycentric passes" in told
    assert all(name in told for name in SETS)
    for of in (whole.verdict.digest, whole.verdict.policy, whole.manifest.version, whole.manifest.source):
        assert of in told
    assert f"{whole.dataset}@production" in told
    headings = {a["id"] for a in seen.of("h2")}
    assert headings == {"limits", "groups", "sets", "set", "space", "loss", "history", "provenance", "load"}


def test_what_is_not_there_is_left_out(finished: Path) -> None:
    bare = Elements(page(material_of(finished)))

    headings = {a["id"] for a in bare.of("h2")}
    assert "history" not in headings
    assert "not published yet" in bare.text
    assert not [a for a in bare.of("div") if a.get("class") == "planes"]


@pytest.mark.parametrize("name", SETS)
def test_every_set_has_a_report(finished: Path, name: str) -> None:
    assert f"{name} " in Elements(page(material_of(finished, name))).text


def test_a_name_from_somebodys_data_is_text(whole: ReportData) -> None:
    evil = "<script>alert(1)</script>\"'&"
    card = replace(whole.manifest.card, classes=(evil, *whole.manifest.card.classes[1:]))
    own = tuple(replace(one, classes=(evil, *one.classes[1:]), groups=(evil, "b")) for one in whole.predictions)

    seen = Elements(page(replace(whole, name=evil, manifest=replace(whole.manifest, card=card), predictions=own)))

    assert not seen.of("script")
    assert evil in seen.text


def test_rows_of_a_table_are_shown_as_rows(whole: ReportData) -> None:
    rows = dataset(16)
    assert rows.schema is not None
    card = replace(
        whole.manifest.card,
        classes=rows.classes,
        schema=rows.schema,
        shape=rows.shape,
        examples=16,
        train_counts=((5, 3), (3, 5)),
        residuals=None,
        nearness=None,
    )
    told = DistilledSet(rows.images, rows.labels, card)

    seen = Elements(page(replace(whole, distilled=told, manifest=replace(whole.manifest, card=card))))

    assert all(column.name in seen.text for column in rows.schema.columns)
    assert "office" in seen.text
    assert not seen.of("img")


def test_the_command_writes_the_page_and_says_where(workspace: Path, tmp_path: Path) -> None:
    ended = run(workspace, "report")
    default = Workspace(workspace).report("barycentric")
    assert ended.code == 0
    assert ended.out == f"report on barycentric: {default}\n"
    assert default.read_bytes().startswith(b"<!doctype html>")

    elsewhere = tmp_path / "with space" / "é.html"
    assert run(workspace, "report", "barycentric", "--out", str(elsewhere)).code == 0
    assert elsewhere.read_bytes() == default.read_bytes()


@pytest.mark.parametrize(
    ("argv", "missing", "says"),
    [
        (["nobody"], None, "sets has no 'nobody'"),
        (["pooled"], "artifacts/predictions/pooled.parquet", "`fair-distill stage evaluate pooled`, which writes it"),
        (["pooled"], "artifacts/sets/pooled/manifest.json", "`fair-distill stage distill pooled`, which writes it"),
    ],
)
def test_what_a_report_needs_is_named(workspace: Path, argv: list[str], missing: str | None, says: str) -> None:
    if missing:
        (workspace / missing).unlink()

    ended = run(workspace, "report", *argv)

    assert ended.code == 2
    assert says in ended.err
    assert ended.err.count("\n") == 1


def test_a_table_that_was_cut_off_is_refused(workspace: Path) -> None:
    Workspace(workspace).losses("pooled").write_text("step,loss\n1,2.0\n3\n")

    ended = run(workspace, "report", "pooled")

    assert ended.code == 2
    assert re.search("is not a table with a header", ended.err)
