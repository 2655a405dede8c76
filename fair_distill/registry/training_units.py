"""The training units of a version: digests of the people, pairs or examples that it was made from.

The manifest has the SHA-256 of their file under `params.training_units`. Versions that were made from the same training
split share the file.
"""

from fair_distill.errors import IntegrityError
from fair_distill.files import is_sha256, sha256
from fair_distill.formats.unit_digests import UnitDigests
from fair_distill.registry.integrity import fetch
from fair_distill.registry.layout import units_key
from fair_distill.registry.manifest import Manifest
from fair_distill.registry.store import RegistryStore

# The entry in the params of a manifest.
TRAINING_UNITS = "training_units"


def training_units_digest(manifest: Manifest) -> str | None:
    """Return the SHA-256 of the file of training units; None if the manifest names none."""
    digest = manifest.params.get(TRAINING_UNITS)
    if digest is not None and not is_sha256(digest):
        raise IntegrityError(f"manifest: params.{TRAINING_UNITS} is {str(digest)[:80]!r}; expected a SHA-256")
    return digest


def units_of(store: RegistryStore, manifest: Manifest) -> UnitDigests | None:
    """Return the training units of a published version, after checking them; None if its manifest names none."""
    digest = training_units_digest(manifest)
    if digest is None:
        return None
    key = units_key(digest)
    return UnitDigests.from_bytes(fetch(store, key, digest), name=key)


def units_to_store(store: RegistryStore, manifest: Manifest, units: bytes | None) -> dict[str, bytes]:
    """Return the key and the content to write with a publication; empty if the manifest names no training units.

    Parameters
    ----------
    units : the file of training units; None if the registry has it already

    Raises
    ------
    IntegrityError
        If it is not the file that the manifest names, or neither the caller nor the registry has it.
    """
    digest = training_units_digest(manifest)
    if digest is None:
        return {}
    if units is None and store.exists(units_key(digest)):
        return {}
    if units is None or sha256(units) != digest:
        state = "are missing" if units is None else f"have the SHA-256 {sha256(units)[:12]}…"
        raise IntegrityError(
            f"the training units of {manifest.card.name!r} {state}; its manifest names {digest[:12]}…. "
            "Make the set again from the prepared training split"
        )
    return {units_key(digest): units}
