"""Which matcher supports which alignment, and that one place decides it."""

import ast
from pathlib import Path

import pytest
from small_methods import BARYCENTER_OPTIONS, MATCHER_OPTIONS
from small_workspace import candidate, grouped

import fair_distill
from fair_distill.config import Distill
from fair_distill.distillation.barycenter import BARYCENTERS
from fair_distill.distillation.method import Method, build_method
from fair_distill.distillation.presets import PRESETS
from fair_distill.errors import ConfigError

DATA = grouped([[6, 2], [3, 5]])
PACKAGE = Path(fair_distill.__file__).parent
SOURCES = [path for folder in ("distillation", "audit", "testing") for path in sorted((PACKAGE / folder).rglob("*.py"))]


def method(matcher: str, alignment: str, barycenter: str | None = None) -> Method:
    settings = PRESETS["dm"] | {"matcher": {"name": matcher, **MATCHER_OPTIONS.get(matcher, {})}}
    options = None if barycenter is None else {"name": barycenter, **BARYCENTER_OPTIONS.get(barycenter, {})}
    return build_method(DATA, Distill.model_validate(settings), candidate(alignment, barycenter=options))


@pytest.mark.parametrize("matcher", ["dm", "dc", "idc", "cafe"])
def test_matchers_of_cells_support_all_alignments_of_statistics(matcher: str) -> None:
    assert method(matcher, "pooled").alignment.provides == "one_mean"
    assert method(matcher, "per_group").alignment.provides == "one_per_group"
    assert method(matcher, "barycentric", "mean").alignment.provides == "one_mean"
    assert method(matcher, "barycentric", "minimax").alignment.provides == "one_target"


def test_matchers_of_embeddings_support_clouds() -> None:
    for matcher in ("dm", "cafe"):
        assert method(matcher, "barycentric", "bures").alignment.provides == "clouds"


@pytest.mark.parametrize(
    ("matcher", "alignment", "barycenter", "message"),
    [
        (
            "mtt",
            "per_group",
            None,
            "matcher 'mtt' does not support alignment 'per_group'. Use 'pooled' or 'barycentric'.",
        ),
        *(
            (
                matcher,
                "barycentric",
                "sinkhorn",
                f"matcher '{matcher}' does not support alignment 'barycentric' with barycenter 'sinkhorn'. Use "
                f"barycenter {', '.join(map(repr, BARYCENTERS))}, or matcher 'dm' or 'cafe'.",
            )
            for matcher in ("dc", "idc", "mtt")
        ),
    ],
)
def test_an_unsupported_alignment_is_refused_with_alternatives(
    matcher: str, alignment: str, barycenter: str | None, message: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        method(matcher, alignment, barycenter)

    assert str(refusal.value) == message


def test_no_other_code_asks_for_the_type_of_an_alignment_or_the_attributes_of_a_matcher() -> None:
    alignments = {"Alignment", "Pooled", "PerGroup", "Barycentric", "CloudBarycentric", "Shrunken"}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id == "isinstance":
                assert not {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} & alignments, path
            if node.func.id in ("getattr", "hasattr"):
                assert ast.unparse(node.args[0]) not in ("matcher", "alignment"), path


def test_no_method_of_an_alignment_or_a_matcher_only_raises() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                for method in node.body:
                    if isinstance(method, ast.FunctionDef):
                        statements = [s for s in method.body if not isinstance(s, ast.Expr)]
                        assert not statements or not all(isinstance(s, ast.Raise) for s in statements), (
                            path,
                            node.name,
                            method.name,
                        )
