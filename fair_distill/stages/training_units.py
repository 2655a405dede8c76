"""The training units of a set, and the check that no gate split contains one of them.

A set was made from its training units: the people, pairs or examples of its training split. A gate split that contains
one of them cannot judge the set. The manifest has the SHA-256 of the file of their digests.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fair_distill.config import Config
from fair_distill.errors import IntegrityError
from fair_distill.formats.unit_digests import UnitDigests
from fair_distill.gate.policy import PROMOTED
from fair_distill.registry.channels import in_force, previous
from fair_distill.registry.entry import Entry
from fair_distill.registry.erasures import Erased
from fair_distill.registry.integrity import manifest_of
from fair_distill.registry.layout import manifest_key
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.manifest import Manifest, read_version
from fair_distill.registry.store import RegistryStore
from fair_distill.registry.training_units import TRAINING_UNITS, training_units_digest, units_of
from fair_distill.stages.set_record import set_command
from fair_distill.workspace import Workspace

if TYPE_CHECKING:
    from fair_distill.data.grouped_dataset import GroupedDataset


def unit_digests(split: "GroupedDataset") -> UnitDigests | None:
    """Return the digests of the units of a split; None if its examples have no names."""
    return None if split.units is None else UnitDigests.of_names(split.units)


def training_units_entry(train: "GroupedDataset") -> dict[str, str]:
    """Return the entry for the params of a manifest; empty if the examples have no names."""
    units = unit_digests(train)
    return {} if units is None else {TRAINING_UNITS: units.sha256}


def split_units(workspace: Workspace, name: str) -> UnitDigests | None:
    """Return the digests of the units of a split; None if it is not in the workspace, or they have no names."""
    path = workspace.split(name)
    if not path.exists():
        return None
    from fair_distill.data.split_file import read_split

    return unit_digests(read_split(path, verify=False))


def read_training_units(workspace: Workspace, manifest: Manifest) -> UnitDigests | None:
    """Return the training units of a set, if its training split is the one in the workspace."""
    digest = training_units_digest(manifest)
    units = split_units(workspace, "train") if digest else None
    return units if units is not None and units.sha256 == digest else None


def check_registry_overlap(
    workspace: Workspace, config: Config, name: str, channel: str, *, store: RegistryStore
) -> None:
    """Raise IntegrityError if the gate split shares units with a set, or with the promoted version it is compared with.

    Manifests of releases before engine 3 name no training units, and neither do those of sets whose examples cannot be
    recognised. They cannot be compared.

    Parameters
    ----------
    name : the set, which can be a version of the registry
    channel : the channel whose version counts as promoted
    """
    gate = split_units(workspace, "gate")
    if gate is None:
        return
    manifest, _ = read_version(workspace.set(name), made_by=set_command(config, name))
    check_no_overlap(_units_of(workspace, store, manifest), gate, set_name=f"the set {name!r}")
    if any(limit.over == PROMOTED for limit in config.gate.limits):
        entry = promoted_entry(read_ledger(store, config.dataset), channel, manifest.version)
        if entry is not None:
            promoted = manifest_of(store, entry.version)
            subject = f"{config.dataset}@{channel}, which the set {name!r} is compared with"
            with explain_erased(entry):
                check_no_overlap(_units_of(workspace, store, promoted), gate, set_name=subject)


@contextmanager
def explain_erased(entry: Entry) -> Iterator[None]:
    """Turn the error about an erased content of the promoted version into one that names the way out."""
    try:
        yield
    except Erased:
        raise Erased(
            f"a clause compares with {entry.name}@{entry.channel}, whose predictions or training units were erased, so "
            f"the comparison is impossible. Run `fair-distill registry demote {entry.name}@{entry.channel} --reason "
            "erasure`, then promote: the policy's first_release decides"
        ) from None


def promoted_entry(entries: Sequence[Entry], channel: str, version: str) -> Entry | None:
    """Return the entry of the version that a set is compared with; for the promoted version itself, the one before."""
    entry = in_force(entries, channel)
    return previous(entries, channel) if entry is not None and entry.version == version else entry


def _units_of(workspace: Workspace, store: RegistryStore, manifest: Manifest) -> UnitDigests | None:
    """Return the training units of a version from the workspace, or else from the registry if it is published."""
    units = read_training_units(workspace, manifest)
    return units_of(store, manifest) if units is None and store.exists(manifest_key(manifest.version)) else units


def check_no_overlap(training: UnitDigests | None, gate: UnitDigests | None, *, set_name: str) -> None:
    """Raise IntegrityError if a gate split contains units that a set was made from.

    Parameters
    ----------
    training, gate : None if they are not known. They cannot be compared then
    set_name : the set in messages, such as "the set 'pooled'"
    """
    if training is None or gate is None:
        return
    count = training.shared(gate)
    if count:
        raise IntegrityError(
            f"the gate split shares {count:,} of its {len(gate):,} units with the training units of {set_name}, which "
            "therefore cannot be judged on it. Restore the artifacts/assignments.arrow, the seed and the data.splits "
            "that the set was made with and run `fair-distill stage prepare`, or make the set again"
        )
