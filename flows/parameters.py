"""What flows ask for, with the help that Prefect's form shows."""

from typing import Annotated, Literal

from pydantic import Field

Stage = Literal["prepare", "validate", "experts", "distill", "references", "evaluate", "judge"]

# A URL with at most a user in it, git's host:path, or a path: a parameter is shown to everybody who sees the run.
NO_PASSWORD = r"^(?:[A-Za-z0-9+]+://(?:[^/@:]+@)?[^/@]*(?:/.*)?|[^:]+(?::[^/].*)?)$"

Repository = Annotated[
    str,
    Field(
        min_length=1,
        title="Repository",
        description="The git repository of the workspace, with params.yaml and dvc.yaml: a folder or a URL. "
        "Credentials belong into git's credential helper, never here",
        pattern=NO_PASSWORD,
    ),
]
Registry = Annotated[
    str | None,
    Field(
        title="Registry",
        description="Where versions and channels are kept: a folder, file:// or s3://bucket/prefix; "
        "else FAIR_DISTILL_REGISTRY, else the folder `registry` in the repository",
        pattern=NO_PASSWORD,
    ),
]
Channel = Annotated[
    str,
    Field(
        title="Channel",
        description="How far to promote what passes: a channel under `release` in params.yaml",
        pattern=r"^[A-Za-z0-9_-]+$",
    ),
]
Elsewhere = Annotated[
    dict[Stage, str],
    Field(
        title="Elsewhere",
        description="Stages that run as flow runs of another deployment, in a container or on a GPU: "
        '{"distill": "run-stage/gpu"}. Needs a DVC remote that both reach',
    ),
]
