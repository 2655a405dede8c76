"""The client of an S3 server: its endpoint, credentials and settings. boto3 is imported when a client is made."""

import os
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from fair_distill.errors import ConfigError
from fair_distill.storage.store import Options
from fair_distill.storage.urls import StoreUrl, read_endpoint


def open_client(url: StoreUrl, options: Options) -> Any:
    """Return a boto3 client for the server that a URL or the settings name. Raises ConfigError."""
    endpoint = url.parameters.get("endpoint") or options.settings.get("endpoint") or _endpoint()
    if endpoint:
        read_endpoint(endpoint, source=f"{url.source}: the endpoint of {url.host}")
    arguments = _environment_credentials(url.source) if options.environment_only else {}
    region = options.settings.get("region")
    if options.environment_only:
        region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region:
        arguments["region_name"] = region
    return _client(endpoint, url.source, options.environment_only, arguments)


def _environment_credentials(source: str) -> dict[str, str | None]:
    """Return the credentials in environment variables. Raises ConfigError if they are not set.

    boto3 also reads files in the home directory, and these can name a program to run for credentials.
    """
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    credentials = {name: os.environ.get(name) for name in names}
    if not (credentials["AWS_ACCESS_KEY_ID"] and credentials["AWS_SECRET_ACCESS_KEY"]):
        raise ConfigError(
            f"{source} is in S3, and AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set; "
            "pass read-only credentials in the environment"
        )
    return {name.lower(): value for name, value in credentials.items()}


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def server_name(endpoint: str) -> str:
    """Return one name for a server, whatever the spelling of its URL.

    Amazon has many endpoints, but a bucket's name is unique within a partition. Another server is named by its host
    and port. http and https on their default ports are the same server.
    """
    parts = urlsplit(endpoint)
    host = (parts.hostname or "").rstrip(".")
    if host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        partition = "aws-cn" if host.endswith(".cn") else "aws-us-gov" if "us-gov-" in host else "aws"
        return partition
    host = "127.0.0.1" if host in ("localhost", "::1") else host
    port = "" if parts.port in (None, 80, 443) else f":{parts.port}"
    return f"{host}{port}{parts.path.rstrip('/')}"


@cache
def _models() -> Any:
    """Return botocore's description of S3. Reading it is most of the cost of a client, so it is read once."""
    from botocore.loaders import create_loader

    return create_loader()


# A session with these variables reads no file and no profile.
_NO_FILES: dict[str, tuple[None, None, str | None, None]] = {
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
    "profile": (None, None, None, None),
}


def _client(endpoint: str | None, source: str, environment_only: bool, arguments: dict[str, str | None]) -> Any:
    """Return a boto3 client. `arguments` are credentials and region, where boto3 does not find them."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session as BotocoreSession
    from botocore.session import get_session

    settings = Config(
        connect_timeout=10,
        read_timeout=60,
        # The store makes the retries, because it must know whether a write may have taken place.
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=16,
        # Only Amazon resolves BUCKET.HOST, and not all servers of other makers know the newer checksums.
        s3={"addressing_style": "path"} if endpoint else {},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        session = BotocoreSession(session_vars=_NO_FILES) if environment_only else get_session()
        session.register_component("data_loader", _models())
        return boto3.Session(botocore_session=session, **arguments).client("s3", endpoint_url=endpoint, config=settings)
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"{source}: the S3 client cannot be made: {error}") from None
