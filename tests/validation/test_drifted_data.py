"""Drift in closed form, its invariances, and profiles from validation.json and from the registry."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cityblock
from small_rows import dataset as small_dataset
from small_workspace import grouped

from fair_distill.config import Validate, checked
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.errors import ConfigError, DataError
from fair_distill.files import to_json
from fair_distill.validation.contract import Validation, validate
from fair_distill.validation.drift import Histogram, Profile, drift_table

RULES = {"minimum_per_cell": 1, "maximum_imbalance": 100.0, "severity": {"near": "off", "leak": "off"}}


def moved(before: dict[str, int], now: dict[str, int]) -> dict[str, object]:
    was, came = (Profile({}, values={"colour": counts}) for counts in (before, now))
    (row,) = drift_table(came, was).to_dict("records")
    return row


def test_both_statistics_in_closed_form() -> None:
    row = moved({"red": 50, "blue": 50}, {"red": 25, "blue": 75})

    assert row["psi"] == pytest.approx(0.25 * math.log(3))  # -.25 ln(.5) + .25 ln(1.5)
    assert row["variation"] == 0.25
    assert (row["what"], row["was"], row["is"]) == ("colour", 0.5, 0.25)


def test_a_value_that_is_new_counts_as_one_in_ten_thousand_before() -> None:
    row = moved({"red": 100}, {"red": 90, "blue": 10})

    assert row["psi"] == pytest.approx(-0.1 * math.log(0.9) + (0.1 - 1e-4) * math.log(1000))
    assert row["variation"] == pytest.approx(0.1)


counts = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 50), min_size=1).filter(lambda of: sum(of.values()))


@settings(deadline=None)
@given(before=counts, now=counts, times=st.integers(2, 5))
def test_drift_is_symmetric_scale_free_and_zero_of_itself(
    before: dict[str, int], now: dict[str, int], times: int
) -> None:
    row, back = moved(before, now), moved(now, before)
    more = moved({key: times * n for key, n in before.items()}, now)
    keys = sorted(before | now)
    p, q = (np.array([of.get(key, 0) for key in keys]) / sum(of.values()) for of in (now, before))

    assert row["variation"] == pytest.approx(cityblock(p, q) / 2)
    assert row["psi"] >= 0
    for other in (back, more):
        assert (other["psi"], other["variation"]) == (pytest.approx(row["psi"]), pytest.approx(row["variation"]))
    assert (moved(now, now)["psi"], moved(now, now)["variation"]) == (0, 0)


def test_what_only_one_profile_has_is_not_compared() -> None:
    before = Profile({"cat": {"red": 1}}, numbers={"age": Histogram((1.0,), (1, 1))})
    now = Profile({"cat": {"red": 1}}, numbers={"height": Histogram((1.0,), (1, 1))})

    assert drift_table(now, before)["what"].tolist() == ["cells"]


def held(train: GroupedDataset, reference: Path, **limits: float) -> Validation:
    rules = checked(Validate, RULES | {"drift": {"reference": reference.name, **limits}}, name="test")
    return validate({"train": train}, rules, root=reference.parent)


def test_data_are_held_against_the_validation_of_earlier_data(tmp_path: Path) -> None:
    before = grouped([[30, 30], [30, 30]])
    earlier = tmp_path / "earlier.json"
    earlier.write_bytes(to_json(validate({"train": before}, checked(Validate, RULES, name="test")).to_dict()))
    bright = grouped([[45, 15], [30, 30]])
    bright.images[:] = np.minimum(bright.images, 155) + 100

    same = held(before, earlier, maximum_psi=0.001, maximum_variation=0.0)
    now = held(bright, earlier, maximum_psi=0.2, maximum_variation=0.125)

    assert same.failures == ()
    assert same.drift == {what: {"psi": 0.0, "variation": 0.0} for what in ("cells", "intensity")}
    assert now.success  # a warning, unless params.yaml says otherwise
    assert now.drift["cells"]["variation"] == 0.125  # on the limit
    assert now.drift["intensity"]["variation"] == 1
    assert [(it.check, it.column) for it in now.failures] == [("drift", "psi"), ("drift", "variation")]
    assert (
        "intensity in train differs from the reference: total variation distance 1 (limit 0.125)"
        in now.failures[1].sentence
    )
    assert list(now.sources) == ["earlier.json"]


def test_columns_of_a_table_are_compared_in_the_bins_of_the_reference(tmp_path: Path) -> None:
    before, older = small_dataset(80), small_dataset(80)
    earlier = tmp_path / "earlier.json"
    earlier.write_bytes(to_json(validate({"train": before}, checked(Validate, RULES, name="test")).to_dict()))
    older.images[:, 0] += 100  # age

    outcome = held(older, earlier, maximum_variation=0.5)

    assert set(outcome.drift) == {"cells", "age", "height", "work", "colour"}
    moved = {what: fact["variation"] for what, fact in outcome.drift.items()}
    assert moved["age"] == pytest.approx(0.9, abs=0.03)  # all above the ninth tenth, where a tenth was
    assert [moved[what] for what in ("cells", "height", "work", "colour")] == [0, 0, 0, 0]
    tenths = json.loads(earlier.read_bytes())["profile"]["numbers"]["age"]
    assert sum(tenths["counts"]) == 80
    assert "distribution of age in train differs" in outcome.failures[-1].sentence


@pytest.mark.parametrize(
    "content", [b"{}", b"no json", b'{"profile": null}', b'{"profile": {"cells": {"a": {"b": -1}}}}', b"[1]"]
)
def test_a_reference_that_is_none_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "reference.json").write_bytes(content)

    with pytest.raises(DataError, match=r"^reference\.json[: ][^\n]*$"):
        held(grouped([[2, 2], [2, 2]]), tmp_path / "reference.json", maximum_psi=1.0)


def test_a_reference_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"validate\.drift\.reference is 'gone\.json', which cannot be read: No such file"
    ):
        held(grouped([[2, 2], [2, 2]]), tmp_path / "gone.json", maximum_psi=1.0)
