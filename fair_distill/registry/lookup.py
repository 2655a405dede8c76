"""How a reader comes to a registry: what it asks for, whose word it takes, and the ledger, held against what was seen.

A reference is `name@production` (or another channel), `name@v12`, or `name@sha256:…`; a name is `dataset` or
`team/dataset`.
"""

import os
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from fair_distill.errors import ConfigError, FairDistillWarning, IntegrityError
from fair_distill.registry.channels import refuse_revoked, resolve
from fair_distill.registry.client_state import (
    CACHE_VARIABLE,
    Cached,
    cache_folder,
    kept_place,
    place_of,
    remember,
    settled,
)
from fair_distill.registry.entry import Entry, check_name, clock_faults
from fair_distill.registry.ledger import names, read_ledger
from fair_distill.registry.store import REGISTRY_VARIABLE, RegistryStore, locate, open_registry
from fair_distill.statements import check_keys

TRUST = "FAIR_DISTILL_TRUST"


def parse(reference: str) -> tuple[str, str | None]:
    """Return the name and what stands after the @, if anything."""
    name, at, selector = reference.partition("@")
    if at and not selector:
        raise ConfigError(f"{reference!r} ends in '@'; a channel, v1 or sha256:… was wanted after it")
    return check_name(name), selector or None


def trusted(trust: Sequence[str] | None) -> tuple[str, ...]:
    """Return the public keys that are to have signed: as given, else those in FAIR_DISTILL_TRUST."""
    if trust is not None:
        return check_keys(trust, said_by="trust")
    given = os.environ.get(TRUST, "")
    keys = check_keys(given.replace(",", " ").split(), said_by=TRUST)
    if given and not keys:
        raise ConfigError(
            f"{TRUST} is {given!r}, which has no key; list public keys, or unset it to take unsigned sets"
        )
    return keys


def opened(
    name: str, registry: str | None, *, offline: bool = False, cached: bool = True
) -> tuple[RegistryStore, tuple[Entry, ...]]:
    """Return a registry's store and the ledger of a dataset, which goes on from what was seen of it here before.

    Parameters
    ----------
    offline : from what is kept alone
    cached : False to ask the registry itself for everything, and to read every entry from its own file
    """
    url = locate(registry)
    registry_store = open_registry(url)
    store: RegistryStore = registry_store
    identity, folder = registry_store.identity, cache_folder()
    remote = registry_store.remote
    if remote and offline and folder is None:
        raise ConfigError(
            f"offline needs the cache, and {CACHE_VARIABLE} is empty; set it to the folder that has the cache"
        )
    if remote and folder and cached:
        kept = kept_place(folder, name, identity) if offline else place_of(folder, identity)
        store, entries = _kept(kept, None if offline else registry_store, name, settled(folder, name, identity))
    else:
        entries = read_ledger(store, name, snapshots=cached)
    # Also where nothing is left of it.
    if folder:
        remember(folder, name, entries, identity=identity, url=url, required=offline)
    if not entries:
        there = ", ".join(names(store)) or "nothing"
        raise ConfigError(
            f"the registry {url!r} has nothing published as {name!r}; it has {there}. "
            f"Change the name, --registry or {REGISTRY_VARIABLE}"
        )
    _warn_of_clocks(entries, datetime.now(UTC))
    return store, entries


def _warn_of_clocks(entries: Sequence[Entry], now: datetime) -> None:
    """Warn of entries whose writer had a clock that was ahead. They are read like any other."""
    faults = clock_faults(entries, now)
    if faults:
        more = f" ({len(faults) - 1} more like it)" if len(faults) > 1 else ""
        warnings.warn(f"{faults[0]}{more}", FairDistillWarning, stacklevel=4)


def _kept(
    place: Path, behind: RegistryStore | None, name: str, known: frozenset[str]
) -> tuple[RegistryStore, tuple[Entry, ...]]:
    """Return a store that keeps what it reads, and the ledger: the entries seen before from what was kept.

    The last of them is asked for all the same. By its digest, the ledger is the one that was seen or another.
    """
    try:
        store = Cached(place, behind, settled=known)
        return store, read_ledger(store, name)
    except IntegrityError:
        # What was kept and what is there do not fit. Which of them is damaged, the registry itself says.
        store = Cached(place, behind)
        return store, read_ledger(store, name)


def selected(entries: Sequence[Entry], selector: str, *, revoked: bool = False) -> str:
    """Return the version that a selector names; one that was revoked only if asked for."""
    version = resolve(entries, selector)
    if not revoked:
        refuse_revoked(entries, version)
    return version
