"""How a published version's data were spread, from what lies beside it, or else from its card."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from small_registry import local_registry, package, publish
from small_workspace import run

from fair_distill.files import to_json
from fair_distill.validation.drift import Profile

CELLS = {"0": {"red": 9, "cyan": 1}, "1": {"red": 1, "cyan": 9}}
PROFILE = {"cells": CELLS, "numbers": {"intensity": {"edges": [0.5], "counts": [12, 8]}}, "values": {}}


@pytest.mark.parametrize(
    ("beside", "profile"),
    [
        ({"device": "cpu"}, {"cells": CELLS}),  # from before it was kept
        ({"data": {"warnings": []}}, {"cells": CELLS}),  # restricted
        ({"data": {"warnings": [], "profile": PROFILE}}, PROFILE),
    ],
)
def test_it_is_what_drift_is_measured_from(root: Path, beside: dict[str, object], profile: dict[str, object]) -> None:
    made = replace(package(1), provenance=to_json(beside))
    publish(local_registry(root), made)

    ended = run(root, "data", "reference", "digits@v1", "--registry", str(root))

    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out) == {"version": made.version, "profile": profile}
    assert Profile.from_json(ended.out.encode(), name="reference.json").cells == CELLS


@pytest.mark.parametrize(("named", "says"), [("digits", "names no version"), ("digits@v9", "v9")])
def test_a_version_that_is_not_there_is_one_line(root: Path, named: str, says: str) -> None:
    publish(local_registry(root), package(1))

    ended = run(root, "data", "reference", named, "--registry", str(root))

    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert says in ended.err
