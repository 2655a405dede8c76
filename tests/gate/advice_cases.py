"""Random evaluations with a larger one that contains them, so that advice can be followed and judged again."""

from dataclasses import dataclass, replace

import numpy as np
from small_predictions import predictions_from

from fair_distill.config import Gate
from fair_distill.gate.advice import Advice, advise
from fair_distill.gate.judge import judge
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.verdict import Verdict

# The largest factors that advice proposes.
_SEEDS, _EXAMPLES = 6, 8
_NEXT = 2


@dataclass(frozen=True, eq=False)
class Case:
    """A set with all networks and examples that could be evaluated.

    Attributes
    ----------
    right : whether each network predicts each example right, (classes, groups, networks, examples)
    seeds, examples : the numbers that were evaluated first, of networks and of examples per cell
    """

    right: np.ndarray
    seeds: int
    examples: int
    policy: Gate

    def evaluated(self, seeds: int, examples: int) -> Predictions:
        """Return the predictions of the first networks for the first examples of every cell."""
        right = self.right[:, :, :seeds, :examples]
        classes, groups = right.shape[:2]
        label, group, _ = (axis.ravel() for axis in np.indices((classes, groups, examples)))
        answers = np.where(np.moveaxis(right, 2, 0).reshape(seeds, -1), label, (label + 1) % classes)
        return predictions_from(answers, label, group)

    def judged(self, seeds: int, examples: int, *, attempt: int = 1) -> Verdict:
        table = replace(self.evaluated(seeds, examples), split="b" * 64)
        reserved = {"set": table.set, "split": table.split, "number": attempt}
        context = f'{{"attempt": {reserved}}}'.replace("'", '"').encode()
        return judge(table.to_parquet(), self.policy, context=context, engine=1)

    def advised(self, alpha: float) -> Advice:
        advice = advise(self.evaluated(self.seeds, self.examples).to_parquet(), self.policy, alpha=alpha)
        assert advice is not None
        return advice


def random_case(rng: np.random.Generator) -> Case:
    """Draw a set: gaps up to somewhat above the limit, 3 to 10 networks, 60 to 300 examples per cell."""
    classes = int(rng.choice([2, 2, 4]))
    seeds, examples = int(rng.choice([3, 5, 10])), int(rng.choice([80, 150, 300]))
    limit = float(rng.choice([0.1, 0.15, 0.25]))
    accuracy = rng.uniform(0.75, 0.95, classes)
    gaps = rng.uniform(-1, 1, classes) * limit * rng.uniform(0, 0.8)
    sd = float(rng.choice([0.005, 0.02, 0.04]))
    alike = 0.6
    total_seeds, total = _SEEDS * seeds, _EXAMPLES * examples
    shape = (classes, 2, total_seeds)
    networks = 0.5 * rng.standard_normal((1, 1, total_seeds)) + np.sqrt(0.75) * rng.standard_normal(shape)
    rates = np.clip(accuracy[:, None] + gaps[:, None] * np.array([-0.5, 0.5]), 0.02, 0.99)
    from scipy.stats import norm

    threshold = norm.ppf(rates)[..., None] + sd / norm.pdf(norm.ppf(rates))[..., None] * networks
    hard = rng.standard_normal((classes, 2, 1, total), dtype=np.float32)
    noise = rng.standard_normal((classes, 2, total_seeds, total), dtype=np.float32)
    right = np.sqrt(alike) * hard + np.sqrt(1 - alike) * noise < threshold[..., None]
    limits = [
        {"metric": "eo_diag_max", "at_most": limit, "why": "a test"},
        {"metric": "worst_cell_accuracy", "at_least": float(rates.min()) - rng.uniform(0.05, 0.25), "why": "a test"},
    ]
    limits[1]["at_least"] = max(round(float(limits[1]["at_least"]), 3), 0.0)  # type: ignore[arg-type]
    policy = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": 10, "limits": limits}
    return Case(right, seeds, examples, Gate.model_validate(policy))
