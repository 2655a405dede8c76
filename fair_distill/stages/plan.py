"""Command `gate plan`: what a policy can establish on the gate split, before anything is trained."""

from collections.abc import Sequence

from fair_distill.config import Config, Gate, Reference, parse_config
from fair_distill.config.gate_text import with_gate
from fair_distill.config.yaml_dialect import parse_yaml
from fair_distill.errors import ConfigError
from fair_distill.files import parse_json, require_file, write_bytes
from fair_distill.gate.fair_sets import Assumptions
from fair_distill.gate.metrics import BALANCED_ACCURACY
from fair_distill.gate.plan import PowerPlan, cells_of, plan
from fair_distill.gate.planned_data import data_title
from fair_distill.gate.policy import next_attempt, read_context, reserved_fraction
from fair_distill.gate.proposal import GAPS, Observations, planned_clauses, propose, proposed_policy
from fair_distill.seeds import numpy_generator
from fair_distill.stages.evidence import read_context_file
from fair_distill.workspace import Workspace


def plan_gate(
    workspace: Workspace,
    config: Config,
    *,
    accuracies: Sequence[float],
    seed_sd: float,
    seeds: int,
    draw_sd: float = 0.0,
) -> PowerPlan:
    """Return the power of the policy on the gate split: the probability that a fair set passes each clause.

    Parameters
    ----------
    accuracies : assumed accuracies of networks trained on the set
    seed_sd : assumed standard deviation of a gap over seeds
    seeds : number of seeds
    draw_sd : assumed standard deviation, over draws of a random reference, of what clauses compare with
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
        draw_sd={name: draw_sd for name, each in config.references.items() if each.select in Reference.DRAWN},
    )


def write_proposal(
    workspace: Workspace, config: Config, *, accuracy: float, seed_sd: float, seeds: int, draw_sd: float
) -> Gate:
    """Replace the limits in params.yaml by limits for the data of the workspace, and return the policy.

    They follow from the gate split, from what the networks of a `resampled` reference show if it was evaluated, and
    from the values of a constant answer.
    """
    from fair_distill.data.split_file import read_split

    split = read_split(require_file(workspace.split("gate"), made_by="fair-distill stage prepare"))
    balanced = next((name for name, each in config.references.items() if each.select == "group_balanced"), None)
    clauses = tuple(planned_clauses(balanced if balanced in config.sets else None))
    planned = config.model_copy(update={"gate": config.gate.model_copy(update={"limits": clauses})})
    plan = plan_gate(workspace, planned, accuracies=[accuracy], seed_sd=seed_sd, seeds=seeds, draw_sd=draw_sd)
    unit = "images" if split.schema is None else "rows"
    limits = propose(plan.rows, _observations(workspace, config), classes=len(split.classes), unit=unit)
    policy = proposed_policy(config.gate, limits, data_title(config.data.source.model_dump()))
    comment = "Proposed by `fair-distill gate plan --write`. Check each limit and its reason before you rely on it."
    text = workspace.params.read_text(encoding="utf-8")
    changed = with_gate(text, policy, comment=comment, name=str(workspace.params))
    checked_again = parse_config(parse_yaml(changed), name=str(workspace.params))
    if checked_again != config.model_copy(update={"gate": checked_again.gate}) or checked_again.gate != policy:
        raise ConfigError(f"{workspace.params}: the section `gate` cannot be replaced; write the limits yourself")
    write_bytes(workspace.params, changed.encode())
    return policy


def _observations(workspace: Workspace, config: Config) -> Observations:
    """Return what the networks of the resampled reference show; the worst of them for each metric."""
    name = next((name for name, each in config.references.items() if each.select == "resampled"), "full_resampled")
    path = workspace.evaluation(name)
    if name not in config.sets or not path.exists():
        return Observations(name, None)
    networks = parse_json(path.read_bytes(), name=str(path)).values()
    worst: dict[str, float] = {}
    for metric in (*GAPS, BALANCED_ACCURACY.name):
        values = [network.get(metric) for network in networks if isinstance(network, dict)]
        measured = [float(value) for value in values if isinstance(value, int | float)]
        if not measured or len(measured) < len(values):
            return Observations(name, None)
        worst[metric] = max(measured) if metric in GAPS else min(measured)
    return Observations(name, worst)
