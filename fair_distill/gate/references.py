"""The predictions of the sets that clauses with `over` compare with, and the checks that they are comparable."""

from collections.abc import Mapping

from fair_distill.config import Gate, Limit
from fair_distill.errors import ConfigError, IntegrityError, MeasurementError
from fair_distill.files import sha256
from fair_distill.gate.binding import GateIndex, bind
from fair_distill.gate.model_predictions import ModelEvaluation
from fair_distill.gate.network_predictions import NetworkPredictions, grouped_by, network_predictions, same_examples
from fair_distill.gate.policy import PROMOTED, Context
from fair_distill.gate.predictions import Predictions

# The predictions of each reference, by its name and then by network.
References = Mapping[str, Mapping[str, NetworkPredictions]]


def read_reference(
    name: str,
    content: bytes,
    table: Predictions,
    context: Context,
    policies: tuple[Gate, ...],
    manifest: bytes | None,
    index: GateIndex | None,
    model: ModelEvaluation | None = None,
) -> dict[str, NetworkPredictions]:
    """Return the predictions of a reference by network, after checks that they are comparable with the set's.

    Parameters
    ----------
    model : how to read the predictions, if a model is judged instead of a set
    """
    title = f"the predictions of {name!r}"
    reference = (Predictions.from_parquet if model is None else model.read)(content, name=title)
    if not len(reference):
        raise MeasurementError(f"{title} have no rows; evaluate {name!r} again")
    # Predictions of an earlier release may lack attributes, so index and exam do not apply to the promoted version.
    # context.json names these predictions by digest instead.
    promoted = name == PROMOTED
    bind(
        reference,
        manifest=manifest,
        index=None if promoted else index,
        policies=() if promoted else policies,
        name=title,
        split_only=model is not None,
    )
    if reference.split != table.split:
        raise IntegrityError(
            f"{name!r} was evaluated on the split {reference.split[:12]}…, the set on {table.split[:12]}…; "
            "evaluate both on the same split"
        )
    if promoted:
        _check_promoted(content, reference, context)
    for network in set(table.networks) & set(reference.networks):
        if table.options.get(network) != reference.options.get(network):
            raise MeasurementError(
                f"{name!r} was evaluated with the options {reference.options.get(network)} of {network}, the set with "
                f"{table.options.get(network)}; evaluate both with the same networks"
            )
    return {network: network_predictions(reference, number) for number, network in enumerate(reference.networks)}


def _check_promoted(content: bytes, reference: Predictions, context: Context) -> None:
    if context.promoted is None:
        raise IntegrityError(
            "predictions of a promoted version were given, but context.json names no promoted version; "
            "run `fair-distill gate reserve`"
        )
    if sha256(content) != context.promoted.predictions or reference.set != context.promoted.version:
        raise IntegrityError(
            f"the predictions given for the promoted version are {sha256(content)[:12]}… of {reference.set[:12]}…; "
            f"context.json names {context.promoted.predictions[:12]}… of {context.promoted.version[:12]}…"
        )


def check_reference(limit: Limit, references: References, context: Context, policy: Gate) -> None:
    """Raise ConfigError if the predictions that `over` names were not given, except before a first release."""
    is_first_release = limit.over == PROMOTED and context.promoted is None
    if limit.over and limit.over not in references and not is_first_release:
        raise ConfigError(
            f"{policy.location}.limits: {limit.name}: the predictions of {limit.over!r} were not given; `over` must "
            "name a reference that is evaluated on the gate split, or `promoted`"
        )


def matching_reference(
    limit: Limit, predictions: NetworkPredictions, references: References
) -> NetworkPredictions | None:
    """Return the predictions of the same network that was trained on the set that `over` names."""
    if limit.over is None:
        return None
    networks = references[limit.over]
    if predictions.network not in networks:
        raise MeasurementError(
            f"{limit.over!r} was not evaluated with the network {predictions.network}; evaluate it again"
        )
    reference = networks[predictions.network]
    if limit.by:
        reference = grouped_by(reference, limit.by, location=f"the predictions of {limit.over!r}")
    same_examples(predictions, reference, name=limit.over)
    return reference
