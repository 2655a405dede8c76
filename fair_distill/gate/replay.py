"""What would a new policy have said of versions that were judged long ago? From their predictions, without a GPU."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from fair_distill.config import Gate
from fair_distill.errors import FairDistillError
from fair_distill.gate.judge import judge
from fair_distill.gate.policy import check, tighten


@dataclass(frozen=True)
class Replayed:
    """One version under the new policy; `outcome` is "error" where it could not be judged, with the reason."""

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
    """Judge every version's predictions by `policy`, one after another.

    A version that cannot be judged (of another split than the references, of other classes, damaged) is told as such
    and the rest goes on; a policy that cannot be applied to anything is a ConfigError.

    Parameters
    ----------
    versions : predictions by version
    manifests : by version, for policies with clauses on the set itself
    before : the outcomes that stand, by version
    """
    check(policy)
    if floor is not None:
        tighten(policy, floor)
    for name, predictions in versions.items():
        stood = (before or {}).get(name)
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
            yield Replayed(name, stood, "error", (str(error),))
            continue
        yield Replayed(name, stood, verdict.outcome, verdict.reasons)
