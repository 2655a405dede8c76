"""Open the ledger that a reference names: the registry, the trusted keys, and the check against the cache.

A reference is `name@production` (or another channel), `name@v12`, or `name@sha256:…`. A name is `dataset` or
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
    CachedStore,
    cache_folder,
    registry_cache,
    remember,
    settled,
    used_registry_cache,
)
from fair_distill.registry.entry import Entry, check_name, clock_faults
from fair_distill.registry.ledger import names, read_ledger
from fair_distill.registry.store import REGISTRY_VARIABLE, RegistryStore, locate, open_registry
from fair_distill.statements import check_keys

TRUST_VARIABLE = "FAIR_DISTILL_TRUST"


def parse_reference(reference: str) -> tuple[str, str | None]:
    """Return the name in a reference, and the selector after the "@" if there is one."""
    name, at_sign, selector = reference.partition("@")
    if at_sign and not selector:
        raise ConfigError(f"{reference!r} ends in '@'; write a channel, v1 or sha256:… after it")
    return check_name(name), selector or None


def trusted_keys(trust: Sequence[str] | None) -> tuple[str, ...]:
    """Return the public keys that must have signed a version: the argument, else those in FAIR_DISTILL_TRUST."""
    if trust is not None:
        return check_keys(trust, source="trust")
    setting = os.environ.get(TRUST_VARIABLE, "")
    keys = check_keys(setting.replace(",", " ").split(), source=TRUST_VARIABLE)
    if setting and not keys:
        raise ConfigError(
            f"{TRUST_VARIABLE} is {setting!r}, which has no key; list public keys, or unset it to accept unsigned sets"
        )
    return keys


def open_ledger(
    name: str, registry: str | None, *, offline: bool = False, cached: bool = True
) -> tuple[RegistryStore, tuple[Entry, ...]]:
    """Return the store of a registry and the ledger of a dataset, after checking it against the remembered entry.

    Parameters
    ----------
    offline : read only from the cache
    cached : False reads everything from the registry itself, and every entry from its own file
    """
    url = locate(registry)
    registry_store = open_registry(url)
    store: RegistryStore = registry_store
    identity, cache = registry_store.identity, cache_folder()
    if registry_store.remote and offline and cache is None:
        raise ConfigError(f"offline needs the cache, and {CACHE_VARIABLE} is empty; set it to the folder of the cache")
    if registry_store.remote and cache and cached:
        folder = used_registry_cache(cache, name, identity) if offline else registry_cache(cache, identity)
        source = None if offline else registry_store
        store, entries = _read_cached(folder, source, name, settled(cache, name, identity))
    else:
        entries = read_ledger(store, name, snapshots=cached)
    # A ledger without entries is checked too: all of its entries may have been removed.
    if cache:
        remember(cache, name, entries, identity=identity, url=url, required=offline)
    if not entries:
        datasets = ", ".join(names(store)) or "no datasets"
        raise ConfigError(
            f"the registry {url!r} has nothing published as {name!r}; it has {datasets}. "
            f"Change the name, --registry or {REGISTRY_VARIABLE}"
        )
    _warn_of_clocks(entries, datetime.now(UTC))
    return store, entries


def _warn_of_clocks(entries: Sequence[Entry], now: datetime) -> None:
    """Warn of entries whose writer had a clock that was ahead. They are read like other entries."""
    faults = clock_faults(entries, now)
    if faults:
        more = f" ({len(faults) - 1} more like it)" if len(faults) > 1 else ""
        warnings.warn(f"{faults[0]}{more}", FairDistillWarning, stacklevel=4)


def _read_cached(
    folder: Path, source: RegistryStore | None, name: str, settled_keys: frozenset[str]
) -> tuple[RegistryStore, tuple[Entry, ...]]:
    """Return a store that caches what it reads, and the ledger. Entries that were seen before come from the cache.

    The last of these entries is always read from `source`. Its digest shows whether the ledger is the same one.
    """
    try:
        store = CachedStore(folder, source, settled=settled_keys)
        return store, read_ledger(store, name)
    except IntegrityError:
        # The cache and the registry differ. Read the registry itself, to find out which of them is damaged.
        store = CachedStore(folder, source)
        return store, read_ledger(store, name)


def select_version(entries: Sequence[Entry], selector: str, *, revoked: bool = False) -> str:
    """Return the version that a selector names. A revoked version is refused unless `revoked` is True."""
    version = resolve(entries, selector)
    if not revoked:
        refuse_revoked(entries, version)
    return version
