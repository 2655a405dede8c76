"""Judge published versions again by a new policy, from their stored predictions and without a GPU."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from fair_distill.config import Gate
from fair_distill.errors import FairDistillError
from fair_distill.gate.judge import judge
from fair_distill.gate.policy import check
from fair_distill.gate.strictness import tighten


@dataclass(frozen=True)
class Replayed:
    """One version under the new policy; `outcome` is "error", with the reason, if it could not be judged."""

    name: str
    before: str | None
    outcome: str
    reasons: tuple[str, ...]

    @property
    def changed(self) -> bool:
        return self.before is not None and self.before != self.outcome


def replay(
    policy: Gate,
    versions: Mapping[str, bytes],
    *,
    before: Mapping[str, str] | None = None,
    manifests: Mapping[str, bytes] | None = None,
    references: Mapping[str, bytes] | None = None,
    context: bytes = b"",
    engine: int,
    floor: Gate | None = None,
    now: date | None = None,
) -> Iterator[Replayed]:
    """Judge the predictions of every version by `policy`, one after another.

    A version that cannot be judged, because its files are damaged or do not match the references, is reported as an
    error, and the other versions are judged.

    Parameters
    ----------
    versions : predictions by version
    manifests : manifests by version, for policies with clauses on the card
    before : the outcomes of the published verdicts, by version

    Raises
    ------
    ConfigError
        If the policy cannot be applied to any version.
    """
    check(policy)
    if floor is not None:
        tighten(policy, floor)
    for name, predictions in versions.items():
        published = (before or {}).get(name)
        try:
            verdict = judge(
                predictions,
                policy,
                context=context,
                engine=engine,
                manifest=(manifests or {}).get(name),
                references=references,
                floor=floor,
                now=now,
            )
        except FairDistillError as error:
            yield Replayed(name, published, "error", (str(error),))
            continue
        yield Replayed(name, published, verdict.outcome, verdict.reasons)
