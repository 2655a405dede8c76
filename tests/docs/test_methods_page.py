"""docs/methods.md: its generated tables are up to date, and its other tables list every component."""

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
def test_the_generated_tables_are_up_to_date(name: str) -> None:
    """If this fails, run `python tests/methods_page.py` and review its changes."""
    page = PAGE.read_text()

    assert filled(page, name) == page


@pytest.mark.parametrize("table", [MATCHERS, ALIGNMENTS, BARYCENTERS, CLOUD_BARYCENTERS, NETWORKS])
def test_every_component_has_a_row(table: dict[str, Any]) -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)

    assert not table.keys() - set(rows)
