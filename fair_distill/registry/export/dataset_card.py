"""The dataset card as a Markdown page: what a set is, its accuracy for each group, its limits, and what was not tested.

Names of classes, groups and networks are foreign text, so `markdown` escapes them on the page.
"""

from collections.abc import Callable, Iterable

from fair_distill.gate.verdict import Finding, Verdict
from fair_distill.registry.client import RegisteredVersion
from fair_distill.text import decimal, markdown, markdown_table, printable

Escape = Callable[[str], str]


def dataset_card(version: RegisteredVersion) -> str:
    """Return the page of one version, from its manifest, the ledger and the verdict that it is in force by."""
    verdict = latest_verdict(version)
    parts = [
        f"# {version.reference}",
        description(version, escape=markdown),
        "## Accuracy for each group",
        *_accuracies(verdict),
        "## Limits and outcome",
        *_limits(verdict),
        "## Intended use",
        intended_use(version, escape=markdown),
        "## What was not tested",
        _bullets(untested(version, verdict, escape=markdown)),
        "## How it was made",
        _provenance(version),
        "## How to train on it",
        _recipe(version),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def latest_verdict(version: RegisteredVersion) -> Verdict | None:
    """Return the verdict in force for a version, else that of its last promotion; None if it was never judged."""
    return version.verdict or (version.verdicts[-1] if version.verdicts else None)


def description(version: RegisteredVersion, *, escape: Escape = str) -> str:
    """Return what a version is, in a few sentences; `escape` escapes a name for the place where the text is shown."""
    card = version.manifest.card
    entry = version.entry
    status = f"in force since ledger entry {entry.number} of {entry.time}" if entry else "named by its number or digest"
    counts = sum(map(sum, card.train_counts))
    return (
        f"Version v{version.number}, `sha256:{version.version}`, {status}.\n\n"
        f"{card.examples:,} {card.unit} of {len(card.classes)} classes, distilled from {counts:,} examples of "
        f"{len(card.groups)} groups ({', '.join(map(escape, card.groups))}). "
        "The distilled examples have no group."
    )


def _accuracies(verdict: Verdict | None) -> list[str]:
    if verdict is None:
        return ["This version was never judged, so it has no measurements."]
    rows = [
        [
            row.group,
            row.network,
            f"{row.examples:,}",
            decimal(row.accuracy),
            "–" if row.low is None else f"{decimal(row.low)} to {decimal(row.high)}",
        ]
        for row in verdict.groups
    ]
    return [
        "The accuracy of networks that were trained on this set alone, on held-out examples. The interval contains the "
        "accuracy with the confidence of the verdict.",
        _table(["group", "network", "examples", "accuracy", "interval"], rows),
    ]


def _limits(verdict: Verdict | None) -> list[str]:
    if verdict is None:
        return ["None."]
    rows = [
        [
            finding.clause,
            finding.network,
            decimal(finding.value),
            decimal(finding.bound),
            decimal(finding.limit),
            _outcome(finding),
        ]
        for finding in verdict.findings
    ]
    return [
        f"Verdict: **{verdict.outcome}**, {_code(f'mode: {verdict.mode}')}, attempt {verdict.attempt}.",
        _table(["limit", "worst network", "value", "bound", "at", "outcome"], rows),
    ]


def _outcome(finding: Finding) -> str:
    return f"{finding.outcome}; {finding.waiver}" if finding.waiver else finding.outcome


def intended_use(version: RegisteredVersion, *, escape: Escape = str) -> str:
    """Return what a version is for, and what it must not be used for."""
    card = version.manifest.card
    return (
        f"Use it to train classifiers of {', '.join(map(escape, card.classes))} with the recipe below, for a "
        "population like the one that the examples were taken from. Do not use it to learn what the groups look like, "
        "to train with another recipe without new measurements, or for decisions about people for which no person is "
        "responsible."
    )


def untested(version: RegisteredVersion, verdict: Verdict | None, *, escape: Escape = str) -> list[str]:
    """Return what was not tested, one sentence for each."""
    card = version.manifest.card
    lines = ["Examples from another source, time or camera than the training examples."]
    lines.append("Groups that the data do not name, and intersections of groups that are not listed above.")
    if verdict is None:
        lines.append("Everything, because the version was never judged.")
    else:
        networks = sorted({escape(row.network) for row in verdict.groups})
        lines.append(f"Networks other than {', '.join(networks)}.")
        small = [
            f"{escape(row.group)} ({escape(row.network)})"
            for row in verdict.groups
            if row.accuracy is None or row.low is None
        ]
        if small:
            lines.append(f"Groups with too few examples for a measurement: {', '.join(small)}.")
    empty = [
        f"{escape(label)} × {escape(group)}"
        for label, row in zip(card.classes, card.train_counts, strict=True)
        for group, count in zip(card.groups, row, strict=True)
        if count == 0
    ]
    if empty:
        lines.append(f"Cells without a training example: {', '.join(empty)}.")
    if card.nearness is None:
        lines.append("Whether examples of the set are near copies of training examples.")
    if card.schema is not None:
        lines.append(
            "Models other than networks, such as gradient-boosted trees, which often learn less from such rows."
        )
    if card.schema is not None and card.relations is None:
        lines.append("Whether rows of the set combine values that no real row combines.")
    return lines


def _provenance(version: RegisteredVersion) -> str:
    manifest = version.manifest
    counts = _table(
        ["training examples", *manifest.card.groups],
        [
            [label, *(f"{count:,}" for count in row)]
            for label, row in zip(manifest.card.classes, manifest.card.train_counts, strict=True)
        ],
    )
    return (
        f"It was made from the training split {_code(manifest.source[:12])} by {_code(manifest.card.name)} "
        f"({markdown(manifest.card.kind)}) with engine {manifest.engine}. Its manifest has the sections of params.yaml "
        "that determine it. Its provenance in the registry has the machine, the commit and the libraries.\n\n"
        f"{counts}"
    )


def _recipe(version: RegisteredVersion) -> str:
    recipe = version.manifest.card.recipe
    network = ", ".join(
        markdown(part)
        for part in [recipe.network["name"], *(f"{k} {v}" for k, v in recipe.network.get("options", {}).items())]
    )
    lines = [
        f"network: {network}",
        f"{recipe.steps:,} steps with batches of {recipe.batch_size}, learning rate {recipe.learning_rate:g} (a tenth "
        f"of it in the second half), momentum {recipe.momentum:g}, weight decay {recipe.weight_decay:g}",
        f"augmentation: {', '.join(map(markdown, recipe.augment)) or 'none'}",
        f"decoding: each stored image contains {recipe.formation}² examples",
        f"normalisation: mean {list(recipe.mean)}, std {list(recipe.std)}",
        *(
            [f"class shares of the training data, for which predictions are corrected: {list(recipe.priors)}"]
            if recipe.priors is not None
            else []
        ),
    ]
    code = f'fair_distill.train(fair_distill.load("{version.reference}"), seed=1)'
    return f"{_bullets(lines)}\n\n{_code(code)} trains with this recipe."


def _code(text: str) -> str:
    return f"`{printable(text).replace('`', chr(39))}`"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(header: list[str], rows: list[list[str]]) -> str:
    return markdown_table(
        [markdown(cell) for cell in header], [[markdown(cell) for cell in row] for row in rows]
    ).rstrip()
