"""What advice must not say, by kind of set: the set already has it, or cannot have it."""

import re

from fair_distill.gate.set_kind import KINDS, SetKind

_OF_KIND: dict[str, str] = {
    **dict.fromkeys(KINDS, "barycent|align|group_weights|distil longer|distill.steps"),
    "full": "barycent|align|group_weights|distil longer|distill.steps|more images|select:",
    "group_balanced": "barycent|align|group_weights|distil longer|distill.steps|select:",
    "pooled": "group_weights",  # params.yaml refuses them for a pooled target
    "per_group": "alignment|pooled",
    "barycentric": "alignment|barycent|pooled",
    "distilled": "barycent|alignment|select:",
}
PROMISES = "would show|would suffice|would pass|need(s|ed) about|about [0-9]"
# Pairs of advice of which one text may contain at most one.
_OPPOSITE = (
    (r"\bmore images\b", r"\b(fewer|less) images\b"),
    (r"\bevaluate with\b", r"\banother evaluation would not help\b"),
    (r"\bevaluate with\b", r"\bChange the set\b"),
)


def faults(text: str, kind: SetKind) -> list[str]:
    """Return what is wrong with the advice in a text for a kind of set."""
    found = re.findall(_OF_KIND[kind], text)
    opposite = [pair for pair in _OPPOSITE if all(re.search(pattern, text) for pattern in pair)]
    return [*(f"{kind}: {match!r}" for match in found), *(f"both {first} and {second}" for first, second in opposite)]
