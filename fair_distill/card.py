"""What a set says about itself: what it is, of what it was made, and how to train on it. Numbers, no prose."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fair_distill.errors import DataError
from fair_distill.rows import RowSchema


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

    def to_dict(self) -> dict[str, Any]:
        plain = asdict(replace(self, schema=None))
        del plain["schema"]
        return plain if self.schema is None else plain | {"schema": self.schema.to_dict()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "DatasetCard":
        """Read what `to_dict` gave. Raises DataError where it is something else."""
        try:
            channels, height, width = value["shape"]
            return cls(
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
                group_labels=dict(value["group_labels"]),
                schema=RowSchema.from_dict(value["schema"]) if "schema" in value else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a dataset card: {error!r}") from None
