import pytest


@pytest.fixture(autouse=True)
def told_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress says which step a run was at when it was killed, and from which it goes on."""
    monkeypatch.setenv("FAIR_DISTILL_PROGRESS", "lines")
