"""The acts on the registry: publish the release candidate, promote it if the gate lets it."""

import os

from fair_distill.artifacts import Workspace, needed
from fair_distill.config import Config
from fair_distill.errors import ConfigError
from fair_distill.registry import release
from fair_distill.registry.channels import version_number
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.manifest import PROVENANCE_FILE, read_version
from fair_distill.registry.release import Promotion, Publication
from fair_distill.registry.store import APART, open_store
from fair_distill.stages.context import Hand, known_of
from fair_distill.stages.gate import floor_at, verdict_of
from fair_distill.stages.record import made_by


def publish(workspace: Workspace, config: Config, *, registry: str, hand: Hand) -> Publication:
    """Publish the release candidate: its set, the predictions it was judged by, and how it came to be."""
    name = config.release.candidate
    kept_apart(config)
    manifest, files = read_version(workspace.set(name), made_by=made_by(config, name))
    predictions = needed(workspace.predictions(name), made_by=f"fair-distill evaluate {name}").read_bytes()
    provenance = needed(workspace.set(name) / PROVENANCE_FILE, made_by=made_by(config, name)).read_bytes()
    return release.publish(
        open_store(registry),
        config.dataset,
        manifest,
        files,
        predictions=predictions,
        provenance=provenance,
        sign=hand.sign,
        who=hand.who,
        now=hand.now,
        nonce=hand.nonce,
    )


def kept_apart(config: Config) -> None:
    """See that predictions, which name the group of each example, do not go where the set goes."""
    if config.validate_.privacy == "restricted" and not os.environ.get(APART):
        raise ConfigError(
            "params.yaml: validate.privacy is restricted: predictions name the group of each example. Name a folder "
            f"for them that is not published, in the environment variable {APART}"
        )


def promote(
    workspace: Workspace,
    config: Config,
    channel: str,
    *,
    registry: str,
    hand: Hand,
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
    store = open_store(registry)
    version_number(read_ledger(store, config.dataset), manifest.version)  # what is not published is no attempt
    found = known_of(workspace, config, name, channel, store=store, hand=hand)
    verdict = verdict_of(
        workspace,
        config,
        name,
        floor=floor_at(floor),
        now=hand.now.date(),
        context=found.context,
        promoted=found.promoted,
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
        sign=hand.sign,
        signed_by=config.release.signed_by,
        approvals=config.release.approvals,
        who=hand.who,
        now=hand.now,
        nonce=hand.nonce,
    )
