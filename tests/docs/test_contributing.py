"""The recipes in CONTRIBUTING.md work: they are applied to a copy of the repository, and their tests run there.

A block of Python that begins with the path of a file is that file. A block of type `diff` that begins with a path
changes that file: lines with a space or a minus must be in it, in this order and once.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "CONTRIBUTING.md").read_text()
COPIED = ("fair_distill", "tests", "docs", "params.yaml", "pyproject.toml")
RECIPES = re.findall(r"^### How to add (?:a|an) (.+?)\n(.*?)(?=^##)", PAGE + "\n## end\n", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(python|diff|yaml)\n# (\S+\.\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def apply(root: Path, language: str, path: str, text: str) -> None:
    """Write a new file, or change an existing one, as a block of a recipe says."""
    file = root / path
    if language != "diff":
        assert not file.exists(), f"{path} exists; a recipe changes it with a diff"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return
    old, new = (
        "".join(f"{line[1:]}\n" for line in text.splitlines() if line[:1] in (" ", sign) or not line)
        for sign in ("-", "+")
    )
    before = file.read_text()
    assert before.count(old) == 1, f"{path} does not contain these lines exactly once:\n{old}"
    file.write_text(before.replace(old, new))


@pytest.fixture(scope="module")
def tests(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Return a copy of the repository to which every recipe was applied, and the tests that the recipes add."""
    root = tmp_path_factory.mktemp("clone")
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__", "fixtures"))
        else:
            shutil.copy(source, root / name)
    written = []
    for _, recipe in RECIPES:
        for language, path, text in BLOCK.findall(recipe):
            apply(root, language, path, text)
            written += [path] if Path(path).name.startswith("test_") else []
    return root, written


def test_the_map_lists_every_folder_of_the_package() -> None:
    listed = set(re.findall(r"^ +(\w+)/ ", PAGE, re.MULTILINE))
    folders = {file.parent for file in (REPOSITORY / "fair_distill").rglob("*.py")}

    assert {folder.name for folder in folders} - {"fair_distill"} <= listed


def test_every_recipe_ends_with_a_test() -> None:
    assert RECIPES
    for name, recipe in RECIPES:
        assert any(Path(path).name.startswith("test_") for _, path, _ in BLOCK.findall(recipe)), name


def test_the_tests_of_all_recipes_pass(tests: tuple[Path, list[str]]) -> None:
    root, files = tests
    completed = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-n", "0", "-p", "no:cacheprovider", *files],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert all(name in completed.stdout for name in files)
