"""A distillation method: a matcher and an alignment that it supports."""

from dataclasses import dataclass

import numpy as np
import torch

from fair_distill.config import Candidate, Distill
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.distillation.alignment import Alignment, Provision, alignment_for, build_alignment
from fair_distill.distillation.barycenter import BARYCENTERS
from fair_distill.distillation.matchers import build_matcher
from fair_distill.distillation.matchers.base import Matcher
from fair_distill.errors import ConfigError

# For each provision that a matcher may not support, the alternatives.
ALTERNATIVES: dict[Provision, str] = {
    "one_mean": "Use another matcher",
    "one_per_group": "Use 'pooled' or 'barycentric'",
    "one_target": "Use 'pooled', or 'barycentric' with barycenter 'mean'",
    "clouds": f"Use barycenter {', '.join(map(repr, BARYCENTERS))}, or matcher 'dm' or 'cafe'",
}


def alternative(matcher: Matcher, provision: Provision) -> str:
    """Return what to use instead of an alignment that a matcher does not support."""
    if provision == "clouds" and "one_target" not in matcher.supports:
        return ALTERNATIVES["one_target"]
    return ALTERNATIVES[provision]


@dataclass(frozen=True, eq=False)
class Method:
    """A matcher and an alignment that it supports."""

    matcher: Matcher
    alignment: Alignment


def build_method(
    dataset: GroupedDataset, settings: Distill, candidate: Candidate, *, device: torch.device | None = None
) -> Method:
    """Return the matcher of the settings and the alignment of a candidate.

    Raises
    ------
    ConfigError
        If a name or an option is invalid, or the matcher does not support the alignment.
    """
    return _checked(settings, candidate, alignment_for(dataset, settings, candidate, device=device))


def check_method(settings: Distill, candidate: Candidate) -> None:
    """Raise the errors of `build_method` that do not depend on the data.

    Custom components are not checked, because this would import them.
    """
    named = (settings.matcher, candidate.alignment, candidate.barycenter)
    if any(component is not None and ":" in component.name for component in named):
        return
    groups = tuple(candidate.group_weights or ("one", "other"))
    cell_map = None if settings.shrinkage is None else np.eye(len(groups))[None]
    _checked(settings, candidate, build_alignment(candidate, np.ones((1, len(groups))), groups, cell_map=cell_map))


def _checked(settings: Distill, candidate: Candidate, alignment: Alignment) -> Method:
    matcher = build_matcher(settings.matcher.name, settings.matcher.options)
    described = f"alignment {candidate.alignment.name!r}"
    if candidate.barycenter is not None:
        described += f" with barycenter {candidate.barycenter.name!r}"
    check_support(settings.matcher.name, matcher, described, alignment)
    return Method(matcher, alignment)


def check_support(matcher_name: str, matcher: Matcher, alignment_name: str, alignment: Alignment) -> None:
    """Raise ConfigError if a matcher does not support what an alignment provides."""
    if alignment.provides not in matcher.supports:
        raise ConfigError(
            f"matcher {matcher_name!r} does not support {alignment_name}. {alternative(matcher, alignment.provides)}."
        )
