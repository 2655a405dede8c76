"""What flows ask for, checked before a run starts.

The help that Prefect's form shows comes from a flow's docstring, which Prefect reads in Google's form and no other.
"""

from typing import Annotated, Literal

from pydantic import Field

Stage = Literal["prepare", "validate", "experts", "distill", "references", "project", "evaluate", "judge"]

# A URL with at most a user in it, git's host:path, or a path: a parameter is shown to everybody who sees the run.
NO_PASSWORD = r"^(?:[A-Za-z0-9+]+://(?:[^/@:]+@)?[^/@]*(?:/.*)?|[^:]+(?::[^/].*)?)$"

Repository = Annotated[str, Field(min_length=1, pattern=NO_PASSWORD)]
Registry = Annotated[str | None, Field(pattern=NO_PASSWORD)]
Channel = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
Elsewhere = dict[Stage, str]
