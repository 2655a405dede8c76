"""How a metric went over the published versions, and under which policies: read off a registry."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from fair_distill.errors import IntegrityError
from fair_distill.gate.confusion import mean_confusion
from fair_distill.gate.metrics import ACCURACY, PREDICTION_METRICS
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.verdict import Finding, Verdict
from fair_distill.registry.channels import channels, current, published, revocation
from fair_distill.registry.entry import Entry
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.store import RegistryStore


@dataclass(frozen=True)
class Moment:
    """One published version.

    Attributes
    ----------
    time : of its publishing
    value : the metric of its worst network, from the predictions beside it; None where there are none
    verdict : the last one that put it into a channel; None if none did
    new_policy : whether that verdict is by another policy than the one before it
    channels : where it is in force now
    revoked : the reason, if it was
    """

    number: int
    version: str
    time: str
    value: float | None
    accuracy: float | None
    verdict: Verdict | None
    new_policy: bool
    channels: tuple[str, ...]
    revoked: str | None

    def finding(self, clause: str) -> Finding | None:
        """What the verdict found of a clause."""
        found = () if self.verdict is None else self.verdict.findings
        return next((finding for finding in found if finding.clause == clause), None)


def read_history(store: RegistryStore, name: str, metric: str) -> tuple[Moment, ...]:
    """Return the versions of a dataset, oldest first; none if nothing was published under the name.

    A reading for people: what is checked here is the ledger's chain; `fair-distill registry verify` checks every byte.
    """
    entries = read_ledger(store, name)
    moments: list[Moment] = []
    policy: str | None = None
    for number, version in enumerate(published(entries), start=1):
        verdict = _verdict(store, entries, version)
        stone = revocation(entries, version)
        moments.append(
            Moment(
                number=number,
                version=version,
                time=next(e.time for e in entries if e.event == "publish" and e.version == version),
                value=_worst(store, version, metric, largest=True),
                accuracy=_worst(store, version, ACCURACY.name, largest=False),
                verdict=verdict,
                new_policy=verdict is not None and policy is not None and verdict.policy != policy,
                channels=tuple(channel for channel in channels(entries) if current(entries, channel) == version),
                revoked=None if stone is None else stone.reason,
            )
        )
        policy = policy if verdict is None else verdict.policy
    return tuple(moments)


def _verdict(store: RegistryStore, entries: Sequence[Entry], version: str) -> Verdict | None:
    grounds = [entry.verdict for entry in entries if entry.version == version and entry.verdict]
    for digest in reversed(grounds):
        # A verdict of an older form says nothing here.
        with suppress(IntegrityError):
            return Verdict.from_json(store.read(f"versions/{version}/verdicts/{digest}.json"))
    return None


def _worst(store: RegistryStore, version: str, metric: str, *, largest: bool) -> float | None:
    values = []
    for key in store.list(f"versions/{version}/predictions/"):
        predictions = Predictions.from_parquet(store.read(key), name=key)
        for index in range(len(predictions.networks)):
            seeds = [seed for network, seed in predictions.runs() if network == index]
            mean = mean_confusion([predictions.confusion(index, seed) for seed in seeds])
            values.append(PREDICTION_METRICS[metric].measure(mean).value)
    known = [value for value in values if value is not None]
    if not known or len(known) != len(values):
        return None
    return max(known) if largest else min(known)
