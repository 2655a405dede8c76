"""Operations that were not answered, as this machine remembers them: the same command again continues the operation.

A command that writes to the ledger has an operation id, which its entry carries. If the answer is lost, nobody knows
whether the entry was written. Under the same id it is written once; under a new id a rollback would go back twice. So
the id is kept in the cache folder before the command acts, and removed when the command has an answer.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from fair_distill.errors import ConfigError, DataError, Refused, Undecided
from fair_distill.files import parse_json, sha256, to_json, write_bytes
from fair_distill.registry.client_state import place_of
from fair_distill.registry.store import identity_of
from fair_distill.storage.store import Unanswered

# After a day, the same command most likely means another operation.
LONGEST = timedelta(days=1)


@dataclass(frozen=True)
class Operation:
    """An id for one act on a registry; `repeated` says that an earlier command with this id was not answered."""

    id: str
    repeated: bool


@contextmanager
def operation(
    folder: Path | None, act: Sequence[str], *, url: str, now: datetime, new: str, chosen: str | None = None
) -> Iterator[Operation]:
    """Give the operation that a command belongs to, and remember it until the command has an answer.

    Parameters
    ----------
    folder : the cache folder; None remembers nothing
    act : what the command does: the verb, the dataset, the channel or version. The same again continues the operation;
        a reason that was typed again, in other words, does not make it another one
    new : an id that was never used
    chosen : the id that the operator passed, from the message of an earlier command

    Raises
    ------
    Unanswered
        As the store raised it, with the id and how to repeat the command.
    """
    path = (
        place_of(folder, identity_of(url)) / "pending" / f"{sha256(to_json(list(act)))[:24]}.json" if folder else None
    )
    earlier = _pending(path, now) if path else None
    this = Operation(chosen or earlier or new, repeated=bool(chosen or earlier))
    kept = path is not None and _keep(path, this.id, act, now)
    try:
        yield this
    except Unanswered as lost:
        here = "Repeat the same command on this machine within a day, or anywhere" if kept else "Repeat the command"
        raise Unanswered(f"{lost}. {here} with --operation {this.id}: the entry is then written once") from None
    except (Refused, Undecided):
        _forget(path)
        raise
    _forget(path)


def _pending(path: Path, now: datetime) -> str | None:
    try:
        value = parse_json(path.read_bytes(), name=str(path))
        recent = now - datetime.fromisoformat(value["time"]) <= LONGEST
        return str(value["operation"]) if recent else None
    except (OSError, DataError, KeyError, TypeError, ValueError):
        return None


def _keep(path: Path, id: str, act: Sequence[str], now: datetime) -> bool:
    try:
        write_bytes(path, to_json({"operation": id, "act": list(act), "time": now.isoformat()}))
    except (ConfigError, OSError):  # a cache that is full or read-only: the message names the id
        return False
    return True


def _forget(path: Path | None) -> None:
    if path is not None:
        with suppress(OSError):
            path.unlink(missing_ok=True)
