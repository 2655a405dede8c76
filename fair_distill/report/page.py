"""The page on one set, from what was measured. It is a function of the material: equal material gives equal bytes."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fair_distill.gate.metrics import ACCURACY, METRICS, TABLE_COLUMNS
from fair_distill.gate.network_predictions import NetworkPredictions
from fair_distill.report import figures, samples, wording
from fair_distill.report.cells import cell_rates, class_gaps
from fair_distill.report.history import Moment
from fair_distill.report.render import Table, render
from fair_distill.report.report_data import Compared, Material, limit_on

# Without a policy's alpha (`mode: point`), intervals are the customary ones.
_ALPHA = 0.05
_SHORT = 12


def page(material: Material) -> bytes:
    """Return the report as HTML.

    Raises
    ------
    ConfigError
        If Jinja or Pillow is not installed.
    """
    return render("page.html.j2", _context(material))


def numbers(of: Material) -> dict[str, Any]:
    """Return the report's numbers as plain values, for who draws them elsewhere."""
    alpha = _ALPHA if of.verdict.alpha is None else of.verdict.alpha
    return {
        "dataset": of.dataset,
        "set": of.name,
        "verdict": asdict(of.verdict),
        "cells": {one.network: [asdict(row) for row in cell_rates(one, alpha)] for one in of.answers},
        "gaps": {one.network: [asdict(row) for row in class_gaps(one, alpha)] for one in of.answers},
        "sets": {one.name: {"how": one.how, "networks": one.metrics, "verdict": one.outcome} for one in of.sets},
        "card": of.manifest.card.to_dict(),
        "losses": [list(pair) for pair in of.losses],
        "projection": [asdict(point) for point in of.points],
        "history": [
            {**asdict(moment), "verdict": None if moment.verdict is None else moment.verdict.digest}
            for moment in of.history
        ],
    }


def _context(of: Material) -> dict[str, Any]:
    verdict, card = of.verdict, of.manifest.card
    alpha = _ALPHA if verdict.alpha is None else verdict.alpha
    own = _shown(of)
    rates, gaps = cell_rates(own, alpha), class_gaps(own, alpha)
    return {
        "m": of,
        "card": card,
        "verdict": verdict,
        "title": f"{of.dataset}: {wording.headline(of.name, verdict)}",
        "lead": wording.lead(verdict),
        "sure": wording.sure(verdict),
        "confidence": wording.percent(1 - alpha),
        "facts": _facts(of),
        "limits": figures.limits(verdict.findings),
        "whys": {limit.name: limit.why for limit in of.policy.limits},
        "reasons": [finding for finding in verdict.findings if not finding.kept],
        "network": own.network,
        "cells": figures.cells(rates, gaps, own.network),
        "cell_tables": [_cell_table(one, alpha) for one in of.answers],
        "gap_table": _gap_table(of.answers, alpha),
        "group_table": _group_table(of),
        "pareto": figures.pareto(of.sets, of.gated, of.limit, limit_on(of.policy, ACCURACY.name), of.name),
        "sets": _sets(of.sets),
        "set_header": tuple(METRICS[name].short for name in TABLE_COLUMNS),
        "strips": samples.strips(of.distilled) if of.distilled is not None and card.schema is None else [],
        "rows": _rows(of),
        "near": _near(of),
        "near_table": _near_table(of),
        "residuals": figures.residuals(card),
        "residual_table": _residual_table(of),
        "planes": [(name, figures.planes(of.points, name)) for name in _planed(of)],
        "plane_key": figures.plane_key,
        "losses": figures.losses(of.losses),
        "loss_table": _loss_table(of.losses),
        "history": figures.history(of.history, of.gated) if len(of.history) > 1 else None,
        "history_table": _history_table(of.history, of.gated),
        "digests": _digests(of),
        "made_with": _made_with(of),
        "load": _load(of),
        "outcome_words": wording.OUTCOME_WORDS,
    }


def _shown(of: Material) -> NetworkPredictions:
    """The network whose cells are drawn: the one that the gap was worst in."""
    worst = next((f.network for f in of.verdict.findings if f.metric == of.gated), of.answers[0].network)
    return next((one for one in of.answers if one.network == worst), of.answers[0])


def _facts(of: Material) -> list[tuple[str, str]]:
    card, own = of.manifest.card, of.answers[0]
    things = "images" if card.schema is None else "rows"
    made = {"distilled": "synthetic ", "subset": "real ", "full": "real "}[card.kind]
    train = sum(map(sum, card.train_counts))
    return [
        ("The set", f"{card.examples:,} {made}{things}, from {train:,} real ones"),
        ("Classes and groups", f"{len(card.classes):,} × {len(card.groups):,}: {_list(card.groups)}"),
        (
            "Judged on",
            f"{len(own.examples):,} {things} that no set was made from, by {own.seeds} networks "
            f"of each architecture ({_list([one.network for one in of.answers])})",
        ),
        ("Attempt", f"number {of.verdict.attempt:,} at this split, {wording.sure(of.verdict)}"),
    ]


def _list(names: Sequence[str]) -> str:
    shown = list(names[:8])
    return ", ".join(shown) + (f" and {len(names) - 8:,} more" if len(names) > 8 else "")


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{wording.percent(low)} to {wording.percent(high)}"


def _cell_table(own: NetworkPredictions, alpha: float) -> Table:
    return Table(
        f"Every cell, {own.network}",
        ("class", "group", "examples", "independent", "recognised", f"interval, {wording.percent(1 - alpha)}"),
        tuple(
            (r.label, r.group, f"{r.examples:,}", f"{r.clusters:,}", wording.percent(r.value), _interval(r.low, r.high))
            for r in cell_rates(own, alpha)
        ),
        words=2,
    )


def _gap_table(answers: Sequence[NetworkPredictions], alpha: float) -> Table:
    by_network = [class_gaps(own, alpha) for own in answers]
    header = ["class"]
    for own in answers:
        header += [f"{own.network}: gap", f"at most, {wording.percent(1 - alpha)}", "served worse"]
    rows = []
    for of_class in zip(*by_network, strict=True):
        row = [of_class[0].label]
        for gap in of_class:
            row += [wording.points(gap.value), wording.points(gap.upper), gap.worse if gap.value else "–"]
        rows.append(tuple(row))
    return Table("The gap in each class, in percentage points", tuple(header), tuple(rows))


def _group_table(of: Material) -> Table:
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
            for row in of.verdict.groups
        ),
        words=2,
    )


def _sets(sets: Sequence[Compared]) -> list[dict[str, Any]]:
    """Return for each set what the comparison says of it, with a line for each network."""
    none: tuple[str, ...] = ("–",) * len(TABLE_COLUMNS)
    return [
        {
            "name": one.name,
            "how": one.how,
            "size": "–" if one.card is None else f"{one.card.examples:,}",
            "outcome": one.outcome or "not judged",
            "lines": [
                (network, *(wording.percent(metrics.get(key)) for key in TABLE_COLUMNS))
                for network, metrics in (one.metrics or {}).items()
            ]
            or [("–", *none)],
        }
        for one in sets
    ]


def _rows(of: Material) -> Table | None:
    if of.distilled is None or of.manifest.card.schema is None:
        return None
    header, rows = samples.rows(of.distilled)
    return Table("Rows of the set", tuple(header), tuple(map(tuple, rows)))


def _near(of: Material) -> str:
    """What is known of near copies, in a sentence."""
    near = of.manifest.card.nearness
    if near is None:
        return ""
    if near.near_copies is None or near.expected is None:
        return f"How near they are to training images was not measured: {near.undefined}."
    things = "images" if of.manifest.card.schema is None else "rows"
    verb = "is a near copy" if near.near_copies == 1 else "are near copies"
    return (
        f"{near.near_copies:,} of {near.images:,} {things} {verb} of a training example: nearer to it than all but "
        f"{wording.percent(near.quantile, 0)} of hold-out examples are to any. As many unseen ones would show "
        f"{near.expected:.1f}."
    )


def _near_table(of: Material) -> Table | None:
    near = of.manifest.card.nearness
    if near is None:
        return None
    rows = zip(
        of.manifest.card.classes,
        near.images_per_class,
        near.near_copies_per_class,
        near.relative_distance,
        strict=True,
    )
    return Table(
        "Near copies of training images",
        ("class", "images", "near copies", "distance to the nearest, against hold-out"),
        tuple(
            (label, f"{images:,}", "–" if copies is None else f"{copies:,}", "–" if far is None else f"{far:.2f}×")
            for label, images, copies, far in rows
        ),
    )


def _residual_table(of: Material) -> Table | None:
    r, card = of.manifest.card.residuals, of.manifest.card
    if r is None:
        return None
    columns = (r.imbalance, r.separation, r.shift, r.residual, r.barycenter_residual, r.vanilla_residual)
    return Table(
        "Imbalance, separation and what comes of them",
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


def _planed(of: Material) -> list[str]:
    """This set, and the first other candidate beside it, if there is one: a picture says more beside another."""
    has = {point.set for point in of.points}
    others = [one.name for one in of.sets if one.name != of.name and one.name in has and one.card is not None]
    made = [one.name for one in of.sets if one.name in others and one.card is not None and one.card.kind == "distilled"]
    return [name for name in (of.name, *made[:1]) if name in has]


def _loss_table(curve: Sequence[tuple[int, float]]) -> Table | None:
    if not curve:
        return None
    at = sorted({round(i * (len(curve) - 1) / 10) for i in range(11)})
    rows = tuple((f"{curve[i][0]:,}", f"{curve[i][1]:.5g}") for i in at)
    return Table("The loss, at eleven steps", ("step", "loss"), rows, words=0)


def _history_table(history: Sequence[Moment], gated: str) -> Table | None:
    if not history:
        return None
    rows = []
    for moment in reversed(history):
        finding = moment.finding(gated)
        said = "revoked: " + moment.revoked if moment.revoked else _promoted(moment)
        rows.append(
            (
                f"v{moment.number}",
                wording.date_of(moment.time),
                said,
                "–"
                if moment.verdict is None
                else moment.verdict.policy[:_SHORT] + (" (new)" if moment.new_policy else ""),
                wording.percent(moment.accuracy),
                wording.percent(moment.value),
                "–" if finding is None else wording.percent(finding.bound),
                "–" if finding is None else wording.percent(finding.limit),
            )
        )
    header = ("version", "published", "standing", "policy", "accuracy", "gap", "bound", "limit")
    return Table("All versions, the newest first; figures are of the worst network", header, tuple(rows), words=4)


def _promoted(moment: Moment) -> str:
    if moment.channels:
        return f"in force: {', '.join(moment.channels)}"
    return "published" if moment.verdict is None else "promoted once"


def _digests(of: Material) -> Table:
    verdict = of.verdict
    named = {
        "set (its version)": verdict.set,
        **{f"file {entry.path}": entry.sha256 for entry in of.manifest.files},
        "training split": of.manifest.source,
        "gate split": verdict.split,
        "predictions": verdict.predictions,
        "policy": verdict.policy,
        "policy floor": verdict.policy_floor,
        "context": verdict.context,
        **{f"predictions of {name}": digest for name, digest in verdict.references.items()},
        "verdict": verdict.digest,
    }
    rows = tuple((name, digest) for name, digest in named.items() if digest)
    return Table("SHA-256 of everything the verdict rests on", ("what", "SHA-256"), rows, words=2)


def _made_with(of: Material) -> Table:
    flat = {"engine": str(of.manifest.engine), **_flat(of.manifest.params), **_flat(of.provenance, "made with")}
    return Table("The params that made it, and where", ("key", "value"), tuple(flat.items()), words=2)


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested values by dotted key."""
    found: dict[str, str] = {}
    for key, item in value.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(item, dict) and item:
            found |= _flat(item, name)
        elif item is not None:
            found[name] = ", ".join(map(str, item)) if isinstance(item, list | tuple) else str(item)
    return found


def _load(of: Material) -> dict[str, str]:
    """How to have this very set, as far as it is published."""
    moment = next((m for m in of.history if m.version == of.manifest.version), None)
    if moment is None:
        return {"reference": "", "registry": of.where}
    if of.channel in moment.channels:
        return {"reference": f"{of.dataset}@{of.channel}", "registry": of.where}
    return {"reference": f"{of.dataset}@v{moment.number}", "registry": of.where}
