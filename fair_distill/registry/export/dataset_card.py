"""The dataset card as a page: what a set is, how its groups are served, and what nobody looked at. Markdown.

Names of classes, groups and networks are foreign text: on the page they go through `markdown`, in tables by `_table`.
"""

from collections.abc import Callable, Iterable

from fair_distill.gate.verdict import Finding, Verdict
from fair_distill.registry.client import Found
from fair_distill.text import markdown, printable

Shown = Callable[[str], str]


def dataset_card(found: Found) -> str:
    """Return the page of one version, from its manifest, the ledger and the verdict it is in force by."""
    verdict = found.verdict or (found.verdicts[-1] if found.verdicts else None)
    parts = [
        f"# {found.reference}",
        what(found, shown=markdown),
        "## How its groups are served",
        *_served(verdict),
        "## Limits that it was held to",
        *_limits(verdict),
        "## Intended use",
        use(found, shown=markdown),
        "## What was not tested",
        _bullets(untested(found, verdict, shown=markdown)),
        "## How it was made",
        _made(found),
        "## How to train on it",
        _recipe(found),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def what(found: Found, *, shown: Shown = str) -> str:
    """Say what a version is, in two sentences; `shown` escapes a name for the place where the text will be."""
    card = found.manifest.card
    unit = "images" if card.schema is None else "rows"
    place = f"in force since entry {found.entry.number} of {found.entry.time}" if found.entry else "named by version"
    counts = sum(map(sum, card.train_counts))
    return (
        f"Version v{found.number}, `sha256:{found.version}`, {place}.\n\n"
        f"{card.examples:,} {unit} of {len(card.classes)} classes, distilled from {counts:,} examples of "
        f"{len(card.groups)} groups ({', '.join(map(shown, card.groups))}). "
        "No example carries a group: a distilled one has none."
    )


def _served(verdict: Verdict | None) -> list[str]:
    if verdict is None:
        return ["This version was never judged; nothing is claimed."]
    rows = [
        [
            row.group,
            row.network,
            f"{row.examples:,}",
            _number(row.accuracy),
            "–" if row.low is None else f"{_number(row.low)} to {_number(row.high)}",
        ]
        for row in verdict.groups
    ]
    return [
        "Accuracy of networks trained on this set alone, on held-out examples, with the interval that holds it with "
        "the verdict's confidence.",
        _table(["group", "network", "examples", "accuracy", "interval"], rows),
    ]


def _limits(verdict: Verdict | None) -> list[str]:
    if verdict is None:
        return ["None."]
    rows = [
        [one.clause, one.network, _number(one.value), _number(one.bound), _number(one.limit), _outcome(one)]
        for one in verdict.findings
    ]
    return [
        f"Verdict: **{verdict.outcome}**, {_code(f'mode: {verdict.mode}')}, attempt {verdict.attempt}.",
        _table(["limit", "worst network", "value", "bound", "at", "outcome"], rows),
    ]


def _outcome(finding: Finding) -> str:
    return f"{finding.outcome}; {finding.waiver}" if finding.waiver else finding.outcome


def use(found: Found, *, shown: Shown = str) -> str:
    """Say what a version is for, and what it is not for."""
    card = found.manifest.card
    return (
        f"To train classifiers of {', '.join(map(shown, card.classes))} by the recipe below, for people like those the "
        "examples "
        "were taken of. Not for learning what the groups look like, for training anything by another recipe without "
        "measuring again, nor for decisions about people that nobody answers for."
    )


def untested(found: Found, verdict: Verdict | None, *, shown: Shown = str) -> list[str]:
    """What nobody looked at, a sentence each."""
    card = found.manifest.card
    lines = ["Examples from another source, time or camera than the training examples."]
    lines.append("Groups that the data do not name, and any crossing of groups that is not listed above.")
    if verdict is None:
        lines.append("Everything: there is no verdict.")
    else:
        networks = sorted({shown(row.network) for row in verdict.groups})
        lines.append(f"Networks other than {', '.join(networks)}.")
        thin = [
            f"{shown(row.group)} ({shown(row.network)})"
            for row in verdict.groups
            if row.accuracy is None or row.low is None
        ]
        if thin:
            lines.append(f"Too few examples to say anything of: {', '.join(thin)}.")
    empty = [
        f"{shown(label)} × {shown(group)}"
        for label, row in zip(card.classes, card.train_counts, strict=True)
        for group, count in zip(card.groups, row, strict=True)
        if count == 0
    ]
    if empty:
        lines.append(f"Cells without a training example: {', '.join(empty)}.")
    if card.nearness is None:
        lines.append("Whether examples of the set are near copies of training examples.")
    return lines


def _made(found: Found) -> str:
    manifest = found.manifest
    counts = _table(
        ["training examples", *manifest.card.groups],
        [
            [label, *(f"{count:,}" for count in row)]
            for label, row in zip(manifest.card.classes, manifest.card.train_counts, strict=True)
        ],
    )
    return (
        f"From the training split {_code(manifest.source[:12])} by {_code(manifest.card.name)} "
        f"({markdown(manifest.card.kind)}), engine "
        f"{manifest.engine}. The sections of params.yaml that make it stand in its manifest; the machine, the commit "
        f"and the libraries in its provenance, beside it in the registry.\n\n{counts}"
    )


def _recipe(found: Found) -> str:
    recipe = found.manifest.card.recipe
    network = ", ".join(
        markdown(part)
        for part in [recipe.network["name"], *(f"{k} {v}" for k, v in recipe.network.get("options", {}).items())]
    )
    lines = [
        f"network: {network}",
        f"{recipe.steps:,} steps of {recipe.batch_size}, rate {recipe.learning_rate:g} (a tenth after half), momentum "
        f"{recipe.momentum:g}, weight decay {recipe.weight_decay:g}",
        f"augmentation: {', '.join(map(markdown, recipe.augment)) or 'none'}",
        f"decoding: each stored image is {recipe.formation}² examples",
        f"normalisation: mean {list(recipe.mean)}, std {list(recipe.std)}",
    ]
    code = f'fair_distill.train(fair_distill.load("{found.reference}"), seed=1)'
    return f"{_bullets(lines)}\n\n{_code(code)} does just that."


def _code(text: str) -> str:
    return f"`{printable(text).replace('`', chr(39))}`"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(header: list[str], rows: list[list[str]]) -> str:
    head, *body = [[markdown(cell) for cell in line] for line in (header, *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *body))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
