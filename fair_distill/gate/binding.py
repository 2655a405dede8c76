"""Checks that the inputs of a verdict belong together, before anything is decided.

Predictions name the set and the gate split by digest. They are compared here with the manifest, the examples of the
split and the required exam, so a verdict is never about another set, other examples or an easier evaluation.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fair_distill.card import DatasetCard
from fair_distill.config import Exam, Gate, GateSplit, Named, Recipe, shortfall
from fair_distill.config.sections import checked
from fair_distill.errors import ConfigError, DataError, IntegrityError, MeasurementError
from fair_distill.files import parse_json, sha256, to_json
from fair_distill.gate.predictions import Attributes, Predictions


@dataclass(frozen=True, eq=False)
class GateIndex:
    """The examples of a gate split, without their images. N examples.

    Attributes
    ----------
    digest : SHA-256 of the file of the split
    attributes, attribute_names : the values that define each group, as in `Predictions`
    labels, group_indices, pairs, clusters : int arrays (N,)
    """

    digest: str
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    attributes: Attributes
    attribute_names: tuple[str, ...]
    labels: NDArray[np.integer]
    group_indices: NDArray[np.integer]
    pairs: NDArray[np.integer]
    clusters: NDArray[np.integer]


@dataclass(frozen=True)
class Bound:
    """The result of `bind`: facts about predictions that match all other inputs.

    Attributes
    ----------
    examples : number of distinct examples that were predicted
    card : the card of the set; None if no manifest was given
    exam : the evaluation that produced the predictions
    """

    examples: int
    card: DatasetCard | None
    exam: Exam

    @property
    def evaluation(self) -> dict[str, Any]:
        """The networks, the seeds and the digest of the recipe, as the verdict records them."""
        recipe = None if self.card is None else sha256(to_json(self.card.to_dict()["recipe"]))
        networks = {network.name: network.options for network in self.exam.networks}
        return {"networks": networks, "seeds": self.exam.seeds, "recipe": recipe}


def bind(
    table: Predictions,
    *,
    manifest: bytes | None,
    index: GateIndex | None,
    policies: tuple[Gate, ...],
    name: str,
    split_only: bool = False,
) -> Bound:
    """Check predictions against the set's manifest, the gate split and the exam of each policy.

    Parameters
    ----------
    manifest, index : None if the caller does not have them; their checks are then skipped
    name : the subject of error messages, in the plural
    split_only : require only the gate split of an exam. Its networks, seeds and recipe are about sets, not about models

    Raises
    ------
    IntegrityError
        If the manifest belongs to another set, or the rows contradict the gate split.
    MeasurementError
        If the evaluation does not satisfy an exam.
    """
    card = None if manifest is None else _card(manifest, table, name=name)
    count = len(np.unique(table.columns["example"]))
    if index is not None:
        _check_rows(table, index, name=name)
    exam = _evaluation_of(table, card, count)
    for policy in policies:
        required = policy.required_exam
        if required is not None and split_only:
            required = required.model_copy(update={"networks": exam.networks, "seeds": 1, "recipe": None})
        if card is not None and card.kind == "full":
            required = _with_steps_to_convergence(required, exam)
        missing = None if required is None else shortfall(exam, required)
        if missing:
            raise MeasurementError(
                f"{name} do not satisfy the exam of {policy.location}: {missing}. "
                "Evaluate the set as the policy requires"
            )
    return Bound(count, card, exam)


def _with_steps_to_convergence(required: Exam | None, exam: Exam) -> Exam | None:
    """Return an exam that accepts more steps. Networks of the full data are trained until their loss stops falling."""
    if required is None or required.recipe is None or exam.recipe is None:
        return required
    steps = max(required.recipe.steps, exam.recipe.steps)
    return required.model_copy(update={"recipe": required.recipe.model_copy(update={"steps": steps})})


def _card(manifest: bytes, table: Predictions, *, name: str) -> DatasetCard:
    """Return the card of the evaluated set, after a comparison with the classes and the split of the predictions."""
    if sha256(manifest) != table.set:
        raise IntegrityError(
            f"the manifest given is {sha256(manifest)[:12]}…, but {name} are of the set {table.set[:12]}…; "
            "evaluate the set again"
        )
    content = parse_json(manifest, name="the set's manifest", error=IntegrityError)
    try:
        card = DatasetCard.from_dict(content["card"])
    except (KeyError, DataError) as error:
        raise IntegrityError(f"the set's manifest has no card: {error}") from None
    if card.classes != table.classes:
        raise IntegrityError(
            f"{name} have the classes {', '.join(table.classes)}; the set's manifest has "
            f"{', '.join(map(str, card.classes))}. Evaluate the set again"
        )
    if content.get("source") == table.split:
        raise IntegrityError(
            f"{name} are for the split that the set was distilled from ({table.split[:12]}…); the gate split must be a "
            "split that nothing was distilled from. Run `fair-distill stage prepare` again"
        )
    return card


def _check_rows(table: Predictions, index: GateIndex, *, name: str) -> None:
    """Raise IntegrityError unless each network and seed predicts every example of the split exactly once."""
    if table.split != index.digest:
        raise IntegrityError(
            f"{name} are for the gate split {table.split[:12]}…; the file is {index.digest[:12]}…. Evaluate again"
        )
    if (table.classes, table.groups) != (index.classes, index.groups):
        raise IntegrityError(f"{name} have other classes or groups than the gate split; evaluate again")
    if (table.attributes, table.attribute_names) != (index.attributes, index.attribute_names):
        raise IntegrityError(f"{name} have other attributes of the groups than the gate split; evaluate again")
    rows = len(index.labels)
    runs = len(table.runs())
    order = np.lexsort((table.columns["example"], table.columns["seed"], table.columns["network"]))
    examples = table.columns["example"][order]
    if len(examples) != runs * rows or not np.array_equal(
        examples.reshape(runs, rows), np.tile(np.arange(rows), (runs, 1))
    ):
        raise IntegrityError(
            f"{name} have {len(examples):,} rows; {runs} networks on a gate split of {rows:,} examples give "
            f"{runs * rows:,}, one for each example and network. Evaluate again"
        )
    for column, expected in {
        "label": index.labels,
        "group": index.group_indices,
        "pair": index.pairs,
        "cluster": index.clusters,
    }.items():
        wrong = table.columns[column][order].reshape(runs, rows) != expected
        if wrong.any():
            example = int(np.argwhere(wrong)[0][1])
            raise IntegrityError(
                f"{name}: the {column} of example {example} differs from the gate split; evaluate again"
            )


def _evaluation_of(table: Predictions, card: DatasetCard | None, examples: int) -> Exam:
    """Return the evaluation that produced the predictions, in the form of a policy's exam."""
    networks = [network for network, _ in table.runs()]
    recipe = None
    if card is not None:
        fields = {key: getattr(card.recipe, key) for key in Recipe.model_fields if key not in ("network", "priors")}
        fields["priors"] = "ignore" if card.recipe.priors is None else "correct"
        try:
            recipe = checked(
                Recipe, fields | {"network": "recorded", "augment": list(card.recipe.augment)}, name="card"
            )
        except ConfigError as error:
            raise IntegrityError(f"the recipe in the set's card is invalid: {error}") from None
    return Exam(
        networks=tuple(Named(name=name, **table.options.get(name, {})) for name in table.networks),
        seeds=min(networks.count(network) for network in set(networks)),
        recipe=recipe,
        split=GateSplit(sha256=table.split, examples=examples),
    )
