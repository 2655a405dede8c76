"""How sets are made and looked at: `recipe`, `distill`, `diagnostics`, `nearness`, `candidates`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fair_distill.config.sections import Choice, Fraction, Natural, Positive, PositiveFloat, Section


class Recipe(Section):
    """How to train on a set. Part of what is published, so it names the version.

    Attributes
    ----------
    network : the architecture that a consumer trains unless told otherwise
    steps : of SGD; the learning rate is divided by ten after half of them
    batch_size : images a step, of mosaics the smaller ones
    augment : strategies, one drawn a step: colour, crop, cutout, flip, scale, rotate
    """

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
    """How the networks that a set is matched under come and age.

    Attributes
    ----------
    pool : networks that take turns
    visits : steps that a network is matched under before a new one takes its place
    warmup_epochs : of training on the synthetic set, before a network's first visit
    advance : of training after each visit: epochs on the synthetic set, or real batches
    advance_on : what a network is trained on between visits
    learning_rate, batch_size : of that training
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
    """What moves the pixels.

    Attributes
    ----------
    momentum : SGD's, or Adam's first beta
    """

    name: Literal["sgd", "adam"]
    learning_rate: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)]


class Shrinkage(Section):
    """Thin cells stand nearer to their parents.

    Attributes
    ----------
    prior : how many examples a parent is worth: a cell of n stands at n/(n+prior) of itself
    """

    prior: PositiveFloat


class Rows(Section):
    """How the rows of a table are optimised; see `distillation.valid`.

    Attributes
    ----------
    temperature : of the softmax over categories that gradients go through; what is seen is always a valid row
    """

    temperature: PositiveFloat


class Distill(Section):
    """How every candidate is distilled.

    Attributes
    ----------
    matcher : the backbone: what is compared
    network : the architecture that it is compared under
    ipc : images a class in the set
    formation : f makes each stored image a mosaic of f×f smaller ones
    steps : of the optimiser
    real_per_class : real images a class and step, shared out over the groups
    embedding : of real images; `fast` (bfloat16, compiled) is for GPUs
    distance : between a target and the synthetic statistic
    reduce : over the dimensions of a statistic: `sum` as papers have it, or `mean`, a smaller learning rate in effect
    start : what the images are before the first step: real ones of every group, real ones as they come, or noise
    augment : strategies, one a step, real and synthetic images alike: colour, crop, cutout, flip, scale, rotate
    shrinkage : of thin cells; null for none
    unknown : what becomes of examples whose group is unknown: refuse, drop, or infer it by propagation
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
    """What may differ between the sets that are compared: the alignment, and nothing else.

    Attributes
    ----------
    alignment : pooled, per_group or barycentric
    barycenter : for `barycentric`, the point that stands for a class
    group_weights : by group; all alike where there are none
    """

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
