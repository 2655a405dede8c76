"""Experts: the influence of groups, the error of storage, and the refusal of damaged or foreign files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_workspace import candidate, grouped, tree
from torch import Tensor

from fair_distill.config import Named
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.distillation.alignment import build_alignment
from fair_distill.distillation.divergence import Diverged
from fair_distill.distillation.experts import ExpertFolder, Experts, Trajectory, train_experts
from fair_distill.distillation.matchers.mtt import split_weights
from fair_distill.distillation.networks import build
from fair_distill.distillation.sampling import normalisation
from fair_distill.errors import DataError, IntegrityError

DATA = grouped([[12, 3], [4, 8]])
NETWORK = Named(name="convnet", width=4, depth=2)
WHOLE = 1000  # A batch size that includes every row.
KEY = "c0ffee"


def settings(**changes: Any) -> Experts:
    plain = {"count": 1, "epochs": 1, "learning_rate": 0.1, "momentum": 0.0, "batch_size": WHOLE, "augment": []}
    return Experts.model_validate(plain | changes)


def trained(
    folder: Path,
    data: GroupedDataset = DATA,
    *,
    barycenter: Any = "mean",
    alignment: str = "barycentric",
    progress: Any = lambda done, of: None,
    **changes: Any,
) -> ExpertFolder:
    chosen = candidate(alignment, **({"barycenter": barycenter} if alignment == "barycentric" else {}))
    kept = ExpertFolder(folder, KEY)
    train_experts(
        data,
        settings(**changes),
        NETWORK,
        build_alignment(chosen, data.counts, data.groups),
        folder=kept,
        normalise=normalisation(data),
        generator=lambda expert: torch.Generator().manual_seed(expert),
        device=torch.device("cpu"),
        progress=progress,
    )
    return kept


def gradient(weights: Tensor, rows: np.ndarray, data: GroupedDataset = DATA) -> Tensor:
    """Return the gradient of the mean loss of some rows, (P,)."""
    images = normalisation(data).apply(torch.from_numpy(data.images[rows]).float() / 255)
    network = build(NETWORK.name, NETWORK.options, data.shape, 2, torch.Generator())
    network.load_state_dict(split_weights(network, weights))
    loss = F.cross_entropy(network(images), torch.from_numpy(data.labels[rows]))
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(network.parameters()))])


def rows(label: int, group: int) -> np.ndarray:
    return np.flatnonzero((DATA.labels == label) & (DATA.group_indices == group))


def test_a_step_is_the_mean_of_the_groups_gradients_and_classes_keep_their_shares(tmp_path: Path) -> None:
    before, after = trained(tmp_path).between(0, 0, 1)

    wanted = torch.zeros_like(before)
    for label, share in enumerate(DATA.counts.sum(axis=1) / len(DATA)):
        wanted += share * (gradient(before, rows(label, 0)) + gradient(before, rows(label, 1))) / 2
    torch.testing.assert_close((before - after) / 0.1, wanted, rtol=1e-2, atol=1e-3 * float(wanted.abs().max()))


def test_a_pooled_step_is_the_gradient_of_all_examples(tmp_path: Path) -> None:
    before, after = trained(tmp_path, alignment="pooled").between(0, 0, 1)

    wanted = gradient(before, np.arange(len(DATA)))
    torch.testing.assert_close((before - after) / 0.1, wanted, rtol=1e-2, atol=1e-3 * float(wanted.abs().max()))


def test_experts_of_balanced_data_are_the_pooled_ones(tmp_path: Path) -> None:
    balanced = grouped([[6, 6], [6, 6]])
    changes = {"epochs": 3, "batch_size": 8, "momentum": 0.5, "augment": ["crop"]}

    pooled = trained(tmp_path / "pooled", balanced, alignment="pooled", **changes).between(0, 0, 3)
    weighted = trained(tmp_path / "weighted", balanced, **changes).between(0, 0, 3)

    assert torch.equal(pooled[0], weighted[0])
    assert (pooled[1] - weighted[1]).norm() < 1e-3 * (pooled[1] - pooled[0]).norm()


@pytest.mark.parametrize("barycenter", ["minimax", "l1"])
def test_for_two_groups_all_barycenters_give_the_mean_gradient(tmp_path: Path, barycenter: str) -> None:
    """With two groups and equal weights these barycenters are the mean, computed here with one pass per group."""
    mean = trained(tmp_path / "mean", epochs=2).between(0, 0, 2)[1]
    other = trained(tmp_path / "other", barycenter=barycenter, epochs=2).between(0, 0, 2)[1]

    torch.testing.assert_close(mean, other, rtol=1e-3, atol=1e-4)


def test_an_absent_cell_has_no_influence(tmp_path: Path) -> None:
    lacking = grouped([[12, 0], [4, 8]])

    mean = trained(tmp_path / "mean", lacking).between(0, 0, 1)[1]
    other = trained(tmp_path / "other", lacking, barycenter="l1").between(0, 0, 1)[1]

    torch.testing.assert_close(mean, other, rtol=1e-3, atol=1e-4)


def test_experts_start_alike_and_then_differ_by_alignment(tmp_path: Path) -> None:
    pooled, aligned = (
        trained(tmp_path / name, alignment=name, count=2, epochs=1) for name in ("pooled", "barycentric")
    )

    assert torch.equal(pooled.between(0, 0, 1)[0], aligned.between(0, 0, 1)[0])
    assert not torch.equal(pooled.between(0, 0, 1)[0], pooled.between(1, 0, 1)[0])
    assert not torch.equal(pooled.between(0, 0, 1)[1], aligned.between(0, 0, 1)[1])


def test_an_epoch_shows_as_many_images_as_the_data_contain(tmp_path: Path) -> None:
    """At a small rate, four steps on a quarter of the rows move four times as far as one step on all rows."""
    even = grouped([[8, 8], [8, 8]])

    (before, whole), (_, quarters) = (
        trained(tmp_path / str(size), even, learning_rate=1e-4, batch_size=size).between(0, 0, 1) for size in (WHOLE, 8)
    )

    way = whole - before
    assert float((quarters - before) @ way / way.square().sum()) == pytest.approx(4, rel=0.2)


def test_rounding_errors_do_not_accumulate() -> None:
    """The error after every epoch is that of one epoch, also at a rate of 1e-6."""
    draws = torch.Generator().manual_seed(0)
    for size in (1.0, 1e-6):
        steps = size * torch.randn(40, 500, generator=draws) * torch.logspace(0, -4, 500)
        exact = torch.cat([torch.randn(1, 500, generator=draws) * size, steps]).cumsum(dim=0)

        kept = Trajectory.from_weights(iter(exact.unbind()))
        stored, errors = kept.start.clone(), []
        for epoch in range(40):
            stored += kept.changes[epoch].float() * kept.scales[epoch]
            errors.append(float((stored - exact[epoch + 1]).norm() / steps[epoch].norm()))

        assert max(errors) < 4e-4
        assert max(errors[20:]) < 2 * max(errors[:20])


def test_an_expert_that_does_not_change_is_stored_exactly() -> None:
    still = Trajectory.from_weights(iter([torch.ones(3)] * 3))

    assert still.changes.tolist() == [[0.0] * 3] * 2


def test_the_weights_that_are_read_are_those_of_training(tmp_path: Path) -> None:
    """All pairs of epochs give the same weights for an epoch."""
    kept = trained(tmp_path, epochs=3)

    ways = {(first, last): kept.between(0, first, last) for first in range(3) for last in range(first + 1, 4)}

    for (first, last), (before, after) in ways.items():
        assert torch.equal(before, kept.between(0, first, 3)[0])
        assert torch.equal(after, kept.between(0, 0, last)[1])


class Stopped(Exception):
    """Raised in the middle of a run, to interrupt it."""


@pytest.mark.parametrize("stopped", [1, 3, 5])
def test_an_interrupted_run_that_continues_gives_the_same_bytes(tmp_path: Path, stopped: int) -> None:
    changes = {"count": 3, "epochs": 2, "batch_size": 8, "momentum": 0.5, "augment": ["crop"]}
    trained(tmp_path / "whole", **changes)

    def stop(done: int, of: int) -> None:
        if done == stopped:
            raise Stopped

    told: list[int] = []
    with pytest.raises(Stopped):
        trained(tmp_path / "cut", progress=stop, **changes)
    trained(tmp_path / "cut", progress=lambda done, of: told.append(done), **changes)

    assert tree(tmp_path / "cut") == tree(tmp_path / "whole")
    finished = (stopped - 1) // 2
    assert len(told) == 2 * (3 - finished)


def test_foreign_missing_and_damaged_experts_are_refused(tmp_path: Path) -> None:
    kept = trained(tmp_path)

    with pytest.raises(IntegrityError, match="another configuration or other data; run `fair-distill stage experts`"):
        ExpertFolder(tmp_path, "decaf").between(0, 0, 1)
    with pytest.raises(
        DataError, match=r"0001\.safetensors is missing; run `fair-distill stage experts`, which writes it"
    ):
        kept.between(1, 0, 1)
    with pytest.raises(IntegrityError, match="is not a trajectory of 2 epochs"):
        kept.between(0, 0, 2)
    kept.path(0).write_bytes(kept.path(0).read_bytes()[:-5])
    with pytest.raises(IntegrityError, match="is not a trajectory"):
        kept.between(0, 0, 1)


def test_a_diverged_expert_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"expert 1 of 1 are not finite .*learning_rate \(it is 1e\+30\)"):
        trained(tmp_path, epochs=2, learning_rate=1e30)
    assert not list(tmp_path.iterdir())
