"""What flows ask for, checked before a run starts.

The help that Prefect's form shows comes from a flow's docstring, which Prefect reads in Google's form and no other.
"""

from typing import Annotated, Literal

from pydantic import Field

Stage = Literal["prepare", "validate", "experts", "distill", "references", "project", "evaluate", "judge"]

# A path from / or ., what has no "@" in it, or a user of ssh's, where what is before an "@" is never a secret: over
# https it may be a token. After a "?" only the endpoint of an S3 server may follow: another value may be a token too.
# A parameter is shown to everybody who sees the run.
NO_PASSWORD = r"^(?:[./].*|(?:ssh://[^/@:]+@)?[^@?#]+(?:\?endpoint=[^@?&#]+)?|[^/@:]+@[^/@:]+:[^@?#]+)$"

Repository = Annotated[str, Field(min_length=1, pattern=NO_PASSWORD)]
Registry = Annotated[str | None, Field(pattern=NO_PASSWORD)]
Channel = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
Elsewhere = dict[Stage, str]
