"""No pull request passes with files that do not belong together: a sample of the mutants of `make test-mutants`."""

import json
from pathlib import Path

import pytest
from mutation.interfaces import quick
from mutation.pull_requests import Mutant, Proposal, apply, check_honest, sample

from fair_distill.errors import IntegrityError


def test_a_sample_of_altered_pull_requests_does_not_pass(tmp_path: Path) -> None:
    with quick():
        proposal = Proposal(tmp_path)
        check_honest(proposal)

        table = apply(proposal, sample(proposal, 15))

        check_honest(proposal)
    assert not table.survivors, table.text()
    assert not table.faults, table.text()
    assert table.distinct >= 15


@pytest.mark.parametrize("outs", [True, 1, "x", {"path": "x"}])
def test_outputs_that_are_no_list_end_in_one_line(tmp_path: Path, outs: object) -> None:
    with quick():
        proposal = Proposal(tmp_path)
        record = {**proposal.lock["stages"]["prepare"], "outs": outs}
        lock = {**proposal.lock, "stages": {**proposal.lock["stages"], "prepare": record}}

        with pytest.raises(IntegrityError, match="stage 'prepare' has an output without path, size and MD5"):
            proposal.outcome(Mutant("", {"dvc.lock": json.dumps(lock).encode()}))
