"""Matchers: which statistic of the data a synthetic set is to reproduce. One method a file."""

from collections.abc import Callable
from typing import Any

from fair_distill.distillation.experts import Experts
from fair_distill.distillation.matchers.base import Matcher
from fair_distill.distillation.matchers.cafe import CAFE
from fair_distill.distillation.matchers.dc import DC, IDC
from fair_distill.distillation.matchers.dm import DM
from fair_distill.distillation.matchers.mtt import MTT
from fair_distill.plugins import bind_options, resolve

# The one place a method is added: write its file, add its line.
MATCHERS: dict[str, Callable[..., Matcher]] = {
    "dm": DM,
    "dc": DC,
    "idc": IDC,
    "cafe": CAFE,
    "mtt": MTT,
}


def experts_of(name: str, options: dict[str, Any]) -> Experts | None:
    """Return how the experts of a matcher are to be trained, or None for one that follows none."""
    experts: Experts | None = getattr(build_matcher(name, options), "experts", None)
    return experts


def build_matcher(name: str, options: dict[str, Any]) -> Matcher:
    """Return a matcher of MATCHERS, or one's own. Raises ConfigError for an unknown name or option."""
    kind = resolve(name, MATCHERS, where="distill.matcher", custom=True)
    return bind_options(kind, options, where=f"distill.matcher {name!r}", arguments=0)()
