"""What a set says about itself: what it is, of what it was made, and how to train on it. Numbers, no prose."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from fair_distill.errors import DataError
from fair_distill.formats.row_schema import RowSchema
from fair_distill.formats.strict_json import check_fields

T = TypeVar("T")


@dataclass(frozen=True)
class TrainingRecipe:
    """How to train on a set as the gate did. Travels with it, so a consumer need not guess.

    Each stored image is a mosaic of formation × formation smaller ones, which are cut out and enlarged before use; with
    a formation of 1 it is just an image. Pixels are divided by 255 (real images) or taken as stored (distilled ones,
    which are in the same unit), then normalised by `mean` and `std` per channel; the channels of a row are its encoded
    numbers.
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

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "TrainingRecipe":
        fields: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
        return cls(**fields)


@dataclass(frozen=True)
class Residuals:
    """How far a set lies from its groups' mean embeddings, and why; see `distillation.diagnostics`.

    One number per class, the mean over `networks` untrained networks; None where `undefined` says why there is none.

    Attributes
    ----------
    residual : distance from the set to the group farthest from it; `vanilla_residual` and `barycenter_residual` are the
        same of the two targets
    shift : distance between the two targets
    imbalance : how far the groups' shares are from their weights, in total variation
    separation : distance between the groups that are too large and those that are too small; None where none is
    spread : distance between the two groups that are farthest apart
    offset : distance from the barycenter to the weighted mean
    condition, weak_condition : share of networks at which Theorem 4.1's condition holds, and the weaker one
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
        """The largest residual of any class; None if one is undefined."""
        known = [value for value in self.residual if value is not None]
        return max(known) if known and len(known) == len(self.residual) else None


@dataclass(frozen=True)
class Nearness:
    """How near a set's images are to training images, against hold-out images; see `distillation.nearness`.

    Attributes
    ----------
    images : images looked at, tiles of mosaics each for itself; `images_per_class` the same by class
    holdout : hold-out images that they are compared with
    quantile : the share of hold-out images that an image must be nearer than to count as a near copy
    near_copies, near_copies_per_class : how many do; None where `undefined` says why that cannot be told
    copies : how many are a training image, to half a grey level
    expected : near copies that as many images never seen in training would show
    relative_distance : per class, the median over images of the distance to the nearest training image, in units of the
        hold-out images' median
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
        of_class = [(0 if near is None else near, of) for near, of in pairs]
        if not (
            all(0 <= near <= of for near, of in of_class)
            and sum(near for near, _ in of_class) == (self.near_copies or 0)
            and sum(of for _, of in of_class) == self.images
            and 0 <= self.copies <= self.images
            and 0 <= (self.expected or 0) <= self.images
        ):
            raise ValueError(f"counts of near copies contradict each other: {self}")

    @property
    def share(self) -> float | None:
        """The share of images that are near copies."""
        return None if self.near_copies is None or not self.images else self.near_copies / self.images

    def sentence(self) -> str:
        """What was found, for a person."""
        if self.near_copies is None or self.expected is None:
            return f"near copies not measured: {self.undefined}"
        return (
            f"{self.near_copies:,} of {self.images:,} images nearer to a training image than "
            f"{100 * self.quantile:g} % of hold-out images are ({self.expected:.1f} by chance)"
        )


@dataclass(frozen=True)
class DatasetCard:
    """The facts about one set.

    Attributes
    ----------
    kind : {"distilled", "subset", "full"}
    shape : channels, height, width
    train_counts : examples per class and group in the data it was made from, (C, G)
    diagnostics : measured while it was made (first and last loss, for example)
    group_labels : how far the groups' labels and cells were taken as they came: `shrinkage` has the prior and the cells
        that lost more than a tenth to their parents, `unknown` the share that had no group, the method, and for each
        cell how many it inferred and how often it was right on known examples; None where there was nothing to do
    schema : the columns of rows, by which they decode; None for images
    residuals, nearness : measured on the images as they are published; None where that was not done
    missing_cells : what was done about classes that lack a group: `drop_class` has the examples of each class that was
        left out, by split; `merge` the groups that were made one, by its name. None where nothing was declared
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
    missing_cells: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.nearness is not None and len(self.nearness.images_per_class) != len(self.classes):
            raise ValueError(
                f"nearness is of {len(self.nearness.images_per_class)} classes, not of {len(self.classes)}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values. What was not measured has no key, as in cards from before it could be."""
        plain = asdict(replace(self, schema=None))
        plain["schema"] = self.schema.to_dict() if self.schema is not None else None
        return {key: item for key, item in plain.items() if key not in _OPTIONAL or item is not None}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "DatasetCard":
        """Read what `to_dict` gave. Raises DataError, with the key, its value and the expected type, otherwise."""
        # The schema is read, and checked, by its own class.
        check_fields({**value, "schema": None} if isinstance(value, Mapping) else value, cls, name="not a dataset card")
        # What was not measured has no key, so a null is not what `to_dict` gave.
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
                missing_cells=dict(value["missing_cells"]) if "missing_cells" in value else None,
            )
        except (DataError, ValueError) as error:
            raise DataError(f"not a dataset card: {error}") from None
        card.check()
        return card

    def check(self) -> None:
        """Raise DataError for numbers of the right type that do not fit together or are out of range."""
        network, recipe = self.recipe.network, self.recipe
        options = network.get("options", {})
        rules = {
            "shape": (min(self.shape) >= 1, self.shape, "three numbers from 1"),
            "examples": (self.examples >= 0, self.examples, "a number from 0"),
            "classes": (len(set(self.classes)) == len(self.classes), self.classes, "different names"),
            "groups": (len(set(self.groups)) == len(self.groups), self.groups, "different names"),
            "train_counts": (
                len(self.train_counts) == len(self.classes)
                and all(len(row) == len(self.groups) and min(row, default=0) >= 0 for row in self.train_counts),
                self.train_counts,
                f"counts from 0 of {len(self.classes)} classes × {len(self.groups)} groups",
            ),
            "recipe.network": (
                isinstance(network.get("name"), str) and isinstance(options, Mapping),
                network,
                "an object with a text `name` and an object `options`",
            ),
            "recipe.steps": (recipe.steps >= 0, recipe.steps, "a number from 0"),
            "recipe.batch_size": (recipe.batch_size >= 1, recipe.batch_size, "a number from 1"),
            "recipe.formation": (1 <= recipe.formation <= min(self.shape[1:]), recipe.formation, "from 1 to the side"),
        }
        for key, (fits, value, expected) in rules.items():
            if not fits:
                raise DataError(f"not a dataset card: {key} is {str(value)[:80]}; expected {expected}")


_OPTIONAL = ("schema", "residuals", "nearness", "missing_cells")


def _measured(kind: type[T], value: Mapping[str, Any], key: str) -> T | None:
    if key not in value:
        return None
    fields = {name: tuple(item) if isinstance(item, list) else item for name, item in value[key].items()}
    return kind(**fields)
