"""Compare inferred groups with the majority guess: the most frequent known group of the class.

Groups that are inferred no better than this guess are noise, and a set that is distilled from them treats noise as
groups. N examples, K known examples, C classes, G groups.
"""

from dataclasses import dataclass

import numpy as np

from fair_distill.data.grouped_dataset import Array
from fair_distill.distillation.binomial import exact_share
from fair_distill.text import percent

CONFIDENCE = 0.95


@dataclass(frozen=True)
class MajorityComparison:
    """The accuracy of the inference and of the majority guess, on the same known examples.

    Each known example is predicted once by both, while its group is hidden.

    Attributes
    ----------
    known : number of known examples
    correct, majority_correct : how many of them the inference and the majority guess predict correctly
    better, worse : number of clusters in which the inference is right more often, and less often, than the guess. An
        example without a cluster is its own cluster
    """

    known: int
    correct: int
    majority_correct: int
    better: int
    worse: int

    @property
    def at_least(self) -> float:
        """The lower 95 % confidence bound of the share of better clusters among those that differ.

        Clusters that do not differ say nothing about which is better. Under equal quality the share is one half
        (McNemar, Psychometrika 12, 1947). The bound is exact, so five differing clusters are needed at least.
        """
        two_sided = 1 - 2 * (1 - CONFIDENCE)
        return exact_share(self.better, self.better + self.worse, confidence=two_sided).low

    @property
    def is_better(self) -> bool:
        """Whether the bound is above one half, and more known examples are predicted correctly."""
        return self.at_least > 0.5 and self.correct > self.majority_correct

    def sentence(self) -> str:
        """Return the figures as one sentence."""
        return (
            f"with their groups hidden, {percent(self.correct / self.known)} of {self.known:,} known examples are "
            f"inferred correctly, and {percent(self.majority_correct / self.known)} by the majority guess (the most "
            f"frequent group of the class); where only one of the two is correct, it is the inference in "
            f"{self.better:,} of {self.better + self.worse:,} cases (at least {percent(self.at_least)} with "
            f"{percent(CONFIDENCE, 0)} confidence)"
        )


def majority_guess(labels: Array, groups: Array, visible: Array, *, classes: int, count: int) -> Array:
    """Return the most frequent visible group of the class of each example, (N,).

    A class without visible examples gets the most frequent group of all classes. The first of equally frequent groups
    is chosen.

    Parameters
    ----------
    labels, groups : int arrays (N,); groups of examples that are not visible are not read
    visible : bool (N,)
    classes, count : number of classes and of groups
    """
    cells = np.bincount(labels[visible] * count + groups[visible], minlength=classes * count).reshape(classes, count)
    by_class = np.where(cells.any(axis=1), cells.argmax(axis=1), cells.sum(axis=0).argmax())
    return np.asarray(by_class[labels])


def compare_with_majority(truth: Array, predicted: Array, guessed: Array, clusters: Array) -> MajorityComparison:
    """Compare two predictions of the groups of known examples.

    Parameters
    ----------
    truth, predicted, guessed, clusters : int arrays (K,)
    """
    right, guess_right = predicted == truth, guessed == truth
    cluster_of_row = np.unique(clusters, return_inverse=True)[1]
    advantage = np.bincount(cluster_of_row, weights=right.astype(float) - guess_right)
    return MajorityComparison(
        known=len(truth),
        correct=int(right.sum()),
        majority_correct=int(guess_right.sum()),
        better=int((advantage > 0).sum()),
        worse=int((advantage < 0).sum()),
    )
