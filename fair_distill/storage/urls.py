"""URLs of stores as users write them: parse them, and refuse URLs that contain credentials.

A URL ends up in shell histories, lock files, ledgers and logs. Credentials therefore come from the environment. A URL
with a user, a password or an unknown parameter is refused, and the message does not show it.
"""

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote_to_bytes, urlsplit

from fair_distill.errors import ConfigError
from fair_distill.text import address_without_secrets

# These characters are legal in file names and in S3 keys. `urlsplit` ends the path at '#' and silently drops the rest.
_ESCAPED = re.compile(r"[#\t\r\n]")
# These have a meaning in an address, or cannot be printed.
_RESERVED = re.compile(r"[%?@\x00-\x1f\x7f]")
_CREDENTIALS_HINT = "pass credentials in AWS_PROFILE, or in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


@dataclass(frozen=True)
class StoreUrl:
    """The URL of a store, parsed.

    Attributes
    ----------
    text : the URL as the user wrote it
    source : the option, variable or key that the URL comes from; messages name it
    scheme : in lower case; "file" for a path without a scheme
    host : the part between "://" and the path, such as a bucket; empty for a path
    path : without percent-encoding
    parameters : the values after the "?"
    """

    text: str
    source: str
    scheme: str
    host: str = ""
    path: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def safe_text(self) -> str:
        """The URL for messages, without secrets."""
        return repr(address_without_secrets(self.text))

    @property
    def key(self) -> str:
        """The path as a key of a bucket: without the "/" that ends the host, and without any "/" at the end.

        The other slashes are part of the key. S3 allows keys such as `/a` and `a//b`.
        """
        return self.path.removeprefix("/").rstrip("/")

    def split(self) -> tuple["StoreUrl", str]:
        """Return the URL of the folder that contains the last part of the path, and the key of that part in it."""
        key, root = self.key, "/" if self.path.startswith("/") else ""
        # An empty part, as in `a//b`, belongs to the key, because a prefix has no final "/".
        folder = key.rpartition("/")[0].rstrip("/")
        return replace(self, path=root + folder), key[len(folder) + 1 :] if folder else key


def scheme_of(url: str) -> str:
    """Return the scheme of a URL in lower case; "file" for a path."""
    return url.partition("://")[0].lower() if "://" in url else "file"


def parse_store_url(url: str, *, source: str, parameters: Collection[str] = ()) -> StoreUrl:
    """Return the parts of a path or of scheme://host/path.

    Parameters
    ----------
    source : the option, variable or key that the URL comes from, for messages
    parameters : the names that are allowed after the "?"

    Raises
    ------
    ConfigError
        If the URL has credentials or another parameter. The message does not show them.
    """
    if "://" not in url:
        return StoreUrl(url, source, "file", path=str(Path(url)))
    parts, values = read_address(url, source=source, parameters=parameters)
    path = path_of(parts)
    if parts.scheme != "file" and any("\ud800" <= character <= "\udfff" for character in path):
        raise ConfigError(f"{source} is {address_without_secrets(url)!r}, which is not UTF-8. Correct the address")
    return StoreUrl(
        url, source, parts.scheme, parts.netloc, str(Path(path)) if parts.scheme == "file" else path, values
    )


def read_address(url: str, *, source: str, parameters: Collection[str] = ()) -> tuple[SplitResult, dict[str, str]]:
    """Return the parts of scheme://host/path and the values of its parameters; see `parse_store_url`."""
    prefix = f"{source} is {address_without_secrets(url)!r}"
    try:
        parts = urlsplit(_ESCAPED.sub(lambda match: f"%{ord(match[0]):02X}", url))
        values = parse_qs(parts.query, keep_blank_values=True)
        has_port = parts.port is not None
    except ValueError:  # an invalid bracket or port may be part of a password
        raise ConfigError(f"{source} is not a valid URL. Remove credentials from it and {_CREDENTIALS_HINT}") from None
    with_port = parts.scheme in ("s3", "file") and (has_port or ":" in parts.netloc)
    if "@" in parts.netloc + parts.path or with_port:
        raise ConfigError(
            f"{prefix}; credentials are not allowed in a URL. Remove them and {_CREDENTIALS_HINT} "
            "(in a name, write %40 for '@', %3F for '?' and %25 for '%')"
        )
    if not values.keys() <= set(parameters) or (parts.query and not values):
        known = " and ".join(f"?{name}=" for name in parameters)
        allowed = f"only {known} is allowed after the path" if known else "nothing is allowed after the path"
        raise ConfigError(f"{prefix}; {allowed}. Remove the rest and {_CREDENTIALS_HINT}")
    return parts, {name: items[-1] for name, items in values.items()}


def write_address(scheme: str, host: str, path: str) -> str:
    """Return the address of a key. `parse_store_url` returns the same key."""
    return f"{scheme}://{host}/{_RESERVED.sub(lambda match: f'%{ord(match[0]):02X}', path)}"


def read_endpoint(url: str, *, source: str) -> str:
    """Return the URL of a server, http(s)://host:port. Raises ConfigError if it has anything else in it."""
    parts, _ = read_address(url, source=source)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{source} is {address_without_secrets(url)!r}; write the URL of a server, http(s)://host")
    return url


def path_of(parts: SplitResult) -> str:
    """Return the path of a URL without percent-encoding. Bytes that are not UTF-8 become surrogates."""
    return os.fsdecode(unquote_to_bytes(parts.path))
