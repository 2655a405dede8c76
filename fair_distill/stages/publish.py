"""Command `publish`: copy the release candidate into the registry."""

from fair_distill.config import Config
from fair_distill.files import require_file
from fair_distill.registry import release
from fair_distill.registry.actor import Actor
from fair_distill.registry.attempts import record_publication
from fair_distill.registry.manifest import PROVENANCE_FILE, read_version
from fair_distill.registry.release import Publication
from fair_distill.registry.store import RegistryStore
from fair_distill.registry.writer import open_to_write
from fair_distill.stages.attempts import attempt_request
from fair_distill.stages.attest import attested_by
from fair_distill.stages.evidence import read_checked_evidence
from fair_distill.stages.privacy import check_private_predictions
from fair_distill.stages.set_record import set_command
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

    store = open_to_write(registry)
    record_predictions(workspace, config, name, evidence.predictions, store=store, actor=actor)
    return release.publish(
        store,
        config.dataset,
        manifest,
        files,
        predictions=evidence.predictions,
        provenance=provenance,
        attestation=attestation,
        reason=f"predictions attested by {evaluator}" if evaluator else "predictions not attested",
        actor=actor,
    )


def record_predictions(
    workspace: Workspace, config: Config, name: str, predictions: bytes, *, store: RegistryStore, actor: Actor
) -> None:
    """Bind the predictions to the attempt that was reserved for them; see `registry.attempts.record_publication`."""
    request = attempt_request(workspace, config, name, store=store, predictions=predictions)
    record_publication(store, request, actor=actor)
