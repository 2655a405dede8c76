"""No interface passes files that do not belong together: a sample of the mutants of `make test-mutants`."""

from itertools import chain, islice
from pathlib import Path

from mutation.interfaces import INTERFACES, quick
from mutation.mutants import Files, mutants, steps
from mutation.run import apply, check_honest
from mutation.scene import Scene

EVERY = 61  # a prime, so that a sample meets every kind of file and of change


def test_a_sample_of_mutants_passes_in_no_interface(tmp_path: Path) -> None:
    with quick():
        scene = Scene(tmp_path)
        files = Files(scene)
        check_honest(scene)
        every = chain(mutants(scene, files, density=60), steps(scene, files))

        table = apply(scene, files, islice(every, 0, None, EVERY))

        check_honest(scene)
    assert not table.survivors, table.text()
    assert not table.faults, table.text()
    assert table.distinct > 150
    assert all(table.asked[interface] for interface in INTERFACES)
