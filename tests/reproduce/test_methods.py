"""Every method makes a set of the size it says, from its seed and nothing else."""

import numpy as np
import pytest
from reproduce.small_benchmark import TINY
from small_workspace import grouped

from benchmarks.reproduce.methods import METHODS, Task, method
from fair_distill.errors import ConfigError

DATA = grouped([[30, 10], [9, 30]])
IPC = 4


def task(seed: int = 0) -> Task:
    return Task(DATA, TINY, IPC, seed, "cpu", 0.5)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_makes_a_set_and_follows_its_seed(name: str) -> None:
    made, again, other = (METHODS[name].make(task(seed)) for seed in (0, 0, 1))

    whole = name in ("full", "full_resampled")
    assert made.labels.tolist() == ([0] * 40 + [1] * 39 if whole else [0] * IPC + [1] * IPC)
    assert made.images.shape == (len(made.labels), *DATA.shape)
    assert np.isfinite(made.images).all()
    assert len(made.losses) in (0, TINY.steps, TINY.gradient_steps)
    assert np.array_equal(made.images, again.images)
    assert name == "full" or not np.array_equal(made.images, other.images) or name == "herding"
    assert made.recipe.network["options"]["width"] == TINY.width


def test_groups_distilled_alone_do_not_see_each_other() -> None:
    blank = grouped([[30, 10], [9, 30]])
    changed = blank.images.copy()
    changed[np.asarray(blank.group_indices) == 1] = 0
    other = type(blank).from_arrays(changed, blank.labels, blank.group_indices, pairs=blank.pairs)

    both = [METHODS["joined"].make(Task(data, TINY, IPC, 0, "cpu", 0.5)).images for data in (DATA, other)]

    assert [np.array_equal(a, b) for a, b in zip(*both, strict=True)] == [True, True, False, False] * 2


def test_a_warm_up_lengthens_with_ipc_as_the_release_has_it() -> None:
    epochs = [METHODS["cobra_code"].settings(TINY, ipc)["networks"]["warmup_epochs"] for ipc in (10, 50, 100)]

    assert epochs == [10, 50, 100]
    assert METHODS["cobra_paper"].settings(TINY, 50)["networks"]["warmup_epochs"] == 0


def test_the_compared_alignments_differ_in_what_their_papers_say_and_in_nothing_else() -> None:
    vanilla, fairdd, paper, code = (
        METHODS[name].settings(TINY, 10) for name in ("vanilla", "fairdd", "cobra_paper", "cobra_code")
    )

    def differ(a: dict[str, object], b: dict[str, object]) -> set[str]:
        return {key for key in a if a[key] != b[key]}

    assert differ(vanilla, fairdd) == differ(vanilla, paper) == {"preset", "alignment"}
    assert differ(paper, code) == {"preset", "distance", "networks"}


def test_a_method_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="the method is 'magic'; choose from random"):
        method("magic")
