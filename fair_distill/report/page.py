"""The report on one set as HTML. The page depends only on its input: equal data give equal bytes."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fair_distill.gate.metrics import ACCURACY, METRICS, TABLE_COLUMNS
from fair_distill.gate.network_predictions import NetworkPredictions
from fair_distill.report import figures, samples, wording
from fair_distill.report.cells import cell_rates, class_gaps
from fair_distill.report.history import PublishedVersion
from fair_distill.report.label_tables import label_tables
from fair_distill.report.render import Table, render
from fair_distill.report.report_data import ComparedSet, ReportData, limit_on
from fair_distill.text import ABSENT

# The level of intervals with `mode: point`, where the policy defines no level.
_ALPHA = 0.05
_DIGEST_LENGTH = 12


def page(data: ReportData) -> bytes:
    """Return the report as HTML.

    Raises
    ------
    ConfigError
        If Jinja or Pillow is not installed.
    """
    return render("page.html.j2", _context(data))


def numbers(data: ReportData) -> dict[str, Any]:
    """Return the numbers of the report as plain values, for other tools."""
    alpha = _ALPHA if data.verdict.alpha is None else data.verdict.alpha
    return {
        "dataset": data.dataset,
        "set": data.name,
        "verdict": asdict(data.verdict),
        "cells": {network.network: [asdict(row) for row in cell_rates(network, alpha)] for network in data.predictions},
        "gaps": {network.network: [asdict(row) for row in class_gaps(network, alpha)] for network in data.predictions},
        "sets": {
            compared.name: {"how": compared.origin, "networks": compared.metrics, "verdict": compared.outcome}
            for compared in data.sets
        },
        "card": data.manifest.card.to_dict(),
        "labels": data.label_audit,
        "losses": [list(pair) for pair in data.losses],
        "projection": [asdict(point) for point in data.points],
        "history": [
            {**asdict(version), "verdict": None if version.verdict is None else version.verdict.digest}
            for version in data.history
        ],
    }


def _context(data: ReportData) -> dict[str, Any]:
    verdict, card = data.verdict, data.manifest.card
    alpha = _ALPHA if verdict.alpha is None else verdict.alpha
    network = _worst_network(data)
    rates, gaps = cell_rates(network, alpha), class_gaps(network, alpha)
    return {
        "m": data,
        "card": card,
        "verdict": verdict,
        "title": f"{data.dataset}: {wording.headline(data.name, verdict)}",
        "lead": wording.lead(verdict),
        "sure": wording.confidence(verdict),
        "confidence": wording.percent(1 - alpha),
        "facts": _summary(data),
        "limits": figures.limits(verdict.findings),
        "whys": {limit.name: limit.why for limit in data.policy.limits},
        "reasons": [finding for finding in verdict.findings if not finding.satisfied],
        "network": network.network,
        "cells": figures.cells(rates, gaps, network.network),
        "cell_tables": [_cell_table(network, alpha) for network in data.predictions],
        "gap_table": _gap_table(data.predictions, alpha),
        "group_table": _group_table(data),
        "label_tables": label_tables(data.label_audit),
        "pareto": figures.pareto(
            data.sets, data.gap_metric, data.gap_limit, limit_on(data.policy, ACCURACY.name), data.name
        ),
        "sets": _sets(data.sets),
        "set_header": tuple(METRICS[name].short for name in TABLE_COLUMNS),
        "strips": samples.strips(data.distilled) if data.distilled is not None and card.schema is None else [],
        "rows": _rows(data),
        "near": _near(data),
        "near_table": _near_table(data),
        "broken": _broken(data),
        "relation_table": _relation_table(data),
        "residuals": figures.residuals(card),
        "residual_table": _residual_table(data),
        "planes": [(name, figures.planes(data.points, name)) for name in _projected_sets(data)],
        "plane_key": figures.plane_key,
        "losses": figures.losses(data.losses),
        "loss_table": _loss_table(data.losses),
        "history": figures.history(data.history, data.gap_metric) if len(data.history) > 1 else None,
        "history_table": _history_table(data.history, data.gap_metric),
        "digests": _digests(data),
        "made_with": _made_with(data),
        "load": _load(data),
        "outcome_words": wording.OUTCOME_WORDS,
    }


def _worst_network(data: ReportData) -> NetworkPredictions:
    """Return the network with the largest gap, whose cells are drawn."""
    worst = next(
        (finding.network for finding in data.verdict.findings if finding.metric == data.gap_metric),
        data.predictions[0].network,
    )
    return next((network for network in data.predictions if network.network == worst), data.predictions[0])


def _summary(data: ReportData) -> list[tuple[str, str]]:
    card, predictions = data.manifest.card, data.predictions[0]
    unit = card.unit
    kind = {"distilled": "synthetic ", "subset": "real ", "full": "real "}.get(card.kind)
    train = sum(map(sum, card.train_counts))
    size = "a constant answer" if kind is None else f"{card.examples:,} {kind}{unit}"
    return [
        ("The set", f"{size}, made from {train:,} real {unit}"),
        ("Classes and groups", f"{len(card.classes):,} × {len(card.groups):,}: {_list(card.groups)}"),
        (
            "Evaluation",
            f"{len(predictions.examples):,} held-out {unit}; {predictions.seeds} networks of each architecture "
            f"({_list([network.network for network in data.predictions])})",
        ),
        ("Attempt", f"number {data.verdict.attempt:,} on this split, {wording.confidence(data.verdict)}"),
        *([("Assumption", data.verdict.assumption)] if data.verdict.assumption else []),
        *(("Warning", warning) for warning in data.verdict.warnings),
    ]


def _list(names: Sequence[str]) -> str:
    first = list(names[:8])
    return ", ".join(first) + (f" and {len(names) - 8:,} more" if len(names) > 8 else "")


def _interval(low: float | None, high: float | None) -> str:
    return ABSENT if low is None or high is None else f"{wording.percent(low)} to {wording.percent(high)}"


def _cell_table(predictions: NetworkPredictions, alpha: float) -> Table:
    return Table(
        f"All cells, {predictions.network}",
        ("class", "group", "examples", "independent", "recall", f"interval, {wording.percent(1 - alpha)}"),
        tuple(
            (
                rate.label,
                rate.group,
                f"{rate.examples:,}",
                f"{rate.clusters:,}",
                wording.percent(rate.value),
                _interval(rate.low, rate.high),
            )
            for rate in cell_rates(predictions, alpha)
        ),
        words=2,
    )


def _gap_table(networks: Sequence[NetworkPredictions], alpha: float) -> Table:
    by_network = [class_gaps(network, alpha) for network in networks]
    header = ["class"]
    for network in networks:
        header += [f"{network.network}: gap", f"upper bound, {wording.percent(1 - alpha)}", "worse group"]
    rows = []
    for gaps in zip(*by_network, strict=True):
        row = [gaps[0].label]
        for gap in gaps:
            row += [wording.points(gap.value), wording.points(gap.upper), gap.worse if gap.value else ABSENT]
        rows.append(tuple(row))
    return Table("The gap of each class, in percentage points", tuple(header), tuple(rows))


def _group_table(data: ReportData) -> Table:
    return Table(
        "Accuracy by group",
        ("group", "network", "examples", "independent", "accuracy", "interval"),
        tuple(
            (
                row.group,
                row.network,
                f"{row.examples:,}",
                f"{row.clusters:,}",
                wording.percent(row.accuracy),
                _interval(row.low, row.high),
            )
            for row in data.verdict.groups
        ),
        words=2,
    )


def _sets(sets: Sequence[ComparedSet]) -> list[dict[str, Any]]:
    """Return the values of the comparison table for each set, with a line for each network."""
    none: tuple[str, ...] = (ABSENT,) * len(TABLE_COLUMNS)
    return [
        {
            "name": compared.name,
            "origin": compared.origin,
            "size": ABSENT if compared.card is None else f"{compared.card.examples:,}",
            "outcome": compared.outcome or "not judged",
            "lines": [
                (compared.network_title(network), *(wording.percent(metrics.get(key)) for key in TABLE_COLUMNS))
                for network, metrics in (compared.metrics or {}).items()
            ]
            or [(ABSENT, *none)],
        }
        for compared in sets
    ]


def _rows(data: ReportData) -> list[Table]:
    """Return a table for each class with some of its rows as columns."""
    if data.distilled is None or data.manifest.card.schema is None:
        return []
    return [
        Table(
            f"Rows of class {label}",
            ("column", *(f"row {number}" for number in range(1, len(lines[0])))),
            tuple(lines),
            words=1,
        )
        for label, lines in samples.rows(data.distilled).items()
    ]


def _near(data: ReportData) -> str:
    """Return the number of near copies as a sentence."""
    near = data.manifest.card.nearness
    if near is None:
        return ""
    if near.near_copies is None or near.expected is None:
        return f"Near copies were not measured: {near.undefined}."
    unit = data.manifest.card.unit
    verb = "is a near copy" if near.near_copies == 1 else "are near copies"
    return (
        f"{near.near_copies:,} of {near.images:,} {unit} {verb} of a training example: the distance is smaller than "
        f"for all but {wording.percent(near.quantile, 0)} of hold-out examples. As many hold-out examples would have "
        f"{near.expected:.1f} by chance."
    )


def _broken(data: ReportData) -> str:
    """Return the rows that break relations between columns as a sentence; empty for images."""
    relations = data.manifest.card.relations
    return "" if relations is None else f"{relations.sentence().capitalize()}."


def _relation_table(data: ReportData) -> Table | None:
    relations = data.manifest.card.relations
    if relations is None or not relations.relations:
        return None
    return Table(
        "Columns that determine others",
        ("column", "determines", "of the training rows", "rows of the set that break it"),
        tuple(
            (relation.determinant, relation.dependent, wording.percent(relation.share), f"{relation.broken:,}")
            for relation in relations.relations
        ),
        words=2,
    )


def _near_table(data: ReportData) -> Table | None:
    near = data.manifest.card.nearness
    if near is None:
        return None
    rows = zip(
        data.manifest.card.classes,
        near.images_per_class,
        near.near_copies_per_class,
        near.relative_distance,
        strict=True,
    )
    unit = data.manifest.card.unit
    return Table(
        f"Near copies of training {unit}",
        ("class", unit, "near copies", "distance to the nearest, relative to hold-out"),
        tuple(
            (
                label,
                f"{images:,}",
                ABSENT if copies is None else f"{copies:,}",
                ABSENT if distance is None else f"{distance:.2f}×",
            )
            for label, images, copies, distance in rows
        ),
    )


def _residual_table(data: ReportData) -> Table | None:
    card = data.manifest.card
    measured = card.residuals
    if measured is None:
        return None
    columns = (
        *(measured.imbalance, measured.separation, measured.shift),
        *(measured.residual, measured.barycenter_residual, measured.vanilla_residual),
    )
    return Table(
        "Imbalance, separation, and the resulting distances",
        (
            "class",
            "examples by group",
            "imbalance",
            "separation",
            "shift (their product)",
            "set",
            "barycenter",
            "pooled target",
        ),
        tuple(
            (label, " / ".join(f"{n:,}" for n in counts), *(wording.number(column[c]) for column in columns))
            for c, (label, counts) in enumerate(zip(card.classes, card.train_counts, strict=True))
        ),
    )


def _projected_sets(data: ReportData) -> list[str]:
    """Return this set and, for comparison, the first other distilled set, as far as they have a projection."""
    projected = {point.set for point in data.points}
    other_sets = [
        compared.name
        for compared in data.sets
        if compared.name != data.name and compared.card is not None and compared.card.kind == "distilled"
    ]
    return [name for name in (data.name, *[name for name in other_sets if name in projected][:1]) if name in projected]


def _loss_table(curve: Sequence[tuple[int, float]]) -> Table | None:
    if not curve:
        return None
    indices = sorted({round(i * (len(curve) - 1) / 10) for i in range(11)})
    rows = tuple((f"{curve[i][0]:,}", f"{curve[i][1]:.5g}") for i in indices)
    return Table("The loss, at eleven steps", ("step", "loss"), rows, words=0)


def _history_table(history: Sequence[PublishedVersion], gap_metric: str) -> Table | None:
    if not history:
        return None
    rows = []
    for version in reversed(history):
        finding, verdict = version.finding(gap_metric), version.verdict
        status = f"revoked: {version.revoked}" if version.revoked else _status(version)
        rows.append(
            (
                f"v{version.number}",
                wording.day(version.time),
                status,
                ABSENT
                if verdict is None
                else verdict.policy[:_DIGEST_LENGTH] + (" (new)" if version.new_policy else ""),
                wording.percent(version.accuracy),
                wording.percent(version.value),
                ABSENT if finding is None else wording.percent(finding.bound),
                ABSENT if finding is None else wording.percent(finding.limit),
            )
        )
    header = ("version", "published", "status", "policy", "accuracy", "gap", "bound", "limit")
    return Table("All versions, the newest first, with the metrics of the worst network", header, tuple(rows), words=4)


def _status(version: PublishedVersion) -> str:
    if version.channels:
        return f"in {', '.join(version.channels)}"
    return "published" if version.verdict is None else "promoted earlier"


def _digests(data: ReportData) -> Table:
    verdict = data.verdict
    digests = {
        "set (its version)": verdict.set,
        **{f"file {entry.path}": entry.sha256 for entry in data.manifest.files},
        "training split": data.manifest.source,
        "gate split": verdict.split,
        "predictions": verdict.predictions,
        "policy": verdict.policy,
        "policy floor": verdict.policy_floor,
        "context": verdict.context,
        **{f"predictions of {name}": digest for name, digest in verdict.references.items()},
        "verdict": verdict.digest,
    }
    rows = tuple((name, digest) for name, digest in digests.items() if digest)
    return Table("SHA-256 of every input of the verdict", ("input", "SHA-256"), rows, words=2)


def _made_with(data: ReportData) -> Table:
    flat = {"engine": str(data.manifest.engine), **_flat(data.manifest.params), **_flat(data.provenance, "made with")}
    return Table("The params of the set, and where it was made", ("key", "value"), tuple(flat.items()), words=2)


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested values by dotted key."""
    values: dict[str, str] = {}
    for key, item in value.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(item, dict) and item:
            values |= _flat(item, name)
        elif item is not None:
            values[name] = ", ".join(map(str, item)) if isinstance(item, list | tuple) else str(item)
    return values


def _load(data: ReportData) -> dict[str, str]:
    """Return the reference and the registry with which a consumer loads this set; no reference if it is unpublished."""
    version = next((version for version in data.history if version.version == data.manifest.version), None)
    if version is None:
        return {"reference": "", "registry": data.registry}
    if data.channel in version.channels:
        return {"reference": f"{data.dataset}@{data.channel}", "registry": data.registry}
    return {"reference": f"{data.dataset}@v{version.number}", "registry": data.registry}
