"""Distil group-labelled data towards the barycenter of its groups; gate, version and load the result.

`load`, `look_up` and `judge_model` need only the light installation; `distill` and `train` need torch. Every name is
imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fair_distill.errors import missing_library

if TYPE_CHECKING:
    from fair_distill.data.grouped_dataset import GroupedDataset
    from fair_distill.distillation.api import distill
    from fair_distill.evaluation.train import train_on as train
    from fair_distill.registry.client import load, look_up
    from fair_distill.stages.model import judge_model

__all__ = ["GroupedDataset", "distill", "judge_model", "load", "look_up", "train"]

_LOCATIONS = {
    "GroupedDataset": ("fair_distill.data.grouped_dataset", "GroupedDataset"),
    "distill": ("fair_distill.distillation.api", "distill"),
    "judge_model": ("fair_distill.stages.model", "judge_model"),
    "load": ("fair_distill.registry.client", "load"),
    "look_up": ("fair_distill.registry.client", "look_up"),
    "train": ("fair_distill.evaluation.train", "train_on"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("fair-distill")
    if name not in _LOCATIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LOCATIONS[name]
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise missing_library(f"fair_distill.{name}", error) from None
