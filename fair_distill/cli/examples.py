"""What to type: examples for the help of every command. Each is a command that parses."""

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "run": (("fair-distill run", "bring the workspace here up to date"),),
    "prepare": (("fair-distill --workspace faces prepare", "the splits of another workspace"),),
    "validate": (("fair-distill validate --json", "the contract's outcome, for a script"),),
    "data describe": (
        ("fair-distill data describe", "cells and imbalance, before anything is run"),
        ("fair-distill data describe --json | jq .success", "whether the contract holds"),
    ),
    "data reference": (
        ("fair-distill data reference digits@production > reference.json", "for validate.drift.reference to name"),
    ),
    "experts": (("fair-distill experts barycentric --device cuda", "trajectories for matcher mtt, on a GPU"),),
    "distill": (
        ("fair-distill distill barycentric", "distil the candidate of that name; stop and repeat as you like"),
        ("fair-distill distill barycentric --checkpoints s3://bucket/runs", "to be taken up on another machine"),
    ),
    "references": (("fair-distill references balanced", "as many real images of each group"),),
    "project": (("fair-distill project", "what the report draws of representation space"),),
    "evaluate": (("fair-distill evaluate barycentric --quiet", "train on it and predict the gate split"),),
    "attest": (("fair-distill attest --key evaluator.key", "sign what this machine evaluated, for the gate in CI"),),
    "judge": (("fair-distill judge barycentric --markdown gate.md", "with a summary for a pull request"),),
    "enforce": (
        ("fair-distill enforce barycentric", "exit 0 passed, 1 failed, 3 not shown, 4 not measured, 5 tampered"),
        ("fair-distill enforce barycentric --policy strict.yaml --junit gate.xml", "by another policy, for CI"),
    ),
    "explain": (("fair-distill explain pooled", "which cells decide, and what would help"),),
    "gate plan": (("fair-distill gate plan --accuracy 0.95 0.8 --seed-sd 0.03", "what limits this split can show"),),
    "gate reserve": (("fair-distill gate reserve", "enter this attempt, before anybody looks at predictions"),),
    "gate waive": (
        (
            "fair-distill gate waive barycentric --clause eo_diag_max --who ada --approved-by grace "
            '--why "pilot in one shop" --expires 2027-03-31 --key grace.key',
            "accept one violation of this version until a day",
        ),
    ),
    "gate pull-request": (
        (f"fair-distill gate pull-request barycentric --head {'0' * 40} --markdown gate.md", "in a CI job"),
        (f"fair-distill gate pull-request barycentric --head {'0' * 40} --evaluate", "train here; needs torch"),
    ),
    "gate replay": (("fair-distill gate replay --policy strict.yaml", "what another policy would have said"),),
    "table": (("fair-distill table --json | jq .barycentric", "one set's figures and verdict"),),
    "where": (("fair-distill where", "the table, and where everything lies"),),
    "report": (
        ("fair-distill report", "the release candidate, to artifacts/reports"),
        ("fair-distill report pooled --out pooled.html", "any set, anywhere"),
        ("fair-distill report --json | jq .gaps", "the numbers that the page is drawn from"),
    ),
    "publish": (("fair-distill publish --registry /srv/registry", "put the release candidate there, for good"),),
    "promote": (
        ("fair-distill promote --to production", "judge it again and put it into force"),
        ('fair-distill promote --to production --reason "labels of March mended"', "and say why, for the log"),
    ),
    "verify": (
        ("fair-distill verify digits", "every byte of every version"),
        ("fair-distill verify digits@production --json", "of what is in force, for a script"),
    ),
    "log": (
        ("fair-distill log digits", "what happened to its versions, when, by whom and why"),
        ("fair-distill log digits --json | jq '.[-1]'", "the newest entry"),
    ),
    "approve": (
        ("fair-distill approve digits@v3 --key ~/.config/fair-distill.key", "under the policy of params.yaml here"),
    ),
    "head": (("fair-distill head digits > head.json", "to keep elsewhere, for `verify --anchor head.json`"),),
    "key": (("fair-distill key ~/.config/fair-distill.key", "a key of one's own; the public half is printed"),),
    "pin": (("fair-distill pin digits@production", "the version in force, into the lock file"),),
    "outdated": (("fair-distill outdated", "which pins have a newer version"),),
    "diff": (("fair-distill diff digits@v3 digits@v4 --picture both.png", "data, params, groups; both sets drawn"),),
    "card": (
        ("fair-distill card digits@production > CARD.md", "what to tell who uses it"),
        ("fair-distill card digits@production --croissant > croissant.json", "what to tell a catalogue"),
    ),
    "evidence": (("fair-distill evidence digits@v3 --out digits-v3.zip", "for an auditor, who needs nothing else"),),
    "gc": (
        ("fair-distill gc look.json", "the first time look; a day later remove"),
        ("fair-distill gc look.json --anchor head.json", "on a machine that does not remember the ledger"),
    ),
    "demote": (('fair-distill demote digits@production --reason "drift"', "take it off one channel"),),
    "rollback": (
        ('fair-distill rollback digits@production --reason "complaints"', "to what was there before"),
        (
            'fair-distill rollback digits@production --reason "complaints" --operation 3f2b8c1d9e0a',
            "repeat one that was not answered, from another machine",
        ),
    ),
    "revoke": (('fair-distill revoke digits@v3 --reason "a leak"', "withdraw a version from everybody"),),
    "doctor": (
        ("fair-distill doctor", "what is missing here, and how to mend it"),
        ("fair-distill doctor --registry s3://bucket/registry", "may this machine write there, once and never again?"),
    ),
    "init": (("fair-distill init faces", "a workspace that runs at once, to put your own data in"),),
    "estimate": (
        ("fair-distill estimate", "time and memory of `fair-distill run`, from a few real steps"),
        ("fair-distill estimate --device cuda --json", "the same on a GPU, for a script"),
    ),
    "completion": (
        ("fair-distill completion bash > ~/.local/share/bash-completion/completions/fair-distill", "for bash"),
        ("fair-distill completion zsh > ~/.zfunc/_fair-distill", "for zsh, with ~/.zfunc in fpath"),
        ("fair-distill completion fish > ~/.config/fish/completions/fair-distill.fish", "for fish"),
    ),
}
