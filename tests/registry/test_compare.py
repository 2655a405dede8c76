"""What two versions differ in, and what is the same."""

from dataclasses import replace

from places import Place
from small_registry import NAME, package, ship

from fair_distill.gate.verdict import Group
from fair_distill.registry.client import look_up
from fair_distill.registry.compare import GroupPair, compare_versions

ONE, TWO = package(1), package(2, mistakes=1)


def test_two_versions_differ_in_what_made_them_and_in_what_was_measured(place: Place):
    ship(place.store(), ONE)
    ship(place.store(), TWO)
    a, b = (look_up(f"{NAME}@v{number}", registry=place.url) for number in (1, 2))

    found = compare_versions(a, b)

    changed = {change.name: (change.a, change.b) for change in found.changed}
    assert changed.keys() == {"files.set.parquet", "params.seed"}
    assert changed["params.seed"] == (1, 2)
    metrics = {change.name: (change.a, change.b) for change in found.metrics}
    assert metrics["convnet.accuracy"] == (1.0, 0.975)
    assert {(pair.group, pair.a.accuracy, pair.b.accuracy) for pair in found.groups if pair.a and pair.b} == {
        ("red", 1.0, 0.95),
        ("cyan", 1.0, 1.0),
    }
    assert (compare_versions(a, a).changed, compare_versions(a, a).metrics) == ((), ())


def test_intervals_that_meet_show_nothing():
    low = Group("convnet", "red", examples=10, clusters=10, accuracy=0.5, low=0.4, high=0.6)
    high = replace(low, accuracy=0.7, low=0.6, high=0.8)

    assert not GroupPair("convnet", "red", low, high).disjoint
    assert GroupPair("convnet", "red", low, replace(high, low=0.61)).disjoint
    assert GroupPair("convnet", "red", replace(high, low=0.61), low).disjoint
    assert not GroupPair("convnet", "red", low, replace(high, low=None)).disjoint
    assert not GroupPair("convnet", "red", low, None).disjoint
