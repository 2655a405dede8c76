"""The report's figures, each a function from what was measured to a Plot. Every one says in words what it shows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fair_distill.card import DatasetCard
from fair_distill.gate.metrics import ACCURACY
from fair_distill.gate.verdict import Finding
from fair_distill.report.cells import CellRate, ClassGap
from fair_distill.report.history import Moment
from fair_distill.report.plot import Axis, Band, Dot, Key, Line, Path, Plot, Tick, axis, hue_of, middle, shape_of
from fair_distill.report.report_data import Compared, Point, Swept
from fair_distill.report.wording import is_gap, metric, number, percent

_WHOLE = Axis(0.0, 1.0)
_MOST_STEPS = 400
MOST_PLANES = 24


def _in_percent(value: float) -> str:
    return f"{100 * value:.3g}\u202f%"


def limits(findings: Sequence[Finding]) -> list[tuple[Finding, Plot]]:
    """One track per clause, all to the scale from 0 to 1: the shaded side is out of bounds.

    A clause over another set may be below 0; its track begins at the lowest number it has to show.
    """
    shown = []
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
        shown.append((finding, Plot(_limit_says(finding), 1.6, tuple(marks), scale.ticks(_in_percent))))
    return shown


def _limit_says(finding: Finding) -> str:
    side = "at most" if is_gap(finding.metric) else "at least"
    what = f"{metric(finding.clause)}: limit {side} {percent(finding.limit)}"
    if finding.value is None:
        return f"{what}, not measured"
    bound = "" if finding.bound is None else f", bound {percent(finding.bound)}"
    return f"{what}, measured {percent(finding.value)}{bound}"


def cells(rates: Sequence[CellRate], gaps: Sequence[ClassGap], network: str) -> Plot:
    """A row per class: each group's recall with its interval."""
    labels = list(dict.fromkeys(rate.label for rate in rates))
    groups = list(dict.fromkeys(rate.group for rate in rates))
    ends = [x for rate in rates for x in (rate.low, rate.value) if x is not None]
    scale = axis([*ends, 1.0], end=1.0)
    marks: list[Dot | Line | Path | Band] = []
    for row in range(len(labels)):
        marks.append(Line(0, middle(row, len(labels)), 100, middle(row, len(labels)), "row"))
    # Side by side within a row, so that intervals do not hide each other.
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
    says = f"Recall of {len(labels)} classes in {len(groups)} groups, {network}."
    if worst is not None:
        says += f" The widest gap: {percent(worst.value)} in class {worst.label}, {worst.better} over {worst.worse}."
    return Plot(
        says,
        max(1.7, 0.55 * len(groups)) * len(labels),
        tuple(marks),
        scale.ticks(_in_percent),
        x_label="share of the class that is recognised",
        rows=tuple(labels),
        legend=tuple(Key(group, hue_of(g), shape_of(g)) for g, group in enumerate(groups)),
    )


@dataclass(frozen=True)
class _Spot:
    accuracy: float
    gap: float
    hue: int
    shape: str
    chosen: bool
    title: str


def pareto(sets: Sequence[Compared], gated: str, limit: float | None, floor: float | None, shown: str) -> Plot:
    """Accuracy against the gap, a mark per set and network. Down and to the right is better."""
    networks = list(dict.fromkeys(network for one in sets for network in one.metrics or {}))
    spots = [
        _Spot(of[ACCURACY.name], of[gated], hue_of(index), shape_of(networks.index(network)), one.name == shown, title)
        for index, one in enumerate(sets)
        for network, of in (one.metrics or {}).items()
        if of.get(ACCURACY.name) is not None and of.get(gated) is not None
        for title in (f"{one.name}, {network}: {_both(of[ACCURACY.name], of[gated])}",)
    ]
    legend = [Key(one.name, hue_of(index)) for index, one in enumerate(sets) if one.metrics]
    says = f"Accuracy against {metric(gated).lower()}, for {len(legend)} sets and {len(networks)} networks."
    legend += [Key(network, -1, shape_of(i)) for i, network in enumerate(networks)]
    return _trade_off(spots, says, legend, gated, limit, floor)


def swept(points: Sequence[Swept], gated: str, limit: float | None, floor: float | None, chosen: str | None) -> Plot:
    """Accuracy against the gap on tune, a mark per candidate of a sweep: a colour per kind, a shape per size."""
    kinds, sizes = list(dict.fromkeys(one.kind for one in points)), sorted({one.ipc for one in points})
    spots = [
        _Spot(one.accuracy, one.gap, hue_of(kinds.index(one.kind)), shape_of(sizes.index(one.ipc)), own, title)
        for one in points
        if one.accuracy is not None and one.gap is not None
        for own, title in ((one.name == chosen, f"{one.name}: {_both(one.accuracy, one.gap)}"),)
    ]
    legend = [Key(kind, hue_of(i)) for i, kind in enumerate(kinds)]
    legend += [Key(f"{size:,} a class", -1, shape_of(i)) for i, size in enumerate(sizes)]
    says = f"Accuracy against {metric(gated).lower()} on the tune split, for {len(points)} candidates."
    return _trade_off(spots, says, legend, gated, limit, floor)


def _both(accuracy: float, gap: float) -> str:
    return f"accuracy {percent(accuracy)}, gap {percent(gap)}"


def _trade_off(
    spots: Sequence[_Spot], says: str, legend: Sequence[Key], gated: str, limit: float | None, floor: float | None
) -> Plot:
    """Accuracy to the right, the gap upwards; what the policy admits is shaded."""
    across = axis([*(spot.accuracy for spot in spots), *([floor] if floor is not None else [])] or [0.0], end=1.0)
    up = axis([0.0, *(spot.gap for spot in spots), *([limit] if limit is not None else [])], start=0.0)
    marks: list[Dot | Line | Path | Band] = []
    if limit is not None:
        left = 0.0 if floor is None else across(floor)
        marks.append(Band(left, up.down(limit), 100 - left, up(limit), "within"))
    marks += [Line(0, tick.at, 100, tick.at, "grid") for tick in up.up(_in_percent)]
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
        " ".join([says, *(f"{spot.title}." for spot in spots if spot.chosen)]),
        17,
        tuple(marks),
        across.ticks(_in_percent),
        up.up(_in_percent),
        "accuracy",
        metric(gated).lower(),
        legend=tuple(legend),
    )


def residuals(card: DatasetCard) -> Plot | None:
    """A row per class: how far the set, the barycenter and the pooled target lie from the group farthest from each."""
    if card.residuals is None:
        return None
    of = card.residuals
    parts = (
        ("this set", of.residual, 0, "circle"),
        ("barycenter", of.barycenter_residual, 1, "diamond"),
        ("pooled target", of.vanilla_residual, 2, "triangle"),
    )
    known = [x for _, values, _, _ in parts for x in values if x is not None]
    if not known:
        return None
    scale = axis([0.0, *known], start=0.0)
    rows = len(card.classes)
    marks: list[Dot | Line | Path | Band] = []
    for row, label in enumerate(card.classes):
        y = middle(row, rows)
        marks.append(Line(0, y, 100, y, "row"))
        here = [values[row] for _, values, _, _ in parts]
        ends = [x for x in here if x is not None]
        if len(ends) > 1:
            marks.append(Line(scale(min(ends)), y, scale(max(ends)), y, "span"))
        marks += [
            Dot(scale(x), y, hue, shape, title=f"{label}, {name}: {number(x)}")
            for (name, _, hue, shape), x in zip(parts, here, strict=True)
            if x is not None
        ]
    worst = of.worst
    says = f"Distance to the farthest group in each of {rows} classes, for the set and for its two targets."
    says += "" if worst is None else f" The set's largest is {number(worst)}."
    return Plot(
        says,
        1.7 * rows,
        tuple(marks),
        scale.ticks(lambda x: f"{x:g}"),
        x_label="distance to the group farthest away, under untrained networks",
        rows=card.classes,
        legend=tuple(Key(name, hue, shape) for name, _, hue, shape in parts),
    )


def planes(points: Sequence[Point], shown: str) -> list[tuple[str, Plot]]:
    """A square per class, all to one scale: real images and means of the groups, the set's images and their centre.

    Of more classes than fit on a page, the first; the file that they were read from has all.
    """
    seen = [point for point in points if point.set in ("", shown)]
    if not any(point.set == shown for point in seen):
        return []
    reach = 1.05 * max(max(abs(point.x), abs(point.y)) for point in seen) or 1.0
    scale = Axis(-reach, reach)
    groups = list(dict.fromkeys(point.group for point in seen if point.group))
    squares = []
    for label in list(dict.fromkeys(point.label for point in seen))[:MOST_PLANES]:
        of = [point for point in seen if point.label == label]
        marks: list[Dot | Line | Path | Band] = [Line(0, 50, 100, 50, "grid"), Line(50, 0, 50, 100, "grid")]
        for what, style in (("real", "faint"), ("image", "made"), ("mean", "solid"), ("centre", "centre")):
            for point in of:
                if point.what == what:
                    g = groups.index(point.group) if point.group else -1
                    shape = shape_of(g) if point.group else "circle"
                    title = f"mean of {point.group}" if what == "mean" else ""
                    marks.append(
                        Dot(scale(point.x), scale.down(point.y), hue_of(g) if g >= 0 else -1, shape, style, title)
                    )
        squares.append((label, Plot(_plane_says(label, of), 0, tuple(marks))))
    return squares


def _plane_says(label: str, points: Sequence[Point]) -> str:
    centre = next((point for point in points if point.what == "centre"), None)
    means = [point for point in points if point.what == "mean"]
    if centre is None:
        return f"Class {label}: the set has no images of it."
    far = ", ".join(f"{math.dist((centre.x, centre.y), (m.x, m.y)):.2f} from {m.group}" for m in means)
    return f"Class {label}: the set's centre lies {far}."


def plane_key(points: Sequence[Point], shown: str) -> tuple[Key, ...]:
    groups = list(dict.fromkeys(point.group for point in points if point.group))
    keys = [Key(f"{group}: mean, real images", hue_of(g), shape_of(g)) for g, group in enumerate(groups)]
    return (*keys, Key(f"{shown}: images", -1, style="made"), Key(f"{shown}: centre", -1, style="centre"))


def losses(curve: Sequence[tuple[int, float]]) -> Plot | None:
    """The loss by step, averaged where there are more steps than can be seen; logarithmic where it falls far."""
    if len(curve) < 2:
        return None
    each = -(-len(curve) // _MOST_STEPS)
    parts = [curve[i : i + each] for i in range(0, len(curve), each)]
    seen = [(part[-1][0], sum(loss for _, loss in part) / len(part)) for part in parts]
    values = [loss for _, loss in seen]
    across = Axis(float(curve[0][0]), float(curve[-1][0]))
    far = min(values) > 0 and max(values) / min(values) > 20
    if far:
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        up = Axis(low, high)
        line = tuple((across(step), up.down(math.log10(loss))) for step, loss in seen)
        ticks = tuple(Tick(up.down(power), f"{10.0**power:g}") for power in range(low, high + 1))
    else:
        up = axis([0.0, *values]) if min(values) >= 0 else axis(values)
        line = tuple((across(step), up.down(loss)) for step, loss in seen)
        ticks = up.up(lambda x: f"{x:g}")
    marks: list[Dot | Line | Path | Band] = [Line(0, tick.at, 100, tick.at, "grid") for tick in ticks]
    marks.append(Path(line, "curve", 0))
    says = (
        f"The loss goes from {curve[0][1]:.4g} at step {curve[0][0]:,} to {curve[-1][1]:.4g} at step {curve[-1][0]:,}."
    )
    return Plot(says, 12, tuple(marks), across.ticks(lambda x: f"{x:,.0f}"), ticks, "step", "loss")


def history(moments: Sequence[Moment], clause: str) -> Plot | None:
    """The gap of every version, its bound and the limit it was held against; a change of policy is a line across."""
    findings = [moment.finding(clause) for moment in moments]
    numbers = [x for m in moments for x in (m.value,) if x is not None]
    numbers += [x for f in findings if f is not None for x in (f.bound, f.limit) if x is not None]
    if not numbers:
        return None
    up = axis([0.0, *numbers], start=0.0)
    n = len(moments)
    marks: list[Dot | Line | Path | Band] = [Line(0, tick.at, 100, tick.at, "grid") for tick in up.up(_in_percent)]
    for index, (moment, finding) in enumerate(zip(moments, findings, strict=True)):
        x, left, right = middle(index, n), 100 * index / n, 100 * (index + 1) / n
        if moment.new_policy:
            marks.append(Line(left, 0, left, 100, "policy"))
        if finding is not None:
            marks.append(Line(left, up.down(finding.limit), right, up.down(finding.limit), "limit"))
        if moment.value is None:
            continue
        if finding is not None and finding.bound is not None:
            marks.append(Line(x, up.down(moment.value), x, up.down(finding.bound), "interval", 0))
        style = "gone" if moment.revoked else ("solid" if moment.verdict is not None else "hollow")
        marks.append(Dot(x, up.down(moment.value), 0, style=style, title=f"v{moment.number}: {percent(moment.value)}"))
    named = [Tick(middle(i, n), f"v{m.number}") for i, m in enumerate(moments)]
    keep = -(-n // 12)
    changed = [f"v{m.number}" for m in moments if m.new_policy]
    says = f"{metric(clause)} of {n} version{'s' if n > 1 else ''}."
    says += f" The policy changed with {', '.join(changed)}." if changed else ""
    return Plot(
        says, 12, tuple(marks), tuple(named[::-1][::keep][::-1]), up.up(_in_percent), "version", metric(clause).lower()
    )
