"""Addresses of stores, as somebody types them: what is in one, once it is clear that no secret is.

An address stays in shell histories, lock files, ledgers and logs. So credentials come from the environment, and an
address with a user, a password or an unknown parameter is refused without being shown.
"""

import os
import re
from collections.abc import Collection
from urllib.parse import SplitResult, parse_qs, unquote_to_bytes, urlsplit

from fair_distill.errors import ConfigError
from fair_distill.text import address_without_secrets

# Legal in names of files and in keys of S3. A URL parser cuts at the first, and drops the others without a word.
_KEPT = re.compile(r"[#\t\r\n]")
_INSTEAD = "give credentials by AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


def read_address(url: str, *, said_by: str, parameters: Collection[str] = ()) -> tuple[SplitResult, dict[str, str]]:
    """Return the parts of scheme://host/path and its parameters.

    Parameters
    ----------
    said_by : where the address came from, for messages
    parameters : names that may stand after the `?`

    Raises
    ------
    ConfigError
        If the address has credentials or another parameter. The message shows none of them.
    """
    shown = f"{said_by} is {address_without_secrets(url)!r}"
    try:
        parts = urlsplit(_KEPT.sub(lambda match: f"%{ord(match[0]):02X}", url))
        given = parse_qs(parts.query, keep_blank_values=True)
        has_port = parts.port is not None
    except ValueError:  # a bracket or port that is none; it may be part of a password
        raise ConfigError(f"{said_by} is not an address. Remove credentials from it and {_INSTEAD}") from None
    with_port = parts.scheme in ("s3", "file") and (has_port or ":" in parts.netloc)
    if "@" in parts.netloc + parts.path or with_port:
        raise ConfigError(
            f"{shown}; credentials are not allowed in an address (write %40 for '@' in a name). Remove them and "
            f"{_INSTEAD}"
        )
    if not given.keys() <= set(parameters) or (parts.query and not given):
        known = " and ".join(f"?{name}=" for name in parameters)
        allowed = f"only {known} may follow the path" if known else "nothing may follow the path"
        raise ConfigError(f"{shown}; {allowed}. Remove the rest and {_INSTEAD}")
    return parts, {name: values[-1] for name, values in given.items()}


def read_endpoint(url: str, *, said_by: str) -> str:
    """Return the address of an S3 server, http(s)://host:port. Raises ConfigError if it has more in it."""
    parts, _ = read_address(url, said_by=said_by)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"{said_by} is {address_without_secrets(url)!r}; the address of a server, http(s)://host, was expected"
        )
    return url


def path_of(parts: SplitResult) -> str:
    """Return the path of an address without percent-encoding. Bytes that are not UTF-8 are those of a file's name."""
    return os.fsdecode(unquote_to_bytes(parts.path))
