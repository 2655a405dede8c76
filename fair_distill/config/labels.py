"""The section `labels`: how suspected label errors are measured."""

from typing import Annotated

from pydantic import Field

from fair_distill.config.sections import Positive, Section


class Labels(Section):
    """The networks with which `fair-distill data labels` looks for wrong labels. They follow the section recipe.

    Attributes
    ----------
    folds : the units are dealt into folds, and each fold is predicted by a network that is trained on the others
    steps : training steps of each network, instead of recipe.steps, which fits a small set
    """

    folds: Annotated[int, Field(ge=2)]
    steps: Positive
