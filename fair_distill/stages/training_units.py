"""The training units of a set, and the check that no gate split contains one of them.

A set was distilled from its training units: the people, pairs or examples of its training split. A gate split that
contains one of them cannot judge the set. The manifest has the SHA-256 of the file of their digests.
"""

from typing import TYPE_CHECKING

from fair_distill.errors import IntegrityError
from fair_distill.files import is_sha256, require_file, sha256
from fair_distill.formats.unit_digests import UnitDigests
from fair_distill.registry.manifest import UNITS_FILE, Manifest
from fair_distill.workspace import Workspace

if TYPE_CHECKING:
    from fair_distill.data.grouped_dataset import GroupedDataset

# The entry in the params of a manifest.
TRAINING_UNITS = "training_units"


def unit_digests(split: "GroupedDataset") -> UnitDigests | None:
    """Return the digests of the units of a split; None if an earlier release prepared it."""
    return None if split.units is None else UnitDigests.of_names(split.units)


def training_unit_files(train: "GroupedDataset") -> tuple[dict[str, str], dict[str, bytes]]:
    """Return the entry for the params of a manifest, and the file that it names."""
    units = unit_digests(train)
    if units is None:
        return {}, {}
    return {TRAINING_UNITS: units.sha256}, {UNITS_FILE: units.to_bytes()}


def read_training_units(workspace: Workspace, name: str, manifest: Manifest, *, made_by: str) -> UnitDigests | None:
    """Return the training units of a set in the workspace; None if its manifest does not name them."""
    expected = manifest.params.get(TRAINING_UNITS)
    if expected is None:
        return None
    path = require_file(workspace.set(name) / UNITS_FILE, made_by=made_by)
    return parse_training_units(path.read_bytes(), expected, name=str(path))


def parse_training_units(content: bytes, expected: object, *, name: str) -> UnitDigests:
    """Read a file of training units. Raises IntegrityError unless it has the SHA-256 that the manifest names."""
    if not is_sha256(expected) or sha256(content) != expected:
        raise IntegrityError(f"{name} is not the file that the manifest of the set names: {str(expected)[:12]}…")
    return UnitDigests.from_bytes(content, name=name)


def check_no_overlap(training: UnitDigests | None, gate: UnitDigests | None, *, set_name: str) -> None:
    """Raise IntegrityError if a gate split contains units that a set was made from.

    Parameters
    ----------
    training, gate : None if an earlier release made the set or the split. Their units cannot be compared then
    set_name : the set in messages, such as "the set 'pooled'"
    """
    if training is None or gate is None:
        return
    count = training.shared(gate)
    if count:
        raise IntegrityError(
            f"the gate split shares {count:,} of its {len(gate):,} units with the training units of {set_name}. A set "
            "cannot be judged on examples that it was made from. Restore artifacts/assignments.arrow, the seed and "
            "data.splits with which the set was made and run `fair-distill stage prepare`, or make the set again"
        )
