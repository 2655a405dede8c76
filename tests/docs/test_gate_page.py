"""docs/gate.md: its generated tables and outputs are up to date."""

import re

import pytest
from gate_page import BLOCKS, PAGE, filled
from small_workspace import REPOSITORY

from fair_distill.config import load_config
from fair_distill.gate.policy import check_waivers, read_context


@pytest.mark.parametrize("name", BLOCKS)
def test_every_generated_table_and_output_is_up_to_date(name: str) -> None:
    """If this fails, run `python tests/gate_page.py` and review its changes."""
    page = PAGE.read_text()

    assert filled(page, name) == page


def test_the_waiver_on_the_page_names_a_clause_of_the_demo() -> None:
    shown = re.search(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert shown is not None

    context = read_context(shown[1].encode())
    check_waivers(context, load_config(REPOSITORY / "params.yaml").gate, set=context.waivers[0].set)


def test_nine_in_ten_fair_sets_satisfy_each_limit_of_the_demo() -> None:
    shown = PAGE.read_text().partition("<!-- plan -->")[2].partition("<!-- /plan -->")[0]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]

    assert [row[0] for row in rows] == [limit.name for limit in load_config(REPOSITORY / "params.yaml").gate.limits]
    assert min(float(row[3]) for row in rows) >= 0.9
