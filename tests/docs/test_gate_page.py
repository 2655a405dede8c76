"""docs/gate.md shows what the code says and what was measured."""

import re

import pytest
from gate_page import BLOCKS, PAGE, filled
from small_workspace import REPOSITORY

from fair_distill.config import load_config
from fair_distill.gate.policy import check_waivers, read_context


@pytest.mark.parametrize("name", BLOCKS)
def test_every_table_and_output_is_what_the_code_gives(name: str) -> None:
    """If not: `python tests/gate_page.py`, and look at what it changed."""
    page = PAGE.read_text()

    assert filled(page, name) == page


def test_the_waiver_that_is_shown_is_one_of_the_demos_policy() -> None:
    shown = re.search(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert shown is not None

    context = read_context(shown[1].encode())
    check_waivers(context, load_config(REPOSITORY / "params.yaml").gate, set=context.waivers[0].set)


def test_no_limit_of_the_demo_is_stricter_than_what_nine_fair_sets_in_ten_pass() -> None:
    shown = PAGE.read_text().partition("<!-- plan -->")[2].partition("<!-- /plan -->")[0]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]

    assert [row[0] for row in rows] == [limit.name for limit in load_config(REPOSITORY / "params.yaml").gate.limits]
    assert min(float(row[3]) for row in rows) >= 0.9
