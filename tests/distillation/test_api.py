"""`fair_distill.distill`, distillation of arrays."""

from typing import Any

import numpy as np
import pytest
from small_workspace import grouped

import fair_distill
from fair_distill.config import Distill
from fair_distill.distillation.loop import Distilled
from fair_distill.distillation.presets import PRESETS
from fair_distill.errors import ConfigError

DATA = grouped([[20, 5], [5, 20]])
SMALL: dict[str, Any] = {
    "network": {"name": "convnet", "width": 4, "depth": 2},
    "ipc": 2,
    "steps": 2,
    "real_per_class": 8,
    "augment": [],
}


# Overrides for presets whose settings are too large for the small test data.
SMALLER: dict[str, dict[str, Any]] = {
    "cafe": {"matcher": {"name": "cafe", "layer_weights": [1, 1], "discrimination": 0.1}},
    "mtt": {
        "matcher": PRESETS["mtt"]["matcher"]
        | {"student_steps": 2, "start_epochs": 1, "step_size_learning_rate": 0}
        | {"experts": PRESETS["mtt"]["matcher"]["experts"] | {"count": 1, "epochs": 2}},
        "optimiser": {"learning_rate": 0.1},
    },
}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("alignment", ["pooled", "per_group", "barycentric"])
def test_every_preset_supports_every_alignment_but_mtt_per_group(preset: str, alignment: str) -> None:
    def made() -> Distilled:
        return fair_distill.distill(
            DATA, preset=preset, alignment=alignment, **(SMALL | SMALLER.get(preset, {})), networks={"advance": 1}
        )

    if (preset, alignment) == ("mtt", "per_group"):
        with pytest.raises(
            ConfigError, match=r"matcher 'mtt' does not support alignment 'per_group'. Use 'pooled' or 'barycentric'."
        ):
            made()
        return
    result = made()

    assert result.images.shape == (4, 3, 8, 8)
    assert np.isfinite(result.images).all()
    assert result.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_a_complete_section_of_params(preset: str) -> None:
    assert Distill.model_validate(PRESETS[preset]).ipc == 10


def test_a_seed_determines_the_bytes() -> None:
    once, again, other = (fair_distill.distill(DATA, **SMALL, seed=seed).images for seed in (1, 1, 2))

    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


@pytest.mark.parametrize(
    "barycenter", ["l1", {"name": "huber", "delta": 0.5}, {"name": "sinkhorn", "dimension": 4, "epsilon": 0.1}]
)
def test_a_barycenter_is_chosen_by_name_with_its_options(barycenter: Any) -> None:
    three = grouped([[20, 5, 9], [5, 20, 7]])  # With two groups all of these barycenters are the mean.
    plain = fair_distill.distill(three, **SMALL).images

    assert not np.array_equal(fair_distill.distill(three, barycenter=barycenter, **SMALL).images, plain)


def test_a_custom_barycenter_is_named_by_its_module() -> None:
    own = fair_distill.distill(DATA, barycenter="fair_distill.distillation.barycenter:mean", **SMALL).images

    np.testing.assert_allclose(own, fair_distill.distill(DATA, **SMALL).images, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"preset": "cobre"}, "preset is 'cobre'; choose one of default, dm"),
        ({"stpes": 3}, "stpes is not a known key"),
        ({"alignment": "fair"}, "alignment"),
        ({"optimiser": {"learning_rate": -1}}, "optimiser.learning_rate"),
        ({"optimiser": {"name": "normalised_sgd", "learning_rate": 10.0}}, "learning_rate is 10; with normalised_sgd"),
    ],
)
def test_an_invalid_choice_is_refused_in_one_line(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        fair_distill.distill(DATA, **(SMALL | changes))
    assert "\n" not in str(caught.value)
