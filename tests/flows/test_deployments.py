"""prefect.yaml, the work pools, the automations and compose.yaml fit the flows and Prefect's schemas."""

import asyncio
import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import yaml
from jsonschema import Draft202012Validator
from prefect.client.schemas.objects import FlowRun
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings
from prefect.settings.models.flows import FlowsSettings
from prefect.utilities.callables import parameter_schema
from prefect.workers.base import BaseJobConfiguration
from small_workspace import REPOSITORY

from fair_distill.config.loading import stages_of
from flows.parameters import Stage
from flows.refresh import STAGES
from tasks.run_page import ProgressArtifacts, artifact_key

AUTOMATIONS = [
    AutomationCore.model_validate(raw)
    for raw in yaml.safe_load((REPOSITORY / "flows" / "automations.yaml").read_text())["automations"]
]
DEPLOYED: list[dict[str, Any]] = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]


def flow_of(deployment: dict[str, Any]) -> Any:
    path, name = deployment["entrypoint"].split(":")
    return getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)


@pytest.mark.parametrize("deployment", DEPLOYED, ids=lambda it: it["name"])
def test_a_deployments_parameters_are_those_of_its_flow_and_fit_them(deployment: dict[str, Any]) -> None:
    flow = flow_of(deployment)

    flow.validate_parameters(deployment["parameters"] | {"repository": "somewhere"})

    for parameter in parameter_schema(flow.fn).properties.values():
        assert parameter.get("description"), f"{flow.name}: {parameter} has no description"


@pytest.mark.parametrize("deployment", DEPLOYED, ids=lambda it: it["name"])
def test_a_deployments_job_variables_are_known_to_its_pool(deployment: dict[str, Any]) -> None:
    template = {"containers": "docker.json", "cluster": "kubernetes.json"}.get(deployment["work_pool"]["name"])
    known = {"env"}
    if template:
        pool = json.loads((REPOSITORY / "flows" / "pools" / template).read_text())
        known = set(pool["variables"]["properties"])

    assert set(deployment["work_pool"]["job_variables"]) <= known


def test_flows_know_every_stage_of_the_graphs() -> None:
    known = set(STAGES)

    assert set(Stage.__args__) == known
    for graph in (REPOSITORY / "dvc.yaml", REPOSITORY / "examples" / "mtt" / "dvc.yaml"):
        assert set(stages_of(graph)) <= known


@pytest.mark.parametrize(
    ("address", "fits"),
    [
        (".", True),
        ("/a/folder", True),
        ("/a/folder@home", True),
        ("git@example.org:team/it.git", True),
        ("ssh://git@example.org:22/it.git", True),
        ("https://example.org/it.git", True),
        ("s3://bucket/prefix?endpoint=http://host:9000", True),
        ("https://user:word@example.org/it.git", False),
        ("https://ghp_token@github.com/x.git", False),
        ("s3://key:word@bucket", False),
        ("s3://bucket/prefix?private_token=word", False),
        ("https://example.org/it.git?private_token=word", False),
        ("https://example.org/it.git#word", False),
        ("s3://bucket/prefix?endpoint=http://key:word@host", False),
        ("user:word@example.org:team/it.git", False),
        ("ssh://user:word@example.org/it.git", False),
        ("", False),
    ],
)
def test_an_address_with_a_password_is_no_parameter(address: str, fits: bool) -> None:
    from prefect.exceptions import ParameterTypeError
    from pydantic import ValidationError

    flow = flow_of(DEPLOYED[0])
    if fits:
        flow.validate_parameters({"repository": address})
    else:
        with pytest.raises((ParameterTypeError, ValidationError)):
            flow.validate_parameters({"repository": address})


def test_the_automation_for_silent_runs_waits_for_every_end_that_flows_name() -> None:
    silent, lost, crashed = AUTOMATIONS
    ends = set()
    for path in (REPOSITORY / "flows").glob("*.py"):
        source = path.read_text()
        ends |= set(re.findall(r'name="([A-Z]\w+)"', source)) | set(re.findall(r'\("([A-Z]\w+)", any', source))

    assert {"Blocked", "Demoted", "Undecided", "NothingLive", "NoneFits"} == ends
    assert {f"prefect.flow-run.{end}" for end in ends} <= set(silent.trigger.expect)  # type: ignore[union-attr]
    assert {f"prefect.flow-run.{action.name}" for action in silent.actions} == lost.trigger.expect  # type: ignore[union-attr]
    assert crashed.trigger.expect == {"prefect.flow-run.Crashed"}  # type: ignore[union-attr]


def test_the_automation_for_silent_runs_waits_longer_than_any_heartbeat_and_forces_nothing() -> None:
    """A forced state would restart a run that has ended. Without it the server refuses, as test_automations shows."""
    silent, *_ = AUTOMATIONS
    default = FlowsSettings.model_fields["heartbeat_frequency"].default

    assert silent.trigger.within.total_seconds() >= 3 * default  # type: ignore[union-attr]
    assert not any(getattr(action, "force", False) for automation in AUTOMATIONS for action in automation.actions)


def environment_of(name: str, **pool_env: str) -> dict[str, str | None]:
    """Return the environment that a worker with a password passes to a job, with these defaults in the pool's `env`."""

    class Client:
        async def read_block_document_by_name(self, name: str, block_type_slug: str) -> Any:
            return SimpleNamespace(data={"value": f"the value of the {block_type_slug} {name}"})

    (deployment,) = [it for it in DEPLOYED if it["name"] == name]
    pool = {"containers": "docker.json", "cluster": "kubernetes.json"}[deployment["work_pool"]["name"]]
    template = json.loads((REPOSITORY / "flows" / "pools" / pool).read_text())
    template["variables"]["properties"]["env"]["default"] = pool_env
    values, client = deployment["work_pool"]["job_variables"], Client()
    with temporary_settings({PREFECT_API_AUTH_STRING: "admin:word"}):
        job: Any = asyncio.run(BaseJobConfiguration.from_template_and_values(template, values, client=client))
        job.prepare_for_flow_run(FlowRun(flow_id=uuid4(), name="a run"))
    return dict(job.env)


def test_a_pool_for_docker_takes_credentials_from_blocks() -> None:
    environment = environment_of("gpu", AWS_SECRET_ACCESS_KEY="{{ prefect.blocks.secret.aws-secret-access-key }}")

    assert environment["AWS_SECRET_ACCESS_KEY"] == "the value of the secret aws-secret-access-key"
    assert environment["FAIR_DISTILL_DEVICE"] == "cuda"


def test_the_workers_password_is_passed_to_containers_but_not_to_pods() -> None:
    assert environment_of("gpu")["PREFECT_API_AUTH_STRING"] == "admin:word"  # as docs/containers.md says
    assert "PREFECT_API_AUTH_STRING" not in environment_of("cluster")


@pytest.mark.parametrize("name", ["container", "gpu", "cluster"])
def test_gpu_deployments_use_the_gpu_image(name: str) -> None:
    (deployment,) = [it["work_pool"]["job_variables"] for it in DEPLOYED if it["name"] == name]

    assert deployment["image"].endswith(":cuda") is (deployment["env"].get("FAIR_DISTILL_DEVICE") == "cuda")
    assert deployment["env"]["FAIR_DISTILL_IMAGE"] == deployment["image"]
    assert "FAIR_DISTILL_CHECKPOINTS" in deployment["env"]


def filled(template: Any, values: dict[str, Any]) -> Any:
    """Return a job template with the values of its variables, as a worker fills it in; null values are left out."""
    if isinstance(template, dict):
        return {name: field for name, value in template.items() if (field := filled(value, values)) is not None}
    if isinstance(template, list):
        return [filled(value, values) for value in template]
    whole = re.fullmatch(r"{{ (\w+) }}", template) if isinstance(template, str) else None
    if whole:
        return values.get(whole[1])
    return re.sub(r"{{ (\w+) }}", lambda m: str(values[m[1]]), template) if isinstance(template, str) else template


def test_the_kubernetes_job_has_only_fields_that_the_api_has() -> None:
    pool = json.loads((REPOSITORY / "flows" / "pools" / "kubernetes.json").read_text())
    (deployment,) = [it for it in DEPLOYED if it["work_pool"]["name"] == "cluster"]
    values = {
        name: schema["default"] for name, schema in pool["variables"]["properties"].items() if "default" in schema
    }
    values |= deployment["work_pool"]["job_variables"] | {"name": "run", "labels": {}, "image": "it@sha256:0"}
    values |= {"command": ["prefect", "flow-run", "execute"], "env": [{"name": "A", "value": "b"}]}
    schema = json.loads((Path(__file__).parent / "kubernetes_job.schema.json").read_text())

    job = filled(pool["job_configuration"]["job_manifest"], values)
    faults = [error.message for error in Draft202012Validator(schema).iter_errors(job)]

    assert not faults
    assert job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    job["spec"]["template"]["spec"]["parallelism"] = 1  # a field of a job and not of a pod
    assert list(Draft202012Validator(schema).iter_errors(job))


def test_every_variable_of_the_kubernetes_pool_is_used() -> None:
    pool = json.loads((REPOSITORY / "flows" / "pools" / "kubernetes.json").read_text())
    used = set(re.findall(r"{{ (\w+) }}", json.dumps(pool["job_configuration"])))

    assert used == set(pool["variables"]["properties"])


def test_the_dockerfile_passes_hadolint() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint has no wheel for this machine")
    dockerfile = (REPOSITORY / "Dockerfile").read_text()

    def faults(text: str) -> list[dict[str, Any]]:
        done = subprocess.run(
            [hadolint, "--format", "json", "-"], input=text, capture_output=True, text=True, check=False
        )
        messages: list[dict[str, Any]] = json.loads(done.stdout)
        return messages

    assert faults(dockerfile) == []
    assert faults(dockerfile.replace("USER 1000", "USER root"))


def test_compose_requires_all_secrets_from_the_environment() -> None:
    compose = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())
    secret = re.compile(r"PASSWORD|SECRET|AUTH_STRING|ACCESS_KEY|ROOT_USER|CONNECTION_URL")

    secrets = [
        value
        for service in compose["services"].values()
        for name, value in service.get("environment", {}).items()
        if secret.search(name)
    ]
    assert len(secrets) >= 8
    assert all(re.search(r"\$\{\w+:\?", value) for value in secrets)


def test_only_lines_of_progress_become_artifacts() -> None:
    logged: list[tuple[object, ...]] = []
    handle = ProgressArtifacts(lambda *arguments: logged.append(arguments))
    for line in ("plain", "{not json", '{"stage": "distill"}', '{"stage": "a", "set": "b", "step": 1, "of": 0}', "{}"):
        handle(line)

    assert [arguments[1] for arguments in logged] == [
        "plain",
        "{not json",
        '{"stage": "distill"}',
        *map(str, [logged[3][1], "{}"]),
    ]


def test_artifact_keys_have_the_form_that_prefect_requires() -> None:
    assert artifact_key("Verdict Barycentric_2·x") == "verdict-barycentric-2-x"
