"""Sets that were made from a few people, and erasures of these people from a registry."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from small_registry import NAME, NOW, POLICY, Package, package, predictions_of_version, promote

from fair_distill.formats.unit_digests import UnitDigests
from fair_distill.gate.judge import judge
from fair_distill.registry import release
from fair_distill.registry.actor import Actor
from fair_distill.registry.erasure import RegistryPlan, Traces, execute, plan_erasure
from fair_distill.registry.training_units import TRAINING_UNITS


def units_of(people: Sequence[int]) -> UnitDigests:
    return UnitDigests.of_names(np.array(people, np.uint64))


def made_from(people: Sequence[int], *, seed: int) -> Package:
    """Return a set whose training units are these people, as numbers."""
    made = package(seed)
    params = made.manifest.params | {TRAINING_UNITS: units_of(people).sha256}
    manifest = replace(made.manifest, params=params)
    predictions = predictions_of_version(manifest.version)
    verdict = judge(predictions, POLICY, context=b"", engine=1)
    return replace(made, manifest=manifest, predictions=predictions, verdict=verdict)


def ship_with_units(store: Any, made: Package, people: Sequence[int]) -> None:
    """Publish a set with its training units, and promote it to production."""
    release.publish(
        store,
        NAME,
        made.manifest,
        made.files,
        predictions=made.predictions,
        provenance=made.provenance,
        units=units_of(people).to_bytes(),
        actor=Actor("ada", NOW, f"publish-{made.version}"),
    )
    promote(store, made)


def plan(store: Any, people: Sequence[int], *, include_unknown: bool = False) -> RegistryPlan:
    """Return the plan of an erasure. In gate splits, the numbers of people are the digests of their examples."""
    digests = np.array(people, np.uint64)
    traces = Traces(units_of(people), contents=digests, names=digests)
    return plan_erasure(store, NAME, traces, include_unknown=include_unknown, rng=np.random.default_rng(0))


def erase(store: Any, *people: int, delete: Callable[[str], None] | None = None) -> tuple[str, ...]:
    """Erase people from a registry; return the removed keys."""
    return execute(store, plan(store, people), delete=delete or store.remove, actor=Actor("dpo", NOW, "erasure"))
