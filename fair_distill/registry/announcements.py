"""A publication announces the keys that it will write before it writes anything, so that `gc` does not remove them.

A publication and `gc` may run at the same time. Each writes its plan before it reads the plan of the other, so at least
one of them sees the other. `gc` keeps the announced keys. A publication that finds its keys in a plan of `gc` stops,
because `gc` may remove some of them after the publication saw that they exist.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import is_sha256, parse_json, sha256, to_json
from fair_distill.registry.actor import Actor
from fair_distill.registry.entry import check_name, parse_time, timestamp
from fair_distill.registry.store import RegistryStore
from fair_distill.storage.store import Absent

# The longest time that a publication may run, and the shortest time between the two runs of `gc`.
GRACE_PERIOD = timedelta(hours=24)
_FORMAT = 1
_PUBLISHING, _COLLECTING = "publishing/", "collecting/"


@dataclass(frozen=True)
class Announcement:
    """The keys that a publication of a version will write, and the time of the announcement."""

    name: str
    version: str
    time: datetime
    keys: tuple[str, ...]

    def to_json(self) -> bytes:
        stated = {"name": self.name, "version": self.version, "time": timestamp(self.time), "keys": list(self.keys)}
        return to_json({"format": _FORMAT, **stated})

    @classmethod
    def from_json(cls, content: bytes, *, name: str) -> "Announcement":
        """Read an announcement. Raises IntegrityError unless writing it again gives the same bytes."""
        value = parse_json(content, name=name, error=IntegrityError)
        try:
            announcement = cls(
                check_name(value["name"]), value["version"], parse_time(value["time"]), tuple(map(str, value["keys"]))
            )
            if not is_sha256(announcement.version) or announcement.to_json() != content:
                raise ValueError("it was edited")
        except (AttributeError, ConfigError, KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"{name} is not an announcement of a publication: {error}; remove it by hand"
            ) from None
        return announcement


def announce(store: RegistryStore, name: str, version: str, keys: Iterable[str], *, actor: Actor) -> None:
    """Write the announcement of a publication.

    Raises
    ------
    ConfigError
        If `gc` is removing some of the keys now.
    """
    announcement = Announcement(name, version, actor.now, tuple(sorted(keys)))
    time = timestamp(actor.now).replace(":", "").replace("-", "")
    store.create(f"{_PUBLISHING}{version}-{time}-{sha256(actor.nonce.encode())[:16]}.json", announcement.to_json())
    for key in store.list(_COLLECTING):
        content = _read(store, key)
        planned = set() if content is None else set(_planned(content, name=key))  # None: that `gc` has ended
        if not planned.isdisjoint(announcement.keys):
            raise ConfigError(
                f"`gc` is removing files that version {version[:12]}… needs ({key}); nothing was published. Repeat the "
                "command when gc has ended. If gc was killed, run it again with the same FILE so that it ends"
            )


def announcements(store: RegistryStore) -> dict[str, Announcement]:
    """Return the announcements of all publications by key, of those that are running, ended or crashed."""
    contents = {key: _read(store, key) for key in store.list(_PUBLISHING)}
    return {key: Announcement.from_json(content, name=key) for key, content in contents.items() if content is not None}


def plan(store: RegistryStore, keys: Iterable[str]) -> str:
    """Write the plan of `gc`: the keys that it will remove. Return the key of the plan; `gc` removes it at its end."""
    content = to_json({"format": _FORMAT, "keys": sorted(keys)})
    key = f"{_COLLECTING}{sha256(content)}.json"
    store.create(key, content)
    return key


def _read(store: RegistryStore, key: str) -> bytes | None:
    """Return a content that was listed; None if `gc` has removed it since then."""
    try:
        return store.read(key)
    except Absent:
        return None


def _planned(content: bytes, *, name: str) -> list[str]:
    value = parse_json(content, name=name, error=IntegrityError)
    if not isinstance(value.get("keys"), list):
        raise IntegrityError(f"{name} is not a plan of `gc`; remove it by hand")
    return [str(key) for key in value["keys"]]
