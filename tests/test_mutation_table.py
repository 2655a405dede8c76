"""The table of the code mutants names tests for every module of the gate and of the registry."""

from pathlib import Path

from mutation.code_mutants import TESTS, files_of
from small_workspace import REPOSITORY


def test_every_module_has_tests_that_exist() -> None:
    package = REPOSITORY / "fair_distill"
    files = [path for part in ("gate", "registry") for path in (package / part).rglob("*.py")]
    modules = {str(path.relative_to(package).with_suffix("")) for path in files if path.name != "__init__.py"}

    assert modules <= set(TESTS)
    assert [name for name in TESTS if not (package / f"{name}.py").exists()] == []
    assert [file for name in TESTS for file in files_of(name) if not (REPOSITORY / Path(file)).exists()] == []
