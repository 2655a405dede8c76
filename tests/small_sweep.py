"""A sweep as input for the report: two kinds, three sizes and two seeds. Larger sets have better results."""

from fair_distill.config import Gate
from fair_distill.report.report_data import SweepCandidate

POLICY = Gate.model_validate(
    {
        "mode": "point",
        "limits": [
            {"metric": "eo_diag_max", "at_most": 0.2, "why": "a test"},
            {"metric": "accuracy", "at_least": 0.8, "why": "a test"},
        ],
    }
)


def swept() -> list[SweepCandidate]:
    return [
        point(
            f"{kind} · ipc {ipc} · seed {seed}",
            kind,
            ipc,
            accuracy=0.7 + 0.05 * step + 0.02 * seed,
            gap=gap - 0.1 * step,
        )
        for kind, gap in (("barycentric · dm", 0.3), ("pooled · dm", 0.9))
        for step, ipc in enumerate((1, 10, 50))
        for seed in (0, 1)
    ]


def point(name: str, kind: str, ipc: int, *, accuracy: float, gap: float) -> SweepCandidate:
    values: dict[str, float | None] = {"eo_diag_max": gap, "accuracy": accuracy}
    return SweepCandidate(name, kind, ipc, 10 * ipc, accuracy, gap, min(0.2 - gap, accuracy - 0.8), values)
