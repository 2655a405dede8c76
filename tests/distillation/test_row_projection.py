"""Rows: networks and published sets contain valid rows, and gradients pass through the projection."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from small_rows import dataset
from small_workspace import grouped

import fair_distill
from fair_distill.config import Candidate, Distill, checked
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.distillation.loop import Distilled, Streams, optimise
from fair_distill.distillation.presets import FOR_ROWS, PRESETS
from fair_distill.distillation.row_projection import RowProjection
from fair_distill.distillation.sampling import GroupSampler, normalisation, reader
from fair_distill.errors import ConfigError
from fair_distill.evaluation.references import subset

DATA = dataset(80)
SCHEMA = DATA.schema
assert SCHEMA is not None
NORM = normalisation(DATA)
VALID = RowProjection(SCHEMA, NORM, temperature=0.5)
SMALL: dict[str, Any] = {
    "network": {"name": "mlp", "width": 16, "depth": 2},
    "ipc": 3,
    "steps": 4,
    "real_per_class": 8,
    "optimiser": {"learning_rate": 20.0},
}


def test_numbers_are_standardised_once_and_one_hot_columns_do_not_change() -> None:
    numbers = DATA.images[:, :2, 0, 0].astype(np.float64)

    assert NORM.mean == (*numbers.mean(axis=0).round(6), 0, 0, 0, 0, 0)
    assert NORM.std == (*numbers.std(axis=0).round(6), 1, 1, 1, 1, 1)
    read = reader(DATA.images, NORM, torch.device("cpu"))
    sampler = GroupSampler(DATA, per_class=40, allocation="proportional", read=read, device=torch.device("cpu"))
    batch = sampler.draw(torch.Generator().manual_seed(0)).images[:, :, 0, 0]
    assert len(batch) == 80  # All rows, in another order.
    torch.testing.assert_close(batch[:, :2].mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(batch[:, :2].std(dim=0, correction=0), torch.ones(2), atol=1e-5, rtol=0)
    assert set(batch[:, 2:].unique().tolist()) == {0.0, 1.0}


@given(hnp.arrays(np.float32, (4, *SCHEMA.shape), elements=st.floats(-30, 30, width=32)))
@settings(max_examples=30)
def test_networks_see_the_valid_rows_that_are_published(free: Any) -> None:
    leaf = torch.from_numpy(free)
    shipped = SCHEMA.nearest(NORM.undo(leaf).numpy())

    SCHEMA.check(shipped, name="the set")
    assert torch.equal(VALID(leaf), NORM.apply(torch.from_numpy(shipped)))


def test_the_gradient_is_that_of_the_softmax_and_of_the_number_itself() -> None:
    leaf = torch.randn(5, *SCHEMA.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slope = torch.randn(leaf.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    through, smooth = leaf.clone().requires_grad_(), leaf.clone().requires_grad_()
    soft = [block / 0.5 for block in smooth[:, 2:].split([3, 2], dim=1)]

    (VALID(through) * slope).sum().backward()
    (torch.cat([smooth[:, :2], *(block.softmax(dim=1) for block in soft)], dim=1) * slope).sum().backward()

    assert through.grad is not None
    torch.testing.assert_close(through.grad, smooth.grad)
    assert through.grad[:, 2:].abs().min() > 0


def test_a_valid_row_does_not_change() -> None:
    rows = torch.from_numpy(DATA.images)

    torch.testing.assert_close(VALID(NORM.apply(rows)), NORM.apply(rows), atol=1e-6, rtol=0)


def distilled(data: GroupedDataset = DATA, **settings: Any) -> Distilled:
    return fair_distill.distill(data, **(SMALL | settings))


@pytest.mark.parametrize("preset", ["dm", "dc", "idc", "cafe"])
@pytest.mark.parametrize("alignment", ["pooled", "per_group", "barycentric"])
def test_every_matcher_and_alignment_gives_valid_rows(preset: str, alignment: str) -> None:
    of: dict[str, Any] = {"matcher": {"name": "cafe", "layer_weights": [1, 1], "discrimination": 0.1}}
    result = distilled(preset=preset, alignment=alignment, networks={"advance": 1}, **(of if preset == "cafe" else {}))

    SCHEMA.check(result.images, name="the set")
    assert result.images.shape == (6, *SCHEMA.shape)
    assert np.array_equal(SCHEMA.encode(SCHEMA.decode(result.images)), result.images)


@pytest.mark.parametrize("start", ["group_stratified", "natural", "noise"])
def test_every_start_has_valid_rows_that_then_change(start: str) -> None:
    at_rest = distilled(start=start, steps=1, optimiser={"learning_rate": 1e-12}).images
    moved = distilled(start=start, steps=20).images

    SCHEMA.check(at_rest, name="the set")
    if start == "noise":
        assert len(np.unique(at_rest, axis=0)) == 6
    else:
        assert all((DATA.images == row).all(axis=(1, 2, 3)).any() for row in at_rest)
    assert (SCHEMA.decode(moved)["age"] != SCHEMA.decode(at_rest)["age"]).any()
    assert (SCHEMA.decode(moved)["work"] != SCHEMA.decode(at_rest)["work"]).any()


def test_distillation_learns_to_distinguish_the_classes() -> None:
    rows = SCHEMA.decode(distilled(start="noise", steps=80, ipc=4, real_per_class=20).images)

    assert rows["age"][4:].mean() - rows["age"][:4].mean() > 15
    assert (rows["work"][4:] == "office").mean() > (rows["work"][:4] == "office").mean()


def test_options_of_rows_do_not_change_the_loop_for_images() -> None:
    images = grouped([[20, 5], [5, 20]])
    small = SMALL | {
        "network": {"name": "convnet", "width": 4, "depth": 2},
        "augment": [],
        "optimiser": {"learning_rate": 0.01},
    }

    assert np.array_equal(distilled(images, **small).images, distilled(images, **small, rows=None).images)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"augment": ["crop"]},
            r"distill\.augment is \['crop'\], which applies to images",
        ),
        ({"formation": 2}, r"distill\.formation is 2, which applies to images"),
        ({"rows": None}, r"distill\.rows is missing"),
        ({"rows": {"temperature": 0.0}}, r"rows\.temperature is 0.0; it must be greater than 0"),
        ({"network": {"name": "convnet", "width": 4, "depth": 2}}, "depth is 2; images of 1×1"),
        ({"network": {"name": "resnet18", "width": 0.1}}, r"needs images of at least 9×9 pixels; the images have 1×1"),
    ],
)
def test_settings_of_images_are_refused_for_rows(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        distilled(**changes)


def test_settings_of_rows_are_refused_for_images() -> None:
    settings = checked(Distill, PRESETS["dm"] | FOR_ROWS | SMALL | {"optimiser": FOR_ROWS["optimiser"]}, name="t")
    images = grouped([[20, 5], [5, 20]])

    with pytest.raises(ConfigError, match=r"distill\.rows applies to rows of a table"):
        optimise(
            images,
            settings,
            checked(Candidate, {"alignment": "pooled"}, name="t"),
            normalise=normalisation(images),
            streams=Streams.from_seed(0),
            device=torch.device("cpu"),
        )


@pytest.mark.parametrize("select", ["random", "group_balanced"])
def test_references_of_rows_are_real_rows(select: str) -> None:
    images, labels = subset(select, DATA, 4, 1, torch.Generator().manual_seed(0))

    SCHEMA.check(images, name="the set")
    assert all(
        (DATA.images[DATA.labels == y] == row).all(axis=(1, 2, 3)).any() for row, y in zip(images, labels, strict=True)
    )


def test_mosaics_of_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"references: formation is 2, but rows of a table have no tiles"):
        subset("random", DATA, 4, 2, torch.Generator().manual_seed(0))
