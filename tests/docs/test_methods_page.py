"""docs/methods.md says what the code says: which goes with which, what a preset is, and no row is left out."""

import re
from typing import Any

import pytest
from methods_page import PAGE, TABLES, filled

from fair_distill.distillation.alignment import ALIGNMENTS
from fair_distill.distillation.barycenter import BARYCENTERS
from fair_distill.distillation.clouds import CLOUD_BARYCENTERS
from fair_distill.distillation.matchers import MATCHERS
from fair_distill.distillation.networks import NETWORKS


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_are_those_of_the_code(name: str) -> None:
    """If not: `python tests/methods_page.py`, and look at what it changed."""
    page = PAGE.read_text()

    assert filled(page, name) == page


@pytest.mark.parametrize("table", [MATCHERS, ALIGNMENTS, BARYCENTERS, CLOUD_BARYCENTERS, NETWORKS])
def test_every_row_of_every_table_of_the_code_has_its_row(table: dict[str, Any]) -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)

    assert not table.keys() - set(rows)
