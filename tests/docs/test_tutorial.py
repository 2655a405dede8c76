"""The tutorial, up to where the computing begins: its script draws, its YAML reads, and its words are true of both."""

import re
import subprocess
import sys
from pathlib import Path

from small_workspace import REPOSITORY, run

PAGE = (REPOSITORY / "docs" / "tutorial.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The first block of a language on the page."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    assert found is not None
    return found[1]


def test_its_images_are_described_and_planned_for(tmp_path: Path) -> None:
    folder = tmp_path / "shapes"
    assert run(tmp_path, "init", str(folder)).code == 0
    (folder / "draw.py").write_text(block("python"))
    subprocess.run([sys.executable, "draw.py"], cwd=folder, check=True)
    params = (folder / "params.yaml").read_text()
    head, _, rest = params.partition("dataset:")
    (folder / "params.yaml").write_text(f"{head}{block('yaml')}\nvalidate:{rest.partition('validate:')[2]}")

    described = run(folder, "data", "describe")
    assert (described.code, described.err) == (0, "")
    assert "train: 1,200 examples" in " ".join(described.out.split())
    assert described.out.rstrip().endswith("expectations held")
    assert run(folder, "prepare").code == 0
    assert run(folder, "gate", "plan").code == 0
