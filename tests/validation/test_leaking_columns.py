"""Features that leak the label: closed forms, and columns of unique names on held-out examples."""

import numpy as np
import pandas as pd
import pytest

from fair_distill.config import Validate, checked
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.formats.schema_inference import schema_of
from fair_distill.validation.contract import Validation, validate
from fair_distill.validation.label_leak import leak_table


def leak(train: Array, other: Array, train_class: Array, other_class: Array, *, numeric: bool) -> float:
    kind = {"numeric": ["x"], "categorical": []} if numeric else {"numeric": [], "categorical": ["x"]}
    schema = schema_of({"x": train}, **kind)
    tables = {
        "train": pd.DataFrame({"row.x": train, "class": train_class}),
        "gate": pd.DataFrame({"row.x": other, "class": other_class}),
    }
    (found,) = leak_table(schema, tables)["leak"]
    return float(found)


def test_half_of_the_errors_undone_is_half_of_what_there_is_to_know() -> None:
    # The most frequent class is correct for 6 of 10; "b" predicts 2 of the other 4.
    values = np.array(["a"] * 6 + ["a"] * 2 + ["b"] * 2, dtype=object)
    classes = np.array(["no"] * 6 + ["yes"] * 4, dtype=object)

    assert leak(values, values, classes, classes, numeric=False) == pytest.approx(0.5)


@pytest.mark.parametrize("shift", [0.0, 0.001])
def test_a_number_on_two_sides_of_a_threshold_tells_all(shift: float) -> None:
    values = np.concatenate([np.linspace(0, 1, 640), np.linspace(2, 3, 640)])
    classes = np.repeat(np.array(["no", "yes"], dtype=object), 640)

    assert leak(values, values + shift, classes, classes, numeric=True) == 1


def test_a_name_of_its_own_for_each_example_tells_nothing_of_others() -> None:
    classes = np.array(["no", "yes"] * 20, dtype=object)
    names = np.array([f"person {i}" for i in range(80)], dtype=object)

    assert leak(names[:40], names[40:], classes, classes, numeric=False) == 0
    assert leak(names[:40], names[:40], classes, classes, numeric=False) == 1


def test_noise_tells_nearly_nothing_and_never_less_than_nothing() -> None:
    rng = np.random.default_rng(0)
    classes = rng.choice(np.array(["no", "yes"], dtype=object), 8000)

    found = leak(rng.normal(size=4000), rng.normal(size=4000), classes[:4000], classes[4000:], numeric=True)

    assert 0 <= found < 0.1


def rows(n: int, *, seed: int, noise: int) -> tuple[dict[str, Array], Array, Array]:
    """A column that is the class, but for `noise` rows of it; and one that is neither."""
    rng = np.random.default_rng(seed)
    label, group = np.arange(n) % 2, np.arange(n) // 2 % 2
    leaky = label.copy()
    leaky[:noise] = 1 - leaky[:noise]
    return {"leaky": leaky, "other": rng.normal(size=n).astype(np.float32)}, label, group


def outcome(noise: int, **rules: object) -> Validation:
    table, label, group = rows(100, seed=0, noise=0)
    train = GroupedDataset.from_rows(table, label, group, numeric=("leaky", "other"))
    table, label, group = rows(100, seed=1, noise=noise)
    gate = GroupedDataset.from_rows(table, label, group, schema=train.schema, pairs=np.arange(100, 200))
    given = {"minimum_per_cell": 1, "maximum_imbalance": 10.0, "severity": {"range_elsewhere": "off"}} | rules
    return validate({"train": train, "gate": gate}, checked(Validate, given, name="test"))


def test_without_a_limit_a_column_that_tells_all_is_refused_and_one_that_errs_once_is_not() -> None:
    found, erring = outcome(0), outcome(1)

    assert [(it.check, it.severity, it.split) for it in found.failures] == [("leak", "error", "train")]
    assert (
        "column 'leaky', fitted in train, predicts the label of the other splits with Goodman–Kruskal lambda 1 ("
        in found.failures[0].sentence
    )
    assert erring.failures == ()
    assert erring.leak["leaky"] == pytest.approx(0.98)


@pytest.mark.parametrize(("maximum", "refused"), [(0.98, False), (0.97, True)])
def test_with_a_limit_it_is_allowed_up_to_it(maximum: float, refused: bool) -> None:
    found = outcome(1, maximum_leak=maximum)

    assert found.success is not refused
