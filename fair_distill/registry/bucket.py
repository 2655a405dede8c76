"""A registry's store in S3, on one primitive: a put of one part that is refused if the key is taken.

`If-None-Match: *` is what AWS, Ceph, MinIO, R2 and others have in common. `If-Match`, multipart uploads, versioning
and locks are not relied on. A server that ignores the condition would lose entries without a word, so before the
first write it is asked to create one key twice, and if it does, nothing is written.
"""

import builtins
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Event
from typing import Any, TypeVar

from fair_distill.errors import ConfigError
from fair_distill.registry.store import (
    Absent,
    TooLarge,
    Unanswered,
    carries_time,
    check_clock,
    check_folder,
    check_key,
    check_size,
)
from fair_distill.storage.s3 import Bucket, NotThere, Passing

T = TypeVar("T")

# Begins with a dot, as no key of a registry does: not listed, and written once per registry.
_PROBE = ".create-only"
_SAYS = b"This store writes no key twice. It is asked so before the first write of a command.\n"


@dataclass(frozen=True)
class Patience:
    """How often a store is asked what it did not answer, and how long is waited in between.

    Waits grow twofold from `first_seconds` to `most_seconds`, each times a number from [0, 1): writers that were
    turned away together do not come back together.

    Parameters
    ----------
    wait : given the seconds to let pass
    jitter : gives a number from [0, 1). Nothing that is computed depends on it.
    """

    attempts: int
    first_seconds: float = 0.2
    most_seconds: float = 5.0
    wait: Callable[[float], object] = field(default_factory=lambda: Event().wait)
    jitter: Callable[[], float] = field(default_factory=lambda: secrets.SystemRandom().random)

    def pause(self, attempt: int) -> None:
        """Wait after the given attempt, counted from 0."""
        self.wait(self.jitter() * min(self.most_seconds, self.first_seconds * 2**attempt))


def patience_here() -> Patience:
    """Return the patience that the environment asks for: AWS_MAX_ATTEMPTS, or 6 attempts."""
    said = os.environ.get("AWS_MAX_ATTEMPTS", "6")
    if not said.isdecimal() or int(said) < 1:
        raise ConfigError(f"AWS_MAX_ATTEMPTS is {said!r}; a number from 1 was wanted")
    return Patience(attempts=int(said))


class BucketStore:
    """A store in a bucket, below a prefix. Every failure is asked again a bounded number of times, then is one line.

    Parameters
    ----------
    clock : the clock of this machine. It is compared with the `Date` of the server's latest answer
    """

    def __init__(
        self,
        bucket: Bucket,
        patience: Patience | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.bucket = bucket
        self.patience = patience or patience_here()
        self.clock = clock
        self._clocks: tuple[datetime, datetime] | None = None
        bucket.client.meta.events.register("after-call.s3", self._read_clocks)
        self._probed = False
        # The entries that `read_ledger` has checked, by dataset: a command reads a ledger again and again.
        self.checked_entries: dict[str, tuple[Any, ...]] = {}

    @property
    def identity(self) -> str:
        return self.bucket.identity

    def create(self, key: str, content: bytes) -> bool:
        check_key(key)
        self._probe()
        if self._clocks and carries_time(key):
            check_clock(*self._clocks, store=f"{self.bucket.address('')} ({self.bucket.client.meta.endpoint_url})")
        return self._create(key, content)

    def read(self, key: str, *, at_most: int | None = None) -> bytes:
        check_key(key)

        def check(size: int) -> None:
            check_size(key, size, at_most=at_most, shown=self.bucket.address(key))

        try:
            return self._patiently(lambda: self.bucket.fetch(key, check=check))
        except NotThere as error:
            raise Absent(str(error)) from None

    def exists(self, key: str) -> bool:
        check_key(key)
        return self._patiently(lambda: self.bucket.holds(key))

    def list(self, prefix: str, *, after: str = "", at_most: int | None = None) -> builtins.list[str]:
        check_folder(prefix.rpartition("/")[0])
        keys = self._patiently(lambda: self.bucket.below(prefix, after=after, at_most=at_most))
        return [key for key in keys if not any(part.startswith(".") for part in key.split("/"))]

    def remove(self, key: str) -> None:
        """Remove a content. For `garbage` alone: a registry's own credentials need not, and should not, allow it."""
        check_key(key)
        self._patiently(lambda: self.bucket.delete(key))

    def _read_clocks(self, parsed: dict[str, Any], **_: object) -> None:
        """Note both clocks at the moment of an answer; an answer without a `Date` says nothing."""
        date = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
        try:
            self._clocks = self.clock(), parsedate_to_datetime(date).replace(tzinfo=UTC)
        except (TypeError, ValueError, OverflowError):
            return

    def _create(self, key: str, content: bytes) -> bool:
        """Create a key, however often its answer is lost.

        After a lost answer a taken key may be taken by this very call, so it is read: the content says whose it is.
        (Two writers of one content have both written it, and neither minds.)
        """
        lost = False
        for attempt in range(self.patience.attempts):
            try:
                created = self.bucket.create(key, content)
                return created or (lost and self._holds(key, content))
            except Passing as error:
                lost = lost or error.done
                fault = error
            if attempt + 1 < self.patience.attempts:
                self.patience.pause(attempt)
        if not lost:
            raise Unanswered(f"{fault} ({self.patience.attempts} attempts)")
        raise Unanswered(
            f"{fault} ({self.patience.attempts} attempts). It may have been written; repeat the command "
            "as the same operation"
        )

    def _holds(self, key: str, content: bytes) -> bool:
        """Say whether a key has this content; a longer one is not read."""

        def check(size: int) -> None:
            if size > len(content):
                raise TooLarge(f"{self.bucket.address(key)} has {size:,} bytes, not {len(content):,}")

        try:
            return self._patiently(lambda: self.bucket.fetch(key, check=check)) == content
        except TooLarge:
            return False

    def _patiently(self, ask: Callable[[], T]) -> T:
        for attempt in range(self.patience.attempts - 1):
            try:
                return ask()
            except Passing:
                self.patience.pause(attempt)
        try:
            return ask()
        except Passing as error:
            raise Unanswered(f"{error} ({self.patience.attempts} attempts)") from None

    def _probe(self) -> None:
        """See that the store refuses a second create. Raises ConfigError if it does not."""
        if self._probed:
            return
        # The second must be refused outright: a lost answer read back would look like a create.
        self._create(_PROBE, _SAYS)
        if self._patiently(lambda: self.bucket.create(_PROBE, _SAYS)):
            raise ConfigError(
                f"{self.bucket.address(_PROBE)} was written twice: the server ignores `If-None-Match: *`, and then "
                "writers overwrite each other. Nothing was written; change --registry to a server that honours it"
            )
        self._probed = True
