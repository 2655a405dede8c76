"""The code mutants of every module of the gate and of the registry have tests."""

from mutation.code_mutants import REPOSITORY, TESTS, files_of, modules


def test_every_module_has_tests_that_exist() -> None:
    assert [module for module in modules() if not all((REPOSITORY / file).exists() for file in files_of(module))] == []
    assert [module for module in TESTS if not (REPOSITORY / "fair_distill" / f"{module}.py").exists()] == []
