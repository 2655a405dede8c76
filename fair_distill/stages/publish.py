"""The acts on the registry: publish the release candidate, promote it if the gate lets it."""

import os

from fair_distill.config import Config
from fair_distill.errors import ConfigError, IntegrityError, Refused
from fair_distill.files import require_file
from fair_distill.gate.policy import laxer_than
from fair_distill.gate.verdict import Verdict
from fair_distill.registry import release
from fair_distill.registry.actor import Actor
from fair_distill.registry.channels import current, last_in_force, version_number
from fair_distill.registry.entry import Entry
from fair_distill.registry.integrity import fetch
from fair_distill.registry.layout import evidence_key
from fair_distill.registry.ledger import read_to_write
from fair_distill.registry.manifest import PROVENANCE_FILE, read_version
from fair_distill.registry.release import Promotion, Publication
from fair_distill.registry.store import PREDICTIONS_VARIABLE, RegistryStore
from fair_distill.registry.writer import open_to_write
from fair_distill.stages.attest import attested_by
from fair_distill.stages.context import known_of
from fair_distill.stages.evidence import read_bound
from fair_distill.stages.judge import floor_at, verdict_of
from fair_distill.stages.set_record import made_by
from fair_distill.workspace import Workspace


def publish(workspace: Workspace, config: Config, *, registry: str, actor: Actor) -> Publication:
    """Publish the release candidate: its set, its predictions, and how they were made.

    The ledger records whether the predictions are attested, and the registry keeps the evaluator's statement.
    """
    name = config.release.candidate
    kept_apart(config)
    evidence = read_bound(workspace, config, name)
    manifest, files = read_version(workspace.set(name), made_by=made_by(config, name))
    provenance = require_file(workspace.set(name) / PROVENANCE_FILE, made_by=made_by(config, name)).read_bytes()
    evaluator = attested_by(workspace, config, name, evidence.predictions, keys=config.gate.evaluators)
    return release.publish(
        open_to_write(registry),
        config.dataset,
        manifest,
        files,
        predictions=evidence.predictions,
        provenance=provenance,
        attestation=workspace.attestation(name).read_bytes() if evaluator else None,
        reason=f"predictions attested by {evaluator}" if evaluator else "predictions not attested",
        actor=actor,
    )


def kept_apart(config: Config) -> None:
    """See that predictions, which name the group of each example, do not go where the set goes."""
    if config.validate_.privacy == "restricted" and not os.environ.get(PREDICTIONS_VARIABLE):
        raise ConfigError(
            "params.yaml: validate.privacy is restricted: predictions name the group of each example. Name a folder "
            f"for them that is not published, in the environment variable {PREDICTIONS_VARIABLE}"
        )


def promote(
    workspace: Workspace,
    config: Config,
    channel: str,
    *,
    registry: str,
    actor: Actor,
    floor: str | None = None,
    reason: str = "",
) -> Promotion:
    """Judge the release candidate again, as the attempt that it is, and promote it to `channel` if it passes.

    The attempt is reserved first, in context.json's place stands what the registry knows, and waivers count.

    Parameters
    ----------
    floor : the address of an organisation's policy, see `floor_at`
    reason : why the channel moves, for who reads the ledger
    """
    name = config.release.candidate
    kept_apart(config)
    manifest, _ = read_version(workspace.set(name), made_by=made_by(config, name))
    if channel not in config.release.channels:
        raise ConfigError(
            f"there is no channel {channel!r}; params.yaml: release.channels has {', '.join(config.release.channels)}"
        )
    store, policy_floor = open_to_write(registry), floor_at(floor)
    entries = read_to_write(store, config.dataset)
    version_number(entries, manifest.version)  # a version that is not published cannot be an attempt
    _refuse_laxer(store, entries, config, channel, manifest.version, reason=reason)
    # Before the attempt is entered: files that do not belong together are not an attempt.
    read_bound(workspace, config, name)
    reserved = known_of(workspace, config, name, channel, store=store, actor=actor)
    verdict = verdict_of(
        workspace,
        config,
        name,
        floor=policy_floor,
        now=actor.now.date(),
        context=reserved.context,
        promoted=reserved.promoted,
        attested=bool(config.gate.evaluators),
    )
    if (verdict.set, verdict.split, verdict.attempt) != (manifest.version, reserved.split, reserved.attempt):
        raise IntegrityError(
            f"attempt {reserved.attempt} is reserved for {manifest.version[:12]}… on the gate split "
            f"{reserved.split[:12]}…; the verdict is attempt {verdict.attempt} of {verdict.set[:12]}… on "
            f"{verdict.split[:12]}…. Evaluate {name} again"
        )
    return release.promote(
        store,
        config.dataset,
        manifest.version,
        channel,
        order=config.release.channels,
        verdict=verdict,
        verdict_bytes=verdict.to_json(),
        reason=reason,
        signed_by=config.release.signed_by,
        approvals=config.release.approvals,
        actor=actor,
    )


def _refuse_laxer(
    store: RegistryStore, entries: tuple[Entry, ...], config: Config, channel: str, version: str, *, reason: str
) -> None:
    """Raise Refused if the policy is laxer than the one the channel's version passed, and no reason is given.

    A demotion changes nothing: what the channel had before it is compared with. The reason is in the ledger afterwards.
    Verdicts of releases that did not record their policy are compared by the limits of their clauses.
    """
    entry = last_in_force(entries, channel)
    if reason or entry is None or entry.verdict is None or current(entries, channel) == version:
        return
    key = evidence_key(entry.version, "verdicts", entry.verdict)
    earlier = Verdict.from_json(fetch(store, key, entry.verdict), name=key)
    difference = laxer_than(config.gate, earlier)
    if difference:
        raise Refused(
            f"v{version_number(entries, version)} of {config.dataset} is not promoted to {channel}: "
            f"{config.gate.where} is laxer than the policy that v{version_number(entries, entry.version)} passed "
            f"({difference}). State why with --reason, or restore the limit"
        )
