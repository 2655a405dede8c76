"""How numbers look, whichever command shows them, to people and to scripts."""

from fair_distill.artifacts import to_json

METRICS = {
    "accuracy": "accuracy",
    "worst_group_accuracy": "worst group",
    "eo_diag_max": "EODM",
    "eo_diag_mean": "EODA",
}


def print_json(value: object) -> None:
    print(to_json(value).decode(), end="")


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
