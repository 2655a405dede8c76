"""Correction of predictions for the shares of the classes: Bayes' rule, and the same in evaluation and consumption."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_workspace import small_params
from test_evaluate import EASY, RECIPE, evaluated, generator

from fair_distill.card import DatasetCard
from fair_distill.config import Exam, Recipe, checked, parse_config, shortfall
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import DataError
from fair_distill.evaluation.priors import prior_shift
from fair_distill.evaluation.train import train_on
from fair_distill.gate.predictions import UNCORRECTED, Predictions
from fair_distill.stages.set_record import training_recipe

SKEWED = replace(RECIPE, priors=(0.9, 0.1))


def test_the_shift_is_that_of_bayes_rule() -> None:
    # P(c | x) under equal classes is (0.25, 0.75). With shares of 0.9 and 0.1 it is (0.225, 0.075) / 0.3.
    logits = torch.tensor([0.25, 0.75]).log()

    shift = prior_shift(SKEWED, torch.tensor([0, 1, 0, 1]))

    assert shift is not None
    torch.testing.assert_close((logits + shift).softmax(0), torch.tensor([0.75, 0.25]))


def test_a_set_with_the_shares_of_its_source_needs_no_correction() -> None:
    shift = prior_shift(SKEWED, torch.tensor([0] * 9 + [1]))

    assert shift is not None
    torch.testing.assert_close(shift, torch.zeros(2))
    assert prior_shift(RECIPE, torch.tensor([0, 1])) is None


def test_a_class_that_a_set_lacks_is_not_corrected() -> None:
    assert prior_shift(SKEWED, torch.tensor([0, 0])).tolist() == pytest.approx([np.log(0.9), 0.0])  # type: ignore[union-attr]


def test_both_predictions_are_stored() -> None:
    plain, skewed = evaluated(), evaluated(SKEWED)
    read = Predictions.from_parquet(skewed.to_parquet())
    uncorrected = read.uncorrected()

    assert plain.uncorrected() is None
    assert uncorrected is not None
    for name in ("predicted", "probability"):
        assert np.array_equal(uncorrected.columns[name], plain.columns[name].astype(uncorrected.columns[name].dtype))
    # With two classes, the probability of the first follows from the stored one.
    p = np.where(plain.columns["predicted"] == 0, plain.columns["probability"], 1 - plain.columns["probability"])
    odds = p / (1 - p) * 9
    np.testing.assert_array_equal(read.columns["predicted"], np.where(odds > 1, 0, 1))
    likelier = np.maximum(odds, 1 / np.maximum(odds, 1e-12))
    np.testing.assert_allclose(read.columns["probability"], likelier / (1 + likelier), atol=1e-4)
    assert set(UNCORRECTED) <= set(read.columns)


def card_of(data: GroupedDataset, **changes: object) -> DatasetCard:
    return DatasetCard(
        dataset="d",
        name="s",
        kind="subset",
        classes=data.classes,
        groups=data.groups,
        shape=data.shape,
        examples=len(data),
        train_counts=((1, 1), (1, 1)),
        recipe=replace(SKEWED, **changes),  # type: ignore[arg-type]
        diagnostics={},
    )


def test_a_consumer_gets_the_predictions_of_the_gate() -> None:
    small = DistilledSet(EASY.images.astype(np.float32) / 255, np.asarray(EASY.labels, dtype=np.int64), card_of(EASY))

    model = train_on(small, seed=1)
    pixels = torch.tensor(small.images)
    with torch.no_grad():
        corrected, uncorrected = model(pixels).softmax(1), (model(pixels) - model.shift).softmax(1)
    gate = evaluated(SKEWED, images=small.images, seeds=1, generator=lambda _: generator(1))

    np.testing.assert_allclose(corrected.max(1).values, gate.columns["probability"], atol=1e-5)
    np.testing.assert_allclose(uncorrected.max(1).values, gate.columns["uncorrected_probability"], atol=1e-5)


def test_cards_without_priors_have_no_new_key() -> None:
    plain, skewed = card_of(EASY, priors=None).to_dict(), card_of(EASY).to_dict()

    assert "priors" not in plain["recipe"]
    assert DatasetCard.from_dict(skewed).recipe.priors == (0.9, 0.1)
    for wrong in ([0.9], [0.9, 0.3], [1.1, -0.1]):
        with pytest.raises(DataError, match=r"recipe.priors is .*; expected a share for each of 2 classes"):
            DatasetCard.from_dict({**skewed, "recipe": {**skewed["recipe"], "priors": wrong}})


@pytest.mark.parametrize(
    ("priors", "counts", "corrected"),
    [
        (None, (60, 50), False),  # 1.2 times, which is still alike
        (None, (61, 50), True),
        ("correct", (50, 50), True),
        ("ignore", (90, 10), False),
    ],
)
def test_unequal_classes_are_corrected_by_default(priors: str | None, counts: tuple[int, int], corrected: bool) -> None:
    params = small_params()
    if priors is not None:
        params["recipe"]["priors"] = priors
    images = np.random.default_rng(0).integers(0, 255, (sum(counts), 3, 8, 8)).astype(np.uint8)
    labels = np.repeat([0, 1], counts)
    data = GroupedDataset.from_arrays(images, labels, np.arange(len(labels)) % 2)

    recipe = training_recipe(parse_config(params), data, 1)

    assert recipe.priors == (tuple(count / sum(counts) for count in counts) if corrected else None)


def test_an_exam_can_require_the_correction() -> None:
    raw = small_params()["recipe"]
    plain = {"networks": ["mlp"], "seeds": 2}

    def exam(priors: str | None) -> Exam:
        recipe = checked(Recipe, raw | ({} if priors is None else {"priors": priors}), name="recipe")
        return checked(Exam, plain, name="exam").model_copy(update={"recipe": recipe})

    assert "priors" not in exam(None).model_dump()["recipe"]  # digests of older policies stay the same
    assert shortfall(exam("correct"), exam(None)) is None
    assert shortfall(exam("correct"), exam("correct")) is None
    assert "recipe.priors must be 'correct'" in str(shortfall(exam("ignore"), exam("correct")))
