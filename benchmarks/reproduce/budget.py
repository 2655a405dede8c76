"""Budgets: the steps, networks and images of a table. All methods share them, and the results contain them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from fair_distill.errors import ConfigError


@dataclass(frozen=True)
class Budget:
    """The limits of one measurement.

    Attributes
    ----------
    width : channels of the ConvNet (depth 3) that is distilled with and trained
    steps : steps of each distillation by distribution matching
    gradient_steps : steps of each distillation by gradient matching, whose steps are more expensive
    real_per_class : real images per class and step, from every group
    networks : networks that are trained on each set
    epochs : epochs of training on a set with ipc images per class, in batches of 256. All sets get the same number of
        steps, also sets with more images
    full_steps : steps of training on the full data
    paired_per_class : test images per class that are shown in every colour; the official test split is used completely
    """

    width: int
    steps: int
    gradient_steps: int
    real_per_class: int
    networks: int
    epochs: int
    full_steps: int
    paired_per_class: int

    def but(self, changes: Mapping[str, str]) -> "Budget":
        """Return the budget with other numbers, given as text. Raises ConfigError for invalid ones."""
        names = [field.name for field in fields(self)]
        for name, value in changes.items():
            if name not in names:
                raise ConfigError(f"a budget has no key {name!r}; choose one of {', '.join(names)}")
            if not (value.isascii() and value.isdigit() and int(value) > 0):
                raise ConfigError(f"the budget's {name} is {value!r}; write a whole number above 0")
        return replace(self, **{name: int(value) for name, value in changes.items()})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


# To add a budget, add it here.
BUDGETS = {
    # A quarter of an hour per data set on two CPU cores. No method converges.
    "small": Budget(
        width=16,
        steps=60,
        gradient_steps=30,
        real_per_class=60,
        networks=2,
        epochs=100,
        full_steps=100,
        paired_per_class=50,
    ),
    # Ten minutes of a GPU for four data sets and three seeds. Methods differ clearly; those that need thousands of
    # steps do not converge.
    "lean": Budget(
        width=32,
        steps=300,
        gradient_steps=200,
        real_per_class=100,
        networks=2,
        epochs=300,
        full_steps=600,
        paired_per_class=100,
    ),
    # A few minutes of a shared GPU: the steps and networks of the papers, with a sixth of their real images per step.
    # Stratified batches compensate for this.
    "medium": Budget(
        width=128,
        steps=2600,
        gradient_steps=200,
        real_per_class=100,
        networks=3,
        epochs=1000,
        full_steps=2000,
        paired_per_class=200,
    ),
    # The budget of the COBRA comparison.
    "full": Budget(
        width=128,
        steps=2600,
        gradient_steps=1000,
        real_per_class=600,
        networks=5,
        epochs=1500,
        full_steps=20_000,
        paired_per_class=1000,
    ),
}
