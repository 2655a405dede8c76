"""The keys of everything that versions have besides their evidence: their files and their training units."""

from collections.abc import Container

from fair_distill.registry.channels import published
from fair_distill.registry.dvc_layout import object_keys
from fair_distill.registry.erasures import Erasures
from fair_distill.registry.integrity import fetch, manifest_of
from fair_distill.registry.layout import units_key
from fair_distill.registry.ledger import names, read_to_write
from fair_distill.registry.manifest import Manifest
from fair_distill.registry.store import RegistryStore
from fair_distill.registry.training_units import training_units_digest


def contents_of(store: RegistryStore, manifest: Manifest) -> set[str]:
    """Return the keys of a version's files, for all of its provenances, and of its training units."""
    keys = store.list(f"versions/{manifest.version}/provenance/")
    provenances = [fetch(store, key, key.rpartition("/")[2].partition(".")[0]) for key in keys]
    digest = training_units_digest(manifest)
    return object_keys(manifest, provenances) | ({units_key(digest)} if digest else set())


def contents_of_versions(store: RegistryStore, *, without: Container[str]) -> set[str]:
    """Return the keys of the contents of all published versions, in all datasets, except some versions."""
    keys = set[str]()
    for name in names(store):
        for version in published(read_to_write(store, name)):
            if version not in without:
                keys |= contents_of(store, manifest_of(store, version))
    return keys


def left_over(store: RegistryStore, erasures: Erasures) -> tuple[str, ...]:
    """Return the keys that an erasure removes and the registry has, except contents that a live version shares."""
    present = [key for key in sorted(erasures.of_key) if store.exists(key)]
    if not present:
        return ()
    shared = contents_of_versions(store, without=erasures.of_version)
    return tuple(key for key in present if key not in shared)
