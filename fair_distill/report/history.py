"""The published versions of a dataset with their metrics and policies, read from a registry."""

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
class PublishedVersion:
    """One published version.

    Attributes
    ----------
    number : 1 for the first version of the dataset
    version : the digest of its manifest
    time : when it was published
    value : the gap metric of its worst network, from the stored predictions; None without predictions
    accuracy : of its worst network
    verdict : the last verdict that promoted it to a channel; None if it was never promoted
    new_policy : whether the policy of this verdict differs from the policy of the previous verdict
    channels : the channels that have this version now
    revoked : the reason of its revocation; None if it was not revoked
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
        """Return the verdict's finding on a clause, or None."""
        findings = () if self.verdict is None else self.verdict.findings
        return next((finding for finding in findings if finding.clause == clause), None)


def read_history(store: RegistryStore, name: str, metric: str) -> tuple[PublishedVersion, ...]:
    """Return the versions of a dataset, oldest first; none if nothing was published under the name.

    This function checks the chain of the ledger only; `fair-distill registry verify` checks every byte.

    Parameters
    ----------
    metric : the metric of `PublishedVersion.value`
    """
    entries = read_ledger(store, name)
    history: list[PublishedVersion] = []
    policy: str | None = None
    for number, version in enumerate(published(entries), start=1):
        verdict = _verdict(store, entries, version)
        revocation_entry = revocation(entries, version)
        history.append(
            PublishedVersion(
                number=number,
                version=version,
                time=next(entry.time for entry in entries if entry.event == "publish" and entry.version == version),
                value=_worst(store, version, metric, largest=True),
                accuracy=_worst(store, version, ACCURACY.name, largest=False),
                verdict=verdict,
                new_policy=verdict is not None and policy is not None and verdict.policy != policy,
                channels=tuple(channel for channel in channels(entries) if current(entries, channel) == version),
                revoked=None if revocation_entry is None else revocation_entry.reason,
            )
        )
        policy = policy if verdict is None else verdict.policy
    return tuple(history)


def _verdict(store: RegistryStore, entries: Sequence[Entry], version: str) -> Verdict | None:
    digests = [entry.verdict for entry in entries if entry.version == version and entry.verdict]
    for digest in reversed(digests):
        # This version of the package cannot read verdicts of an older format. The report leaves them out.
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
