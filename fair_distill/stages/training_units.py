"""The training units of a set, and the check that no gate split contains one of them.

A set was made from its training units: the people, pairs or examples of its training split. A gate split that contains
one of them cannot judge the set. The manifest has the SHA-256 of the file of their digests.
"""

from typing import TYPE_CHECKING

from fair_distill.errors import IntegrityError
from fair_distill.files import is_sha256, sha256
from fair_distill.formats.unit_digests import UnitDigests
from fair_distill.registry.manifest import Manifest
from fair_distill.workspace import Workspace

if TYPE_CHECKING:
    from fair_distill.data.grouped_dataset import GroupedDataset

# The entry in the params of a manifest.
TRAINING_UNITS = "training_units"


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
    units = split_units(workspace, "train") if TRAINING_UNITS in manifest.params else None
    return units if units is not None and units.sha256 == manifest.params[TRAINING_UNITS] else None


def parse_training_units(content: bytes, manifest: Manifest, *, name: str) -> UnitDigests:
    """Read a file of training units. Raises IntegrityError unless it has the SHA-256 that the manifest names."""
    expected = manifest.params.get(TRAINING_UNITS)
    if not is_sha256(expected) or sha256(content) != expected:
        raise IntegrityError(f"{name} is not the file of training units that the manifest names: {str(expected)[:12]}…")
    return UnitDigests.from_bytes(content, name=name)


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
