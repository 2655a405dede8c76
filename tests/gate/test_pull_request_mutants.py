"""No pull request passes with files that do not belong together: a sample of the mutants of `make test-mutants`."""

from pathlib import Path

from mutation.interfaces import quick
from mutation.pull_requests import Proposal, apply, check_honest, sample


def test_a_sample_of_altered_pull_requests_does_not_pass(tmp_path: Path) -> None:
    with quick():
        proposal = Proposal(tmp_path)
        check_honest(proposal)

        table = apply(proposal, sample(proposal, 15))

        check_honest(proposal)
    assert not table.survivors, table.text()
    assert not table.faults, table.text()
    assert table.distinct >= 15
