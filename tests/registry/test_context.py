"""What a promotion is judged against: the registry says what is promoted, the workspace what was waived."""

import json

from places import Place
from small_registry import NAME, package, publish, ship

from fair_distill.artifacts import to_json
from fair_distill.gate.policy import read_context
from fair_distill.stages.release import _context

ONE, TWO = package(1), package(2)
FORGED = {"version": "0" * 64, "predictions": "1" * 64}


def test_where_nothing_is_promoted_the_workspaces_context_counts_as_it_stands(place: Place):
    publish(place.store(), ONE)

    assert _context(place.store(), NAME, "production", b"{}\n") == (b"{}\n", None)


def test_what_is_in_force_in_the_channel_is_what_a_set_is_compared_to(place: Place):
    ship(place.store(), ONE)
    ship(place.store(), TWO)
    own = to_json({"attempt": 3, "promoted": FORGED})

    context, predictions = _context(place.store(), NAME, "production", own)

    known = read_context(context)
    assert known.promoted is not None
    assert (known.promoted.version, known.promoted.predictions) == (TWO.version, TWO.verdict.predictions)
    assert predictions == TWO.predictions
    assert known.attempt == 3


def test_a_promoted_version_that_only_the_workspace_knows_is_none(place: Place):
    publish(place.store(), ONE)

    context, predictions = _context(place.store(), NAME, "production", to_json({"promoted": FORGED}))

    assert (json.loads(context), predictions) == ({}, None)
