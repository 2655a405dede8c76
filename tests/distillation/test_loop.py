"""The optimisation loop: its result, its determinism, and its errors."""

from typing import Any

import numpy as np
import pytest
import torch
from small_workspace import grouped

from fair_distill.config import Candidate, Distill
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.distillation.alignment import Target
from fair_distill.distillation.distance import distance
from fair_distill.distillation.divergence import Diverged
from fair_distill.distillation.loop import Distilled, Streams, optimise
from fair_distill.distillation.sampling import normalisation
from fair_distill.errors import ConfigError, DataError

SETTINGS: dict[str, Any] = {
    "matcher": "dm",
    "network": {"name": "convnet", "width": 8, "depth": 2},
    "ipc": 3,
    "steps": 10,
    "real_per_class": 12,
    "embedding": "exact",
    "networks": {
        "pool": 1,
        "visits": 1,
        "warmup_epochs": 0,
        "advance": 0,
        "advance_on": "synthetic",
        "learning_rate": 0.01,
        "batch_size": 16,
    },
    "formation": 1,
    "distance": "squared",
    "reduce": "sum",
    "optimiser": {"name": "sgd", "learning_rate": 1.0, "momentum": 0.5},
    "start": "group_stratified",
    "augment": ["crop", "cutout"],
    "shrinkage": None,
    "unknown": "refuse",
}
POOLED = {"alignment": "pooled"}
PER_GROUP = {"alignment": "per_group"}
BARYCENTRIC = {"alignment": "barycentric", "barycenter": "mean"}
DATA = grouped([[40, 6], [5, 30], [20, 20]])
# Every batch contains every row, so the draws do not matter.
WHOLE: dict[str, Any] = {"real_per_class": 10_000, "start": "noise", "augment": []}


def streams(seed: int = 0, **other: int) -> Streams:
    seeds = dict.fromkeys(Streams.__annotations__, seed) | other
    return Streams(**{name: torch.Generator().manual_seed(number) for name, number in seeds.items()})


def ran(
    data: GroupedDataset = DATA,
    candidate: dict[str, Any] = BARYCENTRIC,
    *,
    seeds: Streams | None = None,
    progress: Any = lambda step, steps, loss: None,
    checkpoints: Any = None,
    trajectories: Any = None,
    **settings: Any,
) -> Distilled:
    """Distil with changed SETTINGS. Keys of the optimiser and the networks can be given without their sections."""
    inner = {
        section: SETTINGS[section] | {key: settings.pop(key) for key in SETTINGS[section] if key in settings}
        for section in ("optimiser", "networks")
    }
    return optimise(
        data,
        Distill.model_validate(SETTINGS | inner | settings),
        Candidate.model_validate(candidate),
        normalise=normalisation(data),
        streams=seeds or streams(),
        device=torch.device("cpu"),
        progress=progress,
        checkpoints=checkpoints,
        trajectories=trajectories,
    )


@pytest.mark.parametrize("candidate", [POOLED, PER_GROUP, BARYCENTRIC])
def test_the_result_is_ipc_finite_images_of_every_class(candidate: dict[str, Any]) -> None:
    result = ran(candidate=candidate)

    assert result.images.shape == (9, 3, 8, 8)
    assert result.images.dtype == np.float32
    assert np.isfinite(result.images).all()
    assert result.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert len(result.losses) == 10


@pytest.mark.parametrize("candidate", [POOLED, PER_GROUP, BARYCENTRIC])
def test_the_same_streams_give_the_same_bytes(candidate: dict[str, Any]) -> None:
    once, again = ran(candidate=candidate), ran(candidate=candidate)

    assert once.images.tobytes() == again.images.tobytes()
    assert once.losses == again.losses


@pytest.mark.parametrize("name", [name for name in Streams.__annotations__ if name != "matcher"])  # DM draws nothing.
def test_each_stream_is_used_and_changes_the_result(name: str) -> None:
    assert ran().images.tobytes() != ran(seeds=streams(**{name: 1})).images.tobytes()


def test_candidates_start_from_the_same_images() -> None:
    still: dict[str, Any] = {"learning_rate": 1e-30, "momentum": 0.0, "steps": 1}

    pooled, barycentric = (ran(DATA, candidate, **still).images for candidate in (POOLED, BARYCENTRIC))

    assert pooled.tobytes() == barycentric.tobytes()


def test_pixels_are_in_the_unit_of_the_real_ones_over_255() -> None:
    images = ran(learning_rate=1e-30, momentum=0.0, steps=1).images  # These are still the real images of the start.

    real = {image.tobytes() for image in DATA.images}
    assert {image.tobytes() for image in (images * 255).round().astype(np.uint8)} <= real


def test_nothing_draws_from_a_global_generator() -> None:
    torchs, numpys = torch.random.get_rng_state(), np.random.get_state()  # noqa: NPY002 (the state that must not change)

    ran(start="noise")

    assert torch.equal(torch.random.get_rng_state(), torchs)
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), numpys, strict=True))  # noqa: NPY002


def test_the_data_do_not_change() -> None:
    before = DATA.images.copy()

    ran()

    assert np.array_equal(DATA.images, before)


def test_the_loss_falls_on_the_networks_it_is_measured_with() -> None:
    settings = WHOLE | {"steps": 40}

    moving, still = (np.array(ran(**settings, learning_rate=rate).losses) for rate in (10.0, 1e-30))

    assert moving[0] == still[0]
    assert (moving[-10:] < still[-10:]).all()
    assert moving[-10:].mean() < 0.8 * still[-10:].mean()


def test_a_pooled_set_looks_like_the_majority_and_a_barycentric_one_like_both() -> None:
    skewed = grouped([[95, 5], [95, 5]])  # Group 0 is bright on the left, group 1 on the right.

    pooled, barycentric = (
        ran(skewed, candidate, start="noise", steps=20, learning_rate=5.0, augment=[]).images
        for candidate in (POOLED, BARYCENTRIC)
    )

    left, right = slice(None, 4), slice(4, None)
    assert pooled[..., left].mean() - pooled[..., right].mean() > 0.3
    assert abs(barycentric[..., left].mean() - barycentric[..., right].mean()) < 0.1


def test_fairdd_is_the_mean_barycenter_with_g_times_the_learning_rate() -> None:
    fairdd = ran(candidate=PER_GROUP, learning_rate=0.5)
    cobra = ran(candidate=BARYCENTRIC, learning_rate=1.0)

    np.testing.assert_allclose(fairdd.images, cobra.images, atol=1e-4)
    assert np.abs(fairdd.images - ran(candidate=BARYCENTRIC, learning_rate=0.5).images).max() > 1e-2


@pytest.mark.parametrize("candidate", [POOLED, PER_GROUP, BARYCENTRIC])
def test_the_names_of_groups_do_not_matter(candidate: dict[str, Any]) -> None:
    relabelled = GroupedDataset.from_arrays(DATA.images, DATA.labels, 1 - DATA.group_indices)

    np.testing.assert_allclose(
        ran(relabelled, candidate, **WHOLE).images, ran(DATA, candidate, **WHOLE).images, atol=1e-4
    )


def test_the_order_of_rows_does_not_matter() -> None:
    order = np.random.default_rng(0).permutation(len(DATA))
    shuffled = GroupedDataset.from_arrays(DATA.images[order], DATA.labels[order], DATA.group_indices[order])

    np.testing.assert_allclose(ran(shuffled, **WHOLE).images, ran(DATA, **WHOLE).images, atol=1e-4)


def test_progress_is_reported_at_every_step() -> None:
    told: list[tuple[int, int, float]] = []

    result = ran(progress=lambda *step: told.append(step))

    assert told == [(i + 1, 10, loss) for i, loss in enumerate(result.losses)]


def test_a_loss_that_is_not_finite_is_reported_with_the_rate_to_lower() -> None:
    with pytest.raises(
        Diverged, match=r"lower params\.yaml: distill\.optimiser\.learning_rate \(it is 1e\+30\)$"
    ) as caught:
        ran(learning_rate=1e30)

    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("kind", "reduce", "wanted"),
    [
        ("squared", "sum", 25 + 2 * 8),
        ("squared", "mean", 25 / 2 + 2 * 8 / 2),
        ("l1", "sum", 7 + 2 * 4),
        ("l1", "mean", 7.5),
    ],
)
def test_a_distance_is_its_closed_form(kind: str, reduce: str, wanted: float) -> None:
    target = Target((torch.tensor([[3.0, 4.0], [2.0, 2.0]]),), torch.tensor([1.0, 2.0]))

    assert distance(target, (torch.zeros(2, 2),), kind=kind, reduce=reduce).item() == pytest.approx(wanted)


def test_distances_are_summed_over_layers() -> None:
    one, other = torch.tensor([[3.0]]), torch.tensor([[1.0, 1.0]])
    target = Target((one, other), torch.ones(1))

    both = distance(target, (torch.zeros(1, 1), torch.zeros(1, 2)), kind="squared", reduce="sum")

    assert both.item() == pytest.approx(9 + 2)


@pytest.mark.parametrize(
    ("candidate", "settings", "error", "says"),
    [
        (BARYCENTRIC, {"matcher": "dn"}, ConfigError, "distill.matcher is 'dn'"),
        (BARYCENTRIC, {"network": "convent"}, ConfigError, "network.name is 'convent'"),
        (BARYCENTRIC, {"augment": ["spin"]}, ConfigError, "augment names 'spin'"),
        (BARYCENTRIC, {"ipc": 36}, DataError, "class 'class1' has 35 examples in train; ipc is 36"),
        (
            BARYCENTRIC,
            {"ipc": 9, "formation": 2},
            DataError,
            "class 'class1' has 35 examples in train; ipc is 9, and mosaics of 2×2 need 36",
        ),
        (BARYCENTRIC | {"barycenter": "medoid"}, {}, ConfigError, "barycenter is 'medoid'"),
        (BARYCENTRIC | {"barycenter": {"name": "mean", "delta": 1}}, {}, ConfigError, "barycenter 'mean'.*delta"),
        (BARYCENTRIC | {"group_weights": {"red": 1.0}}, {}, ConfigError, "the groups are group0, group1"),
    ],
)
def test_invalid_settings_are_refused(
    candidate: dict[str, Any], settings: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        ran(candidate=candidate, **settings)
