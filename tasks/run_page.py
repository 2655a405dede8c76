"""What a run's page shows: progress that moves while a stage runs, and the set, its rates and its verdict at the end.

Of data that params.yaml calls restricted there are no pictures.
"""

import base64
import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from fair_distill.config import Config
from fair_distill.errors import FairDistillError
from fair_distill.files import parse_json
from fair_distill.gate.metrics import TABLE_COLUMNS
from fair_distill.gate.render import markdown
from fair_distill.gate.verdict import Verdict
from fair_distill.report.rates import rates_markdown, read_rates
from fair_distill.stages.report import write_report
from fair_distill.storage.schemes import open_store
from fair_distill.text import percent
from fair_distill.workspace import Workspace
from tasks.workspace import REPORTS, Clone

# A picture travels inside its artifact; the server keeps it in a row of its database.
_MOST_BYTES = 1_000_000


@dataclass
class Telling:
    """Takes the lines that a stage prints: progress becomes an artifact that moves, the rest goes to the log."""

    log: Callable[..., None]
    _artifacts: dict[str, UUID] = field(default_factory=dict)

    def __call__(self, line: str) -> None:
        reached = _progress(line)
        if reached is None:
            self.log("%s", line)
            return
        try:
            self._show(reached)
        except Exception as error:  # a server that is away for a while is no reason to stop a distillation
            self.log("progress is not shown: %s", type(error).__name__)

    def _show(self, reached: dict[str, Any]) -> None:
        name = f"{reached['stage']} {reached['set']}"
        done = 100 * reached["step"] / reached["of"]
        if name in self._artifacts:
            update_progress_artifact(self._artifacts[name], done, description=_described(name, reached))
        else:
            self._artifacts[name] = create_progress_artifact(  # type: ignore[assignment]  # tasks are not async here
                done, key=key(name), description=_described(name, reached)
            )


def _progress(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        reached = json.loads(line)
        whole = isinstance(reached, dict) and reached["of"] > 0 and {"stage", "set", "step"} <= reached.keys()
    except (ValueError, KeyError, TypeError):
        return None
    return reached if whole else None


def _described(name: str, reached: dict[str, Any]) -> str:
    words = [f"{name}: {reached['step']:,} of {reached['of']:,}"]
    words += [f"loss {reached['loss']:.4g}"] if reached.get("loss") is not None else []
    words += [f"{reached['seconds_left']:,.0f} s left"] if reached.get("seconds_left") else []
    return " · ".join(words)


def tell_set(workspace: Workspace, name: str, *, pictures: bool) -> None:
    """Show one set: its images, how each class fares in each group, and the gate's verdict."""
    verdict = Verdict.from_json(workspace.verdict(name).read_bytes(), name=str(workspace.verdict(name)))
    create_markdown_artifact(markdown(name, verdict), key=key(f"verdict {name}"), description=f"{name}: the verdict")
    if workspace.rates(name).exists():  # a live version that was published with its predictions has none here
        tell_rates(workspace.rates(name).read_bytes(), name)
    if pictures and workspace.grid(name).exists():
        _image(workspace.grid(name).read_bytes(), "png", key(f"images {name}"), f"{name}: the images, a row a class")


def tell_rates(rates: bytes, name: str) -> None:
    """Show the recall of each class in each group: all values in a table, and the groups side by side."""
    rows = read_rates(rates)
    create_table_artifact(
        [
            {
                "network": rate.network,
                "class": rate.label,
                "group": rate.group,
                "images": rate.examples,
                "recall": percent(rate.recall),
            }
            for rate in rows
        ],
        key=key(f"rates {name}"),
        description=f"{name}: the share of each class that is recognised, in each group",
    )
    create_markdown_artifact(
        rates_markdown(rows), key=key(f"groups {name}"), description=f"{name}: the recall of each class in each group"
    )


def tell_report(clone: Clone, workspace: Workspace, config: Config, name: str) -> None:
    """Keep the report on a set of a workspace where people find it, and link to it."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.html"
        page = write_report(workspace, config, name, registry=clone.registry, out=out).read_bytes()
    keep_page(clone, config, name, page)


def keep_page(clone: Clone, config: Config, name: str, page: bytes) -> None:
    """Keep a page where people find it, and link to it. Where it cannot be kept the log says so, and the run goes on.

    An artifact is a row of the server's database, and its Markdown is shown without styles and scripts: it cannot be a
    page. FAIR_DISTILL_REPORTS_URL says at which address browsers have what lies there, if they do.
    """
    # Called after the run: the page also tells the registry's history, which goes on.
    called = f"{config.dataset}/{name}-{str(flow_run.id)[:8]}.html"
    try:
        store = open_store(clone.reports, source=REPORTS)
        store.put(called, page)
    except FairDistillError as error:
        get_run_logger().warning("the report on %s is not kept: %s", name, error)
        return
    served = os.environ.get(f"{REPORTS}_URL")
    address = f"{served.rstrip('/')}/{called}" if served else store.address(called)
    link = address if "://" in address else Path(address).absolute().as_uri()
    create_link_artifact(link, link_text=address, key=key(f"report {name}"), description=f"{name}: the report")


def tell_table(workspace: Workspace, sets: list[str]) -> None:
    """Show all sets that were evaluated beside each other."""
    rows = []
    for name in sets:
        report = parse_json(workspace.evaluation(name).read_bytes(), name=str(workspace.evaluation(name)))
        outcome = Verdict.from_json(workspace.verdict(name).read_bytes(), name=name).outcome
        for network, of in report.items():
            shown = {label: percent(of.get(metric), unit="") for metric, label in TABLE_COLUMNS.items()}
            rows.append({"set": name, "network": network, **shown, "verdict": outcome})
    create_table_artifact(rows, key="sets", description="all sets, %, on the gate split, mean over seeds")


def _image(content: bytes, kind: str, name: str, description: str) -> None:
    if len(content) <= _MOST_BYTES:
        url = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
        create_image_artifact(url, key=name, description=description)


def key(name: str) -> str:
    """Return a name as artifacts are called: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
