"""Command `gate plan`: what a policy can establish on the gate split, before anything is trained."""

from collections.abc import Sequence

from fair_distill.config import Config
from fair_distill.files import require_file
from fair_distill.gate.fair_sets import Assumptions
from fair_distill.gate.plan import PowerPlan, cells_of, plan
from fair_distill.gate.policy import next_attempt, read_context, reserved_fraction
from fair_distill.seeds import numpy_generator
from fair_distill.stages.evidence import read_context_file
from fair_distill.workspace import Workspace


def plan_gate(
    workspace: Workspace, config: Config, *, accuracies: Sequence[float], seed_sd: float, seeds: int
) -> PowerPlan:
    """Return the power of the policy on the gate split: the probability that a fair set passes each clause.

    Parameters
    ----------
    accuracies : assumed accuracies of networks trained on the set
    seed_sd : assumed standard deviation of a gap over seeds
    seeds : number of seeds
    """
    from fair_distill.data.split_file import read_split

    split = read_split(require_file(workspace.split("gate"), made_by="fair-distill stage prepare"))
    context = read_context(read_context_file(workspace))
    reserved = context.attempt
    return plan(
        cells_of(split, config.gate),
        config.gate,
        [Assumptions(accuracy=accuracy, seeds=seeds, seed_sd=seed_sd) for accuracy in accuracies],
        rng=numpy_generator(config.seed, "gate.plan"),
        fraction=(
            reserved_fraction(reserved, config.gate) if reserved else next_attempt(context, config.gate).fraction
        ),
    )
