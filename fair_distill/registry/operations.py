"""Operations whose answer was lost. If the same command is repeated on this machine, it continues the operation.

A command that writes to the ledger has an operation id, which is the nonce of its entry. If the answer is lost, it is
unknown whether the entry was written. A repetition under the same id writes the entry once. Under a new id, a rollback
would go back two versions. The id is therefore written to the cache before the command acts, and removed when the
command has an answer.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from fair_distill.errors import ConfigError, DataError, Refused, Undecided
from fair_distill.files import parse_json, sha256, to_json, write_bytes
from fair_distill.registry.client_state import registry_cache
from fair_distill.registry.store import identity_of
from fair_distill.storage.store import Unanswered

# After a day, a repeated command most likely means another operation.
LONGEST = timedelta(days=1)


@dataclass(frozen=True)
class Operation:
    """The id of one change of a registry; `repeated` is True if an earlier command with this id had no answer."""

    id: str
    repeated: bool


@contextmanager
def operation(
    folder: Path | None, act: Sequence[str], *, url: str, now: datetime, new: str, chosen: str | None = None
) -> Iterator[Operation]:
    """Yield the operation of a command, and remember it until the command has an answer.

    Parameters
    ----------
    folder : the cache folder; None remembers nothing
    act : the command: verb, dataset, and channel or version. An equal one continues the operation, even with another
        reason
    new : an id that was never used
    chosen : the id that the user passed, from the message of an earlier command

    Raises
    ------
    Unanswered
        What the store raised, with the id and how to repeat the command.
    """
    path = (
        registry_cache(folder, identity_of(url)) / "pending" / f"{sha256(to_json(list(act)))[:24]}.json"
        if folder
        else None
    )
    earlier = _pending(path, now) if path else None
    current = Operation(chosen or earlier or new, repeated=bool(chosen or earlier))
    remembered = path is not None and _write(path, current.id, act, now)
    try:
        yield current
    except Unanswered as lost:
        instruction = (
            "Repeat the same command on this machine within a day, or anywhere" if remembered else "Repeat the command"
        )
        raise Unanswered(
            f"{lost}. {instruction} with --operation {current.id}: the entry is then written once"
        ) from None
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


def _write(path: Path, id: str, act: Sequence[str], now: datetime) -> bool:
    try:
        write_bytes(path, to_json({"operation": id, "act": list(act), "time": now.isoformat()}))
    except (ConfigError, OSError):  # the cache is full or read-only; the message has the id
        return False
    return True


def _forget(path: Path | None) -> None:
    if path is not None:
        with suppress(OSError):
            path.unlink(missing_ok=True)
