import pytest


@pytest.fixture(autouse=True)
def progress_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print progress as lines, so that a test knows the step at which a run was killed and at which it resumed."""
    monkeypatch.setenv("FAIR_DISTILL_PROGRESS", "lines")
