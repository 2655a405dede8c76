"""Notify an HTTPS endpoint of a revocation. The registry is not changed by its answer."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from http.client import HTTPException, HTTPResponse
from typing import Any, NoReturn
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from fair_distill.errors import FairDistillError
from fair_distill.files import to_json
from fair_distill.registry.consumers import Consumer
from fair_distill.registry.entry import Entry

WEBHOOK_VARIABLE = "FAIR_DISTILL_WEBHOOK"
_TIMEOUT_SECONDS = 5.0


class NotNotified(FairDistillError):
    """The webhook was not called, or did not accept the message. The message does not contain its URL or its answer."""


class _NoRedirects(HTTPRedirectHandler):
    """Refuse redirects: the message must not go to a host that the operator did not choose."""

    def redirect_request(self, *_: Any) -> NoReturn:
        raise NotNotified(f"{WEBHOOK_VARIABLE}: the host answered with a redirect; set the variable to the final URL")


def revocation_message(entry: Entry, number: int, *, channels: Sequence[str], consumers: Sequence[Consumer]) -> bytes:
    """Return the JSON body for a revocation.

    It has the dataset, the version, its number, the reason and the time of the ledger entry, the channels that have the
    version in force, and the known consumers. It does not have the name of the person who revoked it.
    """
    return to_json(
        {
            "event": "revoke",
            "dataset": entry.name,
            "version": entry.version,
            "number": number,
            "reason": entry.reason,
            "time": entry.time,
            "channels": list(channels),
            "consumers": [asdict(consumer) for consumer in consumers],
        }
    )


def call_webhook(message: bytes) -> bool:
    """Send a message to the URL in FAIR_DISTILL_WEBHOOK with POST. Return False if the variable is not set.

    The URL may contain a token, so no error quotes more of it than the host.

    Raises
    ------
    NotNotified
        If the URL is not an https URL, or the host does not answer with a status of 2xx within 5 seconds.
    """
    url = os.environ.get(WEBHOOK_VARIABLE)
    if not url:
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname
        valid = parts.scheme == "https" and host and parts.username is None
    except ValueError:
        valid = False
    if not valid:
        raise NotNotified(f"{WEBHOOK_VARIABLE} is not an https URL without a user name; write https://HOST/PATH")
    request = Request(url, data=message, headers={"Content-Type": "application/json"}, method="POST")
    try:
        response: HTTPResponse
        with build_opener(_NoRedirects).open(request, timeout=_TIMEOUT_SECONDS) as response:
            status = response.status
    except HTTPError as error:
        status = error.code
    except (OSError, HTTPException, ValueError) as error:
        raise NotNotified(
            f"{host} could not be called ({type(error).__name__}); notify the consumers yourself"
        ) from None
    if not 200 <= status < 300:
        raise NotNotified(f"{host} answered with status {status}; notify the consumers yourself")
    return True
