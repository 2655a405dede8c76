"""How numbers look, whichever command shows them."""

METRICS = {
    "accuracy": "accuracy",
    "worst_group_accuracy": "worst group",
    "eo_diag_max": "EODM",
    "eo_diag_mean": "EODA",
}


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
