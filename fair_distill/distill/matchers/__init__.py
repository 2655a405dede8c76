"""Matchers: which statistic of the data a synthetic set is to reproduce. One method a file."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from fair_distill.distill.alignment import Statistic
from fair_distill.distill.matchers.dm import DM
from fair_distill.distill.networks import Network
from fair_distill.distill.sampling import Batch
from fair_distill.errors import ConfigError


class Matcher(Protocol):
    """What the loop asks of a method. C classes, G groups; statistics are tuples, one tensor per layer."""

    def cells(self, network: Network, real: Batch, classes: int) -> Statistic:
        """Return the statistic of every cell, (C, G, D) per layer."""
        ...

    def synthetic(self, network: Network, images: Tensor, classes: int) -> Statistic:
        """Return the statistic of the synthetic images of every class, (C, D) per layer, with its gradient."""
        ...


# The one place a method is added: write its file, add its line.
MATCHERS: dict[str, Callable[..., Matcher]] = {
    "dm": DM,
}


def build_matcher(name: str, options: dict[str, Any]) -> Matcher:
    """Return a matcher of MATCHERS. Raises ConfigError for an unknown name or option."""
    if name not in MATCHERS:
        raise ConfigError(f"params.yaml: distill.matcher is {name!r}; choose one of {', '.join(MATCHERS)}")
    try:
        return MATCHERS[name](**options)
    except TypeError as error:
        raise ConfigError(f"params.yaml: distill.matcher {name!r}: {error}") from None
