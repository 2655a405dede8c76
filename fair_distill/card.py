"""The dataset card: how a set was made, what was measured on it, and how to train on it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from fair_distill.errors import DataError
from fair_distill.formats.row_schema import RowSchema
from fair_distill.formats.strict_json import check_fields

T = TypeVar("T")


@dataclass(frozen=True)
class TrainingRecipe:
    """How to train on a set in the same way as the evaluation did. It is published with the set.

    Each stored image is a mosaic of formation × formation smaller images, which are cut out and enlarged before use.
    With a formation of 1 it is a plain image. Real pixels are divided by 255; distilled pixels are stored in that unit
    already. Then every channel is normalised by `mean` and `std`. The channels of a row are its encoded values.

    Attributes
    ----------
    priors : the shares of the classes in the data that the set was made from. Predictions are corrected for them: the
        logarithm of this share over the share in the set is added to the logit of each class, because a network that
        was trained on equal classes expects equal classes. None if predictions are not corrected
    """

    network: dict[str, Any]
    steps: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    augment: tuple[str, ...]
    formation: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    priors: tuple[float, ...] | None = None

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "TrainingRecipe":
        fields: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
        return cls(**fields)


@dataclass(frozen=True)
class Residuals:
    """The distances of a set and its targets from the mean embeddings of the groups; see `audit.residuals`.

    Each field has one number per class, the mean over `networks` untrained networks. It is None if `undefined` gives
    a reason.

    Attributes
    ----------
    residual : distance from the set to the farthest group; `vanilla_residual` and `barycenter_residual` are the same
        distance for the pooled target and for the barycenter
    shift : distance between the two targets
    imbalance : total variation distance between the groups' shares and their weights
    separation : distance between the groups that are too large and those that are too small; None if all are balanced
    spread : distance between the two groups that are farthest apart
    offset : distance from the barycenter to the weighted mean
    condition, weak_condition : share of networks for which the condition of Theorem 4.1, or its weaker form, holds
    """

    networks: int
    residual: tuple[float | None, ...]
    vanilla_residual: tuple[float | None, ...]
    barycenter_residual: tuple[float | None, ...]
    shift: tuple[float | None, ...]
    imbalance: tuple[float | None, ...]
    separation: tuple[float | None, ...]
    spread: tuple[float | None, ...]
    offset: tuple[float | None, ...]
    condition: tuple[float | None, ...]
    weak_condition: tuple[float | None, ...]
    undefined: dict[str, str]

    @property
    def worst(self) -> float | None:
        """The largest residual of all classes; None if one of them is undefined."""
        known = [value for value in self.residual if value is not None]
        return max(known) if known and len(known) == len(self.residual) else None


@dataclass(frozen=True)
class Nearness:
    """How near the images of a set are to training images, compared with hold-out images; see `audit.near_copies`.

    Attributes
    ----------
    images, images_per_class : number of images that were compared; each tile of a mosaic counts
    holdout : number of hold-out images
    quantile : an image is a near copy if it is nearer to a training image than all but this share of hold-out images
    near_copies, near_copies_per_class : number of near copies; None if `undefined` gives a reason
    copies : images that equal a training image up to half a grey level
    expected : near copies that the same number of unseen images would have by chance
    relative_distance : per class, the median distance to the nearest training image, divided by the same median of
        hold-out images
    """

    images: int
    holdout: int
    quantile: float
    near_copies: int | None
    copies: int
    expected: float | None
    images_per_class: tuple[int, ...]
    near_copies_per_class: tuple[int | None, ...]
    relative_distance: tuple[float | None, ...]
    undefined: str | None

    def __post_init__(self) -> None:
        pairs = zip(self.near_copies_per_class, self.images_per_class, strict=True)
        by_class = [(near or 0, images) for near, images in pairs]
        if not (
            all(0 <= near <= images for near, images in by_class)
            and sum(near for near, _ in by_class) == (self.near_copies or 0)
            and sum(images for _, images in by_class) == self.images
            and 0 <= self.copies <= self.images
            and 0 <= (self.expected or 0) <= self.images
        ):
            raise ValueError(f"the counts of near copies do not agree with each other: {self}")

    @property
    def share(self) -> float | None:
        """The share of images that are near copies; None if it was not measured."""
        return None if self.near_copies is None or not self.images else self.near_copies / self.images

    def sentence(self) -> str:
        """Return the number of near copies as a sentence. Verdicts contain it, so its text is part of a format."""
        if self.near_copies is None or self.expected is None:
            return f"near copies not measured: {self.undefined}"
        return (
            f"{self.near_copies:,} of {self.images:,} images nearer to a training image than "
            f"{100 * self.quantile:g} % of hold-out images are ({self.expected:.1f} by chance)"
        )


@dataclass(frozen=True)
class Relation:
    """One column of a table that determines another in the training data; see `data.column_relations`.

    Attributes
    ----------
    determinant, dependent : the names of both columns
    share : the share of training rows that have the determined value
    broken : number of rows of the set with another value
    """

    determinant: str
    dependent: str
    share: float
    broken: int


@dataclass(frozen=True)
class Relations:
    """The relations between the columns of a table, and the rows of the set that break them.

    Attributes
    ----------
    rows : number of rows of the set
    broken : number of rows that break at least one relation
    """

    rows: int
    broken: int
    relations: tuple[Relation, ...]

    def __post_init__(self) -> None:
        counts = [relation.broken for relation in self.relations]
        if not max(counts, default=0) <= self.broken <= min(self.rows, sum(counts)) or min(counts, default=0) < 0:
            raise ValueError(f"the counts of broken relations do not agree with each other: {str(self)[:200]}")

    def sentence(self) -> str:
        """Return the number of broken rows as a sentence. Verdicts contain it, so its text is part of a format."""
        if not self.relations:
            return "no column of the training data determines another one"
        count = len(self.relations)
        relation = "the relation between two" if count == 1 else f"one of {count:,} relations between"
        sentence = f"{self.broken:,} of {self.rows:,} rows break {relation} columns"
        worst = max(self.relations, key=lambda relation: relation.broken)
        if worst.broken:
            sentence += (
                f", most often that {worst.determinant!r} determines {worst.dependent!r} ({worst.broken:,} rows; it "
                f"does in {100 * worst.share:.1f} % of training rows)"
            )
        return sentence


@dataclass(frozen=True)
class Choice:
    """The comparison on the tune split by which a set was chosen among candidates; see `stages.choose`.

    Attributes
    ----------
    chosen : the name of the candidate
    should_pass : whether it should pass the gate; if not, no candidate should, and it was the nearest to passing
    candidates : of each candidate its `examples`, its `accuracy` and its `margin` to the nearest limit, None if a limit
        has no value
    """

    chosen: str
    should_pass: bool
    candidates: dict[str, Any]

    def __post_init__(self) -> None:
        if self.chosen not in self.candidates:
            raise ValueError(f"choice.chosen is {self.chosen[:80]!r}; expected one of choice.candidates")


@dataclass(frozen=True)
class DatasetCard:
    """The card of one set.

    Attributes
    ----------
    kind : {"distilled", "subset", "imported", "custom", "full", "constant"}
    shape : channels, height, width
    train_counts : examples per class and group in the data it was made from, (C, G)
    diagnostics : measurements of the distillation, for example the first and the last loss
    group_labels : how group labels were changed. `shrinkage` has the prior and the cells that moved by more than a
        tenth towards their parents. `unknown` has the share of examples without a group, the method and, for each
        cell, the number of inferred labels and the accuracy on known examples. Empty if nothing was changed
    schema : the columns of rows, which decode them; None for images
    residuals, nearness : measurements on the published images; None if they were not made
    relations : for a table, the rows that break a relation between columns; None if they were not counted
    missing_cells : the treatment of classes without an example of some group. `drop_class` has the number of examples
        of each removed class, by split. `merge` has the groups of each merged group. `drop` has by attribute the
        number of examples of each removed value. None if nothing was declared
    choice : how a set was chosen among candidates; None for others
    origin : for an imported set, its `producer`, `licence` and the `sha256` of the imported files; None for others
    """

    dataset: str
    name: str
    kind: str
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    shape: tuple[int, int, int]
    examples: int
    train_counts: tuple[tuple[int, ...], ...]
    recipe: TrainingRecipe
    diagnostics: dict[str, float]
    group_labels: dict[str, Any] = field(default_factory=dict)
    schema: RowSchema | None = None
    residuals: Residuals | None = None
    nearness: Nearness | None = None
    relations: Relations | None = None
    missing_cells: dict[str, Any] | None = None
    origin: dict[str, str] | None = None
    choice: Choice | None = None

    def __post_init__(self) -> None:
        if self.nearness is not None and len(self.nearness.images_per_class) != len(self.classes):
            raise ValueError(
                f"nearness is of {len(self.nearness.images_per_class)} classes, not of {len(self.classes)}"
            )

    @property
    def unit(self) -> str:
        """What the examples are, as a plural: images, or rows of a table."""
        return "images" if self.schema is None else "rows"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values. A measurement that was not made has no key, as in cards of older versions."""
        plain = asdict(replace(self, schema=None))
        if self.recipe.priors is None:
            del plain["recipe"]["priors"]
        plain["schema"] = self.schema.to_dict() if self.schema is not None else None
        return {key: item for key, item in plain.items() if key not in _OPTIONAL or item is not None}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "DatasetCard":
        """Read the result of `to_dict`. Raises DataError with the key, its value and the expected type."""
        # RowSchema checks the schema itself.
        check_fields({**value, "schema": None} if isinstance(value, Mapping) else value, cls, name="not a dataset card")
        # `to_dict` never writes null for these keys.
        if value["recipe"].get("priors", ()) is None:
            raise DataError("not a dataset card: recipe.priors is null; leave the key out")
        for key in _OPTIONAL:
            if key in value and value[key] is None:
                raise DataError(f"not a dataset card: {key} is null; leave the key out")
        channels, height, width = value["shape"]
        try:
            card = cls(
                dataset=value["dataset"],
                name=value["name"],
                kind=value["kind"],
                classes=tuple(value["classes"]),
                groups=tuple(value["groups"]),
                shape=(channels, height, width),
                examples=value["examples"],
                train_counts=tuple(tuple(row) for row in value["train_counts"]),
                recipe=TrainingRecipe.from_dict(value["recipe"]),
                diagnostics=dict(value["diagnostics"]),
                group_labels=dict(value.get("group_labels", {})),
                schema=RowSchema.from_dict(value["schema"]) if "schema" in value else None,
                residuals=_measured(Residuals, value, "residuals"),
                nearness=_measured(Nearness, value, "nearness"),
                relations=_relations(value["relations"]) if "relations" in value else None,
                missing_cells=dict(value["missing_cells"]) if "missing_cells" in value else None,
                origin=dict(value["origin"]) if "origin" in value else None,
                choice=_measured(Choice, value, "choice"),
            )
        except (DataError, ValueError) as error:
            raise DataError(f"not a dataset card: {error}") from None
        card.check()
        return card

    def check(self) -> None:
        """Raise DataError for values that have the right type but are out of range or contradict each other."""
        network, recipe = self.recipe.network, self.recipe
        label = self.schema.label if self.schema is not None else None
        options = network.get("options", {})
        rules = {
            "shape": (min(self.shape) >= 1, self.shape, "three numbers of at least 1"),
            "examples": (self.examples >= 0, self.examples, "a number of at least 0"),
            "classes": (len(set(self.classes)) == len(self.classes), self.classes, "different names"),
            "groups": (len(set(self.groups)) == len(self.groups), self.groups, "different names"),
            "train_counts": (
                len(self.train_counts) == len(self.classes)
                and all(len(row) == len(self.groups) and min(row, default=0) >= 0 for row in self.train_counts),
                self.train_counts,
                f"counts of at least 0 for {len(self.classes)} classes × {len(self.groups)} groups",
            ),
            "schema.label.values": (
                label is None or len(label.values) == len(self.classes),
                label,
                f"a value for each of {len(self.classes)} classes",
            ),
            "recipe.network": (
                isinstance(network.get("name"), str) and isinstance(options, Mapping),
                network,
                "an object with a string `name` and an object `options`",
            ),
            "recipe.steps": (recipe.steps >= 0, recipe.steps, "a number of at least 0"),
            "recipe.batch_size": (recipe.batch_size >= 1, recipe.batch_size, "a number of at least 1"),
            "recipe.priors": (
                recipe.priors is None
                or (
                    len(recipe.priors) == len(self.classes)
                    and min(recipe.priors, default=0) >= 0
                    and abs(sum(recipe.priors) - 1) < 1e-6
                ),
                recipe.priors,
                f"a share for each of {len(self.classes)} classes, with the sum 1",
            ),
            "recipe.formation": (
                1 <= recipe.formation <= min(self.shape[1:]),
                recipe.formation,
                "a number from 1 to the image size",
            ),
        }
        for key, (fits, value, expected) in rules.items():
            if not fits:
                raise DataError(f"not a dataset card: {key} is {str(value)[:80]}; expected {expected}")


_OPTIONAL = ("schema", "residuals", "nearness", "relations", "missing_cells", "origin", "choice")


def _relations(value: Mapping[str, Any]) -> Relations:
    relations = tuple(Relation(**relation) for relation in value["relations"])
    return Relations(rows=value["rows"], broken=value["broken"], relations=relations)


def _measured(kind: type[T], value: Mapping[str, Any], key: str) -> T | None:
    if key not in value:
        return None
    fields = {name: tuple(item) if isinstance(item, list) else item for name, item in value[key].items()}
    return kind(**fields)
