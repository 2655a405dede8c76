"""The figures of a report. Each function turns measurements into a Plot with a description in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fair_distill.card import DatasetCard
from fair_distill.gate.metrics import ACCURACY
from fair_distill.gate.verdict import Finding
from fair_distill.report.cells import CellRate, ClassGap
from fair_distill.report.history import PublishedVersion
from fair_distill.report.plot import Axis, Band, Dot, Key, Line, Path, Plot, Tick, axis, hue_of, middle, shape_of
from fair_distill.report.report_data import ComparedSet, ReportPoint, SweepCandidate
from fair_distill.report.wording import PERCENT, is_gap, metric, number, percent

_WHOLE = Axis(0.0, 1.0)
_MOST_STEPS = 400
MOST_PLANES = 24


def _tick_text(value: float) -> str:
    """Return a fraction in per cent without trailing zeros."""
    return f"{100 * value:.3g}{PERCENT}"


def limits(findings: Sequence[Finding]) -> list[tuple[Finding, Plot]]:
    """Return a track for each clause, on a scale from 0 to 1. The side that violates the limit is shaded.

    A clause over a reference may have values below 0; its track starts at the smallest of them.
    """
    tracks = []
    for finding in findings:
        numbers = [x for x in (finding.value, finding.bound, finding.limit) if x is not None]
        scale = Axis(min(0.0, *numbers), 1.0) if min(numbers) < 0 else _WHOLE
        limit = scale(finding.limit)
        gap = is_gap(finding.metric)
        marks: list[Dot | Line | Path | Band] = [
            Band(limit, 0, 100 - limit, 100, "out") if gap else Band(0, 0, limit, 100, "out"),
            Line(0, 50, 100, 50, "track"),
            Line(limit, 0, limit, 100, "limit"),
        ]
        if finding.noise is not None:
            marks.append(Line(scale(finding.noise), 30, scale(finding.noise), 70, "noise"))
        if finding.value is not None:
            if finding.bound is not None:
                marks.append(Line(scale(finding.value), 50, scale(finding.bound), 50, f"reach {finding.outcome}"))
                marks.append(Line(scale(finding.bound), 25, scale(finding.bound), 75, f"reach {finding.outcome}"))
            marks.append(Dot(scale(finding.value), 50, -1, style=finding.outcome))
        tracks.append((finding, Plot(_limit_description(finding), 1.6, tuple(marks), scale.ticks(_tick_text))))
    return tracks


def _limit_description(finding: Finding) -> str:
    side = "at most" if is_gap(finding.metric) else "at least"
    limit = f"{metric(finding.clause)}: limit {side} {percent(finding.limit)}"
    if finding.value is None:
        return f"{limit}, not measured"
    bound = "" if finding.bound is None else f", bound {percent(finding.bound)}"
    return f"{limit}, measured {percent(finding.value)}{bound}"


def cells(rates: Sequence[CellRate], gaps: Sequence[ClassGap], network: str) -> Plot:
    """Return the recall of each group with its interval, in one row per class."""
    labels = list(dict.fromkeys(rate.label for rate in rates))
    groups = list(dict.fromkeys(rate.group for rate in rates))
    ends = [x for rate in rates for x in (rate.low, rate.value) if x is not None]
    scale = axis([*ends, 1.0], end=1.0)
    marks: list[Dot | Line | Path | Band] = []
    for row in range(len(labels)):
        marks.append(Line(0, middle(row, len(labels)), 100, middle(row, len(labels)), "row"))
    # The groups of a row are next to each other vertically, so that no interval hides another.
    spread = 56 / len(labels) / max(len(groups), 1)
    for rate in rates:
        g = groups.index(rate.group)
        y = middle(labels.index(rate.label), len(labels)) + spread * (g - (len(groups) - 1) / 2)
        if rate.low is not None and rate.high is not None:
            marks.append(Line(scale(rate.low), y, scale(rate.high), y, "interval", hue_of(g)))
        if rate.value is not None:
            title = f"{rate.label}, {rate.group}: {percent(rate.value)} of {rate.examples:,}"
            marks.append(Dot(scale(rate.value), y, hue_of(g), shape_of(g), title=title))
    known = [gap for gap in gaps if gap.value is not None]
    worst = max(known, key=lambda gap: gap.value or 0, default=None)
    description = f"Recall of {len(labels)} classes in {len(groups)} groups, {network}."
    if worst is not None:
        gap = f"{percent(worst.value)} in class {worst.label}, {worst.better} over {worst.worse}"
        description += f" The largest gap is {gap}."
    return Plot(
        description,
        max(1.7, 0.55 * len(groups)) * len(labels),
        tuple(marks),
        scale.ticks(_tick_text),
        x_label="recall of the class",
        rows=tuple(labels),
        legend=tuple(Key(group, hue_of(g), shape_of(g)) for g, group in enumerate(groups)),
    )


@dataclass(frozen=True)
class _Spot:
    """One mark of a scatter plot of accuracy and gap."""

    accuracy: float
    gap: float
    hue: int
    shape: str
    chosen: bool
    title: str


def pareto(
    sets: Sequence[ComparedSet], gap_metric: str, limit: float | None, floor: float | None, highlighted: str
) -> Plot:
    """Return a scatter plot of accuracy and gap, with a mark for each set and network. Lower right is better.

    Parameters
    ----------
    gap_metric : the metric of the y axis
    limit, floor : the policy's limits on the gap and on accuracy; the admitted area is shaded
    highlighted : the set to highlight
    """
    networks = list(dict.fromkeys(network for compared in sets for network in compared.metrics or {}))
    spots = [
        _Spot(
            metrics[ACCURACY.name],
            metrics[gap_metric],
            hue_of(index),
            shape_of(networks.index(network)),
            compared.name == highlighted,
            f"{compared.name}, {compared.network_title(network)}: {_both(metrics[ACCURACY.name], metrics[gap_metric])}",
        )
        for index, compared in enumerate(sets)
        for network, metrics in (compared.metrics or {}).items()
        if metrics.get(ACCURACY.name) is not None and metrics.get(gap_metric) is not None
    ]
    legend = [Key(compared.name, hue_of(index)) for index, compared in enumerate(sets) if compared.metrics]
    description = f"Accuracy against {metric(gap_metric).lower()}, for {len(legend)} sets and {len(networks)} networks."
    legend += [Key(network, -1, shape_of(i)) for i, network in enumerate(networks)]
    return _scatter(spots, description, legend, gap_metric, limit, floor)


def sweep(
    candidates: Sequence[SweepCandidate], gap_metric: str, limit: float | None, floor: float | None, chosen: str | None
) -> Plot:
    """Return a scatter plot of accuracy and gap on the tune split, with a mark for each candidate of a sweep.

    The colour of a mark is the kind of the candidate, and its shape is the size. See `pareto` for the parameters.
    """
    kind_names = list(dict.fromkeys(candidate.kind for candidate in candidates))
    sizes = sorted({candidate.ipc for candidate in candidates})
    spots = [
        _Spot(
            candidate.accuracy,
            candidate.gap,
            hue_of(kind_names.index(candidate.kind)),
            shape_of(sizes.index(candidate.ipc)),
            candidate.name == chosen,
            f"{candidate.name}: {_both(candidate.accuracy, candidate.gap)}",
        )
        for candidate in candidates
        if candidate.accuracy is not None and candidate.gap is not None
    ]
    legend = [Key(kind, hue_of(i)) for i, kind in enumerate(kind_names)]
    legend += [Key(f"{size:,} per class", -1, shape_of(i)) for i, size in enumerate(sizes)]
    description = f"Accuracy against {metric(gap_metric).lower()} on the tune split, for {len(candidates)} candidates."
    return _scatter(spots, description, legend, gap_metric, limit, floor)


def _both(accuracy: float, gap: float) -> str:
    return f"accuracy {percent(accuracy)}, gap {percent(gap)}"


def _scatter(
    spots: Sequence[_Spot],
    description: str,
    legend: Sequence[Key],
    gap_metric: str,
    limit: float | None,
    floor: float | None,
) -> Plot:
    """Return accuracy on the x axis and the gap on the y axis; the area that the policy admits is shaded."""
    across = axis([*(spot.accuracy for spot in spots), *([floor] if floor is not None else [])] or [0.0], end=1.0)
    up = axis([0.0, *(spot.gap for spot in spots), *([limit] if limit is not None else [])], start=0.0)
    marks: list[Dot | Line | Path | Band] = []
    if limit is not None:
        left = 0.0 if floor is None else across(floor)
        marks.append(Band(left, up.down(limit), 100 - left, up(limit), "within"))
    marks += [Line(0, tick.position, 100, tick.position, "grid") for tick in up.up(_tick_text)]
    marks += [
        Dot(
            across(spot.accuracy),
            up.down(spot.gap),
            spot.hue,
            spot.shape,
            "chosen" if spot.chosen else "solid",
            spot.title,
        )
        for spot in spots
    ]
    return Plot(
        " ".join([description, *(f"{spot.title}." for spot in spots if spot.chosen)]),
        17,
        tuple(marks),
        across.ticks(_tick_text),
        up.up(_tick_text),
        "accuracy",
        metric(gap_metric).lower(),
        legend=tuple(legend),
    )


def residuals(card: DatasetCard) -> Plot | None:
    """Return the distance of the set and of both targets to the farthest group, in one row per class."""
    if card.residuals is None:
        return None
    measured = card.residuals
    series = (
        ("this set", measured.residual, 0, "circle"),
        ("barycenter", measured.barycenter_residual, 1, "diamond"),
        ("pooled target", measured.vanilla_residual, 2, "triangle"),
    )
    known = [x for _, values, _, _ in series for x in values if x is not None]
    if not known:
        return None
    scale = axis([0.0, *known], start=0.0)
    rows = len(card.classes)
    marks: list[Dot | Line | Path | Band] = []
    for row, label in enumerate(card.classes):
        y = middle(row, rows)
        marks.append(Line(0, y, 100, y, "row"))
        distances = [values[row] for _, values, _, _ in series]
        known_distances = [x for x in distances if x is not None]
        if len(known_distances) > 1:
            marks.append(Line(scale(min(known_distances)), y, scale(max(known_distances)), y, "span"))
        marks += [
            Dot(scale(x), y, hue, shape, title=f"{label}, {name}: {number(x)}")
            for (name, _, hue, shape), x in zip(series, distances, strict=True)
            if x is not None
        ]
    worst = measured.worst
    description = f"Distance to the farthest group in each of {rows} classes, for the set and for its two targets."
    description += "" if worst is None else f" The largest distance of the set is {number(worst)}."
    return Plot(
        description,
        1.7 * rows,
        tuple(marks),
        scale.ticks(lambda x: f"{x:g}"),
        x_label="distance to the farthest group, in the space of untrained networks",
        rows=card.classes,
        legend=tuple(Key(name, hue, shape) for name, _, hue, shape in series),
    )


def planes(points: Sequence[ReportPoint], set_name: str) -> list[tuple[str, Plot]]:
    """Return a square for each class, with real examples, group means, the examples of a set and their centre.

    All squares have the same scale. Only the first classes are shown; artifacts/projection.csv contains all.
    """
    visible = [point for point in points if point.set in ("", set_name)]
    if not any(point.set == set_name for point in visible):
        return []
    reach = 1.05 * max(max(abs(point.x), abs(point.y)) for point in visible) or 1.0
    scale = Axis(-reach, reach)
    groups = list(dict.fromkeys(point.group for point in visible if point.group))
    squares = []
    for label in list(dict.fromkeys(point.label for point in visible))[:MOST_PLANES]:
        of_class = [point for point in visible if point.label == label]
        marks: list[Dot | Line | Path | Band] = [Line(0, 50, 100, 50, "grid"), Line(50, 0, 50, 100, "grid")]
        for role, style in (("real", "faint"), ("image", "made"), ("mean", "solid"), ("centre", "centre")):
            for point in of_class:
                if point.what == role:
                    g = groups.index(point.group) if point.group else -1
                    shape = shape_of(g) if point.group else "circle"
                    title = f"mean of {point.group}" if role == "mean" else ""
                    marks.append(
                        Dot(scale(point.x), scale.down(point.y), hue_of(g) if g >= 0 else -1, shape, style, title)
                    )
        squares.append((label, Plot(_plane_description(label, of_class), 0, tuple(marks))))
    return squares


def _plane_description(label: str, points: Sequence[ReportPoint]) -> str:
    centre = next((point for point in points if point.what == "centre"), None)
    means = [point for point in points if point.what == "mean"]
    if centre is None:
        return f"Class {label}: the set has no example of it."
    distances = ", ".join(
        f"{math.dist((centre.x, centre.y), (mean.x, mean.y)):.2f} from the mean of {mean.group}" for mean in means
    )
    return f"Class {label}: the centre of the set is {distances}."


def plane_key(points: Sequence[ReportPoint], set_name: str, unit: str) -> tuple[Key, ...]:
    """Return the legend of `planes`. `unit` is what the examples are, such as images."""
    groups = list(dict.fromkeys(point.group for point in points if point.group))
    keys = [Key(f"{group}: mean, real {unit}", hue_of(g), shape_of(g)) for g, group in enumerate(groups)]
    return (*keys, Key(f"{set_name}: {unit}", -1, style="made"), Key(f"{set_name}: centre", -1, style="centre"))


def losses(curve: Sequence[tuple[int, float]]) -> Plot | None:
    """Return the loss by step. Many steps are averaged in blocks; a loss that falls far has a logarithmic axis."""
    if len(curve) < 2:
        return None
    size = -(-len(curve) // _MOST_STEPS)
    blocks = [curve[i : i + size] for i in range(0, len(curve), size)]
    averages = [(block[-1][0], sum(loss for _, loss in block) / len(block)) for block in blocks]
    values = [loss for _, loss in averages]
    across = Axis(float(curve[0][0]), float(curve[-1][0]))
    is_logarithmic = min(values) > 0 and max(values) / min(values) > 20
    if is_logarithmic:
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        up = Axis(low, high)
        line = tuple((across(step), up.down(math.log10(loss))) for step, loss in averages)
        ticks = tuple(Tick(up.down(power), f"{10.0**power:g}") for power in range(low, high + 1))
    else:
        up = axis([0.0, *values]) if min(values) >= 0 else axis(values)
        line = tuple((across(step), up.down(loss)) for step, loss in averages)
        ticks = up.up(lambda x: f"{x:g}")
    marks: list[Dot | Line | Path | Band] = [Line(0, tick.position, 100, tick.position, "grid") for tick in ticks]
    marks.append(Path(line, "curve", 0))
    (first, first_loss), (last, last_loss) = curve[0], curve[-1]
    description = f"The loss changes from {first_loss:.4g} at step {first:,} to {last_loss:.4g} at step {last:,}."
    return Plot(description, 12, tuple(marks), across.ticks(lambda x: f"{x:,.0f}"), ticks, "step", "loss")


def history(versions: Sequence[PublishedVersion], clause: str) -> Plot | None:
    """Return the gap of every version with its bound and limit. A vertical line is a change of the policy."""
    findings = [version.finding(clause) for version in versions]
    numbers = [version.value for version in versions if version.value is not None]
    for finding in findings:
        if finding is not None:
            numbers += [x for x in (finding.bound, finding.limit) if x is not None]
    if not numbers:
        return None
    up = axis([0.0, *numbers], start=0.0)
    n = len(versions)
    marks: list[Dot | Line | Path | Band] = [
        Line(0, tick.position, 100, tick.position, "grid") for tick in up.up(_tick_text)
    ]
    for index, (version, finding) in enumerate(zip(versions, findings, strict=True)):
        x, left, right = middle(index, n), 100 * index / n, 100 * (index + 1) / n
        if version.new_policy:
            marks.append(Line(left, 0, left, 100, "policy"))
        if finding is not None:
            limit = up.down(finding.limit)
            marks.append(Line(left, limit, right, limit, "limit"))
        if version.value is None:
            continue
        if finding is not None and finding.bound is not None:
            marks.append(Line(x, up.down(version.value), x, up.down(finding.bound), "interval", 0))
        style = "gone" if version.revoked else ("solid" if version.verdict is not None else "hollow")
        marks.append(
            Dot(x, up.down(version.value), 0, style=style, title=f"v{version.number}: {percent(version.value)}")
        )
    names = [Tick(middle(i, n), f"v{version.number}") for i, version in enumerate(versions)]
    interval = -(-n // 12)
    changed = [f"v{version.number}" for version in versions if version.new_policy]
    description = f"{metric(clause)} of {n} version{'s' if n > 1 else ''}."
    description += f" The policy changed with {', '.join(changed)}." if changed else ""
    return Plot(
        description,
        12,
        tuple(marks),
        tuple(names[::-1][::interval][::-1]),
        up.up(_tick_text),
        "version",
        metric(clause).lower(),
    )
