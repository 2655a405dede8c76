"""docs/choosing.md: the params.yaml lines that it shows have the described effect."""

import re

import yaml
from small_workspace import REPOSITORY

from fair_distill.distillation.presets import PRESETS


def test_a_scaffold_with_these_lines_distils_as_the_function_does() -> None:
    shown = re.search(r"```yaml\n(.*?)```", (REPOSITORY / "docs/choosing.md").read_text(), re.DOTALL)
    assert shown is not None
    scaffold = yaml.safe_load((REPOSITORY / "params.yaml").read_text())["distill"]

    written = scaffold | yaml.safe_load(shown[1])["distill"]

    assert {key for key, value in PRESETS["default"].items() if written[key] != value} == {"network"}
    assert (written["network"]["width"], PRESETS["default"]["network"]["width"]) == (32, 128)
