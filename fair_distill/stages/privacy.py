"""What the section `validate.privacy` requires of the location of predictions."""

import os

from fair_distill.config import Config
from fair_distill.errors import ConfigError
from fair_distill.registry.store import PREDICTIONS_VARIABLE


def check_private_predictions(config: Config) -> None:
    """Raise ConfigError if privacy is restricted and predictions would be stored together with the set.

    Predictions contain the group of every example, and the record of attempts has a digest of every example.
    """
    if config.validate_.privacy == "restricted" and not os.environ.get(PREDICTIONS_VARIABLE):
        raise ConfigError(
            "params.yaml: validate.privacy is restricted, and predictions and attempts describe each example; set "
            f"{PREDICTIONS_VARIABLE} to a folder that is not published"
        )
