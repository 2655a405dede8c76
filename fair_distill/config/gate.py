"""The section `gate` of params.yaml: the policy."""

from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, model_validator

from fair_distill.config.distill import Recipe
from fair_distill.config.sections import Choice, Names, Positive, Section, Sha256, Slug

PublicKey = Annotated[str, Field(pattern="^ed25519:[0-9a-f]{64}$")]


class GateSplit(Section):
    """The gate split that a policy requires.

    Attributes
    ----------
    sha256 : SHA-256 of the file of the split
    examples : smallest number of examples, so that the split may grow but not shrink
    """

    sha256: Sha256 | None = None
    examples: Positive | None = None

    @model_validator(mode="after")
    def _some(self) -> "GateSplit":
        if self.sha256 is None and self.examples is None:
            raise ValueError("an empty `split` allows every gate split; add sha256 or examples, or remove `split`")
        return self


class Exam(Section):
    """The evaluation that the predictions must come from.

    Attributes
    ----------
    networks : required architectures, with their options; others may be evaluated in addition
    seeds : smallest number of trained networks per architecture
    recipe : how networks are trained on the set; its `network` is ignored, because `networks` replaces it
    split : the required gate split; every split is allowed if omitted
    """

    networks: Annotated[tuple[Choice, ...], Field(min_length=1, strict=False)]
    seeds: Positive
    recipe: Recipe | None = None
    split: GateSplit | None = None


class Limit(Section):
    """One clause of the gate: the limit of a metric, and the reason for it.

    Attributes
    ----------
    metric : name of the metric; docs/gate.md lists them
    at_most : largest allowed value, for gaps, calibration errors and near copies
    at_least : smallest allowed value, for accuracies and ratios; may be negative with `over`, and for a
        metric that can be negative
    over : limit the increase over another set on the same examples: the name of a reference, or `promoted`
    classes, groups : measure only these
    by : group the examples by these attributes only; by all attributes if omitted
    against : compare each group with `each` other group (the default), or with the `rest` of the groups together
    first_release : with `over: promoted`, whether the clause passes while nothing is promoted
    each_network : the share of networks trained on the set that must satisfy the limit one by one, such as 0.9;
        without it, the mean over networks must satisfy it
    why : reason for the limit, for readers of the policy
    """

    metric: str
    at_most: Annotated[float, Field(ge=0, le=1)] | None = None
    at_least: Annotated[float, Field(ge=-1, le=1)] | None = None
    over: Slug | None = None
    by: Names | None = None
    classes: Names | None = None
    groups: Names | None = None
    against: Literal["each", "rest"] | None = None
    first_release: Literal["accept", "refuse"] | None = None
    each_network: Annotated[float, Field(ge=0.5, lt=1)] | None = None
    why: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _one_side(self) -> "Limit":
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"metric {self.metric!r} needs exactly one of at_most and at_least")
        if (self.over == "promoted") != (self.first_release is not None):
            raise ValueError("`first_release` (accept or refuse) belongs to `over: promoted`, which requires it")
        return self

    @property
    def name(self) -> str:
        """The name of the clause: everything except its number and its reason. Waivers and policy floors use it."""
        parts = [self.metric, f"over {self.over}" if self.over else "", f"by {', '.join(self.by)}" if self.by else ""]
        parts += [f"of classes {', '.join(self.classes)}" if self.classes else ""]
        parts += [f"of groups {', '.join(self.groups)}" if self.groups else ""]
        parts += ["against the rest" if self.against == "rest" else ""]
        parts += ["" if self.each_network is None else f"in {100 * self.each_network:g} % of networks"]
        return " ".join(part for part in parts if part)


class Gate(Section):
    """The policy. `mode: bounds` decides by confidence bounds, `mode: point` by the measured values alone.

    Attributes
    ----------
    mode : decide by confidence bounds, or by the measured values without any confidence
    alpha : risk of passing a set that violates a limit, over all attempts at one split
    minimum_seeds : smallest number of networks per architecture; their scatter requires two
    networks : what bounds assume about rates over trained networks: `normal` (the default) that differences are
        normally distributed; `bounded` nothing, which needs more networks
    minimum_per_cell : smallest number of independent examples (clusters) in every rate of a clause
    attempts : number of attempts at the same examples that are planned; they take equal fractions of alpha. 1 if
        omitted
    limits : the clauses; a set passes if it satisfies all of them
    exam : the required evaluation. Without it, a policy in a complete params.yaml requires the `evaluate` and `recipe`
        sections of that file
    evaluators : public keys; if there are any, predictions count only with a statement that one of them signed
    approvers : public keys; if there are any, a waiver counts only if one of them signed it
    planned_for : the data set that the limits were chosen for, as `gate plan --write` names it; other data are refused
    """

    mode: Literal["bounds", "point"]
    # With a smaller alpha, the bounds of a late attempt would overflow.
    alpha: Annotated[float, Field(ge=1e-12, lt=0.5)] | None = None
    minimum_seeds: Annotated[int, Field(ge=2)] | None = None
    networks: Literal["normal", "bounded"] | None = None
    minimum_per_cell: Annotated[int, Field(ge=2)] | None = None
    attempts: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    limits: Annotated[tuple[Limit, ...], Field(min_length=1, strict=False)]
    exam: Exam | None = None
    evaluators: Annotated[tuple[PublicKey, ...], Field(strict=False)] = ()
    approvers: Annotated[tuple[PublicKey, ...], Field(strict=False)] = ()
    planned_for: Annotated[str, Field(min_length=1)] | None = None
    # Not part of the digest: the file of the policy, and the exam that the other sections of this file describe.
    _file: str = PrivateAttr(default="params.yaml")
    _default_exam: Exam | None = PrivateAttr(default=None)

    @property
    def location(self) -> str:
        """The file and key that messages about this policy name."""
        return f"{self._file}: gate"

    @property
    def planned_attempts(self) -> int:
        """The number of attempts at the same examples that the policy plans."""
        return self.attempts or 1

    @property
    def required_exam(self) -> Exam | None:
        """The exam of the policy, or else the one that the other sections of its file describe."""
        return self.exam or self._default_exam

    def read_from(self, file: str, *, default_exam: Exam | None = None) -> "Gate":
        """Return this policy with the name of its file, and the exam that the other sections of the file describe."""
        policy = self.model_copy()
        policy._file, policy._default_exam = file, default_exam
        return policy

    @model_validator(mode="after")
    def _whole(self) -> "Gate":
        for key in ("alpha", "minimum_seeds", "minimum_per_cell"):
            if (getattr(self, key) is None) == (self.mode == "bounds"):
                rule = f"requires {key}; add it" if self.mode == "bounds" else f"does not use {key}; remove it"
                raise ValueError(f"`mode: {self.mode}` {rule}")
        if self.networks is not None and self.mode == "point":
            raise ValueError("`mode: point` does not use networks; remove it")
        if self.attempts is not None and self.mode == "point":
            raise ValueError("`mode: point` does not use attempts; remove it")
        names = [limit.name for limit in self.limits]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two clauses limit {name!r}; keep the stricter one")
        return self


def shortfall(evaluation: Exam, required: Exam) -> str | None:
    """Return a requirement of an exam that an evaluation does not satisfy; None if it satisfies all.

    More networks, more seeds and a larger split than required are allowed. Another recipe is not.
    """
    networks = {network.name: network.options for network in evaluation.networks}
    for network in required.networks:
        if network.name not in networks:
            return f"network {network.name!r} is required; evaluated: {', '.join(networks)}"
        if networks[network.name] != network.options:
            return f"network {network.name!r} needs the options {network.options}; evaluated: {networks[network.name]}"
    if evaluation.seeds < required.seeds:
        return f"{required.seeds} seeds are required; evaluated: {evaluation.seeds}"
    if required.recipe is not None and evaluation.recipe is not None:
        recipe = required.recipe.model_dump(exclude={"network"})
        for key, value in evaluation.recipe.model_dump(exclude={"network"}).items():
            if key == "priors" and key not in recipe:
                continue  # the exam leaves to the data whether predictions are corrected
            if value != recipe[key]:
                return f"recipe.{key} must be {recipe[key]!r}; evaluated: {value!r}"
    return None if required.split is None else _split_shortfall(evaluation.split, required.split)


def _split_shortfall(split: GateSplit | None, required: GateSplit) -> str | None:
    digest, examples = (None, 0) if split is None else (split.sha256, split.examples or 0)
    if required.sha256 is not None and digest != required.sha256:
        evaluated = "none" if digest is None else f"{digest[:12]}…"
        return f"the gate split {required.sha256[:12]}… is required; evaluated: {evaluated}"
    if required.examples is not None and examples < required.examples:
        return f"a gate split of at least {required.examples:,} examples is required; evaluated: {examples:,}"
    return None
