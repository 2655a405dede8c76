"""No module depends on itself through other modules, and every module belongs to a layer.

import-linter checks the layers from the imports at the top of each file and within functions. This test also follows
names that are passed to `import_module`, and it checks that pyproject.toml lists every module.
"""

import ast
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("fair_distill", "flows", "tasks")
# Cycles that are accepted, each with its reason.
ALLOWED: dict[frozenset[str], str] = {}
# Modules without a layer, each with its reason.
UNLAYERED = {
    "fair_distill": "it names the public functions, and imports them at their first use",
    "fair_distill.__main__": "it only calls the command line",
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def source_files() -> dict[str, Path]:
    """Return the file of every module."""
    return {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def imported_names(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[str]:
    """Yield the dotted name of everything that a module imports, also in functions and by `import_module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                parents = parents[: len(parents) - node.level + is_package]
                base = ".".join([*parents, *([base] if base else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (name.value for name in node.args[:1] if isinstance(name, ast.Constant))


def import_graph(files: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return the modules that each module imports."""
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        names = imported_names(ast.parse(path.read_text()), module, is_package=path.name == "__init__.py")
        targets = (name if name in files else name.rpartition(".")[0] for name in names)
        graph[module] = {target for target in targets if target in files and target != module}
    return graph


def cycles(graph: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """Return the strongly connected components of more than one module (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: set[frozenset[str]] = set()

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in sorted(graph[module]):
            if target not in index:
                visit(target)
            if target in stack:
                low[module] = min(low[module], low[target])
        if low[module] == index[module]:
            start = stack.index(module)
            if len(stack) - start > 1:
                components.add(frozenset(stack[start:]))
            del stack[start:]

    for module in sorted(graph):
        if module not in index:
            visit(module)
    return components


def test_there_are_no_cycles_of_imports() -> None:
    assert cycles(import_graph(source_files())) <= set(ALLOWED)


def test_a_hidden_cycle_is_detected(tmp_path: Path) -> None:
    sources = {
        "a": "def f():\n    from b import g\n",
        "b": "from importlib import import_module\n\n\ndef g():\n    import_module('c')\n",
        "c": "import a\n",
        "d": "import a\n",
    }
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)

    assert cycles(import_graph({name: tmp_path / f"{name}.py" for name in sources})) == {frozenset("abc")}


def test_every_module_belongs_to_a_layer() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    listed = {name.strip(" ()") for layer in layers for part in layer.split("|") for name in part.split(":")}
    packages = {name[:end] for name in listed for end, character in enumerate(name) if character == "."}
    unlayered = {
        module
        for module in source_files()
        if module not in packages and not any(f"{module}.".startswith(f"{name}.") for name in listed)
    }

    assert unlayered == set(UNLAYERED) - packages
    assert listed <= set(source_files()), "pyproject.toml lists modules that do not exist"
