"""Suspected label errors by confident learning: which labels do networks contradict that never saw the example?

N examples, C classes, G groups.
"""

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from fair_distill.data.folds import unit_of_each
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.binomial import Share, clustered_share, least_difference
from fair_distill.errors import ConfigError

CONFIDENCE = 0.95
# The part of a group whose predictions are most certain.
_MOST_CERTAIN = 0.1
# Even the most certain part of clean data contains ambiguous examples: 0.2 % in the larger group of Adult.
MARGIN = 0.01


@dataclass(frozen=True)
class GroupErrors:
    """The suspected label errors of one group.

    Attributes
    ----------
    suspected : share of the examples whose label is suspected to be wrong. Ambiguous examples are suspected too
    error_rate : share of contradicted labels among the tenth of the group that is predicted with most certainty. Hardly
        any example is ambiguous there, so this estimates the share of random label errors in the group
    precision : expected share of real label errors among the suspected ones; None if none is suspected
    is_high : whether the error rate is significantly higher than that of the other groups, by more than `MARGIN`
    """

    group: str
    suspected: Share
    error_rate: Share
    precision: float | None
    is_high: bool


@dataclass(frozen=True)
class CellErrors:
    """The suspected label errors of a class, as labelled, in one group; see `GroupErrors`."""

    label: str
    group: str
    suspected: Share
    precision: float | None


@dataclass(frozen=True, eq=False)
class LabelAudit:
    """The suspected label errors of a dataset.

    Attributes
    ----------
    rows : the suspected examples, those that are most probably wrong first, int (S,)
    suggested : the most probable other class of each, (S,)
    scores : the probability that its label is wrong, (S,)
    """

    groups: tuple[GroupErrors, ...]
    cells: tuple[CellErrors, ...]
    rows: Array
    suggested: Array
    scores: Array


def audit_labels(dataset: GroupedDataset, probabilities_NC: Array) -> LabelAudit:
    """Return the suspected label errors, from the probabilities of networks that did not see the unit of the example.

    Within each group, confident learning [1]_ decides which labels are suspected: it estimates how many examples of
    each class have the label of another, and suspects those that the networks contradict most (`prune_by_noise_rate` of
    cleanlab). It is applied within groups because its thresholds are the mean certainty of each class: a group that is
    predicted with less certainty would otherwise be suspected less.

    The score of an example assumes that the labels of its group are random errors at the error rate ε of the group:
    with the probability p of its label among the true classes and b = ε / (C − 1), the label is wrong with probability
    b (1 − p) / (b (1 − p) + (1 − ε) p). Networks were trained on the wrong labels too and predict some errors, so p is
    the predicted probability without the errors that they learned: the mean probability of the other classes in the
    most certain tenth of the group.

    Deviation from [1]_: the error rate of a group comes from the predictions with most certainty, not from the
    confident joint, which counts ambiguous examples as errors. It is too high if examples that look clear are
    ambiguous, and it misses errors that the networks predict themselves, such as all labels of one kind of image.

    Parameters
    ----------
    probabilities_NC : (N, C), see `evaluation.out_of_fold`

    References
    ----------
    .. [1] Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70, 2021.
    """
    labels, groups, units = dataset.labels, dataset.group_indices, unit_of_each(dataset)
    present = [g for g in range(len(dataset.groups)) if (groups == g).any()]
    suspected = np.zeros(len(dataset), dtype=bool)
    scores = np.zeros(len(dataset))
    contradicted = probabilities_NC.argmax(axis=1) != labels
    certain = np.zeros(len(dataset), dtype=bool)
    for g in present:
        rows = np.flatnonzero(groups == g)
        best = most_certain(rows, probabilities_NC)
        certain[best] = True
        learned = float(1 - probabilities_NC[best].max(axis=1).mean())
        suspected[rows] = _find_suspects(labels[rows], probabilities_NC[rows])
        contradiction_rate = float(contradicted[best].mean())
        scores[rows] = wrong_probability(
            probabilities_NC[rows, labels[rows]], contradiction_rate, learned=learned, classes=len(dataset.classes)
        )

    # Each group is compared with the others, so the risk of naming a clean group is divided among the groups.
    confidence = 1 - (1 - CONFIDENCE) / max(len(present), 1)
    group_errors = []
    for g in present:
        inside = groups == g
        rate = clustered_share(contradicted[inside & certain], units[inside & certain], confidence=confidence)
        rest_rate = clustered_share(contradicted[~inside & certain], units[~inside & certain], confidence=confidence)
        is_high = least_difference(rate, rest_rate) > 0 and (rate.value or 0) - (rest_rate.value or 0) > MARGIN
        group_errors.append(
            GroupErrors(
                group=dataset.groups[g],
                suspected=clustered_share(suspected[inside], units[inside], confidence=CONFIDENCE),
                error_rate=rate,
                precision=_mean(scores[inside & suspected]),
                is_high=is_high,
            )
        )
    cells = []
    for c, g in np.argwhere(dataset.counts):
        inside = (labels == c) & (groups == g)
        share = clustered_share(suspected[inside], units[inside], confidence=CONFIDENCE)
        cells.append(CellErrors(dataset.classes[c], dataset.groups[g], share, _mean(scores[inside & suspected])))

    rows = np.flatnonzero(suspected)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    other_classes_NC = probabilities_NC[rows].copy()
    other_classes_NC[np.arange(len(rows)), labels[rows]] = -1
    return LabelAudit(tuple(group_errors), tuple(cells), rows, other_classes_NC.argmax(axis=1), scores[rows])


def require_cleanlab() -> None:
    """Raise ConfigError if cleanlab is not installed."""
    if find_spec("cleanlab") is None:
        raise ConfigError(
            "the audit of labels needs cleanlab, which is not installed; run `pip install 'fair-distill[labels]'`"
        )


def most_certain(rows: Array, probabilities_NC: Array) -> Array:
    """Return the tenth of the rows, and at least one, whose most probable class has the highest probabilities."""
    certainty = probabilities_NC[rows].max(axis=1)
    return rows[np.argsort(-certainty, kind="stable")[: max(1, round(_MOST_CERTAIN * len(rows)))]]


def wrong_probability(probabilities: Array, rate: float, *, learned: float, classes: int) -> Array:
    """Return the probability that labels are wrong, (N,); see `audit_labels`.

    Parameters
    ----------
    probabilities : the predicted probability of the label of each example, (N,)
    rate, learned : the share of random label errors, and the part of it that the networks predict
    """
    each, learned_each = rate / (classes - 1), learned / (classes - 1)
    clean = np.clip((probabilities - learned_each) / max(1 - learned - learned_each, 1e-9), 0, 1)
    wrong, right = each * (1 - clean), (1 - rate) * clean
    return np.divide(wrong, wrong + right, out=np.zeros(len(clean)), where=wrong + right > 0)


def _find_suspects(labels: Array, probabilities_NC: Array) -> Array:
    """Return which labels confident learning suspects, bool (N,)."""
    from cleanlab.filter import find_label_issues

    if len(np.unique(labels)) < 2:  # without labels of another class there is nothing to compare the certainty with
        return np.zeros(len(labels), dtype=bool)
    return np.asarray(find_label_issues(labels, probabilities_NC, filter_by="prune_by_noise_rate", n_jobs=1))


def _mean(scores: Array) -> float | None:
    return float(scores.mean()) if len(scores) else None
