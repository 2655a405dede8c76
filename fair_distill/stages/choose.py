"""Stage `choose`: choose the best candidate on the tune split, and write it as the set `best`.

The gate split is not used, so the gate judges the choice once, with the risk of a single attempt.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fair_distill.card import Choice
from fair_distill.config import BEST, Config
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import parse_json, require_file, write_bytes
from fair_distill.gate.choice import TuneResult, best_that_should_pass, margin, nearest_to_passing
from fair_distill.gate.predictions import Predictions
from fair_distill.registry.manifest import (
    MANIFEST_FILE,
    PROVENANCE_FILE,
    SET_FILE,
    Manifest,
    read_version,
    write_version,
)
from fair_distill.stages.policy import without_promoted
from fair_distill.stages.set_record import make_manifest, set_command
from fair_distill.stages.tune import TuneEvaluation, bound_shrinkage, judge_on_tune
from fair_distill.workspace import Workspace


def choose_best(workspace: Workspace, config: Config) -> Manifest:
    """Choose among the candidates in best.sets, and write the chosen set, with the comparison in its card, as `best`.

    The best is the smallest, and of equal sizes the most accurate, of those that should pass. If none should pass, it
    is the one that is nearest to passing; the card says so, and the gate decides.

    Raises
    ------
    ConfigError
        If params.yaml has no section `best`.
    IntegrityError
        If predictions of the tune split are not of the set that the workspace has now.
    """
    if config.best is None:
        raise ConfigError(
            "params.yaml has no section best; add `best: {sets: [...]}` with the candidates to choose from"
        )
    evaluations = {name: _read_evaluation(workspace, config, name) for name in config.best.sets}
    references = {name: each for name, each in evaluations.items() if name in config.references}
    shrink, limits = bound_shrinkage(workspace), without_promoted(config.gate).limits
    results = []
    with tempfile.TemporaryDirectory(prefix="fair-distill-") as folder:
        for name in sorted(evaluations.keys() - references.keys()):
            compared = {**references, name: evaluations[name]}
            results.append(judge_on_tune(workspace, config, name, compared, scratch=Path(folder) / name))
    passing = best_that_should_pass(results, limits, shrink=shrink)
    chosen = passing or nearest_to_passing(results, limits, shrink=shrink)
    margins = {result.name: margin(result, limits, shrink=shrink) for result in results}
    return _write(workspace, config, _choice(results, margins, chosen.name, should_pass=passing is not None))


def _choice(
    results: Sequence[TuneResult], margins: Mapping[str, float | None], chosen: str, *, should_pass: bool
) -> Choice:
    """Return the comparison for the card."""
    candidates = {
        result.name: {"examples": result.examples, "accuracy": result.accuracy, "margin": margins[result.name]}
        for result in results
    }
    return Choice(chosen=chosen, should_pass=should_pass, candidates=candidates)


def _read_evaluation(workspace: Workspace, config: Config, name: str) -> TuneEvaluation:
    """Return what stage `tune` wrote. Raises IntegrityError if it is of another set than the workspace has."""
    command = f"fair-distill stage tune {name}"
    predictions = require_file(workspace.tuned(name), made_by=command).read_bytes()
    path = require_file(workspace.tuned_metrics(name), made_by=command)
    version = read_version(workspace.set(name), made_by=set_command(config, name))[0].version
    evaluated = Predictions.from_parquet(predictions, name=str(workspace.tuned(name))).set
    if evaluated != version:
        raise IntegrityError(
            f"{workspace.tuned(name)} is of the set {evaluated[:12]}; the workspace has {version[:12]}. Run `{command}`"
        )
    manifest = (workspace.set(name) / MANIFEST_FILE).read_bytes()
    return TuneEvaluation(predictions, parse_json(path.read_bytes(), name=str(path)), manifest)


def _write(workspace: Workspace, config: Config, choice: Choice) -> Manifest:
    """Write the chosen set under its new name, with the choice in its card."""
    chosen = workspace.set(choice.chosen)
    manifest, files = read_version(chosen, made_by=set_command(config, choice.chosen))
    made = DistilledSet.from_parquet(files[SET_FILE], name=str(chosen / SET_FILE))
    card = replace(made.card, name=BEST, choice=choice)
    assert config.best is not None  # the caller has chosen by it
    sets = config.best.model_dump()
    content = {SET_FILE: DistilledSet(made.images, made.labels, card).to_parquet()}
    best = make_manifest(config, card, content, params={**manifest.params, BEST: sets}, source=manifest.source)
    write_bytes(workspace.grid(BEST), workspace.grid(choice.chosen).read_bytes())
    write_bytes(workspace.set(BEST) / PROVENANCE_FILE, (chosen / PROVENANCE_FILE).read_bytes())
    write_version(workspace.set(BEST), best, content)
    return best
