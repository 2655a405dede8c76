"""Checks of parameters before the first stage of a flow runs, so that a misspelt name is refused at once."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from fair_distill.config import check_engine, load_config
from fair_distill.config.loading import read_params
from fair_distill.errors import ConfigError
from fair_distill.stages.distill import check_methods
from fair_distill.stages.promote import check_channel
from fair_distill.stages.sweep import SweepPoint, point_config
from tasks.workspace import Clone


def check_refresh(clone: Clone, channel: str, elsewhere: Mapping[Any, str], stages: Collection[str]) -> None:
    """Raise ConfigError if the parameters of `refresh` or params.yaml name something that does not exist.

    Parameters
    ----------
    elsewhere : for each stage that runs as a flow run of another deployment, the deployment
    stages : the stages in dvc.yaml
    """
    config = load_config(clone.workspace.params)
    check_engine(config)
    check_channel(config, channel)
    check_methods(config)
    for stage in elsewhere:
        if stage not in stages:
            raise ConfigError(f"elsewhere has the stage {stage!r}; dvc.yaml has {', '.join(stages)}")
    _check_deployments(elsewhere.values())


def check_sweep(clone: Clone, points: Iterable[SweepPoint]) -> None:
    """Raise ConfigError if a point of a sweep names a matcher or a candidate that does not exist."""
    params = read_params(clone.workspace.params)
    for point in points:
        config = point_config(params, point)
        check_engine(config)
        check_methods(config)


def _check_deployments(names: Iterable[str]) -> None:
    with get_client(sync_client=True) as client:
        for name in dict.fromkeys(names):
            try:
                client.read_deployment_by_name(name)
            except (ObjectNotFound, ValueError):  # ValueError for a name without a slash
                raise ConfigError(
                    f"elsewhere has the deployment {name!r}, which the Prefect server does not have; deploy it, or "
                    "choose one of those that `prefect deployment ls` lists"
                ) from None
