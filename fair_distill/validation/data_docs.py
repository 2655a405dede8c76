"""The contract's outcome as static HTML: Great Expectations' own Data Docs. For people; nothing reads them again.

As Great Expectations writes them, the pages take scripts, styles and a logo from a dozen hosts whenever they are
opened: without a network the index is empty, and with one those hosts learn who looks. So all that is taken out, a
stylesheet and an index of ours are put in, and the pages need nothing but themselves.
"""

import html
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fair_distill.errors import ConfigError
from fair_distill.validation.expectations import Suite, context, suite_of
from fair_distill.validation.result import Failure, Validation

_SHOWN = 5
_MARK = '<meta name="generator" content="fair-distill validate --docs">'
_PARTS = ("index.html", "expectations", "validations", "static")
# Scripts, footer (a newsletter), the logo, and everything that is linked to in the head.
_TAKEN_OUT = re.compile(
    r"<script\b.*?</script>|<footer\b.*?</footer>|<link\b[^>]*>|<img\b[^>]*>|url\('https?:[^)]*'\)", re.DOTALL
)
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem 2rem; color: #222; }
a { color: #0b5cad; }
nav ol { list-style: none; display: flex; gap: .8rem; padding: 0; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; } h3 { font-size: 1rem; margin: 1rem 0 0; }
h4, h5 { margin: 1rem 0 .4rem; } h6 { margin: .6rem 0 .2rem; }
.row { display: flex; gap: 2rem; } .row .row { display: block; }
.col-lg-2 { flex: 0 0 13rem; font-size: .9rem; } .col-lg-10, .col-md-8 { flex: 1; min-width: 0; }
.sticky { position: sticky; top: 1rem; }
table { border-collapse: collapse; width: 100%; margin: .4rem 0; }
th, td { border: 1px solid #ccc; padding: .3rem .6rem; text-align: left; vertical-align: top; }
th { background: #f2f2f2; }
.ge-section { border-top: 2px solid #ddd; margin-bottom: 1rem; padding-bottom: 0; }
.text-success, .held { color: #1a7f37; } .text-danger, .error { color: #b42318; }
.text-warning, .warn { color: #9a6700; }
.fa-check-circle::before { content: "\\2713"; font-style: normal; }
.fa-times::before { content: "\\2717"; font-style: normal; }
.fa-exclamation-triangle::before { content: "\\26A0"; font-style: normal; }
.collapse[id], .top, .card, [data-toggle="collapse"] { display: none; }  /* what only scripts work */
.badge { background: #eee; border-radius: .3rem; padding: 0 .3rem; }
"""


def write_pages(suites: Sequence[Suite], outcome: Validation, folder: Path, *, restricted: bool) -> None:
    """Evaluate every suite once more and write pages of what came, with `index.html` to start from.

    Unlike validation.json they have the time in them: they are of a run, not of the data.

    Parameters
    ----------
    outcome : the index says it in sentences, and has the cells
    folder : empty, not there yet, or with the pages of another time, which are replaced
    restricted : leave out the values that did not meet an expectation

    Raises
    ------
    ConfigError
        If the folder holds anything else, or cannot be written.
    """
    try:
        _cleared(folder)
    except OSError as error:
        raise ConfigError(f"cannot write pages into {folder}: {error.strerror}; name another with --docs") from None
    results = _built([suite for suite in suites if suite.expectations], folder, restricted=restricted)
    shutil.rmtree(folder / "static", ignore_errors=True)
    for page in sorted(folder.rglob("*.html")):
        text = _TAKEN_OUT.sub("", page.read_text(encoding="utf-8"))
        page.write_text(text.replace("</head>", f"<style>{_STYLE}</style></head>", 1), encoding="utf-8")
    (folder / "index.html").write_text(_index(results, outcome, folder), encoding="utf-8")


def _cleared(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.html"
    ours = index.is_file() and _MARK in index.read_text(encoding="utf-8", errors="replace")
    if any(folder.iterdir()) and not ours:
        raise ConfigError(f"{folder} is not empty, and holds no pages of an earlier run; name another with --docs")
    for name in _PARTS:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _built(suites: Sequence[Suite], folder: Path, *, restricted: bool) -> list[tuple[str, Any]]:
    """Let Great Expectations write its site; return the result of each suite by its name."""
    import great_expectations as gx
    from great_expectations.core import RunIdentifier

    made = context()
    made.add_data_docs_site(
        "pages",
        {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.resolve())},
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        },
    )
    source = made.data_sources.add_pandas("tables")
    values = {"result_format": "SUMMARY", "partial_unexpected_count": _SHOWN}
    results = []
    for suite in suites:
        batch = source.add_dataframe_asset(suite.name).add_batch_definition_whole_dataframe(suite.name)
        definition = gx.ValidationDefinition(name=suite.name, data=batch, suite=made.suites.add(suite_of(suite)))
        checkpoint = gx.Checkpoint(
            name=suite.name,
            validation_definitions=[made.validation_definitions.add(definition)],
            actions=[],
            result_format={"result_format": "BASIC", "partial_unexpected_count": 0} if restricted else values,
        )
        ran = made.checkpoints.add(checkpoint).run(
            batch_parameters={"dataframe": suite.table}, run_id=RunIdentifier(run_name="contract")
        )
        results += [(suite.name, result) for result in ran.run_results.values()]
    made.build_data_docs()
    return results


def _index(results: Sequence[tuple[str, Any]], outcome: Validation, folder: Path) -> str:
    ends = "Nothing refuses the data." if outcome.success else "These data are refused: `distill` will not take them."
    body = [
        "<h1>Data contract</h1>",
        f"<p>{ends} Red refuses, yellow warns.</p>",
        *(_sentence(failure) for failure in outcome.failures),
        "<h2>Cells</h2>",
        *(_cells(split, cells, outcome.imbalance[split]) for split, cells in outcome.cells.items()),
        "<h2>Expectations</h2>",
        "<p>What each table was held against, by Great Expectations.</p>",
        _table(["table", "expectations"], [_results(name, result, folder) for name, result in results]),
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


def _results(name: str, result: Any, folder: Path) -> list[str]:
    page = next(iter(sorted((folder / "validations" / name).rglob("*.html"))), None)
    title = html.escape(name)
    link = title if page is None else f'<a href="{html.escape(page.relative_to(folder).as_posix())}">{title}</a>'
    failed = [it.expectation_config for it in result.results if not it.success]
    said = "".join(
        f'<br><span class="{"error" if it.severity == "critical" else "warn"}">'
        f"{html.escape(it.type)}: {html.escape(str(it.kwargs.get('column', '')))}</span>"
        for it in failed
    )
    if failed:
        return [link, f"{len(failed)} of {len(result.results)} not met{said}"]
    return [link, f'<span class="held">all {len(result.results)} met</span>']


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    lines = [f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows]
    return f"<table><tr>{''.join(f'<th>{title}</th>' for title in header)}</tr>{''.join(lines)}</table>"
