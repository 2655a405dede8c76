"""The outcome of the contract as static HTML pages for people: an index, and one page for each table.

Great Expectations renders the expectations of a page. Its own page template loads scripts, styles and images from other
hosts, so `_TEMPLATES` replaces that template and the blocks that need scripts. The pages make no external requests.
"""

import html
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fair_distill.errors import ConfigError
from fair_distill.validation.expectations import Suite, pandas_source, run_suite
from fair_distill.validation.result import Failure, Validation

_MARK = '<meta name="generator" content="fair-distill validate --docs">'
# Files and folders of an earlier run, also of earlier versions of this module.
_GENERATED = ("index.html", "expectations", "validations", "static")
_WITHOUT_VALUES = {"result_format": "BASIC", "partial_unexpected_count": 0}
_WITH_VALUES = {"result_format": "SUMMARY", "partial_unexpected_count": 5}
# Replace templates of Great Expectations with the same names. An empty template omits a block that needs scripts.
_TEMPLATES = {
    "page.j2": """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title | e }}</title><style>{{ style }}</style></head><body>
<p><a href="../index.html">Data contract</a></p><h1>{{ title | e }}</h1>
{% for section in sections %}{% set section_loop = loop %}{% include "section.j2" %}{% endfor %}
</body></html>
""",
    "bootstrap_table.j2": "",
    "collapse.j2": "",
    "graph.j2": "",
}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem 2rem; color: #222; }
a { color: #0b5cad; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; } h3 { font-size: 1rem; margin: 1rem 0 0; }
h4, h5 { margin: 1rem 0 .4rem; } h6 { margin: .6rem 0 .2rem; }
table { border-collapse: collapse; width: 100%; margin: .4rem 0; }
th, td { border: 1px solid #ccc; padding: .3rem .6rem; text-align: left; vertical-align: top; }
th { background: #f2f2f2; }
.ge-section { border-top: 2px solid #ddd; margin-bottom: 1rem; }
.text-success, .met { color: #1a7f37; } .text-danger, .error { color: #b42318; }
.text-warning, .warn { color: #9a6700; }
.fa-check-circle::before { content: "\\2713"; font-style: normal; }
.fa-times::before { content: "\\2717"; font-style: normal; }
.fa-exclamation-triangle::before { content: "\\26A0"; font-style: normal; }
.badge { background: #eee; border-radius: .3rem; padding: 0 .3rem; }
"""


def write_data_docs(suites: Sequence[Suite], outcome: Validation, folder: Path, *, restricted: bool) -> None:
    """Evaluate every suite again and write the pages, with `index.html` as the first one.

    Parameters
    ----------
    outcome : the sentences and the cells for the index
    folder : empty, missing, or with the pages of an earlier run, which are replaced
    restricted : omit the values that violate an expectation

    Raises
    ------
    ConfigError
        If the folder contains other files, or cannot be written.
    """
    try:
        _clear(folder)
        (folder / "validations").mkdir()
    except OSError as error:
        raise ConfigError(
            f"cannot write pages to {folder}: {error.strerror}. Name another folder with --docs"
        ) from None
    source = pandas_source()
    result_format = _WITHOUT_VALUES if restricted else _WITH_VALUES
    rows = []
    for suite in suites:
        if suite.expectations:
            result = run_suite(source, suite, result_format)
            (folder / _page(suite.name)).write_text(_suite_page(suite.name, result), encoding="utf-8")
            rows.append(_summary(suite.name, result))
    (folder / "index.html").write_text(_index(rows, outcome), encoding="utf-8")


def _clear(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.html"
    generated = index.is_file() and _MARK in index.read_text(encoding="utf-8", errors="replace")
    if any(folder.iterdir()) and not generated:
        raise ConfigError(f"{folder} is not empty, and has no pages of an earlier run. Name another folder with --docs")
    for name in _GENERATED:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _page(suite: str) -> str:
    return f"validations/{suite}.html"


def _suite_page(name: str, result: Any) -> str:
    """Return the page of a suite: what Great Expectations renders for each column, in our template."""
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView
    from jinja2 import ChoiceLoader, DictLoader

    document = ValidationResultsPageRenderer().render(result)
    # The first section links to pages that are not written here; the index has the same numbers.
    document.sections = document.sections[1:]
    view = DefaultJinjaPageView()
    view.env.loader = ChoiceLoader([DictLoader(_TEMPLATES), *filter(None, [view.env.loader])])
    page: str = view.render(document, title=name, style=_STYLE)
    return page


def _summary(name: str, result: Any) -> list[str]:
    """Return the row of the index for a suite: a link to its page, and the expectations that were not met."""
    link = f'<a href="{html.escape(_page(name))}">{html.escape(name)}</a>'
    failed = [entry.expectation_config for entry in result.results if not entry.success]
    if not failed:
        return [link, f'<span class="met">all {len(result.results)} met</span>']
    names = "".join(
        f'<br><span class="{"error" if config.severity == "critical" else "warn"}">'
        f"{html.escape(config.type)}: {html.escape(str(config.kwargs.get('column', '')))}</span>"
        for config in failed
    )
    return [link, f"{len(failed)} of {len(result.results)} not met{names}"]


def _index(suites: Sequence[Sequence[str]], outcome: Validation) -> str:
    verdict = "The data pass." if outcome.success else "The data are refused: `distill` will not use them."
    body = [
        "<h1>Data contract</h1>",
        f"<p>{verdict} Errors are red and refuse the data; warnings are yellow.</p>",
        *(_sentence(failure) for failure in outcome.failures),
        "<h2>Cells</h2>",
        *(_cells(split, cells, outcome.imbalance[split]) for split, cells in outcome.cells.items()),
        "<h2>Expectations</h2>",
        "<p>The expectations about each table, as Great Expectations evaluated them.</p>",
        _table(["table", "expectations"], suites),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{_MARK}<title>Data contract</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _sentence(failure: Failure) -> str:
    kind = html.escape(f"{failure.severity} ({failure.check})")
    return f'<p><span class="{failure.severity}">{kind}</span>: {html.escape(failure.sentence)}</p>'


def _cells(split: str, cells: Mapping[str, Mapping[str, int]], imbalance: Mapping[str, float | None]) -> str:
    groups = list(next(iter(cells.values()), {}))
    total = sum(sum(counts.values()) for counts in cells.values())
    rows = [
        [html.escape(label), *(_count(counts[group]) for group in groups), _ratio(imbalance[label])]
        for label, counts in cells.items()
    ]
    title = f"<h3>{html.escape(split)}: {total:,} examples</h3>"
    return title + _table([html.escape(name) for name in ("class", *groups, "imbalance")], rows)


def _count(count: int) -> str:
    return f"{count:,}" if count else '<span class="error">0</span>'


def _ratio(imbalance: float | None) -> str:
    return "–" if imbalance is None else f"{imbalance:.1f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table. The cells are HTML already."""
    lines = [f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows]
    return f"<table><tr>{''.join(f'<th>{title}</th>' for title in header)}</tr>{''.join(lines)}</table>"
