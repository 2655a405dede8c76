"""How much of everything a table may cost: the same for every method, and written into the results."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from fair_distill.errors import ConfigError


@dataclass(frozen=True)
class Budget:
    """What bounds one measurement.

    Attributes
    ----------
    width : channels of the ConvNet (depth 3) that is distilled with and trained
    steps : optimisation steps of every distillation by distribution matching
    gradient_steps : of one by gradient matching, whose step costs so much more
    real_per_class : real images a class and step; batches are stratified, so every group is in each
    networks : trained on every set
    epochs : of training on a set of ipc images a class, in batches of 256. Turned into steps, and these are the same
        for every set, whatever the number of images it holds
    full_steps : of training on the full data
    paired_per_class : test images a class that are shown in every colour; the official test split is used whole
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
        """Return it with other numbers, as the command line has them. Raises ConfigError for what is none."""
        known = [field.name for field in fields(self)]
        for name, value in changes.items():
            if name not in known:
                raise ConfigError(f"a budget has no {name!r}; choose one of {', '.join(known)}")
            if not (value.isascii() and value.isdigit() and int(value) > 0):
                raise ConfigError(f"the budget's {name} is {value!r}; a whole number above 0 is needed")
        return replace(self, **{name: int(value) for name, value in changes.items()})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


# The one place a budget is added.
BUDGETS = {
    # Two CPU cores, about a quarter of an hour for a data set: too little for anything to converge, alike for all.
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
    # Ten minutes of a GPU for four data sets and three seeds: enough to tell methods apart, too little for those that
    # need thousands of steps.
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
    # The papers' steps and networks with a sixth of their real images, which stratified batches make up for: a shared
    # GPU and a few minutes.
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
    # The COBRA comparison's.
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
