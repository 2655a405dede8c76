"""What lies in a registry and belongs to nothing: left by commands that crashed before their ledger entry.

The ledger names every version that was ever published, and names it for good; so what a channel, a pin or an entry
names is never garbage, and nothing a consumer can ask for is removed. What remains are contents of publications that
never reached the ledger, and evidence that lies beside no version.

A publication under way looks the same as one that crashed. So nothing is removed at first sight: a first look writes
down what it found, and only what is still garbage at a second look, a day or more later, goes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from fair_distill.artifacts import parse_json, to_json
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.registry.channels import published
from fair_distill.registry.checks import fetch, manifest_of
from fair_distill.registry.ledger import names, read_ledger
from fair_distill.registry.remote import object_keys
from fair_distill.registry.store import Store

LEAST = timedelta(hours=24)
_FORMAT = 1


@dataclass(frozen=True)
class Look:
    """What was garbage when."""

    time: datetime
    keys: tuple[str, ...]

    def to_json(self) -> bytes:
        return to_json({"format": _FORMAT, "time": self.time.isoformat(), "keys": list(self.keys)})

    @classmethod
    def from_json(cls, content: bytes, *, name: str) -> "Look":
        value = parse_json(content, name=name, error=ConfigError)
        try:
            look = cls(datetime.fromisoformat(value["time"]), tuple(map(str, value["keys"])))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{name} is not what `fair-distill gc` wrote: {error!r}; look anew") from None
        if look.time.tzinfo is None:
            raise ConfigError(f"{name} has a time without a zone; look anew")
        return look


def garbage(store: Store, *, pinned: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the keys that nothing names, sorted.

    Parameters
    ----------
    pinned : versions that stay although no ledger here names them

    Raises
    ------
    IntegrityError
        If a ledger or a manifest is damaged: then nothing can be said to be garbage.
    """
    kept = {version for name in names(store) for version in published(read_ledger(store, name))} | set(pinned)
    keys = store.list("objects/") + store.list("versions/")
    there = {key.split("/")[1] for key in keys if key.startswith("versions/")}
    objects = set[str]().union(*(_objects_of(store, version, keys) for version in sorted(kept & there)))
    lost = sorted(kept - there - set(pinned))
    if lost:
        raise IntegrityError(f"version {lost[0][:12]}… is in a ledger and not in the registry; nothing is removed here")
    return tuple(
        sorted(
            key
            for key in keys
            if (key.startswith("objects/") and key not in objects)
            or (key.startswith("versions/") and key.split("/")[1] not in kept)
        )
    )


def _objects_of(store: Store, version: str, keys: Sequence[str]) -> set[str]:
    """Return the keys of a version's objects; of versions that evidence of another day lies beside, all of them."""
    provenances = [key for key in keys if key.startswith(f"versions/{version}/provenance/")]
    return object_keys(manifest_of(store, version), [fetch(store, key, Path(key).stem) for key in provenances])


def remove(
    store: Store, look: Look, *, now: datetime, delete: Callable[[str], None], pinned: Sequence[str] = ()
) -> tuple[str, ...]:
    """Remove what was garbage at a first look and still is; return its keys.

    Manifests go before the objects they name, so that a version that is half removed is none.
    """
    if now - look.time < LEAST:
        raise ConfigError(
            f"the first look was at {look.time.isoformat()}, less than {LEAST} ago; a publication may be under way"
        )
    gone = []
    for key in sorted(set(look.keys) & set(garbage(store, pinned=pinned)), key=lambda key: (key[0] != "v", key)):
        delete(key)
        gone.append(key)
    return tuple(gone)
