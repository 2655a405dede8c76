"""docs/gate.md shows what the code says and what was measured."""

import pytest
from gate_page import BLOCKS, PAGE, filled


@pytest.mark.parametrize("name", BLOCKS)
def test_every_table_and_output_is_what_the_code_gives(name: str) -> None:
    """If not: `python tests/gate_page.py`, and look at what it changed."""
    page = PAGE.read_text()

    assert filled(page, name) == page
