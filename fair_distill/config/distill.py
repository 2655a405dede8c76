"""The sections that make and measure sets: `recipe`, `distill`, `diagnostics`, `nearness` and `candidates`."""

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from fair_distill.config.sections import Choice, Fraction, Natural, Positive, PositiveFloat, Section


class Recipe(Section):
    """How to train on a set. The recipe is published with the set and is part of the version.

    Attributes
    ----------
    network : the architecture that a consumer trains by default
    steps : steps of SGD; the learning rate is divided by ten after half of them
    batch_size : images per step; of a mosaic, each smaller image counts
    learning_rate : the initial learning rate of SGD
    momentum : the momentum of SGD
    weight_decay : the weight decay of SGD
    augment : augmentations, of which one is drawn for each step: colour, crop, cutout, flip, scale, rotate
    priors : `correct` the predictions for the shares of the classes in the training data, which a set with equal
        classes does not have, or `ignore` these shares. If omitted, predictions are corrected if the largest class has
        more than 1.2 times the examples of the smallest
    """

    network: Choice
    steps: Positive
    batch_size: Positive
    learning_rate: PositiveFloat
    momentum: Fraction
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    augment: list[str]
    priors: Annotated[Literal["correct", "ignore"] | None, Field(exclude_if=lambda value: value is None)] = None


class Settled(Section):
    """When a network counts as trained, and a new one replaces it.

    Attributes
    ----------
    window : number of last visits to compare
    span : a network is trained if its accuracy on real images varied by at most this much in them
    """

    window: Annotated[int, Field(ge=2)]
    span: Annotated[float, Field(gt=0, lt=1)]


class Networks(Section):
    """The networks with which the set is matched. One step of the optimisation is a visit to one network.

    Attributes
    ----------
    pool : networks that take turns
    visits : visits to a network before a new one replaces it
    warmup_epochs : epochs of training on the synthetic set before the first visit
    advance : training after each visit: epochs on the synthetic set, or batches of real images
    advance_on : what a network is trained on between visits
    learning_rate : the learning rate of the warm-up and of the training between visits
    batch_size : the batch size of the warm-up and of the training between visits
    settled : replace a network early, when it is trained; without it, only `visits` decides
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
    """The optimiser of the synthetic images.

    Attributes
    ----------
    name : the optimiser. `normalised_sgd` divides each gradient by its root mean square, so that the size of a step
        depends neither on the width of the network nor on the distance
    learning_rate : its learning rate, at most 1 for normalised_sgd: there it is the root mean square of the change in
        one step, before momentum
    momentum : the momentum of SGD, or the first beta of Adam
    unit : what a step is measured in. `pixel`: pixels divided by 255, only for images; without it, standard deviations
        of the normalised data
    decay : how the learning rate falls to 0 over the steps; without it, the rate is constant
    """

    name: Literal["sgd", "normalised_sgd", "adam"]
    learning_rate: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)]
    unit: Literal["pixel"] | None = None
    decay: Literal["cosine"] | None = None

    @model_validator(mode="after")
    def _size_of_a_step(self) -> "Optimiser":
        if self.name == "normalised_sgd" and self.learning_rate > 1:
            raise ValueError(
                f"learning_rate is {self.learning_rate:g}; with normalised_sgd it is the mean change of a pixel in one "
                "step, at most 1. Use a value near 0.005"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_absent_options(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out optional keys without a value, so that sets from before these keys keep their digest."""
        return {key: value for key, value in serialise(self).items() if value is not None}


class Shrinkage(Section):
    """Shrinkage of small cells of intersecting groups towards their parent cells.

    Attributes
    ----------
    prior : the weight of the parent in examples: a cell with n examples gets the weight n/(n+prior)
    """

    prior: PositiveFloat


class Rows(Section):
    """How the rows of a table are optimised. Every synthetic row is valid at every step.

    Attributes
    ----------
    temperature : temperature of the softmax over categories, through which the gradients pass
    relations : `keep`: a column that another one determines in 99 % of the training rows gets the determined value.
        Without it, columns are optimised separately, so a row can combine values that no real row combines
    """

    temperature: PositiveFloat
    relations: Literal["keep"] | None = None

    @model_serializer(mode="wrap")
    def _without_absent_options(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out `relations` without a value, so that sets from before this key keep their digest."""
        return {key: value for key, value in serialise(self).items() if value is not None}


class Distill(Section):
    """How every candidate is distilled.

    Attributes
    ----------
    matcher : the statistic that is matched
    network : the architecture of the networks with which the set is matched
    networks : how many networks there are, and how they are trained
    ipc : stored images per class
    formation : each stored image is a mosaic of formation × formation smaller images
    steps : steps of the optimiser
    real_per_class : real images per class and step, divided among the groups
    embedding : how real images are embedded; `fast` (bfloat16, compiled) is for GPUs
    distance : the distance between a target and the statistic of the synthetic images
    reduce : how the dimensions of a statistic are combined; papers use `sum`. `mean` has the
        effect of a smaller learning rate
    optimiser : the optimiser of the synthetic images
    start : the images before the first step: real images from every group, real images at random, or noise
    augment : augmentations of all images, of which one is drawn for each step: colour, crop, cutout, flip, scale,
        rotate
    shrinkage : shrinkage of small cells towards their parents; null for none
    unknown : what to do with examples of unknown group: refuse them, drop them, or infer the group (propagation)
    rows : settings for the rows of a table; required for tables, not allowed for images
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
    """The measurement of residuals: how far a set and its targets are from each group.

    Attributes
    ----------
    networks : number of untrained networks, with the architecture of distill.network
    rows_per_cell : largest number of real images of each class and group that are embedded
    """

    networks: Positive
    rows_per_cell: Positive


class Nearness(Section):
    """When a synthetic image is a near copy of a training image.

    Attributes
    ----------
    quantile : an image is a near copy if it is nearer to a training image than all but this share of hold-out images
    holdout_per_class : largest number of images of the tune split per class that are compared
    """

    quantile: Annotated[float, Field(gt=0, lt=1)]
    holdout_per_class: Positive


class Candidate(Section):
    """One candidate. Candidates differ only in these keys; everything else is the same for all.

    Attributes
    ----------
    alignment : the target of a class: all groups together (pooled), each group (per_group), or their barycenter
    barycenter : how the barycenter of the groups is computed, for `barycentric`
    group_weights : the weight of each group in the target; equal by default
    """

    alignment: Choice
    barycenter: Choice | None = None
    group_weights: dict[str, PositiveFloat] | None = None

    @model_validator(mode="after")
    def _barycenter(self) -> "Candidate":
        if self.alignment.name == "barycentric" and self.barycenter is None:
            raise ValueError("barycenter is missing; `alignment: barycentric` requires it")
        if self.alignment.name != "barycentric" and self.barycenter is not None:
            raise ValueError("barycenter is only allowed with `alignment: barycentric`; remove it")
        if self.group_weights is not None and self.alignment.name == "pooled":
            raise ValueError("`alignment: pooled` takes its group weights from the data; remove group_weights")
        return self
