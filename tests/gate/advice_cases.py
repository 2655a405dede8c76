"""Random evaluations with larger ones that contain them, so that advice can be followed and judged again."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import norm
from small_predictions import predictions_from

from fair_distill.config import Gate
from fair_distill.gate.advice import Advice, advise
from fair_distill.gate.judge import judge
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.verdict import Verdict

# The largest factors that advice proposes.
_SEEDS, _EXAMPLES = 6, 8
# Correlation of the predictions of two networks for one example.
_ALIKE = 0.6

# C classes, 2 groups, S networks, n examples per cell


@dataclass(frozen=True, eq=False)
class Case:
    """A set that was evaluated with few networks and examples, and could be evaluated with more of both.

    Attributes
    ----------
    threshold, difficulty : of all networks, (C, 2, all S), and of all examples, (C, 2, all n); a prediction is right if
        the difficulty and the noise together are below the threshold
    noise : of the first networks and examples, (C, 2, S, n)
    """

    threshold: Any
    difficulty: Any
    noise: Any
    policy: Gate
    rng: np.random.Generator

    @property
    def seeds(self) -> int:
        return int(self.noise.shape[2])

    @property
    def examples(self) -> int:
        return int(self.noise.shape[3])

    def evaluated(self, seeds: int, examples: int) -> Predictions:
        """Return the predictions of the first networks for the first examples of every cell."""
        noise = self.noise
        if (seeds, examples) != (self.seeds, self.examples):
            noise = self.rng.standard_normal((*self.noise.shape[:2], seeds, examples), dtype=np.float32)
            noise[:, :, : self.seeds, : self.examples] = self.noise
        difficulty = np.sqrt(_ALIKE) * self.difficulty[:, :, None, :examples]
        right = difficulty + np.sqrt(1 - _ALIKE) * noise < self.threshold[:, :, :seeds, None]
        classes = len(right)
        label, group, _ = (axis.ravel() for axis in np.indices((classes, 2, examples)))
        answers = np.where(np.moveaxis(right, 2, 0).reshape(seeds, -1), label, (label + 1) % classes)
        return predictions_from(answers, label, group)

    def judged(self, seeds: int, examples: int) -> Verdict:
        return judge(self.evaluated(seeds, examples).to_parquet(), self.policy, context=b"", engine=1)

    def advised(self, alpha: float) -> Advice:
        advice = advise(self.evaluated(self.seeds, self.examples).to_parquet(), self.policy, alpha=alpha)
        assert advice is not None
        return advice


def random_case(rng: np.random.Generator, *, largest: float = 0.8) -> Case:
    """Draw a set: gaps up to the share `largest` of the limit, 3 to 10 networks, 80 to 300 examples per cell."""
    classes, seeds, examples = (int(rng.choice(values)) for values in ([2, 2, 4], [3, 5, 10], [80, 150, 300]))
    limit = float(rng.choice([0.1, 0.15, 0.25]))
    gaps = rng.uniform(-1, 1, classes) * limit * rng.uniform(0, largest)
    rates = np.clip(rng.uniform(0.75, 0.95, classes)[:, None] + gaps[:, None] * np.array([-0.5, 0.5]), 0.02, 0.99)
    shifts = rng.standard_normal((classes, 2, _SEEDS * seeds)) * np.sqrt(0.75)
    shifts += rng.standard_normal(_SEEDS * seeds) * 0.5
    # Standard deviation of a rate over networks.
    scatter = float(rng.choice([0.005, 0.02, 0.04]))
    quantile = norm.ppf(rates)[..., None]
    floor = max(round(float(rates.min() - rng.uniform(0.05, 0.25)), 3), 0.0)
    limits = [
        {"metric": "eo_diag_max", "at_most": limit, "why": "a test"},
        {"metric": "worst_cell_accuracy", "at_least": floor, "why": "a test"},
    ]
    policy = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": 10, "attempts": 3}
    return Case(
        threshold=quantile + scatter / norm.pdf(quantile) * shifts,
        difficulty=rng.standard_normal((classes, 2, _EXAMPLES * examples), dtype=np.float32),
        noise=rng.standard_normal((classes, 2, seeds, examples), dtype=np.float32),
        policy=Gate.model_validate(policy | {"limits": limits}),
        rng=rng,
    )


def following(
    cases: int, rng: np.random.Generator, *, largest: float = 0.8
) -> list[tuple[Case, Advice, Verdict | None]]:
    """Return random undecided sets with the advice for them, and the verdict after following it, if it proposes one."""
    followed: list[tuple[Case, Advice, Verdict | None]] = []
    while len(followed) < cases:
        case = random_case(rng, largest=largest)
        verdict = case.judged(case.seeds, case.examples)
        if verdict.outcome != "inconclusive":
            continue
        assert verdict.alpha is not None
        # The policy plans several attempts, so the next one has the same alpha.
        advice = case.advised(verdict.alpha)
        again = None
        if advice.proposed is not None:
            size = advice.proposed
            again = case.judged(size.seeds, round(case.examples * size.examples))
        # Only the sizes of the arrays are of interest later.
        followed.append((replace(case, difficulty=None), advice, again))
    return followed
