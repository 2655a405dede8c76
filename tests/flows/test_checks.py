"""A name that does not exist is refused before the first stage of a flow runs."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.exceptions import ObjectNotFound
from small_workspace import small_params, write_params

from fair_distill.config import ENGINE
from fair_distill.errors import ConfigError
from fair_distill.stages.sweep import sweep_points
from fair_distill.workspace import Workspace
from tasks import checks
from tasks.checks import check_refresh, check_sweep

STAGES = ("prepare", "validate", "distill", "evaluate", "judge")


class Client:
    """The client of a server with one deployment."""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read_deployment_by_name(self, name: str) -> None:
        _, _ = name.split("/")
        if name != "run-stage/gpu":
            raise ObjectNotFound(http_exc=None)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "get_client", lambda **_: Client())


def clone_with(folder: Path, **changes: Any) -> Any:
    write_params(folder, small_params() | changes)
    return SimpleNamespace(workspace=Workspace(folder))


def test_names_that_exist_are_accepted(tmp_path: Path) -> None:
    clone = clone_with(tmp_path)

    check_refresh(clone, "production", {"distill": "run-stage/gpu"}, STAGES)
    check_sweep(clone, sweep_points([1], ["dm", {"name": "dc"}], ["pooled"], [0]))


@pytest.mark.parametrize(
    ("channel", "elsewhere", "says"),
    [
        ("prod", {}, "the channel 'prod' does not exist; params.yaml: release.channels defines"),
        ("production", {"distill": "run-stage/gpuu"}, "elsewhere has the deployment 'run-stage/gpuu'"),
        ("production", {"distill": "gpu"}, "elsewhere has the deployment 'gpu'"),
        ("production", {"experts": "run-stage/gpu"}, "elsewhere has the stage 'experts'; dvc.yaml has prepare"),
    ],
)
def test_a_parameter_that_names_nothing_is_refused(
    tmp_path: Path, channel: str, elsewhere: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        check_refresh(clone_with(tmp_path), channel, elsewhere, STAGES)

    assert says in str(refusal.value)


MEDIAN = {"alignment": "barycentric", "barycenter": "medians"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"distill": small_params()["distill"] | {"matcher": "mtd"}}, "'mtd'"),
        ({"distill": small_params()["distill"] | {"matcher": {"name": "dm", "lairs": 1}}}, "lairs"),
        ({"candidates": small_params()["candidates"] | {"barycentric": MEDIAN}}, "'medians'"),
        ({"candidates": small_params()["candidates"] | {"pooled": {"alignment": "pool"}}}, "'pool'"),
        ({"engine": ENGINE + 1}, f"engine is {ENGINE + 1}"),
    ],
)
def test_params_that_name_nothing_are_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        check_refresh(clone_with(tmp_path, **changes), "production", {}, STAGES)

    assert says in str(refusal.value)


def test_custom_components_are_not_imported(tmp_path: Path) -> None:
    distill = small_params()["distill"] | {"matcher": "no.such.module:matcher"}

    check_refresh(clone_with(tmp_path, distill=distill), "production", {}, STAGES)


@pytest.mark.parametrize(("matchers", "candidates"), [(["dm", "mtd"], ["pooled"]), (["dm"], ["pooled", "polled"])])
def test_a_sweep_checks_every_point(tmp_path: Path, matchers: list[str], candidates: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"mtd|polled"):
        check_sweep(clone_with(tmp_path), sweep_points([1], matchers, candidates, [0]))
