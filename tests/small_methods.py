"""All built-in matchers and alignments with options, for tests that run over all of them."""

from functools import partial
from typing import Any

from small_workspace import MTT

from fair_distill.config import Named
from fair_distill.distillation.alignment import ALIGNMENTS
from fair_distill.distillation.barycenter import BARYCENTERS
from fair_distill.distillation.clouds import CLOUD_BARYCENTERS
from fair_distill.distillation.matchers import MATCHERS, build_matcher
from fair_distill.distillation.matchers.base import Matcher
from fair_distill.testing.matchers import AlignmentFactory

BARYCENTER_OPTIONS: dict[str, dict[str, Any]] = {
    "l_inf": {"temperature": 0.1},
    "huber": {"delta": 0.7},
    "bures": {"dimension": 3, "shrinkage": 0.1, "covariance": "full"},
    "free_support": {"dimension": 3},
    "sinkhorn": {"dimension": 3, "epsilon": 0.1},
}
MATCHER_OPTIONS: dict[str, dict[str, Any]] = {
    "cafe": {"layer_weights": [0.5, 1.0], "discrimination": 0.1},
    "ridge_probe": {"penalties": [0.01, 1.0], "decay": 0.1, "scale": 10.0, "scale_learning_rate": 0.03},
    "mtt": {key: value for key, value in MTT.items() if key != "name"},
}


def every_alignment() -> dict[str, AlignmentFactory]:
    """Return every alignment by its name in params.yaml, with every barycenter that it supports."""
    alignments: dict[str, AlignmentFactory] = {name: make for name, make in ALIGNMENTS.items() if name != "barycentric"}
    for name in BARYCENTERS | CLOUD_BARYCENTERS:
        barycenter = Named(name=name, **BARYCENTER_OPTIONS.get(name, {}))
        alignments[f"barycentric: {name}"] = partial(ALIGNMENTS["barycentric"], barycenter=barycenter)
    return alignments


def every_matcher() -> dict[str, Matcher]:
    return {name: build_matcher(name, MATCHER_OPTIONS.get(name, {})) for name in MATCHERS}
