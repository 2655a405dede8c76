"""Command `publish`: copy the release candidate into the registry."""

import warnings

from fair_distill.config import Config
from fair_distill.errors import FairDistillError, FairDistillWarning
from fair_distill.files import require_file
from fair_distill.registry import release
from fair_distill.registry.actor import Actor
from fair_distill.registry.attempts import record_publication
from fair_distill.registry.costs import write_version_cost
from fair_distill.registry.manifest import PROVENANCE_FILE, read_version
from fair_distill.registry.release import Publication
from fair_distill.registry.store import RegistryStore
from fair_distill.registry.writer import open_to_write
from fair_distill.stages.attempts import attempt_request
from fair_distill.stages.attest import attested_by
from fair_distill.stages.costs import read_costs, version_cost_of
from fair_distill.stages.evidence import read_checked_evidence
from fair_distill.stages.privacy import check_private_predictions
from fair_distill.stages.set_record import set_command
from fair_distill.stages.training_units import read_training_units
from fair_distill.workspace import Workspace


def publish_set(workspace: Workspace, config: Config, *, registry: str, actor: Actor) -> Publication:
    """Publish the release candidate: the set, its predictions and its provenance.

    The ledger records whether the predictions are attested, and the registry keeps the evaluator's statement.
    """
    name = config.release.candidate
    check_private_predictions(config)
    evidence = read_checked_evidence(workspace, config, name)
    command = set_command(config, name)
    manifest, files = read_version(workspace.set(name), made_by=command)
    provenance = require_file(workspace.set(name) / PROVENANCE_FILE, made_by=command).read_bytes()
    evaluator = attested_by(workspace, config, name, evidence.predictions, keys=config.gate.evaluators)
    attestation = workspace.attestation(name).read_bytes() if evaluator else None
    units = read_training_units(workspace, manifest)

    store = open_to_write(registry)
    record_predictions(workspace, config, name, evidence.predictions, store=store, actor=actor)
    publication = release.publish(
        store,
        config.dataset,
        manifest,
        files,
        predictions=evidence.predictions,
        provenance=provenance,
        attestation=attestation,
        units=None if units is None else units.to_bytes(),
        reason=f"predictions attested by {evaluator}" if evaluator else "predictions not attested",
        actor=actor,
    )
    _publish_cost(workspace, config, manifest.version, store)
    return publication


def _publish_cost(workspace: Workspace, config: Config, version: str, store: RegistryStore) -> None:
    """Store the recorded cost of a version, if there is one. A failure is a warning: the version is published."""
    try:
        cost = version_cost_of(read_costs(workspace, config.dataset), version)
        if cost is not None:
            write_version_cost(store, cost)
    except FairDistillError as error:
        warnings.warn(f"the cost of {version[:12]}… was not published: {error}", FairDistillWarning, stacklevel=3)


def record_predictions(
    workspace: Workspace, config: Config, name: str, predictions: bytes, *, store: RegistryStore, actor: Actor
) -> None:
    """Bind the predictions to the attempt that was reserved for them; see `registry.attempts.record_publication`."""
    request = attempt_request(workspace, config, name, store=store, predictions=predictions)
    record_publication(store, request, actor=actor)
