"""Records of judgements of live versions by `regate`: when a version was judged again, and with which outcome.

A version that passes again gets no ledger entry, and a verdict has no clock. So `regate` writes a record under
`regates/<name>/<time>-<verdict>.json`, from which `fair-distill registry status` computes the age of the last regate.
The records are information for people: no decision depends on them, and older clients ignore them.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime

from fair_distill.errors import IntegrityError
from fair_distill.files import is_sha256, parse_json, to_json
from fair_distill.registry.entry import check_name, is_text, is_time, timestamp
from fair_distill.registry.store import RegistryStore

_FORMAT = 1
_FIELDS = {"version", "verdict", "split", "outcome", "who", "time"}


@dataclass(frozen=True)
class RegateRecord:
    """One judgement of a live version.

    Attributes
    ----------
    version : SHA-256 of the manifest
    verdict : SHA-256 of the verdict
    split : SHA-256 of the gate split
    outcome : the outcome of the verdict
    who, time : as in ledger entries
    """

    version: str
    verdict: str
    split: str
    outcome: str
    who: str
    time: str

    @classmethod
    def from_json(cls, content: bytes, *, name: str) -> "RegateRecord":
        """Read a record. Raises IntegrityError if a field is missing or has another form."""
        value = parse_json(content, name=name, error=IntegrityError)
        if value.pop("format", None) != _FORMAT or set(value) != _FIELDS:
            raise IntegrityError(f"{name} is not a record of `regate` of format {_FORMAT}; remove it by hand")
        record = cls(**value)
        digests = (record.version, record.verdict, record.split)
        texts = (record.outcome, record.who)
        if not (all(map(is_sha256, digests)) and all(map(is_text, texts)) and is_time(record.time)):
            raise IntegrityError(f"{name} has a field of another form; remove it by hand")
        return record


def write_regate(
    store: RegistryStore, name: str, *, version: str, verdict: str, split: str, outcome: str, who: str, now: datetime
) -> RegateRecord:
    """Record that a live version was judged again. The same verdict at the same second is recorded once."""
    record = RegateRecord(version, verdict, split, outcome, who, timestamp(now))
    time = record.time.replace(":", "").replace("-", "")
    content = to_json({"format": _FORMAT, **asdict(record)})
    store.create(f"{_folder(name)}{time}-{verdict}.json", content)
    return record


def last_regates(store: RegistryStore, name: str) -> dict[str, RegateRecord]:
    """Return the newest record of each version of a dataset, by version."""
    newest: dict[str, RegateRecord] = {}
    for key in _keys(store, name):  # sorted by time
        record = RegateRecord.from_json(store.read(key), name=key)
        newest[record.version] = record
    return newest


def _keys(store: RegistryStore, name: str) -> Iterator[str]:
    folder = _folder(name)
    # The folder of the dataset `vision` contains the folders of the datasets `vision/…`.
    return (key for key in store.list(folder) if "/" not in key.removeprefix(folder))


def _folder(name: str) -> str:
    return f"regates/{check_name(name)}/"
