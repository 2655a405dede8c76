"""How sets are made and looked at: `recipe`, `distill`, `diagnostics`, `nearness`, `candidates`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fair_distill.config.base import Choice, Fraction, Natural, Positive, PositiveFloat, Section


class Recipe(Section):
    """How to train on a set. Part of what is published, so it names the version."""

    network: Choice
    steps: Positive
    batch_size: Positive
    learning_rate: PositiveFloat
    momentum: Fraction
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    augment: list[str]


class Settled(Section):
    """A network has learned what there is: over `window` visits its accuracy on real images spans `span` at most."""

    window: Annotated[int, Field(ge=2)]
    span: Annotated[float, Field(gt=0, lt=1)]


class Networks(Section):
    """How the networks that a set is matched under come and age; see `distill.pool`.

    Attributes
    ----------
    settled : renew a network before its visits are over, when it has; without it, `visits` alone decides
    """

    pool: Positive
    visits: Positive
    warmup_epochs: Natural
    advance: Natural
    advance_on: Literal["synthetic", "real"]
    learning_rate: PositiveFloat
    batch_size: Positive
    settled: Settled | None = None


class Optimiser(Section):
    """What moves the pixels. `momentum` is SGD's, or Adam's first beta."""

    name: Literal["sgd", "adam"]
    learning_rate: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)]


class Shrinkage(Section):
    """Thin cells stand nearer to their parents; `prior` is how many examples a parent is worth."""

    prior: PositiveFloat


class Rows(Section):
    """How the rows of a table are optimised; see `distillation.valid`."""

    temperature: PositiveFloat


class Distill(Section):
    """How every candidate is distilled.

    Attributes
    ----------
    rows : for the rows of a table, and only for them
    """

    matcher: Choice
    network: Choice
    networks: Networks
    ipc: Positive
    formation: Annotated[int, Field(ge=1, le=4)]
    steps: Positive
    real_per_class: Positive
    embedding: Literal["exact", "fast"]
    distance: Literal["squared", "l1", "cosine"]
    reduce: Literal["sum", "mean"]
    optimiser: Optimiser
    start: Literal["group_stratified", "natural", "noise"]
    augment: list[str]
    shrinkage: Shrinkage | None
    unknown: Choice
    rows: Rows | None = None


class Diagnostics(Section):
    """What residuals are measured on; see `distillation.diagnostics`.

    Attributes
    ----------
    networks : untrained networks, made as distill.network says
    rows_per_cell : real images of a class and group that are embedded, at most
    """

    networks: Positive
    rows_per_cell: Positive


class Nearness(Section):
    """What counts as a near copy of a training image; see `distillation.nearness`.

    Attributes
    ----------
    quantile : the share of hold-out images that an image must be nearer than
    holdout_per_class : images of the tune split that are looked at, at most
    """

    quantile: Annotated[float, Field(gt=0, lt=1)]
    holdout_per_class: Positive


class Candidate(Section):
    """What may differ between the sets that are compared: the alignment, and nothing else."""

    alignment: Choice
    barycenter: Choice | None = None
    group_weights: dict[str, PositiveFloat] | None = None

    @model_validator(mode="after")
    def _barycenter(self) -> "Candidate":
        if (self.alignment.name == "barycentric") != (self.barycenter is not None):
            raise ValueError("a barycenter belongs to `alignment: barycentric`, and only to it")
        if self.group_weights is not None and self.alignment.name == "pooled":
            raise ValueError("`alignment: pooled` takes its group weights from the data")
        return self
