"""docs/tutorial.md up to distillation: its script runs, its YAML is valid, and its output matches the text."""

import os
import re
import subprocess
import sys
from pathlib import Path

from small_workspace import REPOSITORY, run

PAGE = (REPOSITORY / "docs" / "tutorial.md").read_text(encoding="utf-8")


def block(language: str, *, begins: str = "") -> str:
    """Return the first block in a language that begins with a text."""
    found = re.search(rf"```{language}\n({begins}.*?)```", PAGE, flags=re.DOTALL)
    assert found is not None
    return found[1]


def test_the_images_are_described_and_planned(tmp_path: Path) -> None:
    folder = tmp_path / "shapes"
    assert run(tmp_path, "init", str(folder)).code == 0
    (folder / "draw.py").write_text(block("python"))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(
        ["sh", "-c", block("sh", begins="python draw")], cwd=folder, check=True, env=os.environ | {"PATH": path}
    )
    params = (folder / "params.yaml").read_text()
    head, _, rest = params.partition("dataset:")
    (folder / "params.yaml").write_text(f"{head}{block('yaml')}\nvalidate:{rest.partition('validate:')[2]}")

    named = re.search(r"`deps: \[(.*)\]`", PAGE)
    assert named is not None
    assert all((folder / name).exists() for name in named[1].split(", "))
    described = run(folder, "data", "describe")
    assert (described.code, described.err) == (0, "")
    assert "train: 1,200 examples" in " ".join(described.out.split())
    assert described.out.rstrip().endswith("expectations hold")
    assert run(folder, "prepare").code == 0
    assert run(folder, "gate", "plan").code == 0
