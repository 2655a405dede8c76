"""Columns that determine others are detected, and rows that contradict them are counted or projected."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fair_distill.card import Relation, Relations
from fair_distill.config.distill import Rows
from fair_distill.data.column_relations import ColumnRelation, broken_relations, find_relations, keep_relations
from fair_distill.formats.row_schema import RowSchema
from fair_distill.formats.schema_inference import schema_of

SCHOOLS = np.array(["none", "school", "college", "university"])


def people(n: int = 400, *, exceptions: int = 0) -> dict[str, Any]:
    """Return a school, its number of years, the stage that two schools share, and two columns without a relation."""
    rng = np.random.default_rng(0)
    level = rng.integers(0, 4, n)
    years = level * 4
    years[:exceptions] = (years[:exceptions] + 4) % 16
    return {
        "years": years,
        "school": SCHOOLS[level],
        "stage": np.where(level < 2, "early", "late"),
        "city": rng.choice(["x", "y", "z"], n),
        "height": rng.normal(size=n),
        "serial": np.arange(n),
        "rare": np.where(np.arange(n) < 2, "yes", "no"),
    }


NUMERIC, CATEGORICAL = ["years", "height", "serial"], ["school", "stage", "city", "rare"]


def encoded(**options: int) -> tuple[RowSchema, Any]:
    table = people(**options)
    schema = schema_of(table, numeric=NUMERIC, categorical=CATEGORICAL)
    return schema, schema.encode(table)


def names(schema: RowSchema, relations: tuple[ColumnRelation, ...]) -> set[tuple[str, str]]:
    return {(schema.columns[r.determinant].name, schema.columns[r.dependent].name) for r in relations}


def test_the_columns_that_determine_others_are_found_and_no_others():
    schema, rows = encoded()
    relations = find_relations(schema, rows)

    # An identifier determines everything, and a nearly constant column is determined by everything: both are left out.
    assert names(schema, relations) == {
        ("school", "years"),
        ("years", "school"),
        ("school", "stage"),
        ("years", "stage"),
    }
    assert {relation.share for relation in relations} == {1.0}


@pytest.mark.parametrize(("exceptions", "count"), [(4, 4), (5, 2)])
def test_one_percent_of_exceptions_is_the_boundary(exceptions: int, count: int):
    schema, rows = encoded(exceptions=exceptions)
    relations = find_relations(schema, rows)

    assert len(relations) == count  # of 5 exceptions, 3 are in the stage of their number of years
    broken = broken_relations(schema, relations, rows).sum(axis=1)
    np.testing.assert_allclose(broken / 400, [1 - relation.share for relation in relations], atol=1e-12)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_projected_rows_are_valid_and_break_no_relation(seed: int):
    schema, rows = encoded()
    relations = find_relations(schema, rows)
    free = schema.nearest(np.random.default_rng(seed).normal(size=(20, *schema.shape)).astype(np.float32) * 9)
    free[:, 0, 0, 0] = np.random.default_rng(seed).integers(0, 13, 20)  # some numbers of years that nobody has

    kept = keep_relations(schema, relations, free)

    schema.check(kept, name="rows")
    assert not broken_relations(schema, relations, kept).any()
    assert np.array_equal(keep_relations(schema, relations, kept), kept)
    before, after = schema.decode(free), schema.decode(kept)
    assert all(np.array_equal(before[name], after[name]) for name in ("school", "city", "height", "serial", "rare"))


def test_training_rows_stay_as_they_are():
    schema, rows = encoded()

    assert np.array_equal(keep_relations(schema, find_relations(schema, rows), rows), rows)


def test_the_option_is_written_only_if_it_is_set():
    assert Rows(temperature=0.5).model_dump() == {"temperature": 0.5}
    assert Rows(temperature=0.5, relations="keep").model_dump() == {"temperature": 0.5, "relations": "keep"}


def test_the_counts_of_a_card_agree_with_each_other():
    pair = Relation("school", "years", 0.995, 3)

    assert Relations(10, 3, (pair,)).sentence() == (
        "3 of 10 rows break the relation between two columns, most often that 'school' determines 'years' "
        "(3 rows; it does in 99.5 % of training rows)"
    )
    assert Relations(10, 0, ()).sentence() == "no column of the training data determines another one"
    for rows, broken in ((10, 2), (2, 3), (10, 4)):
        with pytest.raises(ValueError, match="do not agree"):
            Relations(rows, broken, (pair,))
