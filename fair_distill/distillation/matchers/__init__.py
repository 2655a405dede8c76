"""Matchers: which statistic of the real data the synthetic set must reproduce. One module per method."""

from collections.abc import Callable, Mapping
from typing import Any

from fair_distill.distillation.experts import Experts
from fair_distill.distillation.matchers.base import Matcher
from fair_distill.distillation.matchers.cafe import CAFE
from fair_distill.distillation.matchers.dc import DC, IDC
from fair_distill.distillation.matchers.dm import DM
from fair_distill.distillation.matchers.mtt import MTT
from fair_distill.distillation.matchers.ridge_probe import RidgeProbe
from fair_distill.plugins import bind_options, require_type, resolve

# To add a matcher, write its module and add its line here.
MATCHERS: dict[str, Callable[..., Matcher]] = {
    "dm": DM,
    "dc": DC,
    "idc": IDC,
    "cafe": CAFE,
    "mtt": MTT,
    "ridge_probe": RidgeProbe,
}


def build_matcher(name: str, options: Mapping[str, Any]) -> Matcher:
    """Return a matcher of MATCHERS, or a custom one. Raises ConfigError if the name or an option is invalid."""
    where = f"distill.matcher {name!r}"
    factory = bind_options(
        resolve(name, MATCHERS, where="distill.matcher", custom=True), options, where=where, arguments=0
    )
    return require_type(factory(), Matcher, where=where)  # type: ignore[type-abstract]


def expert_settings(name: str, options: Mapping[str, Any]) -> Experts | None:
    """Return how to train the experts that a matcher follows, or None if it follows none."""
    return build_matcher(name, options).follows
