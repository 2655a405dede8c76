"""A gate split that contains training units of a set judges nothing, and unit digests survive their file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_workspace import run, small_params, write_params

from fair_distill.data.split_file import read_split
from fair_distill.errors import IntegrityError
from fair_distill.formats.unit_digests import UnitDigests
from fair_distill.registry.manifest import Manifest
from fair_distill.registry.training_units import training_units_digest
from fair_distill.stages.training_units import split_units
from fair_distill.workspace import Workspace

DIGESTS = st.lists(st.integers(0, 2**64 - 1), max_size=30)


@given(DIGESTS, DIGESTS)
def test_units_are_compared_as_sets_and_survive_their_file(first: list[int], second: list[int]) -> None:
    one, other = (UnitDigests.of_names(np.array(names, np.uint64).reshape(-1, 1)) for names in (first, second))

    assert one.shared(other) == other.shared(one) == len(set(first) & set(second))
    assert len(one) == len(set(first))
    read = UnitDigests.from_bytes(one.to_bytes(), name="units.bin")
    assert np.array_equal(read.digests, one.digests)


@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: b"x" + c, lambda c: c + c[-8:], lambda c: b""])
def test_a_damaged_file_of_units_is_refused(change) -> None:  # type: ignore[no-untyped-def]
    content = UnitDigests(np.array([3, 5], np.uint64)).to_bytes()

    with pytest.raises(IntegrityError, match=r"units\.bin is not a file of unit digests"):
        UnitDigests.from_bytes(change(content), name="units.bin")


def test_every_set_names_its_training_units(finished: Path) -> None:
    workspace = Workspace(finished)
    units = split_units(workspace, "train")
    assert units is not None
    for name in ("full", "random", "pooled", "barycentric"):
        manifest = Manifest.from_json((workspace.set(name) / "manifest.json").read_bytes())
        assert training_units_digest(manifest) == units.sha256


def test_the_splits_of_a_workspace_share_no_unit(finished: Path) -> None:
    units = [split_units(Workspace(finished), name) for name in ("train", "tune", "gate")]

    assert [first.shared(second) for first in units for second in units if first is not second] == [0] * 6  # type: ignore[union-attr, arg-type]


def test_an_image_in_every_colour_is_one_unit(finished: Path) -> None:
    gate = read_split(Workspace(finished).split("gate"))

    assert gate.units is not None
    assert np.unique(gate.units).size == np.unique(gate.pairs).size == len(gate) / 2


@pytest.mark.parametrize("command", [("evaluate", "pooled"), ("judge", "pooled"), ("enforce", "pooled")])
def test_a_gate_split_with_training_units_judges_nothing(workspace: Path, tmp_path: Path, command: tuple[str]) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_params(other, small_params() | {"seed": 1})
    assert run(other, "prepare").code == 0
    gate = Workspace(workspace).split("gate")
    gate.write_bytes(Workspace(other).split("gate").read_bytes())
    shared = len(
        set(read_split(gate).units.ravel().tolist())  # type: ignore[union-attr]
        & set(read_split(Workspace(workspace).split("train")).units.ravel().tolist())  # type: ignore[union-attr]
    )

    ended = run(workspace, *command)

    assert ended.code == 5
    assert f"the gate split shares {shared:,} of its" in ended.err
    assert shared > 100
