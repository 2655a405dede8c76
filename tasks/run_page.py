"""Artifacts on the page of a flow run: progress while a stage runs, then the set, its rates, verdict and report.

If validate.privacy in params.yaml is restricted, no images are shown.
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

# An image is stored in its artifact, and the artifact in a row of the server's database.
_LARGEST_IMAGE = 1_000_000


@dataclass
class ProgressArtifacts:
    """Handles the lines that a stage prints: progress updates a progress artifact, and other lines go to the log."""

    log: Callable[..., None]
    _artifacts: dict[str, UUID] = field(default_factory=dict)

    def __call__(self, line: str) -> None:
        progress = _parse_progress(line)
        if progress is None:
            self.log("%s", line)
            return
        try:
            self._show(progress)
        except Exception as error:  # a distillation must not stop because the server is down for a while
            self.log("cannot show progress: %s", type(error).__name__)

    def _show(self, progress: dict[str, Any]) -> None:
        name = f"{progress['stage']} {progress['set']}"
        percentage = 100 * progress["step"] / progress["of"]
        if name in self._artifacts:
            update_progress_artifact(self._artifacts[name], percentage, description=_describe(name, progress))
        else:
            self._artifacts[name] = create_progress_artifact(  # type: ignore[assignment]  # tasks are not async here
                percentage, key=artifact_key(name), description=_describe(name, progress)
            )


def _parse_progress(line: str) -> dict[str, Any] | None:
    """Return the progress in a line of JSON; None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        progress = json.loads(line)
        valid = isinstance(progress, dict) and progress["of"] > 0 and {"stage", "set", "step"} <= progress.keys()
    except (ValueError, KeyError, TypeError):
        return None
    return progress if valid else None


def _describe(name: str, progress: dict[str, Any]) -> str:
    words = [f"{name}: {progress['step']:,} of {progress['of']:,}"]
    words += [f"loss {progress['loss']:.4g}"] if progress.get("loss") is not None else []
    words += [f"{progress['seconds_left']:,.0f} s left"] if progress.get("seconds_left") else []
    return " · ".join(words)


def show_set(workspace: Workspace, name: str, *, pictures: bool) -> None:
    """Show one set: its verdict, the recall of each class in each group, and its images."""
    verdict = Verdict.from_json(workspace.verdict(name).read_bytes(), name=str(workspace.verdict(name)))
    create_markdown_artifact(
        markdown(name, verdict), key=artifact_key(f"verdict {name}"), description=f"{name}: verdict"
    )
    if workspace.rates(name).exists():  # missing for a live version whose published predictions were reused
        show_rates(workspace.rates(name).read_bytes(), name)
    if pictures and workspace.grid(name).exists():
        _show_image(
            workspace.grid(name).read_bytes(),
            "png",
            artifact_key(f"images {name}"),
            f"{name}: images, one row per class",
        )


def show_rates(rates: bytes, name: str) -> None:
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
        key=artifact_key(f"rates {name}"),
        description=f"{name}: recall of each class in each group",
    )
    create_markdown_artifact(
        rates_markdown(rows),
        key=artifact_key(f"groups {name}"),
        description=f"{name}: recall of each class, groups side by side",
    )


def link_report(clone: Clone, workspace: Workspace, config: Config, name: str) -> None:
    """Write the report on a set, store it and link to it."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.html"
        page = write_report(workspace, config, name, registry=clone.registry, out=out).read_bytes()
    link_page(clone, config, name, page)


def link_page(clone: Clone, config: Config, name: str, page: bytes) -> None:
    """Store an HTML page under FAIR_DISTILL_REPORTS and link to it. If that fails, log a warning and continue.

    The page itself cannot be an artifact: Prefect shows Markdown without styles and scripts. If a web server serves
    the folder of reports, FAIR_DISTILL_REPORTS_URL is its address, and the link uses it.
    """
    # Named after the run, because the page also shows the registry's history, which changes between runs.
    path = f"{config.dataset}/{name}-{str(flow_run.id)[:8]}.html"
    try:
        store = open_store(clone.reports, source=REPORTS)
        store.put(path, page)
    except FairDistillError as error:
        get_run_logger().warning("cannot store the report on %s: %s", name, error)
        return
    served = os.environ.get(f"{REPORTS}_URL")
    address = f"{served.rstrip('/')}/{path}" if served else store.address(path)
    link = address if "://" in address else Path(address).absolute().as_uri()
    create_link_artifact(link, link_text=address, key=artifact_key(f"report {name}"), description=f"{name}: report")


def show_table(workspace: Workspace, sets: list[str]) -> None:
    """Show a table of all evaluated sets."""
    rows = []
    for name in sets:
        report = parse_json(workspace.evaluation(name).read_bytes(), name=str(workspace.evaluation(name)))
        outcome = Verdict.from_json(workspace.verdict(name).read_bytes(), name=name).outcome
        for network, metrics in report.items():
            values = {title: percent(metrics.get(metric), unit="") for metric, title in TABLE_COLUMNS.items()}
            rows.append({"set": name, "network": network, **values, "verdict": outcome})
    create_table_artifact(rows, key="sets", description="all sets on the gate split, in %, mean over seeds")


def _show_image(content: bytes, kind: str, name: str, description: str) -> None:
    if len(content) <= _LARGEST_IMAGE:
        url = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
        create_image_artifact(url, key=name, description=description)


def artifact_key(name: str) -> str:
    """Return a name in the form of artifact keys: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
