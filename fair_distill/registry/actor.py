"""Who acts on a registry, when, and under which operation."""

from dataclasses import dataclass
from datetime import datetime

from fair_distill.registry.entry import Draft, Event, timestamp
from fair_distill.statements import Signer


@dataclass(frozen=True)
class Actor:
    """Who acts on a registry.

    Attributes
    ----------
    who : the name that ledger entries record
    now : the time of the action, with its time zone
    nonce : the id of the operation. If the answer to a write is lost, the same operation finds its entry by it
    sign : signs the statements of this actor; None if no key is configured
    """

    who: str
    now: datetime
    nonce: str
    sign: Signer | None = None

    def draft(
        self,
        event: Event,
        version: str,
        *,
        channel: str | None = None,
        verdict: str | None = None,
        reason: str = "",
        split: str | None = None,
    ) -> Draft:
        """Return a ledger entry of this actor; see `entry.Draft`."""
        return Draft(
            event=event,
            version=version,
            channel=channel,
            verdict=verdict,
            reason=reason,
            who=self.who,
            time=timestamp(self.now),
            nonce=self.nonce,
            split=split,
        )
