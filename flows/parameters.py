"""Types of the flows' parameters. Prefect checks them before a run starts.

Prefect's form takes its help texts from the docstring of a flow, which must therefore be in Google's format.
"""

from typing import Annotated, Literal

from pydantic import Field

Stage = Literal[
    "prepare", "validate", "experts", "distill", "references", "tune", "choose", "project", "evaluate", "judge"
]

# Everybody who sees a run sees its parameters, so an address must not contain a secret. Allowed are a path that starts
# with / or ., an address without "@", and an ssh address with a user name. In an https address, the part before "@" may
# be a token. After "?" only the endpoint of an S3 server is allowed, because another value may be a token too.
NO_PASSWORD = r"^(?:[./].*|(?:ssh://[^/@:]+@)?[^@?#]+(?:\?endpoint=[^@?&#]+)?|[^/@:]+@[^/@:]+:[^@?#]+)$"

Repository = Annotated[str, Field(min_length=1, pattern=NO_PASSWORD)]
Registry = Annotated[str | None, Field(pattern=NO_PASSWORD)]
Channel = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
Elsewhere = dict[Stage, str]
