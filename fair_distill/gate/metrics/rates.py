"""The rates that metrics read, for some selected classes out of all."""

from collections.abc import Sequence

from fair_distill.gate.confusion import Rate


def accuracy(selected: Sequence[int], classes: int) -> list[Rate]:
    """Return P(prediction is right) over the selected classes together."""
    return [Rate(tuple(selected), None)]


def recalls(selected: Sequence[int], classes: int) -> list[Rate]:
    """Return P(c | c): the true positive rate of each selected class."""
    return [Rate((c,), c) for c in selected]


def confusions(selected: Sequence[int], classes: int) -> list[Rate]:
    """Return P(k | c) for each selected true class c and every predicted class k."""
    return [Rate((c,), k) for c in selected for k in range(classes)]


def false_positives(selected: Sequence[int], classes: int) -> list[Rate]:
    """Return P(k | not k): how often examples of all other classes are taken for each selected class."""
    return [Rate(tuple(c for c in range(classes) if c != k), k) for k in selected]


def one_against_rest(selected: Sequence[int], classes: int) -> list[Rate]:
    """Return the true and then the false positive rates of each selected class against the others."""
    return [*recalls(selected, classes), *false_positives(selected, classes)]


def selections(selected: Sequence[int], classes: int) -> list[Rate]:
    """Return P(k): how often each selected class is predicted, for examples of all true classes."""
    return [Rate(tuple(range(classes)), k) for k in selected]
