"""What limits a clause, and what could change the set: the remedies in a verdict.

They are part of verdict.json, so a change of one character here changes the digest of every verdict. A remedy promises
nothing. It names the cause: the choice of examples, the choice of networks, or the value itself. `gate explain`
simulates evaluations and recommends one change for the whole verdict, see `gate.advice`.
"""

from fair_distill.gate.set_kind import BALANCED_SUBSETS, DISTILLED, SUBSETS, SetKind

# How the remedy of an undecided clause begins if its value, and not the evidence, is the problem.
BEYOND = "the value itself is beyond the limit"
_MORE_IMAGES = "store more images per class (distill.ipc)"
_BY_KIND: dict[SetKind, str] = {
    "full": "this set is all of the training data, so the data or the training recipe causes it, not distillation",
    "majority": "this reference gives the same answer for every example; it is here to compare others with",
    "imported": "somebody else made this set; ask its producer for a better one, or make a candidate of another kind",
    "custom": f"{_MORE_IMAGES}, or change the function that made this set",
}


def evidence_remedy(margin: float, half_widths: tuple[float, float]) -> str:
    """Return what keeps the bound of an undecided comparison from its limit, whose value satisfies the limit.

    Parameters
    ----------
    margin : distance of the value from the limit
    half_widths : contributions of examples and of networks to the distance of the bound from the value
    """
    examples, networks = half_widths
    cause = "both" if max(half_widths) < 2 * min(half_widths) else "examples" if examples > networks else "networks"
    limiting = {
        "both": "the examples and the networks limit the bound about equally",
        "examples": "the number of examples limits the bound",
        "networks": "the scatter between networks limits the bound",
    }[cause]
    return (
        f"{limiting}: the value is {margin:.3f} from the limit, examples contribute {examples:.3f} to the distance of "
        f"the bound and networks {networks:.3f}"
    )


def value_remedy(kind: SetKind, *, is_gap: bool) -> str:
    """Return what could change a value that violates its limit, for this kind of set.

    The advice for a gap and for a score of the same set never contradict each other: both may ask for more images, and
    neither asks for fewer.
    """
    if kind in _BY_KIND:
        return _BY_KIND[kind]
    if kind in SUBSETS:
        return _subset_remedy(kind, is_gap=is_gap)
    if kind in DISTILLED:
        return _distilled_remedy(kind, is_gap=is_gap)
    return "the training data or the training has to change"


def _subset_remedy(kind: SetKind, *, is_gap: bool) -> str:
    if kind in BALANCED_SUBSETS:
        return f"this selection is balanced between groups already; {_MORE_IMAGES}, or the data or the recipe causes it"
    if kind == "random" and is_gap:
        return f"a random selection keeps the shares of the groups; use `select: group_balanced`, or {_MORE_IMAGES}"
    return f"this set is a selection of real images; {_MORE_IMAGES}, or the data or the recipe causes it"


def _distilled_remedy(kind: SetKind, *, is_gap: bool) -> str:
    if not is_gap:
        return f"distil longer (distill.steps), or {_MORE_IMAGES}"
    if kind == "pooled":
        return f"the largest groups dominate a pooled target; use `alignment: barycentric`, or {_MORE_IMAGES}"
    if kind == "distilled":
        return f"{_MORE_IMAGES}, or change the weights of the groups in the target"
    return f"the target treats groups alike already; change group_weights, or {_MORE_IMAGES}"


def near_copies_remedy(kind: str) -> str:
    """Return what could reduce near copies, for the kind in the card of the set."""
    if kind == "distilled":
        return "distil longer (distill.steps), or start from other than real images (distill.start)"
    if kind == "imported":
        return "somebody else made this set from images that are near the training data; import one that is not"
    return "this set consists of real images; only a distilled set can satisfy the clause"
