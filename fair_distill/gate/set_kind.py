"""How a set was made, as far as advice depends on it: a set of real images cannot be distilled longer."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from fair_distill.errors import IntegrityError
from fair_distill.files import parse_json

# Rules that select real images, and the targets of distilled sets. `distilled` is a set with another target, such as
# a custom one. `unknown` is a set without a manifest, or a model that was trained on anything.
SetKind = Literal[
    "full",
    "majority",
    "random",
    "group_balanced",
    "herding",
    "k_centre",
    "medoids",
    "subset",
    "imported",
    "custom",
    "pooled",
    "per_group",
    "barycentric",
    "distilled",
    "unknown",
]
DISTILLED: tuple[SetKind, ...] = ("pooled", "per_group", "barycentric", "distilled")
BALANCED_SUBSETS: tuple[SetKind, ...] = ("group_balanced", "herding", "k_centre", "medoids")
SUBSETS: tuple[SetKind, ...] = ("random", *BALANCED_SUBSETS, "subset")
KINDS: tuple[SetKind, ...] = get_args(SetKind)


def set_kind(manifest: bytes | None) -> SetKind:
    """Return the kind of the set that a manifest describes; `unknown` without a manifest."""
    if manifest is None:
        return "unknown"
    content = parse_json(manifest, name="the set's manifest", error=IntegrityError)
    card, params = _mapping(content, "card"), _mapping(content, "params")
    if card.get("kind") in ("full", "constant"):
        return "full" if card["kind"] == "full" else "majority"
    selection = _mapping(params, "reference").get("select", _mapping(params, "candidate").get("select"))
    alignment = _mapping(params, "candidate").get("alignment")
    if isinstance(alignment, Mapping):
        alignment = alignment.get("name")
    for kind in KINDS:
        if (kind in SUBSETS and kind == selection) or (kind in DISTILLED and kind == alignment):
            return kind
    by_card: tuple[SetKind, ...] = ("distilled", "subset", "imported", "custom")
    return next((kind for kind in by_card if kind == card.get("kind")), "unknown")


def _mapping(value: object, key: str) -> Mapping[str, Any]:
    inner = value.get(key) if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}
