"""The rows of the ablation: settings of `distill`, each with one change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from fair_distill.distillation.presets import PRESETS

NETWORK = {"name": "convnet", "width": 32, "depth": 3}
AUGMENT = ["crop", "cutout", "scale", "rotate"]
UNTRAINED = PRESETS["dm"]["networks"]
OURS = {
    "matcher": "dm",
    "network": NETWORK,
    "networks": UNTRAINED,
    "ipc": 10,
    "formation": 1,
    "steps": 300,
    "real_per_class": 60,
    "embedding": "exact",
    "shrinkage": None,
    "unknown": "refuse",
    "distance": "squared",
    "reduce": "sum",
    "optimiser": {"name": "sgd", "learning_rate": 10.0, "momentum": 0.5},
    "start": "group_stratified",
    "augment": AUGMENT,
}
RECIPE: dict[str, Any] = {
    "network": {"name": "convnet", "options": {"width": 32, "depth": 3}},
    "steps": 600,
    "batch_size": 256,
    "learning_rate": 0.01,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "augment": tuple(AUGMENT),
}
BARYCENTRIC = {"alignment": "barycentric", "barycenter": "mean"}


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes
    ----------
    settings : the section `distill`; None for real images, which are not distilled
    candidate : the section of the candidate
    recipe : changes to the training recipe
    select, formation : how real images are selected and stored, for a row without `settings`
    """

    settings: Mapping[str, Any] | None
    candidate: Mapping[str, Any] = field(default_factory=lambda: BARYCENTRIC)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    select: str = "group_balanced"
    formation: int = 1


def changed(base: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Return settings with changes; the sections `networks` and `optimiser` are changed key by key."""
    nested: dict[str, Any] = {key: base[key] | changes.pop(key) for key in ("networks", "optimiser") if key in changes}
    return {**base, **changes, **nested}


def _learning_rate(rate: float) -> dict[str, Any]:
    return {"optimiser": {"learning_rate": rate}}


DM = changed(OURS)
DM2 = changed(OURS, formation=2)
# Gradient matching. Each network is trained on real images between its visits, and replaced after ten visits.
GM = changed(
    OURS,
    matcher="dc",
    distance="cosine",
    formation=2,
    steps=150,
    augment=[],
    networks={"visits": 10, "advance": 5, "advance_on": "real"},
    optimiser={"learning_rate": 0.3},
)
CAFE = changed(
    OURS,
    matcher={"name": "cafe", "layer_weights": [1.0, 1.0, 1.0], "discrimination": 0.1},
    formation=2,
    networks={"visits": 10, "advance": 1},
    optimiser={"learning_rate": 1.0},
)


@lru_cache(maxsize=1)
def all_rows() -> dict[str, Row]:
    """Return every row by name. The part of the name before the slash is the block of the table."""
    return {**_real_rows(), **_embedding_rows(), **_layer_rows(), **_gradient_rows(), **_recipe_rows()}


def _real_rows() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for formation in (1, 2, 3, 4):
        rows[f"real/balanced, {formation}×{formation}"] = Row(None, formation=formation)
    rows["real/random, 2×2"] = Row(None, select="random", formation=2)
    return rows


def _embedding_rows() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for formation in (1, 2, 3):
        for rate in (1.0, 10.0, 100.0):
            rows[f"dm/{formation}×{formation}, rate {rate:g}"] = Row(
                changed(DM, formation=formation, **_learning_rate(rate))
            )
    rows["dm/l1, rate 1"] = Row(changed(DM2, distance="l1", **_learning_rate(1.0)))
    rows["dm/l1, rate 0.1"] = Row(changed(DM2, distance="l1", **_learning_rate(0.1)))
    rows["dm/warm-up 10"] = Row(changed(DM2, networks={"warmup_epochs": 10}))
    rows["dm/pool of 10"] = Row(changed(DM2, networks={"pool": 10, "visits": 10, "advance": 1}))
    rows["dm/pool of 10 on real"] = Row(
        changed(DM2, networks={"pool": 10, "visits": 10, "advance": 1, "advance_on": "real"})
    )
    rows["dm/adam 0.01"] = Row(changed(DM2, optimiser={"name": "adam", "learning_rate": 0.01, "momentum": 0.9}))
    for barycenter in ("l1", "l2", "minimax", "cosine"):
        rows[f"dm/{barycenter}"] = Row(DM2, {"alignment": "barycentric", "barycenter": barycenter})
    rows["dm/sinkhorn"] = Row(
        DM2, {"alignment": "barycentric", "barycenter": {"name": "sinkhorn", "dimension": 32, "epsilon": 0.1}}
    )
    bures = {"name": "bures", "dimension": 32, "shrinkage": 0.1, "covariance": "diagonal"}
    rows["dm/bures"] = Row(DM2, {"alignment": "barycentric", "barycenter": bures})
    for alignment in ("pooled", "per_group"):
        rows[f"dm/{alignment}"] = Row(DM2, {"alignment": alignment})
    return rows


def _layer_rows() -> dict[str, Row]:
    rows: dict[str, Row] = {"cafe/2×2": Row(CAFE)}
    for rate in (0.1, 0.3, 3.0, 10.0):
        rows[f"cafe/rate {rate:g}"] = Row(changed(CAFE, **_learning_rate(rate)))
    for discrimination in (0.0, 0.01, 1.0):
        rows[f"cafe/discrimination {discrimination:g}"] = Row(
            changed(CAFE, matcher=CAFE["matcher"] | {"discrimination": discrimination})
        )
    rows["cafe/last layer"] = Row(changed(CAFE, matcher=CAFE["matcher"] | {"layer_weights": [0.0, 0.0, 1.0]}))
    for name, networks in {
        "networks on real": {"advance": 5, "advance_on": "real"},
        "a new network a step": {"visits": 1, "advance": 0},
        "pool of 5": {"pool": 5},
        "50 visits": {"visits": 50},
    }.items():
        rows[f"cafe/{name}"] = Row(changed(CAFE, networks=networks))
    rows["cafe/adam 0.01"] = Row(changed(CAFE, optimiser={"name": "adam", "learning_rate": 0.01, "momentum": 0.5}))
    for steps in (100, 600):
        rows[f"cafe/{steps} steps"] = Row(changed(CAFE, steps=steps))
    rows["cafe/20 real a class"] = Row(changed(CAFE, real_per_class=20))
    for formation in (1, 3):
        rows[f"cafe/{formation}×{formation}"] = Row(changed(CAFE, formation=formation))
    for alignment in ("pooled", "per_group"):
        rows[f"cafe/{alignment}"] = Row(CAFE, {"alignment": alignment})
    for barycenter in ("l1", "minimax"):
        rows[f"cafe/{barycenter}"] = Row(CAFE, {"alignment": "barycentric", "barycenter": barycenter})
    rows["cafe/start natural"] = Row(changed(CAFE, start="natural"))
    return rows


def _gradient_rows() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for formation in (1, 2, 3, 4):
        rows[f"gm/{formation}×{formation}"] = Row(changed(GM, formation=formation))
    for rate in (0.1, 1.0, 3.0):
        rows[f"gm/rate {rate:g}"] = Row(changed(GM, **_learning_rate(rate)))
    for distance, rates in (("squared", (0.01, 0.1)), ("l1", (0.001, 0.01))):
        for rate in rates:
            rows[f"gm/{distance}, rate {rate:g}"] = Row(changed(GM, distance=distance, **_learning_rate(rate)))
            rows[f"gm/all gradients, {distance}, rate {rate:g}"] = Row(
                changed(GM, matcher="idc", distance=distance, **_learning_rate(rate))
            )
    for rate in (0.003, 0.01, 0.03):
        adam = {"name": "adam", "learning_rate": rate, "momentum": 0.5}
        rows[f"gm/adam {rate:g}"] = Row(changed(GM, optimiser=adam))
    for name, networks in {
        "networks on synthetic": {"advance_on": "synthetic", "advance": 5},
        "networks not trained": {"advance": 0},
        "a new network a step": {"visits": 1, "advance": 0},
        "1 batch between": {"advance": 1},
        "20 batches between": {"advance": 20},
        "50 visits": {"visits": 50},
        "pool of 5": {"pool": 5},
        "larger steps of networks": {"learning_rate": 0.05},
    }.items():
        rows[f"gm/{name}"] = Row(changed(GM, networks=networks))
    for count in (20, 30, 120):
        rows[f"gm/{count} real a class"] = Row(changed(GM, real_per_class=count))
    for steps in (50, 300):
        rows[f"gm/{steps} steps"] = Row(changed(GM, steps=steps))
    for start in ("natural", "noise"):
        rows[f"gm/start {start}"] = Row(changed(GM, start=start))
    rows["gm/augmented"] = Row(changed(GM, augment=AUGMENT))
    for barycenter in ("l1", "minimax", "cosine"):
        rows[f"gm/{barycenter}"] = Row(GM, {"alignment": "barycentric", "barycenter": barycenter})
    for alignment in ("pooled", "per_group"):
        rows[f"gm/{alignment}"] = Row(GM, {"alignment": alignment})
    return rows


def _recipe_rows() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    recipes: dict[str, dict[str, Any]] = {
        "300 steps": {"steps": 300},
        "3000 steps": {"steps": 3000},
        "rate 0.03": {"learning_rate": 0.03},
        "colour too": {"augment": (*AUGMENT, "colour")},
        "no augmentation": {"augment": ()},
    }
    for name, recipe in recipes.items():
        rows[f"recipe/{name}"] = Row(GM, recipe=recipe)
        rows[f"recipe/{name}, balanced 2×2"] = Row(None, formation=2, recipe=recipe)
    return rows
