"""Command `promote`: judge the release candidate again and promote it to a channel if it passes."""

from fair_distill.config import Config
from fair_distill.errors import ConfigError, IntegrityError, Refused
from fair_distill.gate.strictness import laxer_than
from fair_distill.gate.verdict import Verdict
from fair_distill.registry import release
from fair_distill.registry.actor import Actor
from fair_distill.registry.channels import current, last_in_force, version_number
from fair_distill.registry.entry import Entry
from fair_distill.registry.integrity import fetch
from fair_distill.registry.layout import evidence_key
from fair_distill.registry.ledger import read_to_write
from fair_distill.registry.manifest import read_version
from fair_distill.registry.release import Promotion
from fair_distill.registry.store import RegistryStore
from fair_distill.registry.writer import open_to_write
from fair_distill.stages.context import registry_context
from fair_distill.stages.evidence import read_checked_evidence
from fair_distill.stages.judge import compute_verdict
from fair_distill.stages.policy import load_policy_floor
from fair_distill.stages.privacy import check_private_predictions
from fair_distill.stages.set_record import set_command
from fair_distill.workspace import Workspace


def promote_version(
    workspace: Workspace,
    config: Config,
    channel: str,
    *,
    registry: str,
    actor: Actor,
    floor: str | None = None,
    reason: str = "",
) -> Promotion:
    """Judge the release candidate again and promote it to `channel` if it passes.

    The attempt is reserved first. The verdict uses the registry's context instead of context.json, and waivers count.

    Parameters
    ----------
    floor : address of the organisation's policy; see `load_policy_floor`
    reason : why the channel changes, for readers of the ledger

    Raises
    ------
    ConfigError
        If params.yaml does not define the channel.
    Refused
        If the verdict is not a pass, or the policy is laxer than before and no reason is given.
    IntegrityError
        If the verdict is for another attempt, version or split than the reserved one.
    """
    name = config.release.candidate
    check_private_predictions(config)
    manifest, _ = read_version(workspace.set(name), made_by=set_command(config, name))
    check_channel(config, channel)
    store, policy_floor = open_to_write(registry), load_policy_floor(floor)
    entries = read_to_write(store, config.dataset)
    version_number(entries, manifest.version)  # raises for a version that is not published: it cannot be an attempt
    _refuse_laxer_policy(store, entries, config, channel, manifest.version, reason=reason)
    # Checked before the attempt is recorded: files that do not belong together must not use one up.
    predictions = read_checked_evidence(workspace, config, name).predictions

    reserved = registry_context(workspace, config, name, channel, store=store, actor=actor, predictions=predictions)
    verdict = compute_verdict(
        workspace,
        config,
        name,
        floor=policy_floor,
        now=actor.now.date(),
        context=reserved.context,
        promoted=reserved.promoted,
        attested=bool(config.gate.evaluators),
    )
    attempt = reserved.attempt.entry
    expected = (attempt.version, attempt.split, reserved.attempt.predictions, attempt.attempt)
    if (verdict.set, verdict.split, verdict.predictions, verdict.attempt) != expected:
        raise IntegrityError(
            f"attempt {attempt.attempt} is reserved for {attempt.version[:12]}… on the gate split "
            f"{attempt.split[:12]}…; the verdict is attempt {verdict.attempt} of {verdict.set[:12]}… on "
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


def check_channel(config: Config, channel: str) -> None:
    """Raise ConfigError if params.yaml does not define a channel."""
    if channel not in config.release.channels:
        raise ConfigError(
            f"the channel {channel!r} does not exist; params.yaml: release.channels defines "
            f"{', '.join(config.release.channels)}"
        )


def _refuse_laxer_policy(
    store: RegistryStore, entries: tuple[Entry, ...], config: Config, channel: str, version: str, *, reason: str
) -> None:
    """Raise Refused if the policy is laxer than the one that the channel's version passed, and no reason is given.

    After a demotion, the comparison is with the version that the channel had before. A reason is recorded in the
    ledger. Older releases did not record their policy; they are compared by the limits of their clauses.
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
            f"{config.gate.location} is laxer than the policy that v{version_number(entries, entry.version)} passed "
            f"({difference}). State why with --reason, or restore the limit"
        )
